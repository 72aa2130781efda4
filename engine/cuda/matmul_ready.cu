// y = W·x for rows that are ready (MatmulArgs::ready), by the products of matmul.cu.
//
// A team of 8 warps does what a block does there. A block is a team, or two with neighbouring tiles
// where the result leaves as int8 for the kernel after it: a scale is shared by 32 rows. A norm needs
// nothing of other blocks, because its one factor a row is multiplied into the sums at the end.
#include "engine/cuda/matmul.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kTeams = 2;  // of a block, at most

/// A barrier of one team. Its number is a constant: one that is computed would take all a block has.
__device__ __forceinline__ void sync_team(int team) {
  if (team == 0)
    asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
  else
    asm volatile("bar.sync 2, %0;" ::"n"(kThreads) : "memory");
}

/// What the sum of one row and token is added to.
__device__ __forceinline__ float residual_of(const MatmulParams& p, int item, int r, int column) {
  if (p.args.epilogue != Epilogue::store || item >= p.first_item[3]) return 0;
  const Part part = part_of(p, item, 0);
  const MatmulTile& target = p.args.target[part.target];
  const int row = part.row_tile * kTileRows + r;
  if (!target.accumulate || row >= target.rows || column >= p.args.n_tokens) return 0;
  return __ldcg(target.y + static_cast<int64_t>(column) * target.rows + row);
}

/// What happens to the sum of one row and token. `held` is the other tile's sum (tiles_per_item 2), or
/// residual_of(). Returns the result, zero beyond rows and tokens.
__device__ __forceinline__ float finish(const MatmulParams& p, Part part, int r, int column,
                                        float sum, float held) {
  const MatmulArgs& a = p.args;
  const MatmulTile& target = a.target[part.target];
  const int row = part.row_tile * kTileRows + r;
  if (a.epilogue != Epilogue::rope_kv) {
    if (row >= target.rows || column >= a.n_tokens) return 0;
    if (a.epilogue == Epilogue::silu_mul) {
      sum *= held / (1.0f + __expf(-held));
    } else {
      if (target.bias != nullptr) sum += target.bias[row];
      if (target.accumulate) sum += held;
    }
    float* y = a.target[part.target == 1 && a.epilogue == Epilogue::silu_mul ? 0 : part.target].y;
    if (y != nullptr) y[static_cast<int64_t>(column) * target.rows + row] = sum;
    return sum;
  }
  finish_rope(p, part, r, column, sum, held);
  return 0;
}

// One token's row in shared memory: a team has its own, of which a warp fills what it reads.
constexpr int kRowTileBytes = kTileCols + kTileCols / 32 * static_cast<int>(sizeof(float2));
constexpr int kRowTileSquares = kTileCols / 32 * static_cast<int>(sizeof(float));

/// A warp's column tiles of one token's row, a thread's four columns of each half of kAhead of them
/// under way at once.
struct RowLoads {
  static constexpr int kAhead = 2;
  float4 at[2 * kAhead];
  static __device__ __forceinline__ int column(int i, int step, int warp) {
    return ((step + i / 2) * kWarps + warp) * kTileCols + i % 2 * 128 +
           static_cast<int>(threadIdx.x) % 32 * 4;
  }
  /// Beyond `cols` zeros.
  __device__ __forceinline__ void load(const float* row, int step, int warp, int cols) {
#pragma unroll
    for (int i = 0; i < 2 * kAhead; ++i) {
      const int k = column(i, step, warp);
      at[i] = load_four(row, k, cols);
    }
  }
};

/// Four columns of `made` from the result's rows made_row..made_row + 3, by eight neighbouring lanes a
/// block of 32. `last`: also the zeros behind the row, to the next 256.
__device__ __forceinline__ void make_block(const MatmulParams& p, int column, int width,
                                           int made_row, bool last, float4 x, float4 weight,
                                           unsigned mask) {
  const Activations& to = p.args.made;
  const int blocks = (p.args.target[0].rows + kTileCols - 1) / kTileCols * (kTileCols / 32);
  const auto store = [&](int k, float4 v) {
    const int64_t block = static_cast<int64_t>(k / 32) * width + column;
    if (p.args.made_norm != nullptr)
      store_normed(v, weight, k, block, to.values, to.scales, to.squares + column * blocks + k / 32,
                   mask);
    else
      store_quantized(v, k, block, to.values, to.scales, mask);
  };
  store(made_row, x);
  if (last)
    for (int k = made_row + 32; k < blocks * 32; k += 32) store(k, make_float4(0, 0, 0, 0));
}

