// y = W·x on quantized weights for 1 to 8 tokens: the kernel decoding spends its time in.
//
// A block of 8 warps owns a tile of 16 rows at a time; its warps share the columns (warp w takes
// column tiles w, w + 8, ...) and add up in shared memory in a fixed order. Products are the tensor
// core's int8 m16n8k32, also for one token: 8 columns cost what one costs, and every token gets the
// same additions in the same order whatever runs beside it. Each warp holds one column tile (2-4
// KB) in registers while the next one is on its way.
#include "engine/cuda/kv.cuh"
#include "engine/cuda/launch.cuh"
#include "engine/cuda/quantize.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
static_assert(kThreads == kRowThreads);

/// A lane's share of a tile.
template <TileType T>
struct LaneTile {
  static constexpr int kValues = value_bytes(T) / 512;
  static constexpr int kHigh = high_bits(T);
  static constexpr int kHeader = T == TileType::q4_1 || T == TileType::q5_1 ? 2 : 1;
  uint4 values[kValues];
  uint4 high[kHigh > 0 ? kHigh : 1];
  uint4 header[2][kHeader];  // rows g and g + 8
  uint16_t d[2];             // Q6_K

  __device__ __forceinline__ void load(const uint8_t* tile, int lane) {
    const uint8_t* p = tile + header_bytes(T) + high_bytes(T) + lane * 16;
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] = load_stream(p + i * 512);
    p = tile + header_bytes(T) + lane * 16;
#pragma unroll
    for (int i = 0; i < kHigh; ++i) high[i] = load_stream(p + i * 512);
    const int g = lane / 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int i = 0; i < kHeader; ++i)
        header[r][i] = load_stream(tile + ((g + 8 * r) * kHeader + i) * 16);
      if constexpr (T == TileType::q6_k)
        d[r] = __ldg(reinterpret_cast<const uint16_t*>(tile + 256) + g + 8 * r);
    }
  }
};

