// The tensors of a deepseek2 file, a shape on every field; [rows, cols] as in ops.h.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/config.h"
#include "engine/gguf.h"
#include "engine/ops.h"
#include "engine/result.h"
#include "engine/weights.h"

namespace cambium::engine {

struct Deepseek2Ffn {
  WeightPtr gate, up;  ///< [n, n_embd]
  WeightPtr down;      ///< [n_embd, n]
};

struct Deepseek2Layer {
  WeightPtr attn_norm;  ///< [n_embd]
  // Queries: projected at once (wq) or through a compressed vector.
  WeightPtr wq;        ///< [n_head · head_dim_k, n_embd], or null
  WeightPtr wq_a;      ///< [q_rank, n_embd], or null
  WeightPtr q_a_norm;  ///< [q_rank], or null
  WeightPtr wq_b;      ///< [n_head · head_dim_k, q_rank], or null

  WeightPtr wkv_a;      ///< [kv_rank + rope, n_embd]
  WeightPtr kv_a_norm;  ///< [kv_rank]
  WeightPtr wk_b;       ///< stack of n_head [kv_rank, nope]: brings a query to the latent's space
  WeightPtr wv_b;       ///< stack of n_head [head_dim_v, kv_rank]
  WeightPtr wo;         ///< [n_embd, n_head · head_dim_v]

  WeightPtr ffn_norm;  ///< [n_embd]
  Deepseek2Ffn dense;  ///< n = n_ff; null in a mixture layer
  // A mixture layer:
  WeightPtr router;       ///< [n_expert, n_embd]
  WeightPtr router_bias;  ///< [n_expert], or null
  Deepseek2Ffn experts;   ///< stacks of n_expert, n = experts.n_ff
  Deepseek2Ffn shared;    ///< n = experts.n_ff · n_shared; null without shared experts
};

struct Deepseek2Weights {
  WeightPtr token_embd;   ///< [n_vocab, n_embd]
  WeightPtr output_norm;  ///< [n_embd]
  WeightPtr output;       ///< [n_vocab, n_embd], or null: tied to token_embd
  std::vector<Deepseek2Layer> layers;
  /// Projections of files that keep keys and values in one tensor, rearranged; the weights above
  /// may read them.
  std::vector<std::vector<std::byte>> rearranged;

  const Weight& output_matrix() const { return output ? *output : *token_embd; }
};

/// As load_decoder().
Result<Deepseek2Weights> load_deepseek2_weights(const GgufFile& file, const ModelConfig& config,
                                                Backend& backend,
                                                const std::function<void(double)>& progress);

}  // namespace cambium::engine