template <TileType T, bool kSingle, bool kStaged>
__global__ void __launch_bounds__(kTeams* kThreads, 1)
    matmul_ready_kernel(const __grid_constant__ MatmulParams p) {
  constexpr int kWidth = kSingle ? 1 : kMaxColumns;
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float sums[2][kTeams * kWarps][kWidth][kTileRows];
  __shared__ float inverses[kTeams][kWidth];
  __shared__ __align__(16) float results[2][kWidth][kTeams * kTileRows];
  const int lane = threadIdx.x % 32, team = threadIdx.x / kThreads, teams = blockDim.x / kThreads,
            thread = threadIdx.x % kThreads, warp = thread / 32;
  const int n_items = p.first_item[3];
  launch_dependents();

  // Every warp walks (item, part, step); a step is one column tile. Beyond the last column tile the
  // step is empty, so that all warps of a team meet at the same barriers. Two teams have as many items.
  const int steps = (p.col_tiles + kWarps - 1) / kWarps;
  const int stride = static_cast<int>(gridDim.x) * teams;
  WorkPlace at{static_cast<int>(blockIdx.x) * teams + team};
  LaneTile<T> tile;
  const auto fetch = [&](LaneTile<T>& into, const WorkPlace& to) {
    fetch_tile<T>(into, p, to, n_items, warp, lane);
  };
  fetch(tile, at);
  const bool own = kSingle && p.args.x != nullptr;  // the row is quantized here
  [[maybe_unused]] RowLoads weights;
  if constexpr (kSingle)
    if (own && p.args.norm != nullptr) weights.load(p.args.norm, 0, warp, p.args.cols);
  if (p.args.made_norm != nullptr && threadIdx.x == 0)  // a line an item, long out of the L2
    for (int item = at.item; item < n_items; item += stride)
      prefetch_l2(p.args.made_norm + item * kTileRows);
  grid_wait();

  // Of the threads that finish a row tile. What they add to comes early: a block that is done would
  // wait for it. One token: the upper half of a warp repeats the lower, for whole-warp shuffles.
  const bool finishes = thread < (kSingle ? 32 : kWidth * kTileRows);
  const int own_row = thread % kTileRows, own_column = thread / kTileRows;
  float held = finishes ? residual_of(p, at.item, own_row, own_column) : 0;

  const int8_t* values = p.args.activations.values;
  const float2* scales = p.args.activations.scales;
  // Of this warp: column tile `step` comes into its stage `to_stage`.
  const int stages = min(steps, kStages);
  uint8_t* const ring = shared + (team * kWarps + warp) * (stages * kStageBytes);
  const auto bring = [&](int step, int to_stage) {
    const int col_tile = step * kWarps + warp;
    if (col_tile >= p.col_tiles) return;
    uint8_t* to = ring + to_stage * kStageBytes + lane * 16;
    const int8_t* from = values + static_cast<int64_t>(col_tile) * kStageValues + lane * 16;
#pragma unroll
    for (int i = 0; i < kStageValues; i += 512) copy_16(to + i, from + i);
    copy_16(to + kStageValues,
            reinterpret_cast<const uint8_t*>(scales + col_tile * 8 * kWidth) + lane * 16);
  };
  int stage = 0;  // that is read next
  if constexpr (kStaged) {
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) {
      if (i < steps) bring(i, i);
      commit_copies();
    }
  }
  uint8_t* const row_bytes = shared + team * p.own_bytes;
  float* const row_squares = reinterpret_cast<float*>(row_bytes + p.col_tiles * kRowTileBytes);
  if constexpr (kSingle) {
    int8_t* const row_values = reinterpret_cast<int8_t*>(row_bytes);
    float2* const row_scales = reinterpret_cast<float2*>(row_bytes + p.col_tiles * kTileCols);
    if (!own) {
      for (int col_tile = warp; col_tile < p.col_tiles; col_tile += kWarps) {
        const int value = col_tile * kTileCols + lane * 16, scale = col_tile * 8 + (lane - 16) * 2;
        if (lane < 16)
          copy_16(row_values + value, values + value);
        else if (lane < 20)
          copy_16(row_scales + scale, scales + scale);
      }
      commit_copies();
    } else {
      const auto keep = [&](const RowLoads& x, int step, bool normed) {
#pragma unroll
        for (int i = 0; i < 2 * RowLoads::kAhead; ++i) {
          const int k = RowLoads::column(i, step, warp);
          if (k >= p.col_tiles * kTileCols) break;  // whole warps
          if (normed)
            store_normed(x.at[i], weights.at[i], k, k / 32, row_values, row_scales,
                         row_squares + k / 32);
          else
            store_quantized(x.at[i], k, k / 32, row_values, row_scales);
        }
      };
      RowLoads x;
      if (p.args.norm != nullptr) {
        for (int step = 0; step < steps; step += RowLoads::kAhead) {
          x.load(p.args.x, step, warp, p.args.cols);
          if (step > 0) weights.load(p.args.norm, step, warp, p.args.cols);
          keep(x, step, true);
        }
      } else {  // twice as many of the row
        for (int step = 0; step < steps; step += 2 * RowLoads::kAhead) {
          x.load(p.args.x, step, warp, p.args.cols);
          weights.load(p.args.x, step + RowLoads::kAhead, warp, p.args.cols);
          keep(x, step, false);
          keep(weights, step + RowLoads::kAhead, false);
        }
      }
    }
    values = row_values;
    scales = row_scales;
  }
  // What the sums are multiplied by: 1 / rms of a row, by a warp a token.
  float inverse = 1;
  if (!own && p.args.activations.squares != nullptr && warp < p.args.n_tokens) {
    const int blocks = p.col_tiles * 8;
    const float* squares = p.args.activations.squares + warp * blocks;
    inverse = inverse_of_blocks(blocks, p.args.cols, p.args.eps, [&](int b) {
      return __ldcg(reinterpret_cast<const float4*>(squares + b));
    });
  }
  if constexpr (kSingle) {
    wait_copies<0>();
    __syncwarp();
  } else {
    if (lane == 0) inverses[team][warp] = inverse;
  }

  Sums<T, kSingle> lane_sums;
  while (at.item < n_items) {
    const WorkPlace next_at = at.next(p.tiles_per_item, steps, stride);
    LaneTile<T> next;
    fetch(next, next_at);
    const int col_tile = at.step * kWarps + warp;
    if constexpr (kStaged) {
      __syncwarp();  // the stage that is written next has been read to its end
      const int ahead = at.step + kStages - 1, free_stage = stage == 0 ? kStages - 1 : stage - 1;
      if (steps > kStages)
        bring(ahead < steps ? ahead : ahead - steps, free_stage);
      else if (ahead < steps && at.part == 0 && at.item < stride)
        bring(ahead, free_stage);
      commit_copies();
      wait_copies<kStages - 1>();
      __syncwarp();
      if (col_tile < p.col_tiles) {
        const uint8_t* from = ring + stage * kStageBytes;
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
      const int round = at.item / stride, parity = (round * p.tiles_per_item + at.part) % 2;
      auto& own_sums = sums[parity][threadIdx.x / 32];
      if constexpr (kSingle) {
        if (t == 0) {
          own_sums[0][g] = acc[0];
          own_sums[0][g + 8] = acc[2];
        }
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) own_sums[2 * t + i % 2][g + i / 2 * 8] = acc[i];
      }
      const bool last_part = at.part + 1 == p.tiles_per_item;
      const bool makes = last_part && p.args.made.values != nullptr;
      // The threads that make it: eight a token, with four columns each.
      const bool quantizes = makes && threadIdx.x < 8 * kWidth;
      const int made_row = at.item * kTileRows + static_cast<int>(threadIdx.x) % 8 * 4;
      float4 weight = make_float4(1, 1, 1, 1);
      if (quantizes && p.args.made_norm != nullptr)
        weight = __ldg(reinterpret_cast<const float4*>(p.args.made_norm + made_row));
      sync_team(team);
      float result = 0;
      if (finishes) {
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w)
          sum += sums[parity][team * kWarps + w][kSingle ? 0 : own_column][own_row];
        if constexpr (!kSingle) {
          inverse = inverses[team][own_column];
        } else if (own && p.args.norm != nullptr) {
          inverse = inverse_of_blocks(p.col_tiles * 8, p.args.cols, p.args.eps, [&](int b) {
            return *reinterpret_cast<const float4*>(row_squares + b);
          });
        }
        sum = __fmul_rn(sum, inverse);  // never one operation with what comes next, whatever T
        if (last_part) {
          result = finish(p, part_of(p, at.item, at.part), own_row, own_column, sum, held);
          held = residual_of(p, next_at.item, own_row, own_column);
        } else {
          held = sum;
        }
      }
      if (makes) {
        // A buffer by turns: the other team may be an item ahead of those who read.
        const int turn = round % 2;
        if (finishes && own_column < kWidth)
          results[turn][own_column][team * kTileRows + own_row] = result;
        __syncthreads();
        if (quantizes)
          make_block(p, static_cast<int>(threadIdx.x) / 8, kWidth, made_row, at.item + 2 >= n_items,
                     *reinterpret_cast<const float4*>(
                         &results[turn][threadIdx.x / 8][threadIdx.x % 8 * 4]),
                     weight, kSingle ? 0xffu : ~0u);
      }
    }
    tile = next;
    at = next_at;
  }
  if constexpr (kStaged) wait_copies<0>();  // of tiles that nobody comes to read
}