__device__ __forceinline__ uint32_t word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}
__device__ __forceinline__ float half_bits(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
/// Byte `i` (0..3, constant) of w as a float, without a conversion: 2^23 + byte is a float whose
/// low mantissa bits are the byte.
__device__ __forceinline__ float byte_plus_2_23(uint32_t w, int i) {
  return __uint_as_float(__byte_perm(w, 0x4B000000u, 0x7440u | i));
}

/// The same with `i` known to the lane alone.
__device__ __forceinline__ float byte_at(uint32_t w, int i) {
  return __uint_as_float(__byte_perm(w, 0x4B000000u, 0x7440u + static_cast<uint32_t>(i)));
}

/// d · byte from 2^23 + byte; d · 2^23 is exact, and so is the result: 11 bits times 6.
__device__ __forceinline__ float times_byte(float d, float byte_plus) {
  return fmaf(d, byte_plus, d * -8388608.0f);
}

/// Scales of the two rows a lane works for, one column tile long.
template <TileType T>
struct RowScales {
  float scale[2], minimum[2];  // K types: the super-block's d and dmin
  uint32_t scale_bytes[2][4], minimum_bytes[2][2];
  __device__ __forceinline__ void open(const LaneTile<T>& tile) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint4 h = tile.header[r][0];
      if constexpr (T == TileType::q4_k || T == TileType::q5_k) {
        scale[r] = half_bits(h.x & 0xffffu);
        minimum[r] = half_bits(h.x >> 16);
        scale_bytes[r][0] = h.y & 0x3f3f3f3fu;
        minimum_bytes[r][0] = h.z & 0x3f3f3f3fu;
        scale_bytes[r][1] = (h.w & 0x0f0f0f0fu) | (h.y >> 2 & 0x30303030u);
        minimum_bytes[r][1] = (h.w >> 4 & 0x0f0f0f0fu) | (h.z >> 2 & 0x30303030u);
      } else if constexpr (T == TileType::q6_k) {
        scale[r] = half_bits(tile.d[r]);
        // int8 + 128, so that the byte is unsigned.
#pragma unroll
        for (int i = 0; i < 4; ++i) scale_bytes[r][i] = word(h, i) ^ 0x80808080u;
      }
    }
  }
  /// Scale and minimum of row r in block b (0..7; 0..15 for Q6_K); b is a constant.
  __device__ __forceinline__ float2 at(const LaneTile<T>& tile, int r, int b) const {
    if constexpr (T == TileType::q4_k || T == TileType::q5_k) {
      return make_float2(times_byte(scale[r], byte_plus_2_23(scale_bytes[r][b / 4], b % 4)),
                         times_byte(minimum[r], byte_plus_2_23(minimum_bytes[r][b / 4], b % 4)));
    } else if constexpr (T == TileType::q6_k) {
      return make_float2(scale[r] * (byte_plus_2_23(scale_bytes[r][b / 4], b % 4) - 8388736.0f), 0);
    } else if constexpr (T == TileType::q4_1 || T == TileType::q5_1) {
      const uint32_t w = word(tile.header[r][b / 4], b % 4);
      return make_float2(half_bits(w & 0xffffu), -half_bits(w >> 16));
    } else {
      const uint32_t w = word(tile.header[r][0], b / 2);
      const float d = half_bits(b % 2 == 0 ? w & 0xffffu : w >> 16);
      return make_float2(d, d * static_cast<float>(value_offset(T)));
    }
  }
  /// The same for block 4 · h + t, t known to the lane alone: (scale, minimum, Q6_K's second
  /// scale).
  __device__ __forceinline__ float3 at_lane(const LaneTile<T>& tile, int r, int h, int t) const {
    if constexpr (T == TileType::q4_k || T == TileType::q5_k) {
      return make_float3(times_byte(scale[r], byte_at(scale_bytes[r][h], t)),
                         times_byte(minimum[r], byte_at(minimum_bytes[r][h], t)), 0);
    } else if constexpr (T == TileType::q6_k) {
      const uint32_t w = t < 2 ? scale_bytes[r][2 * h] : scale_bytes[r][2 * h + 1];
      const int first = t % 2 * 2;
      return make_float3(scale[r] * (byte_at(w, first) - 8388736.0f), 0,
                         scale[r] * (byte_at(w, first + 1) - 8388736.0f));
    } else if constexpr (T == TileType::q4_1 || T == TileType::q5_1) {
      const uint4 v = tile.header[r][h];
      const uint32_t w = t < 2 ? (t == 0 ? v.x : v.y) : (t == 2 ? v.z : v.w);
      return make_float3(half_bits(w & 0xffffu), -half_bits(w >> 16), 0);
    } else {
      const uint4 v = tile.header[r][0];
      const uint32_t w = t < 2 ? (h == 0 ? v.x : v.z) : (h == 0 ? v.y : v.w);
      const float d = half_bits(t % 2 == 0 ? w & 0xffffu : w >> 16);
      return make_float3(d, d * static_cast<float>(value_offset(T)), 0);
    }
  }
};

/// The A operand of block b of a tile: four registers of four int8.
template <TileType T>
__device__ __forceinline__ void unpack(const LaneTile<T>& tile, int b, uint32_t (&a)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (T == TileType::q8_0) {
      a[i] = word(tile.values[b], i);
    } else {
      a[i] = word(tile.values[b / 2], i) >> (b % 2 * 4) & 0x0f0f0f0fu;
      if constexpr (high_bits(T) == 1) {
        const uint32_t h = word(tile.high[0], i);
        a[i] |= (b < 4 ? h << (4 - b) : h >> (b - 4)) & 0x10101010u;
      } else if constexpr (high_bits(T) == 2) {
        const uint32_t h = word(tile.high[b / 4], i);
        const int s = b % 4 * 2;
        a[i] |= (s <= 4 ? h << (4 - s) : h >> (s - 4)) & 0x30303030u;
        a[i] = ((a[i] | 0x80808080u) - 0x20202020u) ^ 0x80808080u;  // bytes minus 32
      }
    }
  }
}

