// GGML's quantized blocks, bit for bit as they stand in a GGUF file. `d`, `m`, `dmin` are binary16.
// Everything little-endian; structs are packed by their own member order (no padding occurs).
#pragma once

#include <cstdint>

namespace cambium::engine::cpu {

/// w = d·(q − 8); q[j] low nibble is element j, high nibble element j + 16.
struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[16];
};
/// w = d·q + m
struct BlockQ4_1 {
  uint16_t d, m;
  uint8_t qs[16];
};
/// w = d·(q − 16); bit j of qh is the fifth bit of element j.
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
struct BlockQ5_1 {
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
/// w = d·q
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
/// 16 sub-blocks of 16: w = d·(scales & 15)·q − dmin·(scales >> 4)
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d, dmin;
};
/// 16 sub-blocks of 16, 6-bit scales: w = d·(scale − 32)·(q − 4·!high bit)
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
/// 8 sub-blocks of 32, 6-bit scales and minima: w = d·scale·q − dmin·min
struct BlockQ4_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
struct BlockQ5_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
/// 16 sub-blocks of 16: w = d·scale·(q − 32)
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
/// w = d·table[q]
struct BlockIQ4_NL {
  uint16_t d;
  uint8_t qs[16];
};
/// 8 sub-blocks of 32: w = d·(scale − 32)·table[q]
struct BlockIQ4_XS {
  uint16_t d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 &&
              sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84 &&
              sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 &&
              sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136);

/// The 16 levels of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

/// 6-bit scale and minimum j (0..7) of a Q4_K or Q5_K block's 12 packed bytes.
struct ScaleMin {
  uint8_t scale, min;
};
inline ScaleMin scale_min_k4(const uint8_t* s, int j) {
  if (j < 4) {
    return {static_cast<uint8_t>(s[j] & 63), static_cast<uint8_t>(s[j + 4] & 63)};
  }
  return {static_cast<uint8_t>((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4)),
          static_cast<uint8_t>((s[j + 4] >> 4) | ((s[j] >> 6) << 4))};
}

}  // namespace cambium::engine::cpu
