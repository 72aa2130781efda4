// What the kernels of matmul.cu (whole rows) and matmul_ready.cu (rows that leave ready) share: which
// tiles an item of work reads, the size of a stage, keys and queries that rotate.
#pragma once

#include "engine/cuda/kv.cuh"
#include "engine/cuda/launch.cuh"
#include "engine/cuda/quantize.cuh"
#include "engine/cuda/tiles.cuh"

namespace cambium::engine::cuda {

inline constexpr int kWarps = 8;  ///< that share the columns of a row tile
inline constexpr int kThreads = kWarps * 32;

struct MatmulParams {
  MatmulArgs args;
  int32_t col_tiles;       // column tiles of a row tile
  int32_t own_bytes;       // one token: shared memory for its row
  int32_t first_item[4];   // items of target i: [first_item[i], first_item[i + 1])
  int32_t tiles_per_item;  // 1, or 2 where the epilogue joins two row tiles
};

/// own_bytes is left to whoever launches.
inline MatmulParams matmul_params(const MatmulArgs& args) {
  MatmulParams p;
  p.args = args;
  p.col_tiles = static_cast<int32_t>(ceil_div(args.cols, kTileCols));
  p.own_bytes = 0;
  p.tiles_per_item = args.epilogue == Epilogue::silu_mul ||
                             (args.epilogue == Epilogue::rope_kv && !args.rope.interleaved)
                         ? 2
                         : 1;
  int32_t items = 0;
  for (int i = 0; i < 3; ++i) {
    p.first_item[i] = items;
    const bool counts = i < args.n_targets && !(args.epilogue == Epilogue::silu_mul && i > 0);
    if (!counts) continue;
    const auto row_tiles = static_cast<int32_t>(ceil_div(args.target[i].rows, kTileRows));
    items += args.epilogue == Epilogue::rope_kv ? row_tiles / p.tiles_per_item : row_tiles;
  }
  p.first_item[3] = items;
  return p;
}

/// matmul_tiles() of args that are `ready`.
cudaError_t matmul_ready(const Launch&, const MatmulArgs&);

/// The row tile that an item's part reads.
struct Part {
  int target, row_tile;
};
__device__ __forceinline__ Part part_of(const MatmulParams& p, int item, int part) {
  if (p.args.epilogue == Epilogue::silu_mul) return {part, item};
  int target = 0;
  while (target + 1 < p.args.n_targets && item >= p.first_item[target + 1]) ++target;
  const int i = item - p.first_item[target];
  if (p.tiles_per_item == 1) return {target, i};
  // Split rotary pairs: dimension d with d + head_dim / 2.
  const int half_tiles = p.args.kv.head_dim_k / 2 / kTileRows;
  return {target, i / half_tiles * 2 * half_tiles + i % half_tiles + part * half_tiles};
}

/// A warp's tile at a place in the work; nothing beyond its end.
template <TileType T>
__device__ __forceinline__ void fetch_tile(LaneTile<T>& into, const MatmulParams& p,
                                           const WorkPlace& at, int n_items, int warp, int lane) {
  const int col_tile = at.step * kWarps + warp;
  if (at.item >= n_items || col_tile >= p.col_tiles) return;
  const Part w = part_of(p, at.item, at.part);
  into.load(p.args.target[w.target].tiles +
                (static_cast<int64_t>(w.row_tile) * p.col_tiles + col_tile) * tile_bytes(T),
            lane);
}

// Several tokens, where a multiprocessor's shared memory is large enough: a warp's column tiles of
// activations go through it, kStages of them at a time, so that they are under way together. A row
// that fits is brought once.
inline constexpr int kStages = 3;
inline constexpr int kStageValues = kTileCols * kMaxColumns;
inline constexpr int kStageBytes =
    kStageValues + kTileCols / 32 * kMaxColumns * static_cast<int>(sizeof(float2));

/// rope_kv of the sum of one row and token, by whole warps: rows of a head, q and k rotate in pairs, v
/// is stored as it is. `held` is the other tile's sum (tiles_per_item 2).
__device__ __forceinline__ void finish_rope(const MatmulParams& p, Part part, int r, int column,
                                            float sum, float held) {
  const MatmulArgs& a = p.args;
  const MatmulTile& target = a.target[part.target];
  const int row = part.row_tile * kTileRows + r;
  const int role = a.role[part.target];
  const int cell = a.cell.read() + column;
  const int head_dim = role == 2 ? a.kv.head_dim_v : a.kv.head_dim_k;
  const bool pairs = p.tiles_per_item == 2;
  const int other_row = row - (pairs ? a.kv.head_dim_k / 2 : 0);
  float first = pairs ? held : sum, second = sum;
  if (target.bias != nullptr) {
    first += target.bias[other_row];
    second += target.bias[row];
  }
  if (!pairs) {
    // Interleaved: rows 2i and 2i + 1 sit in neighbouring lanes.
    const float neighbour = __shfl_xor_sync(~0u, first, 1);
    second = r % 2 == 0 ? neighbour : first;
    first = r % 2 == 0 ? first : neighbour;
  }
  const int d_first = pairs ? other_row % head_dim : row / 2 * 2 % head_dim;
  const int d_second = pairs ? row % head_dim : d_first + 1;
  const int head = row / head_dim;
  if (role != 2) {
    const int i = pairs ? d_first : d_first / 2;
    float sine, cosine;
    sincosf(static_cast<float>(cell) * a.rope.freq[i], &sine, &cosine);
    sine *= a.rope.magnitude;
    cosine *= a.rope.magnitude;
    const float rotated = first * cosine - second * sine;
    second = first * sine + second * cosine;
    first = rotated;
  }
  if (column >= a.n_tokens || row >= target.rows) return;
  for (int side = 0; side < 2; ++side) {
    if (!pairs && side != r % 2) continue;
    const float value = side == 0 ? first : second;
    const int d = side == 0 ? d_first : d_second;
    if (role == 0) {
      target.y[static_cast<int64_t>(column) * target.rows + head * head_dim + d] = value;
    } else if (role == 1) {
      static_cast<__half*>(a.kv.k)[k_offset(a.kv, head, cell, d)] = __float2half_rn(value);
    } else {
      static_cast<__half*>(a.kv.v)[v_offset(a.kv, head, cell, d)] = __float2half_rn(value);
    }
  }
}

}  // namespace cambium::engine::cuda