constexpr int kMagic =
    0x4B400000;  // 1.5 · 2^23 as a float: int sums below 2^22 ride in its mantissa
__device__ __forceinline__ float from_magic(int c) { return __int_as_float(c) - 12582912.0f; }

/// sum + scale · activation scale · products - minimum · activation sum, for one row and block.
template <TileType T>
__device__ __forceinline__ float block_sum_of(float2 w, float w1, int c0, int c1, float scale,
                                              float scaled_sum, float sum) {
  if constexpr (T == TileType::q6_k) {
    return fmaf(fmaf(w.x, from_magic(c0), w1 * from_magic(c1)), scale, sum);
  } else {
    sum = fmaf(w.x * scale, from_magic(c0), sum);
    if constexpr (T != TileType::q8_0) sum = fmaf(-w.y, scaled_sum, sum);
    return sum;
  }
}

/// Sums of one column tile are kept apart by b % 4, the block's place in its group of four; they
/// are joined at the end of a row. For one token the four places are the four lanes of a quad.
template <TileType T, bool kSingle>
struct Sums;

/// Up to 8 tokens: rows g, g + 8 × columns 2t, 2t + 1, for each place.
template <TileType T>
struct Sums<T, false> {
  float acc[4][4] = {};
  __device__ __forceinline__ void add(const LaneTile<T>& tile, const int8_t* values,
                                      const float2* scales, int lane) {
    RowScales<T> rows;
    rows.open(tile);
    const int t = lane % 4;
#pragma unroll
    for (int b = 0; b < 8; ++b) {
      const uint2 x = *reinterpret_cast<const uint2*>(values + b * 256 + lane * 8);
      const float4 s = *reinterpret_cast<const float4*>(scales + b * 8 + t * 2);
      uint32_t a[4];
      unpack<T>(tile, b, a);
      int c0[4] = {kMagic, kMagic, kMagic, kMagic}, c1[4] = {kMagic, kMagic, kMagic, kMagic};
      if constexpr (T == TileType::q6_k) {
        mma_s8_k16(c0, a[0], a[1], x.x);
        mma_s8_k16(c1, a[2], a[3], x.y);
      } else {
        mma_s8_k32(c0, a, x.x, x.y);
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float2 w0 = rows.at(tile, r, T == TileType::q6_k ? 2 * b : b);
        const float w1 = T == TileType::q6_k ? rows.at(tile, r, 2 * b + 1).x : 0;
        acc[b % 4][2 * r] =
            block_sum_of<T>(w0, w1, c0[2 * r], c1[2 * r], s.x, s.y, acc[b % 4][2 * r]);
        acc[b % 4][2 * r + 1] =
            block_sum_of<T>(w0, w1, c0[2 * r + 1], c1[2 * r + 1], s.z, s.w, acc[b % 4][2 * r + 1]);
      }
    }
  }
  /// [row g: columns 2t, 2t + 1; row g + 8: the same]
  __device__ __forceinline__ void take(float (&out)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = (acc[0][i] + acc[1][i]) + (acc[2][i] + acc[3][i]);
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[j][i] = 0;
    }
  }
};

