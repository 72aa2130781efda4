#include "engine/weights.h"

#include <cstring>
#include <string>
#include <unordered_set>

namespace cambium::engine {

namespace {

class Loader {
 public:
  Loader(const GgufFile& file, Backend& backend, const std::function<void(double)>& progress)
      : file_(file), backend_(backend), progress_(progress) {}

  void required(const std::string& name, int64_t rows, int64_t cols, WeightUse use, WeightPtr& to) {
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
    used_.insert(file_.find_tensor(name)->name);
    if (progress_) progress_(static_cast<double>(used_.size()) / file_.tensors().size());
  }

  void optional(const std::string& name, int64_t rows, int64_t cols, WeightUse use, WeightPtr& to) {
    if (file_.find_tensor(name) != nullptr) required(name, rows, cols, use, to);
  }

  // A small table the CPU side of the forward pass reads; `wanted` false only marks it as known.
  void host_table(const std::string& name, int64_t rows, int64_t cols, bool wanted,
                  std::vector<float>& to) {
    if (error_) return;
    const GgufTensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr && !wanted) return;
    const auto view = file_.get_tensor(name, rows, cols);
    if (!view) return note(view.error());
    if (view->type != DType::f32) {
      return note({ErrorCode::unsupported, file_.path() + ": tensor " + name + " has type " +
                                               std::string(type_traits(view->type)->name) +
                                               ", expected F32"});
    }
    used_.insert(tensor->name);
    if (!wanted) return;
    to.resize(static_cast<size_t>(rows * cols));
    std::memcpy(to.data(), view->data, to.size() * sizeof(float));
  }

  void known(const std::string& name) {
    if (const GgufTensor* tensor = file_.find_tensor(name)) used_.insert(tensor->name);
  }

  // Every tensor of the file must have been asked for.
  void refuse_others(std::string_view architecture) {
    if (error_) return;
    for (const GgufTensor& tensor : file_.tensors()) {
      if (used_.count(tensor.name) != 0) continue;
      return note({ErrorCode::unsupported,
                   file_.path() + ": tensor " + std::string(tensor.name) + " " +
                       tensor.shape_text() + " is none this build knows in the " +
                       std::string(architecture) +
                       " architecture; without it the model would give wrong text"});
    }
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  void note(Error error) {
    if (!error_) error_ = std::move(error);
  }

  const GgufFile& file_;
  Backend& backend_;
  const std::function<void(double)>& progress_;
  std::unordered_set<std::string_view> used_;
  std::optional<Error> error_;
};

}  // namespace

Result<DecoderWeights> load_decoder(const GgufFile& file, const ModelConfig& config,
                                    const DecoderTraits& traits, Backend& backend,
                                    const std::function<void(double)>& progress) {
  const int64_t n_embd = config.n_embd, n_ff = config.n_ff, n_vocab = config.n_vocab;
  const int64_t q_rows = int64_t{config.n_head} * config.head_dim_k;
  const int64_t k_rows = int64_t{config.n_kv_head} * config.head_dim_k;
  const int64_t v_rows = int64_t{config.n_kv_head} * config.head_dim_v;
  const int64_t o_cols = int64_t{config.n_head} * config.head_dim_v;

  Loader load(file, backend, progress);
  DecoderWeights w;
  const bool tied = file.find_tensor("output.weight") == nullptr;
  load.required("token_embd.weight", n_vocab, n_embd, tied ? WeightUse::both : WeightUse::embedding,
                w.token_embd);
  load.required("output_norm.weight", 1, n_embd, WeightUse::vector, w.output_norm);
  load.optional("output.weight", n_vocab, n_embd, WeightUse::matmul, w.output);
  load.known("rope_freqs.weight");  // read by the config
  w.layers.resize(static_cast<size_t>(config.n_layer));
  for (size_t i = 0; i < w.layers.size() && !load.error(); ++i) {
    DecoderLayer& layer = w.layers[i];
    const std::string blk = "blk." + std::to_string(i) + ".";
    const auto matrix = [&](const char* name, int64_t rows, int64_t cols, WeightPtr& weight,
                            WeightPtr& bias) {
      load.required(blk + name + ".weight", rows, cols, WeightUse::matmul, weight);
      load.optional(blk + name + ".bias", 1, rows, WeightUse::vector, bias);
    };
    load.required(blk + "attn_norm.weight", 1, n_embd, WeightUse::vector, layer.attn_norm);
    matrix("attn_q", q_rows, n_embd, layer.wq, layer.bq);
    matrix("attn_k", k_rows, n_embd, layer.wk, layer.bk);
    matrix("attn_v", v_rows, n_embd, layer.wv, layer.bv);
    matrix("attn_output", n_embd, o_cols, layer.wo, layer.bo);
    if (traits.qk_norm) {
      const auto norm = [&](const char* name, WeightPtr& to) {
        load.optional(blk + name, 1, config.head_dim_k, WeightUse::vector, to);
      };
      norm("attn_q_norm.weight", layer.q_norm);
      norm("attn_k_norm.weight", layer.k_norm);
    }
    load.required(blk + "ffn_norm.weight", 1, n_embd, WeightUse::vector, layer.ffn_norm);
    matrix("ffn_gate", n_ff, n_embd, layer.w_gate, layer.b_gate);
    matrix("ffn_up", n_ff, n_embd, layer.w_up, layer.b_up);
    matrix("ffn_down", n_embd, n_ff, layer.w_down, layer.b_down);

    const bool emphasis = config.structure.mode[i] == StructureMode::emphasis;
    load.host_table(blk + "attn_structure_scale", 3, config.n_head, emphasis,
                    layer.structure_scale);
    load.host_table(blk + "attn_structure_bias", 3, config.n_head, emphasis, layer.structure_bias);
    load.known(blk + "attn_rot_embd.weight");  // old files; the same numbers follow from the keys
    load.known(blk + "attn.rot_embd");
  }
  load.refuse_others(config.architecture);
  if (load.error()) return tl::unexpected(*load.error());
  return w;
}

}  // namespace cambium::engine
