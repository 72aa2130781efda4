// The tensors of a decoder of the llama shape (llama, qwen2, qwen3), a shape on every field, and
// how they are read from a file. [rows, cols] as in ops.h: a matrix maps cols inputs to rows
// outputs.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/config.h"
#include "engine/gguf.h"
#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

using WeightPtr = std::unique_ptr<Weight>;  ///< null: the file has none (only where stated)

struct DecoderLayer {
  WeightPtr attn_norm;       ///< [n_embd]
  WeightPtr wq;              ///< [n_head · head_dim_k, n_embd]
  WeightPtr wk;              ///< [n_kv_head · head_dim_k, n_embd]
  WeightPtr wv;              ///< [n_kv_head · head_dim_v, n_embd]
  WeightPtr wo;              ///< [n_embd, n_head · head_dim_v]
  WeightPtr bq, bk, bv, bo;  ///< one a row of their matrix, or null
  WeightPtr q_norm, k_norm;  ///< [head_dim_k], or null; applied per head before RoPE

  WeightPtr ffn_norm;              ///< [n_embd]
  WeightPtr w_gate;                ///< [n_ff, n_embd]
  WeightPtr w_up;                  ///< [n_ff, n_embd]
  WeightPtr w_down;                ///< [n_embd, n_ff]
  WeightPtr b_gate, b_up, b_down;  ///< one a row of their matrix, or null

  // Structure emphasis, host memory; empty where the layer does not use it.
  std::vector<float> structure_scale;  ///< α [3, n_head]
  std::vector<float> structure_bias;   ///< β [3, n_head]
  std::vector<float> tree_bias;        ///< [kTreeClasses, n_head], of mode tree
};

struct DecoderWeights {
  WeightPtr token_embd;   ///< [n_vocab, n_embd]
  WeightPtr output_norm;  ///< [n_embd]
  WeightPtr output;       ///< [n_vocab, n_embd], or null: tied to token_embd
  std::vector<DecoderLayer> layers;

  const Weight& output_matrix() const { return output ? *output : *token_embd; }
};

/// What a family's files may hold beyond the plain llama tensors; anything else in a file is
/// refused, since running without it would give wrong text.
struct DecoderTraits {
  enum class Has : uint8_t { no, maybe, yes };
  Has qk_norm = Has::no;      ///< attn_q_norm and attn_k_norm
  Has qkv_bias = Has::maybe;  ///< of attn_q, attn_k and attn_v
};

/// Reads every tensor, checking its shape against the config. `file` must outlive the weights.
/// `progress` (may be null) gets fractions from 0 to 1. Errors name file, tensor, expected, found.
Result<DecoderWeights> load_decoder(const GgufFile& file, const ModelConfig& config,
                                    const DecoderTraits& traits, Backend& backend,
                                    const std::function<void(double)>& progress);

}  // namespace cambium::engine