/// One token. Block b's activations stand in column 2 · (b % 4) of B and zeros elsewhere, so that
/// four products pile up in one C without meeting: lane t of a quad then holds the sums of block
/// b % 4 = t, and scales are worked out once for four blocks.
template <TileType T>
struct Sums<T, true> {
  float acc[2] = {};
  __device__ __forceinline__ void add(const LaneTile<T>& tile, const int8_t* values,
                                      const float2* scales, int lane) {
    RowScales<T> rows;
    rows.open(tile);
    const int t = lane % 4, g = lane / 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint2 x = *reinterpret_cast<const uint2*>(values + (h * 4 + g / 2) * 32 + t * 8);
      const float2 s = scales[h * 4 + t];
      int c0[4] = {kMagic, kMagic, kMagic, kMagic}, c1[4] = {kMagic, kMagic, kMagic, kMagic};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint2 own = g == 2 * j ? x : make_uint2(0, 0);
        uint32_t a[4];
        unpack<T>(tile, h * 4 + j, a);
        if constexpr (T == TileType::q6_k) {
          mma_s8_k16(c0, a[0], a[1], own.x);
          mma_s8_k16(c1, a[2], a[3], own.y);
        } else {
          mma_s8_k32(c0, a, own.x, own.y);
        }
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float3 w = rows.at_lane(tile, r, h, t);
        acc[r] =
            block_sum_of<T>(make_float2(w.x, w.y), w.z, c0[2 * r], c1[2 * r], s.x, s.y, acc[r]);
      }
    }
  }
  /// [row g, -, row g + 8, -], in every lane of the quad.
  __device__ __forceinline__ void take(float (&out)[4]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float v = acc[r];
      v += __shfl_xor_sync(~0u, v, 1);
      v += __shfl_xor_sync(~0u, v, 2);
      out[2 * r] = v;
      out[2 * r + 1] = 0;
      acc[r] = 0;
    }
  }
};

struct Params {
  MatmulArgs args;
  int32_t col_tiles;       // column tiles of a row tile
  int32_t first_item[4];   // items of target i: [first_item[i], first_item[i + 1])
  int32_t tiles_per_item;  // 1, or 2 where the epilogue joins two row tiles
};

/// The row tile that an item's part reads.
struct Part {
  int target, row_tile;
};
__device__ __forceinline__ Part part_of(const Params& p, int item, int part) {
  if (p.args.epilogue == Epilogue::silu_mul) return {part, item};
  int target = 0;
  while (target + 1 < p.args.n_targets && item >= p.first_item[target + 1]) ++target;
  const int i = item - p.first_item[target];
  if (p.tiles_per_item == 1) return {target, i};
  // Split rotary pairs: dimension d with d + head_dim / 2.
  const int half_tiles = p.args.kv.head_dim_k / 2 / kTileRows;
  return {target, i / half_tiles * 2 * half_tiles + i % half_tiles + part * half_tiles};
}

/// What happens to the sum of one row and token. `held` is the other tile's sum (tiles_per_item 2).
__device__ __forceinline__ void finish(const Params& p, Part part, int r, int column, float sum,
                                       float held) {
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
  // rope_kv. Rows of a head: q and k rotate in pairs, v is stored as it is.
  const int role = a.role[part.target];
  const int cell = (a.cell.device != nullptr ? *a.cell.device : a.cell.value) + column;
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

template <TileType T, bool kSingle>
__global__ void __launch_bounds__(kThreads, 2) matmul_kernel(const __grid_constant__ Params p) {
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
  int item = blockIdx.x, part = 0, step = 0;
  LaneTile<T> tile;
  const auto fetch = [&](LaneTile<T>& into, int at_item, int at_part, int at_step) {
    const int col_tile = at_step * kWarps + warp;
    if (at_item >= n_items || col_tile >= p.col_tiles) return;
    const Part w = part_of(p, at_item, at_part);
    into.load(p.args.target[w.target].tiles +
                  (static_cast<int64_t>(w.row_tile) * p.col_tiles + col_tile) * tile_bytes(T),
              lane);
  };
  fetch(tile, item, part, step);
  grid_wait();

  const int8_t* values = p.args.activations.values;
  const float2* scales = p.args.activations.scales;
  if constexpr (kSingle) {
    int8_t* own_values = reinterpret_cast<int8_t*>(shared);
    float2* own_scales = reinterpret_cast<float2*>(shared + p.col_tiles * kTileCols);
    quantize_row(p.args.x, p.args.norm, p.args.eps, p.args.cols, 0, 1, own_values, own_scales,
                 scratch);
    __syncthreads();
    values = own_values;
    scales = own_scales;
  }

  Sums<T, kSingle> lane_sums;
  float held = 0;
  int parity = 0;
  while (item < n_items) {
    int next_item = item, next_part = part, next_step = step + 1;
    if (next_step == steps) {
      next_step = 0;
      if (++next_part == p.tiles_per_item) {
        next_part = 0;
        next_item += gridDim.x;
      }
    }
    LaneTile<T> next;
    fetch(next, next_item, next_part, next_step);
    const int col_tile = step * kWarps + warp;
    if (col_tile < p.col_tiles)
      lane_sums.add(tile, values + static_cast<int64_t>(col_tile) * 8 * 32 * kWidth,
                    scales + col_tile * 8 * kWidth, lane);
    if (next_step == 0) {
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
        if (part + 1 < p.tiles_per_item) {
          held = sum;
        } else {
          finish(p, part_of(p, item, part), r, kSingle ? threadIdx.x / kTileRows : column, sum,
                 held);
        }
      }
      parity ^= 1;
    }
    tile = next;
    item = next_item;
    part = next_part;
    step = next_step;
  }
}

