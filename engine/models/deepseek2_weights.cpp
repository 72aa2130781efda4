#include "engine/models/deepseek2_weights.h"

#include <cstring>
#include <string>
#include <utility>

#include "engine/cpu/quantize.h"
#include "engine/weight_loader.h"

namespace cambium::engine {

namespace {

// A head's rows of attn_kv_b are those of its key and then those of its value. The value's stay as
// they are; the key's are transposed, since absorbed into the query they are read the other way,
// and kept as F16 where they were quantized: blocks of the old type no longer fit, and rounding
// them a second time would show.
void split_by_head(const TensorView& joined, const ModelConfig& config, WeightLoader& load,
                   Deepseek2Weights& weights, Deepseek2Layer& layer) {
  const auto n_head = static_cast<size_t>(config.n_head);
  const auto nope = static_cast<size_t>(config.latent->nope);
  const auto rank = static_cast<size_t>(config.latent->kv_rank);
  const auto n_v = static_cast<size_t>(config.head_dim_v);
  const size_t row = row_bytes(joined.type, joined.cols);
  const DType type = joined.type == DType::f32                                        ? DType::f32
                     : nope % 32 == 0 && type_traits(joined.type)->block_elements > 1 ? DType::q8_0
                                                                                      : DType::f16;
  std::vector<std::byte> values(n_head * n_v * row);
  const size_t key_row = row_bytes(type, static_cast<int64_t>(nope));
  std::vector<std::byte> keys(n_head * rank * key_row);
  std::vector<float> head(nope * rank), turned(nope);
  for (size_t h = 0; h < n_head; ++h) {
    const std::byte* from = joined.data + h * (nope + n_v) * row;
    std::memcpy(values.data() + h * n_v * row, from + nope * row, n_v * row);
    for (size_t i = 0; i < nope; ++i) {
      cpu::dequantize_row(joined.type, from + i * row, head.data() + i * rank, joined.cols);
    }
    for (size_t r = 0; r < rank; ++r) {
      for (size_t i = 0; i < nope; ++i) turned[i] = head[i * rank + r];
      cpu::quantize_row(type, turned.data(), keys.data() + (h * rank + r) * key_row,
                        static_cast<int64_t>(nope));
    }
  }
  const auto stack = [&](std::vector<std::byte> bytes, DType kind, size_t rows, size_t cols,
                         WeightPtr& to) {
    weights.rearranged.push_back(std::move(bytes));
    auto made =
        load.backend().load_stack({kind, static_cast<int64_t>(n_head * rows),
                                   static_cast<int64_t>(cols), weights.rearranged.back().data()},
                                  config.n_head);
    if (!made)
      return load.note({made.error().code, load.file().path() + ": " + made.error().message});
    to = std::move(*made);
  };
  stack(std::move(keys), type, rank, nope, layer.wk_b);
  stack(std::move(values), joined.type, n_v, rank, layer.wv_b);
}

}  // namespace

Result<Deepseek2Weights> load_deepseek2_weights(const GgufFile& file, const ModelConfig& config,
                                                Backend& backend,
                                                const std::function<void(double)>& progress) {
  const LatentConfig& latent = *config.latent;
  const int64_t n_embd = config.n_embd;
  const int64_t q_rows = int64_t{config.n_head} * config.head_dim_k;
  const int64_t o_cols = int64_t{config.n_head} * config.head_dim_v;

  WeightLoader load(file, backend, progress);
  Deepseek2Weights w;
  load.load_ends(config.n_vocab, n_embd, w.token_embd, w.output_norm, w.output);
  w.layers.resize(static_cast<size_t>(config.n_layer));
  for (size_t i = 0; i < w.layers.size() && !load.error(); ++i) {
    Deepseek2Layer& layer = w.layers[i];
    const std::string blk = "blk." + std::to_string(i) + ".";
    const auto vector = [&](const char* name, int64_t n, WeightPtr& to) {
      load.required(blk + name, 1, n, WeightUse::vector, to);
    };
    const auto matrix = [&](const char* name, int64_t rows, int64_t cols, WeightPtr& to) {
      load.required(blk + name, rows, cols, WeightUse::matmul, to);
    };
    const auto ffn = [&](const std::string& suffix, int32_t n, int64_t n_ff, Deepseek2Ffn& to) {
      const auto part = [&](const char* name, int64_t rows, int64_t cols, WeightPtr& weight) {
        const std::string full = blk + name + suffix + ".weight";
        if (n == 0) return load.required(full, rows, cols, WeightUse::matmul, weight);
        load.stack(full, n, rows, cols, weight);
      };
      part("ffn_gate", n_ff, n_embd, to.gate);
      part("ffn_up", n_ff, n_embd, to.up);
      part("ffn_down", n_embd, n_ff, to.down);
    };
    vector("attn_norm.weight", n_embd, layer.attn_norm);
    if (latent.q_rank > 0) {
      matrix("attn_q_a.weight", latent.q_rank, n_embd, layer.wq_a);
      vector("attn_q_a_norm.weight", latent.q_rank, layer.q_a_norm);
      matrix("attn_q_b.weight", q_rows, latent.q_rank, layer.wq_b);
    } else {
      matrix("attn_q.weight", q_rows, n_embd, layer.wq);
    }
    matrix("attn_kv_a_mqa.weight", latent.kv_rank + latent.rope, n_embd, layer.wkv_a);
    vector("attn_kv_a_norm.weight", latent.kv_rank, layer.kv_a_norm);
    if (latent.by_head) {
      load.stack(blk + "attn_k_b.weight", config.n_head, latent.kv_rank, latent.nope, layer.wk_b);
      load.stack(blk + "attn_v_b.weight", config.n_head, config.head_dim_v, latent.kv_rank,
                 layer.wv_b);
      load.known(blk + "attn_kv_b.weight");  // some files hold both forms
    } else {
      const std::string name = blk + "attn_kv_b.weight";
      const auto joined = file.get_tensor(
          name, config.n_head * int64_t{latent.nope + config.head_dim_v}, latent.kv_rank);
      if (!joined) return tl::unexpected(joined.error());
      load.known(name);
      split_by_head(*joined, config, load, w, layer);
    }
    matrix("attn_output.weight", n_embd, o_cols, layer.wo);

    vector("ffn_norm.weight", n_embd, layer.ffn_norm);
    if (!config.experts || static_cast<int32_t>(i) < config.experts->n_dense) {
      ffn("", 0, config.n_ff, layer.dense);
      continue;
    }
    const ExpertConfig& experts = *config.experts;
    matrix("ffn_gate_inp.weight", experts.rule.n_expert, n_embd, layer.router);
    load.optional(blk + "exp_probs_b.bias", 1, experts.rule.n_expert, WeightUse::vector,
                  layer.router_bias);
    ffn("_exps", experts.rule.n_expert, experts.n_ff, layer.experts);
    if (experts.n_shared > 0) {
      ffn("_shexp", 0, int64_t{experts.n_ff} * experts.n_shared, layer.shared);
    }
  }
  load.refuse_others(config.architecture);
  if (load.error()) return tl::unexpected(*load.error());
  return w;
}

}  // namespace cambium::engine
