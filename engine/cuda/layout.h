// How quantized weights lie in device memory.
//
// A weight is cut into tiles of 16 rows × 256 columns, [row tile][column tile], each tile
// contiguous. Inside, values stand in the order in which the lanes of a warp want them as the A
// operand of the tensor core's m16n8k32 int8 product, so that a lane's share of 64 columns (4 bits)
// or 32 columns (8 bits) is one 16-byte load and unpacking is a mask and a shift:
//
//   lane = 4·(row % 8) + t     t = (k % 16) / 4, byte j = k % 4
//   word i = (row / 8) + 2·((k % 32) / 16)
//
//   [ header 16 rows | high bits | values ]
//
// values, 4 bits: [64-column group 0..3][lane][word i], low nibbles the first 32 columns
// values, 8 bits: [32-column block 0..7][lane][word i]
// high bits, 1 a value: [lane][word i], bit b of byte j belongs to block b
// high bits, 2 a value: [half 0..1][lane][word i], bits 2·(b % 4) of byte j, half = b / 4
// header: per row the scales of 8 blocks of 32 (16 blocks of 16 for Q6_K), in GGUF's own precision.
//
// Sizes equal GGUF's to the byte, except where a row is padded to 256 columns. The functions below
// run on the host too, which is how the tests check the layout without a device.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "engine/host_device.h"
#include "engine/tensor.h"

namespace cambium::engine::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kTileCols = 256;

enum class TileType : uint8_t { q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k };
inline constexpr int kTileTypes = 8;

/// Bits of a value kept outside the plane of 4 (or 8) bits.
CAMBIUM_HD constexpr int high_bits(TileType t) {
  return t == TileType::q5_0 || t == TileType::q5_1 || t == TileType::q5_k ? 1
         : t == TileType::q6_k                                             ? 2
                                                                           : 0;
}
CAMBIUM_HD constexpr int header_bytes(TileType t) {
  return t == TileType::q4_1 || t == TileType::q5_1 ? 16 * 32
         : t == TileType::q6_k                      ? 16 * 18
                                                    : 16 * 16;
}
CAMBIUM_HD constexpr int high_bytes(TileType t) { return 512 * high_bits(t); }
CAMBIUM_HD constexpr int value_bytes(TileType t) { return t == TileType::q8_0 ? 4096 : 2048; }
CAMBIUM_HD constexpr int tile_bytes(TileType t) {
  return header_bytes(t) + high_bytes(t) + value_bytes(t);
}
/// What is subtracted from a stored value, in units of its scale.
CAMBIUM_HD constexpr int value_offset(TileType t) {
  return t == TileType::q4_0 ? 8 : t == TileType::q5_0 ? 16 : t == TileType::q6_k ? 32 : 0;
}

/// GGUF types that have a tile type; false for the others (F32, F16, BF16, Q2_K, ...).
CAMBIUM_HD inline bool tile_type(DType type, TileType* out) {
  switch (type) {
    case DType::q4_0:
      *out = TileType::q4_0;
      return true;
    case DType::q4_1:
      *out = TileType::q4_1;
      return true;
    case DType::q5_0:
      *out = TileType::q5_0;
      return true;
    case DType::q5_1:
      *out = TileType::q5_1;
      return true;
    case DType::q8_0:
      *out = TileType::q8_0;
      return true;
    case DType::iq4_nl:
      *out = TileType::q8_0;
      return true;
    case DType::q4_k:
      *out = TileType::q4_k;
      return true;
    case DType::q5_k:
      *out = TileType::q5_k;
      return true;
    case DType::q6_k:
      *out = TileType::q6_k;
      return true;
    case DType::q3_k:
      *out = TileType::q6_k;
      return true;
    default:
      return false;
  }
}

CAMBIUM_HD constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---------------------------------------------------------------------------------------------
// Reading GGUF's blocks. `row` is the first byte of a row in the file.

