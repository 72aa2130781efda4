// The chosen experts of a token: W·x on the quantized weights of those alone, with no word from the
// host. A token is a row of the grid, so that its result does not depend on the tokens beside it;
// experts that several tokens share come out of the L2.
#include "engine/cuda/launch.cuh"
#include "engine/cuda/mixture.h"
#include "engine/cuda/quantize.cuh"
#include "engine/cuda/tiles.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
static_assert(kThreads == kRowThreads);
// One row tile of the down projection is long: all experts' columns. More warps share it.
constexpr int kDownWarps = 16;
constexpr int kDownThreads = kDownWarps * 32;

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

// As matmul_kernel for one token; an item is a row tile of one chosen expert, or of the shared ones.
template <TileType T>
__global__ void __launch_bounds__(kThreads, 2) slots_kernel(const __grid_constant__ SlotsArgs a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float sums[2][kWarps][kTileRows];
  __shared__ float scratch[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, token = blockIdx.y;
  launch_dependents();
  const int rows = a.first.rows, cols = a.first.cols;
  const int col_tiles = (cols + kTileCols - 1) / kTileCols,
            steps = (col_tiles + kWarps - 1) / kWarps;
  const int row_tiles = (rows + kTileRows - 1) / kTileRows, routed = a.n_used * row_tiles;
  const int n_items = routed + (a.shared_rows + kTileRows - 1) / kTileRows;
  const int parts = a.second.data != nullptr ? 2 : 1;
  const int32_t* ids = a.ids + token * a.n_used;
  const auto fetch = [&](LaneTile<T>& into, const WorkPlace& to) {
    const int col_tile = to.step * kWarps + warp;
    if (to.item >= n_items || col_tile >= col_tiles) return;
    const uint8_t* base;
    int row_tile = to.item;
    if (to.item < routed) {
      const int slot = to.item / row_tiles;
      row_tile = to.item - slot * row_tiles;
      const StackView& stack = to.part == 0 ? a.first : a.second;
      base = stack.data + __ldcg(ids + slot) * stack.stride;
    } else {
      row_tile = to.item - routed;
      base = to.part == 0 ? a.shared_gate : a.shared_up;
    }
    into.load(base + (static_cast<int64_t>(row_tile) * col_tiles + col_tile) * tile_bytes(T), lane);
  };
  grid_wait();

  WorkPlace at{static_cast<int>(blockIdx.x)};
  LaneTile<T> tile;
  fetch(tile, at);
  int8_t* values = reinterpret_cast<int8_t*>(shared);
  float2* scales = reinterpret_cast<float2*>(shared + col_tiles * kTileCols);
  quantize_row(a.x + static_cast<int64_t>(token) * cols, a.norm, a.eps, cols, 0, 1, values, scales,
               scratch);
  __syncthreads();

  Sums<T, true> lane_sums;
  float held = 0;
  int parity = 0;
  while (at.item < n_items) {
    const WorkPlace next_at = at.next(parts, steps, gridDim.x);
    LaneTile<T> next;
    fetch(next, next_at);
    const int col_tile = at.step * kWarps + warp;
    if (col_tile < col_tiles)
      lane_sums.add(tile, values + col_tile * kTileCols, scales + col_tile * 8, lane);
    if (next_at.step == 0) {
      const int g = lane / 4;
      float acc[4];
      lane_sums.take(acc);
      if (lane % 4 == 0) {
        sums[parity][warp][g] = acc[0];
        sums[parity][warp][g + 8] = acc[2];
      }
      __syncthreads();
      if (threadIdx.x < kTileRows) {
        const int r = threadIdx.x;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += sums[parity][w][r];
        if (at.part + 1 < parts) {
          held = sum;
        } else if (at.item < routed) {
          const int slot = at.item / row_tiles, row = (at.item - slot * row_tiles) * kTileRows + r;
          const int64_t pair = static_cast<int64_t>(token) * a.n_used + slot;
          if (row < rows)
            a.y[pair * rows + row] = parts == 2 ? __ldcg(a.weights + pair) * silu(held) * sum : sum;
        } else {
          const int row = (at.item - routed) * kTileRows + r;
          if (row < a.shared_rows)
            a.shared_y[static_cast<int64_t>(token) * a.shared_rows + row] = silu(held) * sum;
        }
      }
      parity ^= 1;
    }
    tile = next;
    at = next_at;
  }
}

/// Rows of activations one after the other, each padded to whole column tiles.
__device__ __forceinline__ void quantize_rows_of(const float* x, int cols, int padded, int n_rows,
                                                 int8_t* values, float2* scales) {
  const int total = padded * n_rows;
  for (int first = threadIdx.x * 4; first < total; first += kDownThreads * 4 * kRowLoads) {
    float4 v[kRowLoads];
#pragma unroll
    for (int i = 0; i < kRowLoads; ++i) {
      const int at = first + i * kDownThreads * 4, row = at / padded, k = at - row * padded;
      v[i] = at < total && k < cols
                 ? __ldcg(reinterpret_cast<const float4*>(x + static_cast<int64_t>(row) * cols + k))
                 : make_float4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kRowLoads; ++i) {
      const int at = first + i * kDownThreads * 4;
      if (at >= total) break;  // the same for whole warps: total is a multiple of 256
      store_quantized(v[i], at, at / 32, values, scales);
    }
  }
}

/// Column tiles warp, warp + kDownWarps, ... of a row tile; rows g and g + 8 in every lane.
template <TileType T, class Tile>
__device__ __forceinline__ void multiply_tiles(Tile&& tile_at, int first, int n, LaneTile<T>& tile,
                                               const int8_t* values, const float2* scales,
                                               float (&sum)[2]) {
  const int lane = threadIdx.x % 32;
  Sums<T, true> lane_sums;
  for (int at = first; at < n; at += kDownWarps) {
    LaneTile<T> next;
    if (at + kDownWarps < n) next.load(tile_at(at + kDownWarps), lane);
    lane_sums.add(tile, values + at * kTileCols, scales + at * 8, lane);
    tile = next;
  }
  float acc[4];
  lane_sums.take(acc);
  sum[0] += acc[0];
  sum[1] += acc[2];
}

// A block a row tile: the columns of all chosen experts are one long row, and those of the shared
// ones, whose weights may be of another type, another. Warps with fewer tiles of the first come
// first in the second.
template <TileType T>
__global__ void __launch_bounds__(kDownThreads, 1) down_kernel(const __grid_constant__ DownArgs a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float sums[kDownWarps][kTileRows];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, token = blockIdx.y;
  launch_dependents();
  const int rows = a.down.rows, cols = a.down.cols;
  const int col_tiles = (cols + kTileCols - 1) / kTileCols, all = a.n_used * col_tiles;
  const int shared_tiles = (a.shared_cols + kTileCols - 1) / kTileCols;
  const int64_t first_tile = static_cast<int64_t>(blockIdx.x) * col_tiles;
  const int32_t* ids = a.ids + token * a.n_used;
  const auto tile_at = [&](int at) {
    const int slot = at / col_tiles;
    return a.down.data + __ldcg(ids + slot) * a.down.stride +
           (first_tile + at - slot * col_tiles) * tile_bytes(T);
  };
  grid_wait();
  LaneTile<T> tile;
  if (warp < all) tile.load(tile_at(warp), lane);
  int8_t* values = reinterpret_cast<int8_t*>(shared);
  float2* scales = reinterpret_cast<float2*>(shared + (all + shared_tiles) * kTileCols);
  quantize_rows_of(a.x + static_cast<int64_t>(token) * a.n_used * cols, cols, col_tiles * kTileCols,
                   a.n_used, values, scales);
  if (shared_tiles > 0)
    quantize_rows_of(a.shared_x + static_cast<int64_t>(token) * a.shared_cols, a.shared_cols,
                     shared_tiles * kTileCols, 1, values + all * kTileCols, scales + all * 8);
  __syncthreads();
  float sum[2] = {0, 0};
  multiply_tiles<T>(tile_at, warp, all, tile, values, scales, sum);
  const int turn = (warp + kDownWarps - all % kDownWarps) % kDownWarps;
  if (turn < shared_tiles)
    with_type(a.shared_tile, [&](auto type) {
      constexpr TileType kShared = decltype(type)::value;
      const uint8_t* row =
          a.shared_tiles + static_cast<int64_t>(blockIdx.x) * shared_tiles * tile_bytes(kShared);
      const auto shared_at = [&](int at) { return row + at * tile_bytes(kShared); };
      LaneTile<kShared> other;
      other.load(shared_at(turn), lane);
      multiply_tiles<kShared>(shared_at, turn, shared_tiles, other, values + all * kTileCols,
                              scales + all * 8, sum);
      return cudaSuccess;
    });
  if (lane % 4 == 0) {
    sums[warp][lane / 4] = sum[0];
    sums[warp][lane / 4 + 8] = sum[1];
  }
  __syncthreads();
  const int row = blockIdx.x * kTileRows + threadIdx.x;
  if (threadIdx.x >= kTileRows || row >= rows) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kDownWarps; ++w) total += sums[w][threadIdx.x];
  float* y = a.y + static_cast<int64_t>(token) * rows + row;
  *y = __ldcg(y) + total;
}

