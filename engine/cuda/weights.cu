// Weights on the device: GGUF blocks -> tiles at load, tiles -> F16 for prefill's GEMM, rows of an
// embedding.
#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.cuh"

namespace cambium::engine::cuda {
namespace {

// A warp a tile.
__global__ void repack_kernel(DType source, TileType type, const uint8_t* raw, int64_t row_bytes,
                              int64_t rows, int64_t cols, int64_t col_tiles, int64_t n_tiles,
                              uint8_t* tiles) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (tile >= n_tiles) return;
  repack_lane(source, type, raw, row_bytes, rows, cols, tile / col_tiles, tile % col_tiles,
              threadIdx.x % 32, tiles + tile * tile_bytes(type));
}

// A block a tile, 32 threads a row, 8 columns a thread: 16-byte stores, reads meet in the L1 cache.
template <TileType T>
__global__ void __launch_bounds__(512)
    dequantize_kernel(const uint8_t* tiles, int64_t cols, int64_t col_tiles, int64_t n,
                      uint16_t* out) {
  const int64_t row_tile = blockIdx.y, col_tile = blockIdx.x;
  const int r = threadIdx.x / 32, k = threadIdx.x % 32 * 8;
  const int64_t row = row_tile * kTileRows + r, col = col_tile * kTileCols + k;
  if (row >= n || col >= cols) return;  // cols is a multiple of 32
  const uint8_t* tile = tiles + (row_tile * col_tiles + col_tile) * tile_bytes(T);
  uint4 packed;
  uint32_t* words = &packed.x;
  const BlockScale s = tile_scale(T, tile, r, k);  // 8 columns lie in one block, also of 16
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const uint32_t four = tile_word(T, tile, r, k + 4 * j);
    float w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t level = four >> 8 * i & 255u;
      const int value = T == TileType::q8_0 ? static_cast<int8_t>(level) : static_cast<int>(level);
      w[i] = s.scale * static_cast<float>(value) - s.minimum;
    }
    words[2 * j] = pack_half2(w[0], w[1]);
    words[2 * j + 1] = pack_half2(w[2], w[3]);
  }
  *reinterpret_cast<uint4*>(out + row * cols + col) = packed;
}

__device__ float bf16_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

__global__ void embed_kernel(bool tiled, TileType tile_type, DType type, const void* table,
                             int64_t cols, const int32_t* ids, float* x) {
  launch_dependents();
  grid_wait();
  const int64_t id = ids[blockIdx.y];
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= cols) return;
  float v;
  if (tiled) {
    const int64_t col_tiles = ceil_div(cols, kTileCols);
    const uint8_t* tile = static_cast<const uint8_t*>(table) +
                          (id / kTileRows * col_tiles + k / kTileCols) * tile_bytes(tile_type);
    v = tile_weight(tile_type, tile, static_cast<int>(id % kTileRows),
                    static_cast<int>(k % kTileCols));
  } else if (type == DType::f32) {
    v = static_cast<const float*>(table)[id * cols + k];
  } else if (type == DType::f16) {
    v = __half2float(static_cast<const __half*>(table)[id * cols + k]);
  } else {
    v = bf16_to_float(static_cast<const uint16_t*>(table)[id * cols + k]);
  }
  x[blockIdx.y * cols + k] = v;
}

template <TileType T>
cudaError_t dequantize(const Launch& l, const uint8_t* tiles, int64_t cols, int64_t first,
                       int64_t n, uint16_t* out) {
  const int64_t col_tiles = ceil_div(cols, kTileCols);
  return launch(
      l, dequantize_kernel<T>,
      dim3(static_cast<unsigned>(col_tiles), static_cast<unsigned>(ceil_div(n, kTileRows))),
      dim3(512), 0, tiles + first / kTileRows * col_tiles * tile_bytes(T), cols, col_tiles, n, out);
}

}  // namespace

cudaError_t repack(const Launch& l, DType source, TileType type, const uint8_t* raw,
                   int64_t row_bytes, int64_t rows, int64_t cols, uint8_t* tiles) {
  const int64_t col_tiles = ceil_div(cols, kTileCols);
  const int64_t n_tiles = ceil_div(rows, kTileRows) * col_tiles;
  return launch(l, repack_kernel, dim3(static_cast<unsigned>(ceil_div(n_tiles, 4))), dim3(128), 0,
                source, type, raw, row_bytes, rows, cols, col_tiles, n_tiles, tiles);
}

cudaError_t dequantize_tiles(const Launch& l, TileType type, const uint8_t* tiles, int64_t cols,
                             int64_t first, int64_t n, uint16_t* out) {
  switch (type) {
    case TileType::q4_0:
      return dequantize<TileType::q4_0>(l, tiles, cols, first, n, out);
    case TileType::q4_1:
      return dequantize<TileType::q4_1>(l, tiles, cols, first, n, out);
    case TileType::q5_0:
      return dequantize<TileType::q5_0>(l, tiles, cols, first, n, out);
    case TileType::q5_1:
      return dequantize<TileType::q5_1>(l, tiles, cols, first, n, out);
    case TileType::q8_0:
      return dequantize<TileType::q8_0>(l, tiles, cols, first, n, out);
    case TileType::q4_k:
      return dequantize<TileType::q4_k>(l, tiles, cols, first, n, out);
    case TileType::q5_k:
      return dequantize<TileType::q5_k>(l, tiles, cols, first, n, out);
    case TileType::q6_k:
      return dequantize<TileType::q6_k>(l, tiles, cols, first, n, out);
  }
  return cudaErrorInvalidValue;
}

cudaError_t embed(const Launch& l, bool tiled, TileType tile, DType type, const void* table,
                  int64_t cols, const int32_t* ids, int n_tokens, float* x) {
  return launch(l, embed_kernel,
                dim3(static_cast<unsigned>(ceil_div(cols, 256)), static_cast<unsigned>(n_tokens)),
                dim3(256), 0, tiled, tile, type, table, cols, ids, x);
}

}  // namespace cambium::engine::cuda