template <TileType T>
cudaError_t launch_type(const Launch& l, const MatmulParams& p) {
  const bool single = p.args.n_tokens == 1;
  // As many teams as two a multiprocessor.
  const int teams = p.args.made.values != nullptr ? 2 : 1;
  const int blocks = p.first_item[3] / teams, most = l.multiprocessors * kTeams / teams;
  const dim3 grid(static_cast<unsigned>(blocks < most ? blocks : most)),
      threads(static_cast<unsigned>(teams * kThreads));
  if (single)
    return launch(l, matmul_ready_kernel<T, true, false>, grid, threads,
                  static_cast<size_t>(teams * p.own_bytes), p);
  // Two teams a multiprocessor must fit, with the sums and what the system takes of each block.
  constexpr int kMost = kStages * kWarps * kStageBytes;
  constexpr int kStatic =
      (2 * kWarps * kTileRows + 2 * kTileRows + 1) * kTeams * kMaxColumns * int{sizeof(float)};
  if (2 * (kMost + kStatic + 1024) > l.shared_bytes)
    return launch(l, matmul_ready_kernel<T, false, false>, grid, threads, 0, p);
  if (cudaError_t e =
          cudaFuncSetAttribute(matmul_ready_kernel<T, false, true>,
                               cudaFuncAttributeMaxDynamicSharedMemorySize, kTeams * kMost);
      e != cudaSuccess)
    return e;
  const int64_t steps = ceil_div(p.col_tiles, kWarps);
  return launch(
      l, matmul_ready_kernel<T, false, true>, grid, threads,
      static_cast<size_t>(teams * (steps < kStages ? steps : kStages) * kWarps * kStageBytes), p);
}