// --- stacks that stay floats: a warp a row; there so that no file is refused

__device__ __forceinline__ float element(const StackView& s, int e, int64_t i) {
  const uint8_t* data = s.data + e * s.stride;
  if (s.stored == DType::f32) return reinterpret_cast<const float*>(data)[i];
  if (s.stored == DType::f16) return __half2float(reinterpret_cast<const __half*>(data)[i]);
  return __uint_as_float(static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(data)[i]) << 16);
}
/// Row `row` of matrix e times x, the same in every lane.
__device__ __forceinline__ float dot(const StackView& s, int e, int row, const float* x) {
  float sum = 0;
  for (int k = threadIdx.x % 32; k < s.cols; k += 32)
    sum = fmaf(element(s, e, static_cast<int64_t>(row) * s.cols + k), __ldcg(x + k), sum);
  return warp_sum(sum);
}

__global__ void __launch_bounds__(kThreads)
    float_slots_kernel(const __grid_constant__ SlotsArgs a) {
  launch_dependents();
  grid_wait();
  const int row = blockIdx.x * kWarps + threadIdx.x / 32, pair = blockIdx.y;
  if (row >= a.first.rows) return;
  const float sum = dot(a.first, __ldcg(a.ids + pair), row,
                        a.x + static_cast<int64_t>(pair / a.n_used) * a.first.cols);
  if (threadIdx.x % 32 == 0) a.y[static_cast<int64_t>(pair) * a.first.rows + row] = sum;
}

