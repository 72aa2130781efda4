// Reads the tensors of one model into a backend and collects the first error, so that a family's
// list of tensors reads as one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/gguf.h"
#include "engine/ops.h"
#include "engine/result.h"
#include "engine/weights.h"

namespace cambium::engine {

/// After an error every call does nothing. Errors name file, tensor, expected and found.
class WeightLoader {
 public:
  /// All three outlive the loader; `progress` (may be null) gets fractions from 0 to 1.
  WeightLoader(const GgufFile& file, Backend& backend, const std::function<void(double)>& progress)
      : file_(file), backend_(backend), progress_(progress) {}

  void required(const std::string& name, int64_t rows, int64_t cols, WeightUse use, WeightPtr& to);
  void optional(const std::string& name, int64_t rows, int64_t cols, WeightUse use, WeightPtr& to);
  /// The embedding, the last norm and the output matrix, which may be the embedding again.
  void load_ends(int64_t n_vocab, int64_t n_embd, WeightPtr& token_embd, WeightPtr& output_norm,
                 WeightPtr& output);
  /// n matrices of [rows, cols] in one tensor of three dimensions.
  void stack(const std::string& name, int32_t n, int64_t rows, int64_t cols, WeightPtr& to);
  /// A small table the CPU side of the forward pass reads; `wanted` false only marks it as known.
  void host_table(const std::string& name, int64_t rows, int64_t cols, bool wanted,
                  std::vector<float>& to);
  /// The tensor belongs to the architecture, but nothing of it is needed.
  void known(const std::string& name);
  /// Every tensor of the file must have been asked for: without it the model would give wrong text.
  void refuse_others(std::string_view architecture);

  void note(Error error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<Error>& error() const { return error_; }
  const GgufFile& file() const { return file_; }
  Backend& backend() { return backend_; }

 private:
  void used(const std::string& name);

  const GgufFile& file_;
  Backend& backend_;
  const std::function<void(double)>& progress_;
  std::unordered_set<std::string_view> used_;
  std::optional<Error> error_;
};

}  // namespace cambium::engine
