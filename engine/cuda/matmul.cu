// y = W·x on quantized weights for 1 to 8 tokens: the kernel decoding spends its time in.
//
// A block of 8 warps owns a tile of 16 rows at a time; its warps share the columns (warp w takes
// column tiles w, w + 8, ...) and add up in shared memory in a fixed order. Products are the tensor
// core's int8 m16n8k32, also for one token: 8 columns cost what one costs, and every token gets the
// same additions in the same order whatever runs beside it. Each warp holds one column tile (2-4
// KB) in registers while the next one is on its way.
#include "engine/cuda/matmul.cuh"

namespace cambium::engine::cuda {
namespace {

static_assert(kThreads == kRowThreads);

/// What happens to the sum of one row and token. `held` is the other tile's sum (tiles_per_item 2).
__device__ __forceinline__ void finish(const MatmulParams& p, Part part, int r, int column,
                                       float sum, float held) {
  const MatmulArgs& a = p.args;
  const MatmulTile& target = a.target[part.target];
  const int row = part.row_tile * kTileRows + r;
  if (a.epilogue == Epilogue::silu_mul) {
    if (row < target.rows && column < a.n_tokens)
      a.target[0].y[static_cast<int64_t>(column) * target.rows + row] =
          held / (1.0f + __expf(-held)) * sum;
    return;
  }
  if (a.epilogue == Epilogue::store) {
    if (row >= target.rows || column >= a.n_tokens) return;
    if (target.bias != nullptr) sum += target.bias[row];
    float* y = target.y + static_cast<int64_t>(column) * target.rows + row;
    *y = target.accumulate ? *y + sum : sum;
    return;
  }
  finish_rope(p, part, r, column, sum, held);
}

template <TileType T, bool kSingle, bool kStaged>
__global__ void __launch_bounds__(kThreads, 2)
    matmul_kernel(const __grid_constant__ MatmulParams p) {
  constexpr int kWidth = kSingle ? 1 : kMaxColumns;
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float sums[2][kWarps][kWidth][kTileRows];
  __shared__ float scratch[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int n_items = p.first_item[3];
  launch_dependents();

  // Every warp walks (item, part, step); a step is one column tile. Beyond the last column tile the
  // step is empty, so that all warps meet at the same barriers.
  const int steps = (p.col_tiles + kWarps - 1) / kWarps;
  WorkPlace at{static_cast<int>(blockIdx.x)};
  LaneTile<T> tile;
  const auto fetch = [&](LaneTile<T>& into, const WorkPlace& to) {
    fetch_tile<T>(into, p, to, n_items, warp, lane);
  };
  fetch(tile, at);
  grid_wait();

  const int8_t* values = p.args.activations.values;
  const float2* scales = p.args.activations.scales;
  if constexpr (kSingle) {
    int8_t* own_values = reinterpret_cast<int8_t*>(shared);
    float2* own_scales = reinterpret_cast<float2*>(shared + p.col_tiles * kTileCols);
    if (p.args.x != nullptr) {
      quantize_row(p.args.x, p.args.norm, p.args.eps, p.args.cols, 0, 1, own_values, own_scales,
                   scratch);
    } else {
      const int value_bytes = p.col_tiles * kTileCols;
      const int bytes = value_bytes + p.col_tiles * 8 * static_cast<int>(sizeof(float2));
      for (int i = threadIdx.x * 16; i < bytes; i += kThreads * 16)
        copy_16(shared + i, i < value_bytes
                                ? reinterpret_cast<const uint8_t*>(values) + i
                                : reinterpret_cast<const uint8_t*>(scales) + (i - value_bytes));
      commit_copies();
      wait_copies<0>();
    }
    __syncthreads();
    values = own_values;
    scales = own_scales;
  }
  // Of this warp: column tile `step` comes into its stage `to_stage`.
  const int stages = min(steps, kStages);
  uint8_t* const own = shared + warp * (stages * kStageBytes);
  const auto bring = [&](int step, int to_stage) {
    const int col_tile = step * kWarps + warp;
    if (col_tile >= p.col_tiles) return;
    uint8_t* to = own + to_stage * kStageBytes + lane * 16;
    const int8_t* from = values + static_cast<int64_t>(col_tile) * kStageValues + lane * 16;
#pragma unroll
    for (int i = 0; i < kStageValues; i += 512) copy_16(to + i, from + i);
    copy_16(to + kStageValues,
            reinterpret_cast<const uint8_t*>(scales + col_tile * 8 * kWidth) + lane * 16);
  };
  int stage = 0;                       // that is read next
  int brought = 0, brought_stage = 0;  // what is brought next, and where to
  if constexpr (kStaged) {
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) {
      if (i < steps) bring(i, i);
      commit_copies();
    }
    brought = kStages - 1;
    brought_stage = kStages - 1;
  }

  Sums<T, kSingle> lane_sums;
  float held = 0;
  int parity = 0;
  while (at.item < n_items) {
    const WorkPlace next_at = at.next(p.tiles_per_item, steps, gridDim.x);
    LaneTile<T> next;
    fetch(next, next_at);
    const int col_tile = at.step * kWarps + warp;
    if constexpr (kStaged) {
      __syncwarp();  // the stage that is written next has been read to its end
      if (brought < steps) {
        bring(brought, brought_stage);
        ++brought;
        if (++brought_stage == kStages) brought_stage = 0;
        if (brought == steps && steps > kStages) brought = 0;
      }
      commit_copies();
      wait_copies<kStages - 1>();
      __syncwarp();
      if (col_tile < p.col_tiles) {
        const uint8_t* from = own + stage * kStageBytes;
        lane_sums.add(tile, reinterpret_cast<const int8_t*>(from),
                      reinterpret_cast<const float2*>(from + kStageValues), lane);
      }
      if (++stage == stages) stage = 0;
    } else if (col_tile < p.col_tiles) {
      lane_sums.add(tile, values + static_cast<int64_t>(col_tile) * 8 * 32 * kWidth,
                    scales + col_tile * 8 * kWidth, lane);
    }
    if (next_at.step == 0) {
      // The row tile is done: add up the warps' shares.
      const int g = lane / 4, t = lane % 4;
      float acc[4];
      lane_sums.take(acc);
      if constexpr (kSingle) {
        if (t == 0) {
          sums[parity][warp][0][g] = acc[0];
          sums[parity][warp][0][g + 8] = acc[2];
        }
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[parity][warp][2 * t + i % 2][g + i / 2 * 8] = acc[i];
      }
      __syncthreads();
      if (threadIdx.x < (kSingle ? 32 : kWidth * kTileRows)) {
        const int r = threadIdx.x % kTileRows;
        // One token: the upper half of the warp repeats column 0, for whole-warp shuffles.
        const int column = kSingle ? 0 : threadIdx.x / kTileRows;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += sums[parity][w][column][r];
        if (at.part + 1 < p.tiles_per_item) {
          held = sum;
        } else {
          finish(p, part_of(p, at.item, at.part), r, kSingle ? threadIdx.x / kTileRows : column,
                 sum, held);
        }
      }
      parity ^= 1;
    }
    tile = next;
    at = next_at;
  }
  if constexpr (kStaged) wait_copies<0>();  // of tiles that nobody comes to read
}

template <TileType T>
cudaError_t launch_type(const Launch& l, const MatmulParams& p) {
  const bool single = p.args.n_tokens == 1;
  const int grid = static_cast<int>(
      p.first_item[3] < 2 * l.multiprocessors ? p.first_item[3] : 2 * l.multiprocessors);
  if (single)
    return launch(l, matmul_kernel<T, true, false>, dim3(grid), dim3(kThreads),
                  static_cast<size_t>(p.own_bytes), p);
  // Two blocks a multiprocessor must fit, with the sums and what the system takes of each.
  constexpr int kMost = kStages * kWarps * kStageBytes;
  constexpr int kSumBytes = 2 * kWarps * kMaxColumns * kTileRows * static_cast<int>(sizeof(float));
  if (2 * (kMost + kSumBytes + 2048) > l.shared_bytes)
    return launch(l, matmul_kernel<T, false, false>, dim3(grid), dim3(kThreads), 0, p);
  if (cudaError_t e = cudaFuncSetAttribute(matmul_kernel<T, false, true>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, kMost);
      e != cudaSuccess)
    return e;
  const int64_t steps = ceil_div(p.col_tiles, kWarps);
  return launch(l, matmul_kernel<T, false, true>, dim3(grid), dim3(kThreads),
                static_cast<size_t>(steps < kStages ? steps : kStages) * kWarps * kStageBytes, p);
}

__global__ void __launch_bounds__(kRowThreads)
    quantize_kernel(const float* x, const float* norm, float eps, int cols, int n_tokens,
                    Activations out) {
  __shared__ float scratch[kWarps];
  launch_dependents();
  grid_wait();
  const int column = blockIdx.x;
  quantize_row(column < n_tokens ? x + static_cast<int64_t>(column) * cols : nullptr, norm, eps,
               cols, column, kMaxColumns, out.values, out.scales, scratch, blockIdx.y, gridDim.y);
}

// Without a norm a row's blocks of 32 are apart: a thread takes four columns, the grid the rest.
__global__ void __launch_bounds__(kRowThreads)
    quantize_blocks_kernel(const float* x, int cols, int n_tokens, Activations out) {
  launch_dependents();
  grid_wait();
  const int column = blockIdx.x, width = gridDim.x;
  const int k = (blockIdx.y * kRowThreads + threadIdx.x) * 4;
  if (k >= (cols + kTileCols - 1) / kTileCols * kTileCols) return;  // whole warps
  float4 v[1];
  load_row(column < n_tokens ? x + static_cast<int64_t>(column) * cols : nullptr, k, cols, v);
  store_quantized(v[0], k, static_cast<int64_t>(k / 32) * width + column, out.values, out.scales);
}

}  // namespace

cudaError_t quantize_rows(const Launch& l, const float* x, const float* norm, float eps, int cols,
                          int n_tokens, Activations out) {
  if (norm == nullptr)
    return launch(l, quantize_blocks_kernel,
                  dim3(n_tokens == 1 ? 1 : kMaxColumns,
                       static_cast<unsigned>(ceil_div(cols, kRowThreads * 4))),
                  dim3(kRowThreads), 0, x, cols, n_tokens, out);
  if (n_tokens == 1) return cudaErrorInvalidValue;
  return launch(l, quantize_kernel, dim3(kMaxColumns, kRowLoads), dim3(kRowThreads), 0, x, norm,
                eps, cols, n_tokens, out);
}

cudaError_t matmul_tiles(const Launch& l, const MatmulArgs& args) {
  if (args.ready) return matmul_ready(l, args);
  if (args.activations.squares != nullptr || args.made.values != nullptr)
    return cudaErrorInvalidValue;
  MatmulParams p = matmul_params(args);
  p.own_bytes = p.col_tiles * (kTileCols + 8 * static_cast<int>(sizeof(float2)));
  return with_type(args.type, [&](auto type) { return launch_type<type()>(l, p); });
}

}  // namespace cambium::engine::cuda
