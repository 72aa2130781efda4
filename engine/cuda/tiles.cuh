// Products of one column tile (16 rows x 256 columns) of quantized weights with int8 activations:
// what the matmul kernels do between loading a tile and adding up a row.
#pragma once

#include <type_traits>

#include "engine/cuda/device.cuh"
#include "engine/cuda/kernels.h"

namespace cambium::engine::cuda {

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

inline constexpr int kMagic =
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
    const int t = lane % 4;
    add(tile, [&](int b, uint2& x, float4& s) {
      x = *reinterpret_cast<const uint2*>(values + b * 256 + lane * 8);
      s = *reinterpret_cast<const float4*>(scales + b * 8 + t * 2);
    });
  }
  /// Each column's activations at a place of its own: `x` of column lane / 4, from its byte
  /// 8 · (lane % 4) on, `s0` and `s1` of columns 2t and 2t + 1.
  __device__ __forceinline__ void add_gathered(const LaneTile<T>& tile, const int8_t* x,
                                               const float2* s0, const float2* s1) {
    add(tile, [&](int b, uint2& v, float4& s) {
      v = *reinterpret_cast<const uint2*>(x + b * 32);
      const float2 first = s0[b], second = s1[b];
      s = make_float4(first.x, first.y, second.x, second.y);
    });
  }
  /// read(b, x, s): this lane's activations of block b, and the scales of its two columns.
  template <class Read>
  __device__ __forceinline__ void add(const LaneTile<T>& tile, Read&& read) {
    RowScales<T> rows;
    rows.open(tile);
#pragma unroll
    for (int b = 0; b < 8; ++b) {
      uint2 x;
      float4 s;
      read(b, x, s);
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

/// Where a team of warps is in its work: the item (rows of a result), which of the item's matrices, and which
/// step over the columns.
struct WorkPlace {
  int item, part = 0, step = 0;
  /// `stride`: to the next item of those who walk like this.
  __device__ __forceinline__ WorkPlace next(int parts, int steps, int stride) const {
    WorkPlace at{item, part, step + 1};
    if (at.step == steps) {
      at.step = 0;
      if (++at.part == parts) {
        at.part = 0;
        at.item += stride;
      }
    }
    return at;
  }
};

/// Calls f with the tile type as a constant.
#pragma nv_exec_check_disable  // f decides where it runs
template <class F>
__host__ __device__ inline cudaError_t with_type(TileType type, F&& f) {
  using enum TileType;
  switch (type) {
    case q4_0:
      return f(std::integral_constant<TileType, q4_0>());
    case q4_1:
      return f(std::integral_constant<TileType, q4_1>());
    case q5_0:
      return f(std::integral_constant<TileType, q5_0>());
    case q5_1:
      return f(std::integral_constant<TileType, q5_1>());
    case q8_0:
      return f(std::integral_constant<TileType, q8_0>());
    case q4_k:
      return f(std::integral_constant<TileType, q4_k>());
    case q5_k:
      return f(std::integral_constant<TileType, q5_k>());
    case q6_k:
      return f(std::integral_constant<TileType, q6_k>());
  }
  return cudaErrorInvalidValue;
}

}  // namespace cambium::engine::cuda
