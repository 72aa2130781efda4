// Writes GGUF v3 files: a general writer, and models of a given shape with random weights for tests
// and benchmarks (speed depends on shapes and types, not on what the weights say).
// Used from one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/gguf.h"
#include "engine/result.h"
#include "engine/tensor.h"

namespace cambium::engine {

class GgufWriter {
 public:
  explicit GgufWriter(uint32_t alignment = 32);

  void set_u32(std::string_view key, uint32_t value);
  void set_i32(std::string_view key, int32_t value);
  void set_u64(std::string_view key, uint64_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_strings(std::string_view key, std::span<const std::string_view> values);
  void set_i32s(std::string_view key, std::span<const int32_t> values);
  void set_u32s(std::string_view key, std::span<const uint32_t> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  /// Copies every key of `from` that begins with `prefix` ("tokenizer."), but for general.alignment
  /// and split.*, which are of that file.
  void copy_metadata(const GgufFile& from, std::string_view prefix);

  /// `ne` as in the file: ne[0] contiguous. `data` must have exactly the tensor's bytes.
  void add_tensor(std::string name, DType type, std::vector<int64_t> ne,
                  std::vector<std::byte> data);
  /// Data made only while the file is written: `fill(row, n_rows, out)` writes the bytes of rows
  /// [row, row + n_rows) of the tensor seen as a matrix [ne1·ne2·ne3, ne0].
  using Fill = std::function<void(int64_t row, int64_t n_rows, std::byte* out)>;
  void add_tensor(std::string name, DType type, std::vector<int64_t> ne, Fill fill);

  Result<void> write(const std::string& path) const;
  std::vector<std::byte> bytes() const;  ///< the same file in memory, for small ones

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<int64_t> ne;
    Fill fill;
    int64_t rows, cols;
    size_t bytes;
  };
  void key(std::string_view name, GgufType type);
  void array(std::string_view name, GgufType element, uint64_t count);
  std::vector<std::byte> header() const;
  /// Hands the file over piece by piece; stops at the first refusal.
  bool emit(const std::function<bool(const std::byte*, size_t)>& sink) const;

  uint32_t alignment_;
  uint64_t n_keys_ = 0;
  std::vector<std::byte> metadata_;
  std::vector<Tensor> tensors_;
};

/// A decoder of the `llama` shape (also qwen2: biases on q, k, v; qwen3: norms on q, k), or of
/// deepseek2.
struct ModelShape {
  std::string architecture = "llama";  ///< llama, cambium, qwen2, qwen3 or deepseek2
  std::string name = "random";
  int32_t n_vocab = 0, n_embd = 0, n_layer = 0, n_head = 0, n_kv_head = 0, head_dim = 0, n_ff = 0;
  int32_t context = 4096;
  float rope_theta = 10000.0f;
  float rope_linear_scale = 1.0f;  ///< > 1 writes linear RoPE scaling
  float norm_eps = 1e-5f;
  bool tied = false;  ///< no output.weight: the embedding is the output matrix
  // deepseek2 only; head_dim is then that of values and of keys without their rotated part.
  int32_t kv_rank = 0, rope_dim = 0;
  int32_t n_expert = 0, n_expert_used = 0, n_shared = 0, n_ff_expert = 0, n_dense = 0;
  int32_t q_rank = 0;  ///< > 0: compressed queries
  /// How experts are chosen (ExpertRule); `sigmoid` comes with a bias per expert.
  int32_t n_group = 1, n_group_used = 1;
  bool sigmoid = false, normalise = false;
  float expert_scale = 1.0f;
};

/// Shapes at real size: "cambium-40m", "deepseek-coder-1.3b", "deepseek-coder-6.7b",
/// "r1-distill-llama-8b", "qwen-1.5b", "v2-lite", "tiny" (for tests); the end of a name will do ("6.7b") where it is one's
/// alone. not_found names those there are.
Result<ModelShape> model_shape(std::string_view name);

struct RandomModelOptions {
  ModelShape shape;
  /// Type of the weight matrices: f32, f16, q8_0, q4_k, … As stock files do: with a k-quant a
  /// matrix whose rows are no multiple of 256 falls back (Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0,
  /// …), and the output matrix (or the tied embedding) is Q6_K.
  DType type = DType::f32;
  uint64_t seed = 1;
  /// Standard deviation of the attention scores aimed at. Near-uniform attention would hide
  /// mistakes in RoPE and masks.
  float score_spread = 2.0f;
  /// Tokenizer keys are copied from that file (n_vocab is then its size), or, if null, a byte-level
  /// vocabulary without merges is made: 256 bytes, an end token, the three of fill-in-the-middle
  /// and a file token, padded to n_vocab.
  const GgufFile* tokenizer = nullptr;
};

/// Weights are normal random numbers scaled so that activations keep their size. Large matrices
/// repeat one quantized panel of rows in a shuffled order, so that 1.3 B parameters take seconds.
/// Errors: unsupported for an architecture or type that cannot be written.
Result<GgufWriter> random_model(const RandomModelOptions& options);
Result<void> write_random_model(const std::string& path, const RandomModelOptions& options);

}  // namespace cambium::engine
