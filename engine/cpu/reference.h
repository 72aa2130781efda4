// The plain twins: every op of engine/ops.h as short loops over plain arrays, without blocking,
// quantized activations or threads. Every backend is tested against these; on a processor without
// AVX2 the backend is made of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/ops.h"
#include "engine/tensor.h"

namespace cambium::engine::cpu::reference {

/// y [n_tokens, w.rows] (+)= x [n_tokens, w.cols] · wᵀ + bias (may be null). Sums in double.
void matmul(const TensorView& w, const float* bias, const float* x, int32_t n_tokens,
            bool accumulate, float* y);

/// x[i, :] = table[ids[i], :]
void embed(const TensorView& table, std::span<const int32_t> ids, float* x);

/// y = x / sqrt(mean(x²) + eps) · w, per row.
void rms_norm(const float* x, const float* w, float eps, int32_t n_rows, int64_t n_cols, float* y);

/// As Backend::rope, angles and sines in double.
void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens, int32_t n_head,
          int32_t head_dim);
void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions, int32_t n_head,
             int32_t head_dim);

/// y = silu(gate) · up
void silu_mul(const float* gate, const float* up, float* y, int64_t n);

/// y += x
void add(const float* x, float* y, int64_t n);

/// As Backend::route with the bias as plain floats [n_expert] (or null); sums in double.
void route(const float* logits, const ExpertRule& rule, const float* bias, int32_t n_tokens,
           int32_t* ids, float* weights, uint32_t* counts);

/// As Backend::experts; `gate`, `up` and `down` are whole stacks of n_expert matrices.
void experts(const ExpertsArgs& args, const TensorView& gate, const TensorView& up,
             const TensorView& down, int32_t n_expert);

/// As Backend::head_matmul; `stack` holds args.n_head matrices.
void head_matmul(const HeadMatmulArgs& args, const TensorView& stack);

/// Matrix i of n in a stack.
TensorView stacked(const TensorView& stack, int32_t n, int32_t i);

/// AttentionArgs::prune_heads holds 64 heads; those past it prune only where all do.
bool head_prunes(uint64_t prune_heads, int32_t head);

/// Cells of a block of SparseRule, on every backend.
inline constexpr int32_t kSparseBlock = 32;

/// What SparseRule chooses blocks by, for query t and a head of keys: of each block of
/// sparse_range()'s [first, last), the sum of its heads' softmax. Empty where every block is read.
/// Uses args' q, n_tokens, first_cell, n_head, scale and sparse.
std::vector<double> sparse_shares(const AttentionArgs& args, const KvShape& shape, const float* k,
                                  int32_t t, int32_t kv_head);

/// Attention over plain k [n_cells, n_kv_head, head_dim_k] and v [n_cells, n_kv_head, head_dim_v].
/// Uses args' q, out, n_tokens, first_cell, n_head, scale, sparse, hidden and the structure fields except
/// `visible`: every pair is tested by relation() and visible(). `lists` (may be null) holds the
/// blocks to read in place of those SparseRule chooses, [n_tokens, n_kv_head], each ascending and an
/// empty one for all.
void attention(const AttentionArgs& args, const KvShape& shape, const float* k, const float* v,
               const std::vector<std::vector<int32_t>>* lists = nullptr);

}  // namespace cambium::engine::cpu::reference
