// Projections by head, y[h] = W[h] · x[h], and what a step of latent attention does around them. A
// head's matrix is small: its row tiles are shared out to the warps, each with all columns.
#include "engine/cuda/kv.cuh"
#include "engine/cuda/latent.cuh"
#include "engine/cuda/latent.h"
#include "engine/cuda/launch.cuh"
#include "engine/cuda/quantize.cuh"
#include "engine/cuda/tiles.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
static_assert(kThreads == kRowThreads);

__host__ __device__ constexpr int col_tiles_of(const StackView& s) {
  return (s.cols + kTileCols - 1) / kTileCols;
}
size_t shared_bytes(const StackView& s) {
  return static_cast<size_t>(col_tiles_of(s)) * (kTileCols + 8 * sizeof(float2));
}

/// This warp's row tile of matrix `head` on quantized activations in shared memory; `tile` holds its
/// first column tile.
template <TileType T>
__device__ __forceinline__ void multiply_rows(const StackView& s, const uint8_t* tiles,
                                              int row_tile, LaneTile<T>& tile, const int8_t* values,
                                              const float2* scales, float* y) {
  const int lane = threadIdx.x % 32, col_tiles = col_tiles_of(s);
  if (row_tile * kTileRows >= s.rows) return;
  Sums<T, true> sums;
  for (int c = 0; c < col_tiles; ++c) {
    LaneTile<T> next;
    if (c + 1 < col_tiles) next.load(tiles + (c + 1) * tile_bytes(T), lane);
    sums.add(tile, values + c * kTileCols, scales + c * 8, lane);
    tile = next;
  }
  float acc[4];
  sums.take(acc);
  const int row = row_tile * kTileRows + lane / 4;
  if (lane % 4 != 0) return;
  if (row < s.rows) y[row] = acc[0];
  if (row + 8 < s.rows) y[row + 8] = acc[2];
}

template <TileType T>
__device__ __forceinline__ const uint8_t* row_tile_of(const StackView& s, int head, int row_tile) {
  return s.data + head * s.stride +
         static_cast<int64_t>(row_tile) * col_tiles_of(s) * tile_bytes(T);
}

/// One tile of rows a warp of the matrix of head blockIdx.y, times what token blockIdx.z has for it. The weights are
/// on their way before the kernel waits for what it reads. scratch: [kWarps], of the block.
template <TileType T>
__device__ __forceinline__ void multiply_head(const HeadArgs& a, uint8_t* shared, float* scratch) {
  const int head = blockIdx.y, token = blockIdx.z;
  const int row_tile = blockIdx.x * kWarps + threadIdx.x / 32;
  const uint8_t* tiles = row_tile_of<T>(a.stack, head, row_tile);
  LaneTile<T> tile;
  if (row_tile * kTileRows < a.stack.rows) tile.load(tiles, threadIdx.x % 32);
  grid_wait();
  int8_t* values = reinterpret_cast<int8_t*>(shared);
  float2* scales = reinterpret_cast<float2*>(shared + col_tiles_of(a.stack) * kTileCols);
  quantize_row(a.x + token * a.x_token + head * a.x_head, nullptr, 0, a.stack.cols, 0, 1, values,
               scales, scratch);
  __syncthreads();
  multiply_rows<T>(a.stack, tiles, row_tile, tile, values, scales,
                   a.y + token * a.y_token + head * a.y_head);
}

template <TileType T>
__global__ void __launch_bounds__(kThreads) heads_kernel(const __grid_constant__ HeadArgs a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float scratch[kWarps];
  launch_dependents();
  multiply_head<T>(a, shared, scratch);
}

__device__ __forceinline__ void rotate(const RopeArgs& rope, int pos, int pair, float& first,
                                       float& second) {
  float sine, cosine;
  sincosf(static_cast<float>(pos) * rope.freq[pair], &sine, &cosine);
  sine *= rope.magnitude;
  cosine *= rope.magnitude;
  const float rotated = first * cosine - second * sine;
  second = first * sine + second * cosine;
  first = rotated;
}

/// Rotates x [rope_dims] to `store(d, value)`.
template <class Store>
__device__ __forceinline__ void rotate_all(const AbsorbArgs& a, int pos, const float* x,
                                           Store&& store) {
  const int half = a.rope_dims / 2;
  for (int pair = threadIdx.x; pair < half; pair += kThreads) {
    const int d = a.rope.interleaved ? 2 * pair : pair,
              other = a.rope.interleaved ? d + 1 : d + half;
    float first = __ldcg(x + d), second = __ldcg(x + other);
    rotate(a.rope, pos, pair, first, second);
    store(d, first);
    store(other, second);
  }
}