__global__ void __launch_bounds__(kThreads) float_down_kernel(const __grid_constant__ DownArgs a) {
  launch_dependents();
  grid_wait();
  const int row = blockIdx.x * kWarps + threadIdx.x / 32, token = blockIdx.y;
  if (row >= a.down.rows) return;
  float sum = 0;
  for (int j = 0; j < a.n_used; ++j) {
    const int64_t pair = static_cast<int64_t>(token) * a.n_used + j;
    sum += dot(a.down, __ldcg(a.ids + pair), row, a.x + pair * a.down.cols);
  }
  float* y = a.y + static_cast<int64_t>(token) * a.down.rows + row;
  if (threadIdx.x % 32 == 0) *y = __ldcg(y) + sum;
}

__global__ void __launch_bounds__(kThreads) float_heads_kernel(const __grid_constant__ HeadArgs a) {
  launch_dependents();
  grid_wait();
  const int row = blockIdx.x * kWarps + threadIdx.x / 32, head = blockIdx.y, token = blockIdx.z;
  if (row >= a.stack.rows) return;
  const float sum = dot(a.stack, head, row, a.x + token * a.x_token + head * a.x_head);
  if (threadIdx.x % 32 == 0) a.y[token * a.y_token + head * a.y_head + row] = sum;
}

unsigned count(int64_t n, int64_t each) { return static_cast<unsigned>(ceil_div(n, each)); }

template <TileType T>
cudaError_t launch_slots(const Launch& l, const SlotsArgs& a) {
  const int64_t items =
      a.n_used * ceil_div(a.first.rows, kTileRows) + ceil_div(a.shared_rows, kTileRows);
  const auto grid =
      static_cast<unsigned>(items < 2 * l.multiprocessors ? items : 2 * l.multiprocessors);
  const size_t shared =
      static_cast<size_t>(ceil_div(a.first.cols, kTileCols)) * (kTileCols + 8 * sizeof(float2));
  return launch(l, slots_kernel<T>, dim3(grid, static_cast<unsigned>(a.n_tokens)), dim3(kThreads),
                shared, a);
}
template <TileType T>
cudaError_t launch_down(const Launch& l, const DownArgs& a) {
  const size_t shared = static_cast<size_t>(a.n_used * ceil_div(a.down.cols, kTileCols) +
                                            ceil_div(a.shared_cols, kTileCols)) *
                        (kTileCols + 8 * sizeof(float2));
  if (cudaError_t e = cudaFuncSetAttribute(
          down_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
      shared > (size_t{46} << 10) && e != cudaSuccess)
    return e;
  return launch(l, down_kernel<T>,
                dim3(count(a.down.rows, kTileRows), static_cast<unsigned>(a.n_tokens)),
                dim3(kDownThreads), shared, a);
}

}  // namespace

cudaError_t expert_slots(const Launch& l, const SlotsArgs& a) {
  if (!a.first.tiled) {
    if (a.second.data != nullptr || a.shared_rows > 0 || a.norm != nullptr)
      return cudaErrorInvalidValue;
    return launch(l, float_slots_kernel,
                  dim3(count(a.first.rows, kWarps), static_cast<unsigned>(a.n_tokens * a.n_used)),
                  dim3(kThreads), 0, a);
  }
  return with_type(a.first.tile, [&](auto type) { return launch_slots<type()>(l, a); });
}

cudaError_t expert_down(const Launch& l, const DownArgs& a) {
  if (!a.down.tiled && a.shared_tiles != nullptr) return cudaErrorInvalidValue;
  if (!a.down.tiled)
    return launch(l, float_down_kernel,
                  dim3(count(a.down.rows, kWarps), static_cast<unsigned>(a.n_tokens)),
                  dim3(kThreads), 0, a);
  return with_type(a.down.tile, [&](auto type) { return launch_down<type()>(l, a); });
}

cudaError_t head_matmul_float(const Launch& l, const HeadArgs& a) {
  return launch(l, float_heads_kernel,
                dim3(count(a.stack.rows, kWarps), static_cast<unsigned>(a.stack.n),
                     static_cast<unsigned>(a.n_tokens)),
                dim3(kThreads), 0, a);
}

}  // namespace cambium::engine::cuda