template <TileType T>
cudaError_t launch_type(const Launch& l, const Params& p) {
  const bool single = p.args.n_tokens == 1;
  const int grid = static_cast<int>(
      p.first_item[3] < 2 * l.multiprocessors ? p.first_item[3] : 2 * l.multiprocessors);
  const size_t shared =
      single ? static_cast<size_t>(p.col_tiles) * (kTileCols + 8 * sizeof(float2)) : 0;
  return single ? launch(l, matmul_kernel<T, true>, dim3(grid), dim3(kThreads), shared, p)
                : launch(l, matmul_kernel<T, false>, dim3(grid), dim3(kThreads), shared, p);
}

__global__ void __launch_bounds__(kRowThreads)
    quantize_kernel(const float* x, const float* norm, float eps, int cols, int n_tokens,
                    Activations out) {
  __shared__ float scratch[kWarps];
  launch_dependents();
  grid_wait();
  const int column = blockIdx.x;
  quantize_row(column < n_tokens ? x + static_cast<int64_t>(column) * cols : nullptr, norm, eps,
               cols, column, kMaxColumns, out.values, out.scales, scratch);
}

}  // namespace

cudaError_t quantize_rows(const Launch& l, const float* x, const float* norm, float eps, int cols,
                          int n_tokens, Activations out) {
  return launch(l, quantize_kernel, dim3(kMaxColumns), dim3(kRowThreads), 0, x, norm, eps, cols,
                n_tokens, out);
}

cudaError_t matmul_tiles(const Launch& l, const MatmulArgs& args) {
  Params p;
  p.args = args;
  p.col_tiles = static_cast<int32_t>(ceil_div(args.cols, kTileCols));
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
  switch (args.type) {
    case TileType::q4_0:
      return launch_type<TileType::q4_0>(l, p);
    case TileType::q4_1:
      return launch_type<TileType::q4_1>(l, p);
    case TileType::q5_0:
      return launch_type<TileType::q5_0>(l, p);
    case TileType::q5_1:
      return launch_type<TileType::q5_1>(l, p);
    case TileType::q8_0:
      return launch_type<TileType::q8_0>(l, p);
    case TileType::q4_k:
      return launch_type<TileType::q4_k>(l, p);
    case TileType::q5_k:
      return launch_type<TileType::q5_k>(l, p);
    case TileType::q6_k:
      return launch_type<TileType::q6_k>(l, p);
  }
  return cudaErrorInvalidValue;
}

}  // namespace cambium::engine::cuda