// A thread takes four columns of a token's row, the grid the rest.
__global__ void __launch_bounds__(kRowThreads)
    ready_kernel(const float* x, const float* norm, int cols, int n_tokens, Activations out) {
  const int column = blockIdx.x, width = gridDim.x;
  const int k = (blockIdx.y * kRowThreads + threadIdx.x) * 4;
  const int padded = (cols + kTileCols - 1) / kTileCols * kTileCols;
  launch_dependents();
  float4 v[1], weight[1];
  if (norm != nullptr) weight[0] = load_four(norm, k, cols);
  grid_wait();
  if (k >= padded) return;  // whole warps
  v[0] = load_four(x + static_cast<int64_t>(column) * cols, k, column < n_tokens ? cols : 0);
  const int64_t block = static_cast<int64_t>(k / 32) * width + column;
  if (norm != nullptr)
    store_normed(v[0], weight[0], k, block, out.values, out.scales,
                 out.squares + column * (padded / 32) + k / 32);
  else
    store_quantized(v[0], k, block, out.values, out.scales);
}

}  // namespace

cudaError_t ready_rows(const Launch& l, const float* x, const float* norm, int cols, int n_tokens,
                       Activations out) {
  if (norm != nullptr && out.squares == nullptr) return cudaErrorInvalidValue;
  return launch(
      l, ready_kernel,
      dim3(n_tokens == 1 ? 1 : kMaxColumns, static_cast<unsigned>(ceil_div(cols, kRowThreads * 4))),
      dim3(kRowThreads), 0, x, norm, cols, n_tokens, out);
}

cudaError_t matmul_ready(const Launch& l, const MatmulArgs& args) {
  MatmulParams p = matmul_params(args);
  p.own_bytes = p.col_tiles *
                (kRowTileBytes + (args.x != nullptr && args.norm != nullptr ? kRowTileSquares : 0));
  const bool one_result = args.epilogue == Epilogue::silu_mul ||
                          (args.epilogue == Epilogue::store && args.n_targets == 1);
  if (args.made.values != nullptr && !(one_result && can_make(args.target[0].rows, args.cols)))
    return cudaErrorInvalidValue;
  return with_type(args.type, [&](auto type) { return launch_type<type()>(l, p); });
}

}  // namespace cambium::engine::cuda
