// A GGUF model file (or the parts of a split one), mapped read-only and checked before use: no
// length, count or offset of the file is believed until it has been compared with the file's size.
// Layout: the GGUF specification, version 3 (version 2 has the same layout and is read too).
//
// Ownership: string_views, spans and TensorViews point into the mapping and live as long as the
// GgufFile. Immutable after open(); every const member may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/result.h"
#include "engine/tensor.h"

namespace cambium::engine {

/// Type ids of metadata values, as they stand in the file.
enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};
const char* to_string(GgufType type);

/// One metadata value. `raw` holds a scalar's or a numeric array's bytes (little-endian,
/// unaligned).
struct GgufValue {
  GgufType type = GgufType::u8;     ///< array for arrays
  GgufType element = GgufType::u8;  ///< of an array
  uint64_t count = 1;               ///< elements of an array
  const std::byte* raw = nullptr;
  std::string_view string;                ///< type string
  std::vector<std::string_view> strings;  ///< array of strings
  /// For people: the value as text, arrays cut after a few elements.
  std::string to_text() const;
};

struct GgufTensor {
  std::string_view name;
  DType type = DType::f32;
  uint32_t n_dims = 1;
  std::array<int64_t, 4> ne{1, 1, 1, 1};  ///< ne[0] is the contiguous dimension
  const std::byte* data = nullptr;
  size_t bytes = 0;

  int64_t cols() const { return ne[0]; }
  int64_t rows() const { return ne[1] * ne[2] * ne[3]; }
  int64_t elements() const { return cols() * rows(); }
  /// [ne1·ne2·ne3, ne0]; a vector has one row.
  TensorView view() const { return {type, rows(), cols(), data}; }
  std::string shape_text() const;  ///< "[2048, 5504]", ne[0] first
};

class GgufFile {
 public:
  /// Maps and checks a file. For `…-00001-of-0000N.gguf` the other parts are opened too.
  /// Errors: not_found, io, bad_format (damaged, truncated), unsupported (version, tensor type);
  /// the message names the file, the tensor or key, and what would be supported.
  static Result<std::shared_ptr<const GgufFile>> open(const std::string& path);
  /// The same checks over memory of the caller's, which must outlive the object; `name` stands for
  /// the path in messages.
  static Result<std::shared_ptr<const GgufFile>> parse(std::span<const std::byte> bytes,
                                                       std::string name);
  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  size_t parts() const { return parts_.size(); }
  uint64_t file_bytes() const;  ///< of all parts

  // --- metadata -----------------------------------------------------------------------------
  // A getter fails when the key is absent (not_found) or holds another type (bad_format). Integer
  // getters take any integer type whose value fits. The forms with a fallback return it when the
  // key is absent, and still fail on a wrong type.
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue* find(std::string_view key) const;
  const std::vector<std::pair<std::string_view, GgufValue>>& metadata() const { return metadata_; }

  Result<uint32_t> get_u32(std::string_view key) const;
  Result<uint32_t> get_u32(std::string_view key, uint32_t fallback) const;
  Result<int64_t> get_i64(std::string_view key) const;
  Result<float> get_f32(std::string_view key) const;
  Result<float> get_f32(std::string_view key, float fallback) const;
  Result<bool> get_bool(std::string_view key, bool fallback) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key, std::string_view fallback) const;
  /// Arrays; a scalar counts as an array of one, so that a per-layer key may hold either.
  Result<std::vector<uint32_t>> get_u32s(std::string_view key) const;
  Result<std::vector<int32_t>> get_i32s(std::string_view key) const;
  Result<std::vector<float>> get_f32s(std::string_view key) const;
  /// The views themselves live as long as the file.
  Result<std::span<const std::string_view>> get_strings(std::string_view key) const;
  /// "llama", "cambium", …: `general.architecture`.
  Result<std::string_view> architecture() const { return get_string("general.architecture"); }

  // --- tensors ------------------------------------------------------------------------------
  std::span<const GgufTensor> tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  /// The tensor if it is there and has that shape (cols = ne[0]); the error names file, tensor,
  /// expected and found.
  Result<TensorView> get_tensor(std::string_view name, int64_t rows, int64_t cols) const;

  /// Gives the tensor's whole pages back to the system (they are read again from disk if touched):
  /// for weights that were copied or repacked at load.
  void drop_pages(const TensorView& view) const;
  /// Asks the system to read the tensor's pages soon.
  void prefetch(const TensorView& view) const;

 private:
  struct Part;  // one mapped file
  class Parser;
  GgufFile();
  Error key_error(std::string_view key, const GgufValue& value, std::string_view wanted) const;
  template <class T>
  Result<std::vector<T>> get_integers(std::string_view key) const;

  std::string path_;
  uint32_t version_ = 0;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  std::unordered_map<std::string_view, size_t> key_index_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> tensor_index_;
};

/// "F32, F16, Q4_0, …": the tensor types this build reads, for messages.
std::string supported_types();

}  // namespace cambium::engine
