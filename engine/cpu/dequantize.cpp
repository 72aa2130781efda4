#include <cstring>

#include "engine/cpu/blocks.h"
#include "engine/cpu/half.h"
#include "engine/cpu/quantize.h"

namespace cambium::engine::cpu {
namespace {

void dequantize(const BlockQ4_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>((b.qs[j] & 15) - 8);
    y[j + 16] = d * static_cast<float>((b.qs[j] >> 4) - 8);
  }
}

void dequantize(const BlockQ4_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(b.qs[j] & 15) + m;
    y[j + 16] = d * static_cast<float>(b.qs[j] >> 4) + m;
  }
}

int five_bits(const uint8_t* qs, const uint8_t* qh, int j) {
  const int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
  return low | ((qh[j / 8] >> (j % 8)) & 1) << 4;
}

void dequantize(const BlockQ5_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(five_bits(b.qs, b.qh, j) - 16);
}

void dequantize(const BlockQ5_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(five_bits(b.qs, b.qh, j)) + m;
}

void dequantize(const BlockQ8_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(b.qs[j]);
}

void dequantize(const BlockQ2_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {  // 128 elements share 32 bytes: 2 bits each, 32 apart
    const uint8_t sc = b.scales[i / 16];
    const int q = (b.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    y[i] = d * static_cast<float>(sc & 15) * static_cast<float>(q) -
           dmin * static_cast<float>(sc >> 4);
  }
}

void dequantize(const BlockQ3_K& b, float* y) {
  const float d = half_to_float(b.d);
  int scale[16];
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? b.scales[j] & 15 : b.scales[j - 8] >> 4;
    const int high = (b.scales[8 + j % 4] >> (j / 4 * 2)) & 3;
    scale[j] = (low | high << 4) - 32;
  }
  for (int i = 0; i < 256; ++i) {
    const int low = (b.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    const int high = (b.hmask[i % 32] >> (i / 32)) & 1;
    y[i] = d * static_cast<float>(scale[i / 16]) * static_cast<float>(low - (high != 0 ? 0 : 4));
  }
}

void dequantize(const BlockQ4_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {  // 64 elements share 32 bytes: low nibbles first
    const ScaleMin sm = scale_min_k4(b.scales, i / 32);
    const int q = (b.qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 15;
    y[i] = d * static_cast<float>(sm.scale) * static_cast<float>(q) -
           dmin * static_cast<float>(sm.min);
  }
}

void dequantize(const BlockQ5_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const ScaleMin sm = scale_min_k4(b.scales, i / 32);
    const int low = (b.qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 15;
    const int high = (b.qh[i % 32] >> (i / 32)) & 1;
    y[i] = d * static_cast<float>(sm.scale) * static_cast<float>(low | high << 4) -
           dmin * static_cast<float>(sm.min);
  }
}

void dequantize(const BlockQ6_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, r = i % 128;  // 128 elements: 64 bytes of nibbles, 32 of high bits
    const int low = (b.ql[half * 64 + r % 64] >> (r / 64 * 4)) & 15;
    const int high = (b.qh[half * 32 + r % 32] >> (r / 32 * 2)) & 3;
    y[i] = d * static_cast<float>(b.scales[i / 16]) * static_cast<float>((low | high << 4) - 32);
  }
}

void dequantize(const BlockIQ4_NL& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kIq4Levels[b.qs[j] & 15]);
    y[j + 16] = d * static_cast<float>(kIq4Levels[b.qs[j] >> 4]);
  }
}

void dequantize(const BlockIQ4_XS& b, float* y) {
  const float d = half_to_float(b.d);
  for (int ib = 0; ib < 8; ++ib) {
    const int low = (b.scales_l[ib / 2] >> (ib % 2 * 4)) & 15;
    const int high = (b.scales_h >> (2 * ib)) & 3;
    const float dl = d * static_cast<float>((low | high << 4) - 32);
    for (int j = 0; j < 16; ++j) {
      y[ib * 32 + j] = dl * static_cast<float>(kIq4Levels[b.qs[ib * 16 + j] & 15]);
      y[ib * 32 + j + 16] = dl * static_cast<float>(kIq4Levels[b.qs[ib * 16 + j] >> 4]);
    }
  }
}

template <class Block, int kElements>
void dequantize_blocks(const void* data, float* out, int64_t n) {
  const auto* bytes = static_cast<const std::byte*>(data);
  for (int64_t i = 0; i < n; i += kElements) {
    Block block;  // copied: rows of a mapped file need not be aligned
    std::memcpy(&block, bytes + i / kElements * sizeof(Block), sizeof(Block));
    dequantize(block, out + i);
  }
}

template <float (*kConvert)(uint16_t)>
void widen(const void* data, float* out, int64_t n) {
  const auto* bytes = static_cast<const std::byte*>(data);
  for (int64_t i = 0; i < n; ++i) {
    uint16_t h;
    std::memcpy(&h, bytes + i * 2, 2);
    out[i] = kConvert(h);
  }
}

}  // namespace

void dequantize_row(DType type, const void* data, float* out, int64_t n) {
  switch (type) {
    case DType::f32:
      std::memcpy(out, data, static_cast<size_t>(n) * 4);
      return;
    case DType::f16:
      return widen<half_to_float>(data, out, n);
    case DType::bf16:
      return widen<bfloat_to_float>(data, out, n);
    case DType::q4_0:
      return dequantize_blocks<BlockQ4_0, 32>(data, out, n);
    case DType::q4_1:
      return dequantize_blocks<BlockQ4_1, 32>(data, out, n);
    case DType::q5_0:
      return dequantize_blocks<BlockQ5_0, 32>(data, out, n);
    case DType::q5_1:
      return dequantize_blocks<BlockQ5_1, 32>(data, out, n);
    case DType::q8_0:
      return dequantize_blocks<BlockQ8_0, 32>(data, out, n);
    case DType::q2_k:
      return dequantize_blocks<BlockQ2_K, 256>(data, out, n);
    case DType::q3_k:
      return dequantize_blocks<BlockQ3_K, 256>(data, out, n);
    case DType::q4_k:
      return dequantize_blocks<BlockQ4_K, 256>(data, out, n);
    case DType::q5_k:
      return dequantize_blocks<BlockQ5_K, 256>(data, out, n);
    case DType::q6_k:
      return dequantize_blocks<BlockQ6_K, 256>(data, out, n);
    case DType::iq4_nl:
      return dequantize_blocks<BlockIQ4_NL, 32>(data, out, n);
    case DType::iq4_xs:
      return dequantize_blocks<BlockIQ4_XS, 256>(data, out, n);
  }
}

}  // namespace cambium::engine::cpu
