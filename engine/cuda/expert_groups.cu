// The chosen experts of a middling number of tokens: tokens of one expert go eight at a time, the
// columns of the tensor core's product, so that its weights are read once for them. How the tokens
// fall into groups is worked out on the device; groups that there turn out not to be end at once.
#include "engine/cuda/launch.cuh"
#include "engine/cuda/mixture.h"
#include "engine/cuda/quantize.cuh"
#include "engine/cuda/tiles.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
static_assert(kThreads == kRowThreads);

// One block. base[e] = the first row of expert e: groups are whole eights.
__global__ void __launch_bounds__(kMaxExperts)
    plan_kernel(const int32_t* counts, int n_expert, int max_groups, int32_t* base,
                int32_t* expert_of) {
  __shared__ int32_t ends[kMaxExperts];
  launch_dependents();
  grid_wait();
  const int e = threadIdx.x;
  const int groups = e < n_expert ? (__ldcg(counts + e) + kMaxColumns - 1) / kMaxColumns : 0;
  ends[e] = groups;
  __syncthreads();
  for (int step = 1; step < kMaxExperts; step *= 2) {
    const int before = e >= step ? ends[e - step] : 0;
    __syncthreads();
    ends[e] += before;
    __syncthreads();
  }
  const int first = ends[e] - groups;
  if (e < n_expert) base[e] = first * kMaxColumns;
  for (int i = 0; i < groups; ++i) expert_of[first + i] = e;
  for (int i = ends[kMaxExperts - 1] + e; i < max_groups; i += kMaxExperts) expert_of[i] = -1;
}

// source[row] = the pair that stands there; other rows keep the -1 they were given.
__global__ void __launch_bounds__(kThreads)
    place_kernel(const int32_t* ids, const int32_t* base, const int32_t* rank, int pairs,
                 int32_t* source) {
  launch_dependents();
  grid_wait();
  const int pair = blockIdx.x * kThreads + threadIdx.x;
  if (pair < pairs) source[__ldcg(base + __ldcg(ids + pair)) + __ldcg(rank + pair)] = pair;
}

// A block a row: int8 with the columns padded, as for one token.
__global__ void __launch_bounds__(kRowThreads)
    quantize_each_kernel(const float* x, int cols, int padded, int8_t* values, float2* scales) {
  __shared__ float scratch[kRowThreads / 32];
  launch_dependents();
  grid_wait();
  const int64_t row = blockIdx.x;
  quantize_row(x + row * cols, nullptr, 0, cols, 0, 1, values + row * padded,
               scales + row * (padded / 32), scratch);
}

