#include "engine/weight_loader.h"

#include <cstring>

namespace cambium::engine {

void WeightLoader::used(const std::string& name) {
  used_.insert(file_.find_tensor(name)->name);
  if (progress_) {
    progress_(static_cast<double>(used_.size()) / static_cast<double>(file_.tensors().size()));
  }
}

void WeightLoader::required(const std::string& name, int64_t rows, int64_t cols, WeightUse use,
                            WeightPtr& to) {
  if (error_) return;
  const auto view = file_.get_tensor(name, rows, cols);
  if (!view) return note(view.error());
  if (use == WeightUse::vector && view->type != DType::f32 && view->type != DType::f16 &&
      view->type != DType::bf16) {
    return note({ErrorCode::unsupported, file_.path() + ": tensor " + name + " has type " +
                                             std::string(type_traits(view->type)->name) +
                                             ", expected F32, F16 or BF16"});
  }
  const size_t held = backend_.bytes_in_use();
  auto weight = backend_.load_weight(*view, use);
  if (!weight) return note(weight.error());
  // A backend that made its own copy does not read the file again.
  if (backend_.bytes_in_use() > held) file_.drop_pages(*view);
  to = std::move(*weight);
  used(name);
}

void WeightLoader::optional(const std::string& name, int64_t rows, int64_t cols, WeightUse use,
                            WeightPtr& to) {
  if (file_.find_tensor(name) != nullptr) required(name, rows, cols, use, to);
}

void WeightLoader::load_ends(int64_t n_vocab, int64_t n_embd, WeightPtr& token_embd,
                             WeightPtr& output_norm, WeightPtr& output) {
  const bool tied = file_.find_tensor("output.weight") == nullptr;
  required("token_embd.weight", n_vocab, n_embd, tied ? WeightUse::both : WeightUse::embedding,
           token_embd);
  required("output_norm.weight", 1, n_embd, WeightUse::vector, output_norm);
  optional("output.weight", n_vocab, n_embd, WeightUse::matmul, output);
}

void WeightLoader::stack(const std::string& name, int32_t n, int64_t rows, int64_t cols,
                         WeightPtr& to) {
  if (error_) return;
  const auto view = file_.get_tensor(name, n * rows, cols);
  if (!view) return note(view.error());
  const size_t held = backend_.bytes_in_use();
  auto weight = backend_.load_stack(*view, n);
  if (!weight) return note({weight.error().code, file_.path() + ": " + weight.error().message});
  if (backend_.bytes_in_use() > held) file_.drop_pages(*view);
  to = std::move(*weight);
  used(name);
}

void WeightLoader::host_table(const std::string& name, int64_t rows, int64_t cols, bool wanted,
                              std::vector<float>& to) {
  if (error_) return;
  if (file_.find_tensor(name) == nullptr && !wanted) return;
  const auto view = file_.get_tensor(name, rows, cols);
  if (!view) return note(view.error());
  if (view->type != DType::f32) {
    return note({ErrorCode::unsupported, file_.path() + ": tensor " + name + " has type " +
                                             std::string(type_traits(view->type)->name) +
                                             ", expected F32"});
  }
  used(name);
  if (!wanted) return;
  to.resize(static_cast<size_t>(rows * cols));
  std::memcpy(to.data(), view->data, to.size() * sizeof(float));
}

void WeightLoader::known(const std::string& name) {
  if (file_.find_tensor(name) != nullptr) used(name);
}

void WeightLoader::refuse_others(std::string_view architecture) {
  if (error_) return;
  for (const GgufTensor& tensor : file_.tensors()) {
    if (used_.count(tensor.name) != 0) continue;
    return note({ErrorCode::unsupported,
                 file_.path() + ": tensor " + std::string(tensor.name) + " " + tensor.shape_text() +
                     " is none this build knows in the " + std::string(architecture) +
                     " architecture; without it the model would give wrong text"});
  }
}

}  // namespace cambium::engine
