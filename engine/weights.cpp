#include "engine/weights.h"

#include <string>

#include "engine/tree_paths.h"
#include "engine/weight_loader.h"

namespace cambium::engine {

Result<DecoderWeights> load_decoder(const GgufFile& file, const ModelConfig& config,
                                    const DecoderTraits& traits, Backend& backend,
                                    const std::function<void(double)>& progress) {
  const int64_t n_embd = config.n_embd, n_ff = config.n_ff;
  const int64_t q_rows = int64_t{config.n_head} * config.head_dim_k;
  const int64_t k_rows = int64_t{config.n_kv_head} * config.head_dim_k;
  const int64_t v_rows = int64_t{config.n_kv_head} * config.head_dim_v;
  const int64_t o_cols = int64_t{config.n_head} * config.head_dim_v;

  WeightLoader load(file, backend, progress);
  DecoderWeights w;
  load.load_ends(config.n_vocab, n_embd, w.token_embd, w.output_norm, w.output);
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
    const auto has = [&](DecoderTraits::Has which, const std::string& name, int64_t n,
                         WeightPtr& to) {
      if (which == DecoderTraits::Has::yes && to == nullptr)
        load.required(name, 1, n, WeightUse::vector, to);
    };
    has(traits.qkv_bias, blk + "attn_q.bias", q_rows, layer.bq);
    has(traits.qkv_bias, blk + "attn_k.bias", k_rows, layer.bk);
    has(traits.qkv_bias, blk + "attn_v.bias", v_rows, layer.bv);
    if (traits.qk_norm != DecoderTraits::Has::no) {
      const auto norm = [&](const char* name, WeightPtr& to) {
        load.optional(blk + name, 1, config.head_dim_k, WeightUse::vector, to);
        has(traits.qk_norm, blk + name, config.head_dim_k, to);
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
    load.host_table(blk + "attn_tree_bias", kTreeClasses, config.n_head,
                    config.structure.mode[i] == StructureMode::tree, layer.tree_bias);
    load.known(blk + "attn_rot_embd.weight");  // old files; the same numbers follow from the keys
    load.known(blk + "attn.rot_embd");
  }
  load.refuse_others(config.architecture);
  if (load.error()) return tl::unexpected(*load.error());
  return w;
}

}  // namespace cambium::engine