template <TileType T>
__global__ void __launch_bounds__(kThreads, 2) groups_kernel(const __grid_constant__ GroupsArgs a) {
  __shared__ float sums[2][kWarps][kMaxColumns][kTileRows];
  launch_dependents();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int group = blockIdx.y;
  const int rows = a.first.rows, col_tiles = (a.first.cols + kTileCols - 1) / kTileCols;
  const int steps = (col_tiles + kWarps - 1) / kWarps;
  const int n_items = (rows + kTileRows - 1) / kTileRows;
  const int parts = a.second.data != nullptr ? 2 : 1;
  grid_wait();
  const int expert = __ldcg(a.expert_of + group);
  if (expert < 0) return;
  const auto fetch = [&](LaneTile<T>& into, const WorkPlace& to) {
    const int col_tile = to.step * kWarps + warp;
    if (to.item >= n_items || col_tile >= col_tiles) return;
    const StackView& stack = to.part == 0 ? a.first : a.second;
    into.load(stack.data + expert * stack.stride +
                  (static_cast<int64_t>(to.item) * col_tiles + col_tile) * tile_bytes(T),
              lane);
  };
  WorkPlace at{static_cast<int>(blockIdx.x)};
  LaneTile<T> tile;
  fetch(tile, at);
  // Columns without a token do the sums of the group's first one again and throw them away.
  const int row0 = group * kMaxColumns;
  const auto column_of = [&](int column) {
    int pair = __ldcg(a.source + row0 + column);
    const bool there = pair >= 0;
    if (!there) pair = __ldcg(a.source + row0);
    return a.by_row ? row0 + (there ? column : 0) : pair / a.n_used;
  };
  // Offsets in 32 bits: registers are scarce.
  const int padded = col_tiles * kTileCols, blocks = padded / 32;
  const int x = column_of(g) * padded + t * 8;
  const int s0 = column_of(2 * t) * blocks, s1 = column_of(2 * t + 1) * blocks;

  Sums<T, false> lane_sums;
  float held = 0;
  int parity = 0;
  while (at.item < n_items) {
    const WorkPlace next_at = at.next(parts, steps, gridDim.x);
    LaneTile<T> next;
    fetch(next, next_at);
    const int col_tile = at.step * kWarps + warp;
    if (col_tile < col_tiles)
      lane_sums.add_gathered(tile, a.values + (x + col_tile * kTileCols),
                             a.scales + (s0 + col_tile * 8), a.scales + (s1 + col_tile * 8));
    if (next_at.step == 0) {
      float acc[4];
      lane_sums.take(acc);
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[parity][warp][2 * t + i % 2][g + i / 2 * 8] = acc[i];
      __syncthreads();
      if (threadIdx.x < kMaxColumns * kTileRows) {
        const int r = threadIdx.x % kTileRows, column = threadIdx.x / kTileRows;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += sums[parity][w][column][r];
        const int row = at.item * kTileRows + r;
        if (at.part + 1 < parts)
          held = sum;
        else if (row < rows)
          a.y[static_cast<int64_t>(row0 + column) * rows + row] =
              parts == 2 ? held / (1.0f + __expf(-held)) * sum : sum;
      }
      parity ^= 1;
    }
    tile = next;
    at = next_at;
  }
}

}  // namespace

cudaError_t plan_groups(const Launch& l, const int32_t* ids, int pairs, int n_expert,
                        const ExpertGroups& g) {
  if (n_expert > kMaxExperts) return cudaErrorInvalidValue;
  cudaError_t e = rank_by_expert(l, ids, pairs, n_expert, g.counts, g.rank);
  if (e == cudaSuccess)
    e = launch(l, plan_kernel, dim3(1), dim3(kMaxExperts), 0, static_cast<const int32_t*>(g.counts),
               n_expert, g.n_groups, g.base, g.expert_of);
  if (e == cudaSuccess)
    e = cudaMemsetAsync(g.source, 0xff,
                        static_cast<size_t>(g.n_groups) * kMaxColumns * sizeof(int32_t), l.stream);
  if (e == cudaSuccess)
    e = launch(l, place_kernel, dim3(static_cast<unsigned>(ceil_div(pairs, kThreads))),
               dim3(kThreads), 0, ids, static_cast<const int32_t*>(g.base),
               static_cast<const int32_t*>(g.rank), pairs, g.source);
  return e;
}

cudaError_t quantize_each(const Launch& l, const float* x, int cols, int n_rows, int8_t* values,
                          float2* scales) {
  return launch(l, quantize_each_kernel, dim3(static_cast<unsigned>(n_rows)), dim3(kRowThreads), 0,
                x, cols, static_cast<int>(ceil_div(cols, kTileCols)) * kTileCols, values, scales);
}

cudaError_t expert_groups(const Launch& l, const GroupsArgs& a) {
  // A few blocks a group, so that they have several row tiles each to keep their loads going.
  const int64_t items = ceil_div(a.first.rows, kTileRows);
  const dim3 grid(static_cast<unsigned>(items < 8 ? items : 8), static_cast<unsigned>(a.n_groups));
  return with_type(a.first.tile, [&](auto type) {
    return launch(l, groups_kernel<type()>, grid, dim3(kThreads), 0, a);
  });
}

}  // namespace cambium::engine::cuda