// The last block of a head rotates its query; the last block of head 0 also makes the token's cell.
template <TileType T>
__global__ void __launch_bounds__(kThreads) absorb_kernel(const __grid_constant__ AbsorbArgs a) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float scratch[kWarps];
  launch_dependents();
  const HeadArgs& h = a.heads;
  const int head = blockIdx.y, token = blockIdx.z, cell_dim = a.rope_dims + a.kv_rank;
  if (blockIdx.x == gridDim.x - 1) {
    grid_wait();
    const int pos = a.cell.read() + token;
    float* q_cell = a.q_cell + (static_cast<int64_t>(token) * h.stack.n + head) * cell_dim;
    rotate_all(a, pos, h.x + token * h.x_token + head * h.x_head + a.nope,
               [&](int d, float v) { q_cell[d] = v; });
    if (head != 0) return;
    const float* kv_a = a.kv_a + static_cast<int64_t>(token) * cell_dim;
    __half* k = static_cast<__half*>(a.kv.k) + k_offset(a.kv, 0, pos, 0);
    const float inverse = inverse_rms(kv_a, a.kv_rank, a.eps, scratch);
    for (int d = threadIdx.x; d < a.kv_rank; d += kThreads)
      k[a.rope_dims + d] = __float2half_rn(__ldcg(kv_a + d) * inverse * a.norm[d]);
    rotate_all(a, pos, kv_a + a.kv_rank, [&](int d, float v) { k[d] = __float2half_rn(v); });
    return;
  }
  multiply_head<T>(h, shared, scratch);
}

template <TileType T>
__global__ void __launch_bounds__(kThreads)
    values_kernel(const __grid_constant__ HeadArgs a, LatentParts parts, Cell first_cell) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float factor[kMaxLatentSplits];
  launch_dependents();
  const int head = blockIdx.y, token = blockIdx.z;
  const int row_tile = blockIdx.x * kWarps + threadIdx.x / 32;
  const uint8_t* tiles = row_tile_of<T>(a.stack, head, row_tile);
  LaneTile<T> tile;
  if (row_tile * kTileRows < a.stack.rows) tile.load(tiles, threadIdx.x % 32);
  grid_wait();
  const int cell = first_cell.read() + token;
  const int active = latent_active(cell, parts.splits);
  join_factors(parts, token, head, active, factor);
  __syncthreads();
  int8_t* values = reinterpret_cast<int8_t*>(shared);
  float2* scales = reinterpret_cast<float2*>(shared + col_tiles_of(a.stack) * kTileCols);
  static_assert(kLatentValue % kTileCols == 0 && kLatentValue % 128 == 0);
  for (int d = threadIdx.x * 4; d < kLatentValue; d += kThreads * 4)
    store_quantized(joined(parts, token, head, active, d, factor), d, d / 32, values, scales);
  __syncthreads();
  multiply_rows<T>(a.stack, tiles, row_tile, tile, values, scales,
                   a.y + token * a.y_token + head * a.y_head);
}

unsigned blocks_of(const StackView& s) {
  return static_cast<unsigned>(ceil_div(s.rows, kTileRows * kWarps));
}
bool aligned(const HeadArgs& a) {
  return a.x_token % 4 == 0 && a.x_head % 4 == 0 && reinterpret_cast<uintptr_t>(a.x) % 16 == 0;
}
dim3 grid_of(const HeadArgs& a, unsigned more) {
  return dim3(blocks_of(a.stack) + more, static_cast<unsigned>(a.stack.n),
              static_cast<unsigned>(a.n_tokens));
}

}  // namespace

cudaError_t head_matmul(const Launch& l, const HeadArgs& a) {
  if (!a.stack.tiled) return head_matmul_float(l, a);
  if (!aligned(a)) return cudaErrorInvalidValue;
  return with_type(a.stack.tile, [&](auto type) {
    return launch(l, heads_kernel<type()>, grid_of(a, 0), dim3(kThreads), shared_bytes(a.stack), a);
  });
}

cudaError_t latent_absorb(const Launch& l, const AbsorbArgs& a) {
  if (!a.heads.stack.tiled || !aligned(a.heads) || (a.rope_dims + a.kv_rank) % 4 != 0 || a.kv.q8)
    return cudaErrorInvalidValue;
  return with_type(a.heads.stack.tile, [&](auto type) {
    return launch(l, absorb_kernel<type()>, grid_of(a.heads, 1), dim3(kThreads),
                  shared_bytes(a.heads.stack), a);
  });
}

cudaError_t latent_values(const Launch& l, const LatentParts& parts, Cell first_cell,
                          const HeadArgs& a) {
  if (!a.stack.tiled || a.stack.cols != kLatentValue) return cudaErrorInvalidValue;
  return with_type(a.stack.tile, [&](auto type) {
    return launch(l, values_kernel<type()>, grid_of(a, 0), dim3(kThreads), shared_bytes(a.stack), a,
                  parts, first_cell);
  });
}

}  // namespace cambium::engine::cuda
