// Launchers of latent attention (DeepSeek-V2): one cached vector a token, [rotated | latent], is key
// and value of all heads; its value is the last part. The conventions of kernels.h.
#pragma once

#include "engine/cuda/mixture.h"

namespace cambium::engine::cuda {

/// Sizes the tensor-core kernel is made for; others run on the plain kernel.
inline constexpr int kLatentKey = 576, kLatentValue = 512;

/// Key blocks of a token are dealt out to this many blocks; it depends on the model and device
/// alone.
int latent_splits(int n_head, int multiprocessors);
int64_t latent_partial_floats(int n_tokens, int n_head, int multiprocessors);

/// What a split leaves: rows of 16 heads, joined by latent_join() or by the value projection.
struct LatentParts {
  float* out = nullptr;     ///< [n_tokens, n_group, splits, 16, kLatentValue]
  float2* stats = nullptr;  ///< [n_tokens, n_group, splits, 16] of (largest score in log 2, sum)
  int32_t splits = 0, n_group = 0;
};
LatentParts latent_parts(float* partial, int n_tokens, int n_head, int multiprocessors);

/// The parts of every token's attention over an F16 cache of kLatentKey and kLatentValue. Blocks that
/// a short context has nothing for bring `next` in.
cudaError_t latent_attention(const Launch&, const AttentionKernelArgs&, const LatentParts&,
                             const Prefetch& next = {});
/// out [n_tokens, n_head, kLatentValue].
cudaError_t latent_join(const Launch&, const LatentParts&, Cell first_cell, int n_tokens,
                        int n_head, float* out);

/// weights[r, :] = F16 of softmax(scale · scores[r, :]) over the cells its token sees; rows are
/// [token][head], token i sees cells <= first_cell + i; others become 0. `stride` floats a row.
cudaError_t latent_softmax(const Launch&, const float* scores, float scale, int first_cell,
                           int n_tokens, int n_head, int stride, uint16_t* weights);

/// Between the projections of a step: the token's cell is normed, rotated and written, queries are
/// rotated and brought to the cell's space.
struct AbsorbArgs {
  HeadArgs heads;               ///< wk_b: q [.., nope | rope] -> q_cell + rope; tiled
  const float* kv_a = nullptr;  ///< [n_tokens, kv_rank + rope], latent first
  const float* norm = nullptr;  ///< [kv_rank]
  float eps = 0;
  int32_t nope = 0, rope_dims = 0, kv_rank = 0;
  RopeArgs rope;
  KvCells kv;
  Cell cell;
  float* q_cell = nullptr;  ///< [n_tokens, n_head, rope + kv_rank]
};
cudaError_t latent_absorb(const Launch&, const AbsorbArgs&);

/// wv_b on what the parts join to: y[t, h, :] = stack[h] · out[t, h, :].
cudaError_t latent_values(const Launch&, const LatentParts&, Cell first_cell, const HeadArgs&);

}  // namespace cambium::engine::cuda