/// Bytes and elements of a GGUF block of the types above.
CAMBIUM_HD constexpr int raw_block_bytes(DType t) {
  return t == DType::q4_0 || t == DType::iq4_nl ? 18
         : t == DType::q4_1                     ? 20
         : t == DType::q5_0                     ? 22
         : t == DType::q5_1                     ? 24
         : t == DType::q8_0                     ? 34
         : t == DType::q3_k                     ? 110
         : t == DType::q4_k                     ? 144
         : t == DType::q5_k                     ? 176
         : t == DType::q6_k                     ? 210
                                                : 0;
}
CAMBIUM_HD constexpr int raw_block_elements(DType t) {
  return t == DType::q3_k || t == DType::q4_k || t == DType::q5_k || t == DType::q6_k ? 256 : 32;
}

/// The integer a GGUF row stores at column k, before any offset is taken off (int8 as its byte).
CAMBIUM_HD inline uint32_t raw_level(DType type, const uint8_t* row, int64_t k) {
  const uint8_t* b = row + k / raw_block_elements(type) * raw_block_bytes(type);
  const int e = static_cast<int>(k % raw_block_elements(type));
  const int nibble_byte = e % 16, nibble_shift = e < 16 ? 0 : 4;  // blocks of 32
  switch (type) {
    case DType::q4_0:
      return b[2 + nibble_byte] >> nibble_shift & 15u;
    case DType::q4_1:
      return b[4 + nibble_byte] >> nibble_shift & 15u;
    case DType::q5_0:
      return (b[6 + nibble_byte] >> nibble_shift & 15u) | (b[2 + e / 8] >> e % 8 & 1u) << 4;
    case DType::q5_1:
      return (b[8 + nibble_byte] >> nibble_shift & 15u) | (b[4 + e / 8] >> e % 8 & 1u) << 4;
    case DType::q8_0:
      return b[2 + e];
    case DType::iq4_nl: {
      const int8_t values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
      return static_cast<uint8_t>(values[b[2 + nibble_byte] >> nibble_shift & 15]);
    }
    case DType::q4_k:
      return b[16 + e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15u;
    case DType::q5_k:
      return (b[48 + e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15u) |
             (b[16 + e % 32] >> e / 32 & 1u) << 4;
    case DType::q6_k: {
      const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
      const uint32_t low = b[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15u;
      return low | (b[128 + half * 32 + l] >> quarter * 2 & 3u) << 4;
    }
    case DType::q3_k: {
      // Stored as 0..7 meaning -4..3; shifted to the 32-based values of a Q6_K tile.
      const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
      const uint32_t low = b[32 + half * 32 + l] >> quarter * 2 & 3u;
      const uint32_t high = b[l] >> (half * 4 + quarter) & 1u;
      return (low | high << 2) + 28u;
    }
    default:
      return 0;
  }
}

/// Scale of 16-column block j (0..15) of a Q3_K block: 6 bits, offset 32.
CAMBIUM_HD inline int8_t q3_k_scale(const uint8_t* scales, int j) {
  const uint32_t low = scales[j % 8] >> (j < 8 ? 0 : 4) & 15u;
  const uint32_t high = scales[8 + j % 4] >> (j / 4 * 2) & 3u;
  return static_cast<int8_t>(static_cast<int>(low | high << 4) - 32);
}

/// Word i of `lane` for the 64-column group (4-bit plane) or 32-column block (8-bit plane) `group`.
CAMBIUM_HD inline void lane_place(int lane, int i, int byte, int* row, int* k) {
  *row = lane / 4 + 8 * (i & 1);
  *k = (i >> 1) * 16 + (lane % 4) * 4 + byte;
}

/// Writes lane `lane`'s part (0..31) of tile (row_tile, col_tile) of a weight. Rows and columns
/// past the end become zeros with scale zero.
CAMBIUM_HD inline void repack_lane(DType source, TileType t, const uint8_t* raw, int64_t row_bytes,
                                   int64_t rows, int64_t cols, int64_t row_tile, int64_t col_tile,
                                   int lane, uint8_t* tile) {
  uint32_t* high = reinterpret_cast<uint32_t*>(tile + header_bytes(t));
  uint32_t* values = reinterpret_cast<uint32_t*>(tile + header_bytes(t) + high_bytes(t));
  const int64_t row0 = row_tile * kTileRows, col0 = col_tile * kTileCols;
  for (int i = 0; i < 4; ++i) {
    uint32_t high_words[2] = {0, 0};
    uint32_t value_words[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int byte = 0; byte < 4; ++byte) {
      int r, kk;
      lane_place(lane, i, byte, &r, &kk);
      if (row0 + r >= rows) continue;
      const uint8_t* row = raw + (row0 + r) * row_bytes;
      for (int b = 0; b < 8; ++b) {
        const int64_t k = col0 + b * 32 + kk;
        if (k >= cols) break;
        const uint32_t level = raw_level(source, row, k);
        if (t == TileType::q8_0) {
          value_words[b] |= level << 8 * byte;
        } else {
          value_words[b / 2] |= (level & 15u) << (8 * byte + 4 * (b % 2));
          if (high_bits(t) == 1) high_words[0] |= (level >> 4 & 1u) << (8 * byte + b);
          if (high_bits(t) == 2) high_words[b / 4] |= (level >> 4 & 3u) << (8 * byte + 2 * (b % 4));
        }
      }
    }
    const int groups = t == TileType::q8_0 ? 8 : 4;
    for (int g = 0; g < groups; ++g) values[(g * 32 + lane) * 4 + i] = value_words[g];
    for (int p = 0; p < high_bits(t); ++p) high[(p * 32 + lane) * 4 + i] = high_words[p];
  }
  if (lane >= kTileRows) return;

  // The header of row `lane`, 16-bit words so that nothing depends on alignment in the file.
  const bool present = row0 + lane < rows;
  const uint8_t* row = raw + (present ? (row0 + lane) * row_bytes : 0);
  const auto copy = [](uint8_t* to, const uint8_t* from, int n, bool valid) {
    for (int i = 0; i < n; ++i) to[i] = valid ? from[i] : 0;
  };
  const bool super_block = raw_block_elements(source) == 256;
  const uint8_t* block = row + col0 / 256 * (super_block ? raw_block_bytes(source) : 0);
  if (t == TileType::q4_k || t == TileType::q5_k) {
    copy(tile + lane * 16, block, 16, present);
  } else if (t == TileType::q6_k) {
    if (source == DType::q6_k) {
      copy(tile + lane * 16, block + 192, 16, present);
      copy(tile + 256 + lane * 2, block + 208, 2, present);
    } else {
      for (int j = 0; j < 16; ++j)
        tile[lane * 16 + j] = present ? static_cast<uint8_t>(q3_k_scale(block + 96, j)) : 0;
      copy(tile + 256 + lane * 2, block + 108, 2, present);
    }
  } else {
    const int n = t == TileType::q4_1 || t == TileType::q5_1 ? 4 : 2;
    for (int b = 0; b < 8; ++b) {
      const int64_t k = col0 + b * 32;
      const bool valid = present && k < cols;
      copy(tile + (lane * 8 + b) * n, row + (valid ? k / 32 * raw_block_bytes(source) : 0), n,
           valid);
    }
  }
}

// ---------------------------------------------------------------------------------------------
// Reading tiles element by element: embeddings, prefill's dequantization, tests.

/// weight = scale · value - minimum of the block that holds row r (0..15), column k (0..255).
struct BlockScale {
  float scale, minimum;
};

CAMBIUM_HD inline float half_at(const uint8_t* p) {
  return __half2float(*reinterpret_cast<const __half*>(p));
}

CAMBIUM_HD inline BlockScale tile_scale(TileType t, const uint8_t* tile, int r, int k) {
  const int b = k / 32;
  switch (t) {
    case TileType::q4_k:
    case TileType::q5_k: {
      // Three words of packed scales after d and dmin; loaded whole, since a device loads a byte no
      // faster than a word.
      const uint8_t* h = tile + r * 16;
      const uint32_t* words = reinterpret_cast<const uint32_t*>(h + 4);
      const int shift = b % 4 * 8;
      const uint32_t s0 = words[0] >> shift, s1 = words[1] >> shift;
      uint32_t sc = s0 & 63u, mn = s1 & 63u;
      if (b >= 4) {
        const uint32_t s2 = words[2] >> shift;
        sc = (s2 & 15u) | (s0 >> 6 & 3u) << 4;
        mn = (s2 >> 4 & 15u) | (s1 >> 6 & 3u) << 4;
      }
      return {half_at(h) * static_cast<float>(sc), half_at(h + 2) * static_cast<float>(mn)};
    }
    case TileType::q6_k: {
      const float d = half_at(tile + 256 + r * 2) *
                      static_cast<float>(static_cast<int8_t>(tile[r * 16 + k / 16]));
      return {d, 32.0f * d};
    }
    case TileType::q4_1:
    case TileType::q5_1: {
      const uint8_t* h = tile + (r * 8 + b) * 4;
      return {half_at(h), -half_at(h + 2)};
    }
    default: {
      const float d = half_at(tile + (r * 8 + b) * 2);
      return {d, d * static_cast<float>(value_offset(t))};
    }
  }
}

/// The stored integer at row r, column k of a tile.
CAMBIUM_HD inline int tile_value(TileType t, const uint8_t* tile, int r, int k) {
  const int b = k / 32, lane = r % 8 * 4 + k % 16 / 4, i = r / 8 + k % 32 / 16 * 2, byte = k % 4;
  const uint8_t* high = tile + header_bytes(t);
  const uint8_t* values = high + high_bytes(t);
  if (t == TileType::q8_0) return static_cast<int8_t>(values[((b * 32 + lane) * 4 + i) * 4 + byte]);
  int v = values[((b / 2 * 32 + lane) * 4 + i) * 4 + byte] >> (b % 2 * 4) & 15;
  if (high_bits(t) == 1) v |= (high[(lane * 4 + i) * 4 + byte] >> b & 1) << 4;
  if (high_bits(t) == 2)
    v |= (high[((b / 4 * 32 + lane) * 4 + i) * 4 + byte] >> (b % 4 * 2) & 3) << 4;
  return v;
}

/// The stored integers at row r, columns k..k+3 (k a multiple of 4), a byte each.
CAMBIUM_HD inline uint32_t tile_word(TileType t, const uint8_t* tile, int r, int k) {
  const int b = k / 32, lane = r % 8 * 4 + k % 16 / 4, i = r / 8 + k % 32 / 16 * 2;
  const uint32_t* high = reinterpret_cast<const uint32_t*>(tile + header_bytes(t));
  const uint32_t* values =
      reinterpret_cast<const uint32_t*>(tile + header_bytes(t) + high_bytes(t));
  if (t == TileType::q8_0) return values[(b * 32 + lane) * 4 + i];
  uint32_t v = values[(b / 2 * 32 + lane) * 4 + i] >> (b % 2 * 4) & 0x0f0f0f0fu;
  if (high_bits(t) == 1) v |= (high[lane * 4 + i] >> b & 0x01010101u) << 4;
  if (high_bits(t) == 2) v |= (high[(b / 4 * 32 + lane) * 4 + i] >> (b % 4 * 2) & 0x03030303u) << 4;
  return v;
}

CAMBIUM_HD inline float tile_weight(TileType t, const uint8_t* tile, int r, int k) {
  const BlockScale s = tile_scale(t, tile, r, k);
  return s.scale * static_cast<float>(tile_value(t, tile, r, k)) - s.minimum;
}

}  // namespace cambium::engine::cuda
