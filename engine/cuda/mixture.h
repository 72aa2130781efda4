// Launchers of the kernels for mixtures of experts and for projections by head; the conventions of
// kernels.h. A stack is n matrices of one shape, each tiled (or row-major) by itself, `stride` bytes
// apart.
#pragma once

#include "engine/cuda/kernels.h"

namespace cambium::engine::cuda {

struct StackView {
  const uint8_t* data = nullptr;
  int64_t stride = 0;  ///< bytes from one matrix to the next
  bool tiled = false;
  TileType tile = TileType::q4_k;
  DType stored = DType::f32;   ///< where not tiled: f32, f16, bf16
  int32_t n = 0;               ///< matrices
  int32_t rows = 0, cols = 0;  ///< of one
};

// --- choosing experts
// ------------------------------------------------------------------------------

struct RouteArgs {
  int32_t n_expert = 0, n_used = 0, n_group = 1, n_group_used = 1;
  bool sigmoid = false, normalise = false;
  float scale = 1;
  const float* bias = nullptr;  ///< [n_expert], or null
  int32_t* ids = nullptr;       ///< [n_tokens, n_used]
  float* weights = nullptr;     ///< [n_tokens, n_used]
  uint32_t* counts = nullptr;   ///< [n_expert], or null
};
RouteArgs route_args(const ExpertRule&, const float* bias, int32_t* ids, float* weights,
                     uint32_t* counts);
/// Backend::route; scores in double, as the plain twin. At most kMaxExperts.
cudaError_t route(const Launch&, const float* logits, const RouteArgs&, int n_tokens);
inline constexpr int kMaxExperts = 512;

/// logits = weight · norm(x), then route(), in one launch. `arrivals` [n_tokens] zeros, left zero.
struct RouterArgs {
  const float *x = nullptr, *norm = nullptr, *weight = nullptr;  ///< weight [n_expert, cols]
  float eps = 0;
  int32_t cols = 0, n_tokens = 0;  ///< cols a multiple of 4
  float* logits = nullptr;         ///< [n_tokens, n_expert]
  int32_t* arrivals = nullptr;
  Prefetch next[2];
  RouteArgs route;
};
cudaError_t router(const Launch&, const RouterArgs&);

// --- the chosen experts, token by token: weights are read once a token
// ---------------------------------------------------------------------------------------------

/// y[t, j, :] = first[e] · x[t, :], e = ids[t, j]; with `second` (the same type and shape)
/// weights[t, j] · silu(first[e]·x) · (second[e]·x). Tiled, `second` and the shared experts; else
/// `first` alone.
struct SlotsArgs {
  StackView first, second;  ///< second.data may be null
  const int32_t* ids = nullptr;
  const float* weights = nullptr;
  int32_t n_tokens = 0, n_used = 0;
  const float *x = nullptr,
              *norm = nullptr;  ///< [n_tokens, cols]; normed first unless norm is null
  float eps = 0;
  float* y = nullptr;  ///< [n_tokens, n_used, rows]
  /// Experts for all tokens, in the same launch: shared_y = silu(gate·x) · up·x; data null: none.
  /// Of the same type and columns.
  const uint8_t *shared_gate = nullptr, *shared_up = nullptr;
  int32_t shared_rows = 0;
  float* shared_y = nullptr;  ///< [n_tokens, shared_rows]
};
cudaError_t expert_slots(const Launch&, const SlotsArgs&);

/// y[t, :] += Σ_j down[ids[t, j]] · x[t, j, :]; the experts' weights are in x already.
struct DownArgs {
  StackView down;
  const int32_t* ids = nullptr;
  const float* x = nullptr;  ///< [n_tokens, n_used, cols]
  int32_t n_tokens = 0, n_used = 0;
  float* y = nullptr;  ///< [n_tokens, rows]
  /// Experts for all tokens, in the same launch: y += shared · shared_x; tiles null: none. Tiled,
  /// of any type, as many rows; where `down` is tiled.
  const uint8_t* shared_tiles = nullptr;
  TileType shared_tile = TileType::q4_k;
  int32_t shared_cols = 0;
  const float* shared_x = nullptr;  ///< [n_tokens, shared_cols]
};
cudaError_t expert_down(const Launch&, const DownArgs&);

/// gate[p, :] = weights[p] · silu(gate[p, :]) · up[p, :] for n_rows rows of n_ff; weights null: 1.
cudaError_t expert_activation(const Launch&, float* gate, const float* up, const float* weights,
                              int64_t n_ff, int64_t n_rows);

// --- the chosen experts of some tokens, eight of an expert at a time
// ---------------------------------------------------------------------------------------------

/// Where pairs of a token and a choice stand: pair p in row base[e] + rank[p], e = ids[p]. A group is
/// eight rows of one expert. All on the device.
struct ExpertGroups {
  int32_t n_groups = 0;          ///< as many as there can be: pairs / 8 + n_expert
  int32_t* counts = nullptr;     ///< [n_expert]
  int32_t* base = nullptr;       ///< [n_expert]
  int32_t* rank = nullptr;       ///< [pairs]
  int32_t* expert_of = nullptr;  ///< [n_groups], -1: no such group
  int32_t* source = nullptr;     ///< [n_groups, 8], the pair of a row, -1: none
};
cudaError_t plan_groups(const Launch&, const int32_t* ids, int pairs, int n_expert,
                        const ExpertGroups&);
/// x [n_rows, cols] -> int8 rows padded to whole column tiles, each as Activations of width 1.
cudaError_t quantize_each(const Launch&, const float* x, int cols, int n_rows, int8_t* values,
                          float2* scales);
/// y[row, :] = first[e] · x, or silu(first[e]·x) · (second[e]·x); tiled, of one type. x is the row's
/// own (`by_row`) or its token's. Rows without a pair get what nobody reads.
struct GroupsArgs {
  StackView first, second;  ///< second.data may be null
  const int32_t* expert_of = nullptr;
  const int32_t* source = nullptr;
  int32_t n_groups = 0, n_used = 1;
  bool by_row = false;
  const int8_t* values = nullptr;
  const float2* scales = nullptr;
  float* y = nullptr;  ///< [n_groups · 8, rows]
};
cudaError_t expert_groups(const Launch&, const GroupsArgs&);

// --- the chosen experts of many tokens, sorted by expert
// ---------------------------------------------------------------------------------------------

/// counts[e] = how many of ids [n] are e; rank[i] = how many of ids [0, i) equal ids[i].
cudaError_t rank_by_expert(const Launch&, const int32_t* ids, int n, int n_expert, int32_t* counts,
                           int32_t* rank);
/// out[base[ids[i]] + rank[i], :] = F16 of x[i / n_used, :] for n pairs; cols a multiple of 4.
cudaError_t gather_rows(const Launch&, const float* x, const int32_t* ids, const int32_t* base,
                        const int32_t* rank, int n, int n_used, int64_t cols, uint16_t* out);
/// half = F16 of silu(gate) · up, n elements; n a multiple of 4.
cudaError_t silu_mul_half(const Launch&, const float* gate, const float* up, int64_t n,
                          uint16_t* half);
/// y[t, :] += Σ_j weights[t, j] · rows[base[e] + rank[t, j], :], e = ids[t, j]; cols a multiple of 4.
cudaError_t combine_rows(const Launch&, const float* rows, const int32_t* ids, const float* weights,
                         const int32_t* base, const int32_t* rank, int n_tokens, int n_used,
                         int64_t cols, float* y);

// --- projections by head -----------------------------------------------------------------------

/// HeadMatmulArgs on the device.
struct HeadArgs {
  StackView stack;
  int32_t n_tokens = 0;
  const float* x = nullptr;
  int64_t x_token = 0, x_head = 0;
  float* y = nullptr;
  int64_t y_token = 0, y_head = 0;
};
/// Tiled stacks need x, x_token and x_head in multiples of 4 floats (16 bytes).
cudaError_t head_matmul(const Launch&, const HeadArgs&);
cudaError_t head_matmul_float(const Launch&, const HeadArgs&);
cudaError_t copy_rows(const Launch&, const float* x, int64_t x_stride, float* y, int64_t y_stride,
                      int64_t width, int64_t n_rows);
/// out[t, h, :] = F16 of x[t · x_token + h · x_head + 0..cols).
cudaError_t pack_half(const Launch&, const float* x, int64_t x_token, int64_t x_head, int n_tokens,
                      int n_head, int cols, uint16_t* out);

}  // namespace cambium::engine::cuda
