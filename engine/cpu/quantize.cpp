#include "engine/cpu/quantize.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "engine/cpu/blocks.h"
#include "engine/cpu/half.h"

namespace cambium::engine::cpu {
namespace {

int nearest(float v) { return static_cast<int>(std::lrint(v)); }

float inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/// Value of largest magnitude, with its sign.
float extreme(const float* x, int n) {
  float best = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(best)) best = x[i];
  }
  return best;
}

/// A scale s for x ≈ s·q with q in [-n_max, n_max - 1], by least squares over a few candidate
/// roundings around the one that maps the extreme to an end of the range. Weights are x², which
/// favours what matters in a dot product. Writes q + n_max to `q`.
float fit_symmetric(const float* x, int n, int n_max, uint8_t* q) {
  const float top = extreme(x, n);
  if (std::fabs(top) < 1e-15f) {
    std::fill(q, q + n, static_cast<uint8_t>(n_max));  // level 0
    return 0;
  }
  float best_scale = 0, best_gain = -1;
  for (int step = -9; step <= 9; ++step) {
    const float to_level = -(static_cast<float>(n_max) + 0.1f * static_cast<float>(step)) / top;
    float xq = 0, qq = 0;
    for (int i = 0; i < n; ++i) {
      const auto l = static_cast<float>(std::clamp(nearest(to_level * x[i]), -n_max, n_max - 1));
      const float w = x[i] * x[i];
      xq += w * x[i] * l;
      qq += w * l * l;
    }
    // Error is const − xq²/qq at the best scale xq/qq: the largest gain wins.
    if (qq > 0 && xq * xq > best_gain * qq) {
      best_gain = xq * xq / qq;
      best_scale = xq / qq;
    }
  }
  const float to_level = inverse(best_scale);
  for (int i = 0; i < n; ++i) {
    q[i] = static_cast<uint8_t>(std::clamp(nearest(to_level * x[i]), -n_max, n_max - 1) + n_max);
  }
  return best_scale;
}

struct Affine {
  float scale, min;  // x ≈ scale·q − min, both >= 0
};

/// Scale and minimum for x ≈ scale·q − min with q in [0, q_max]: candidate spans, each refined by
/// weighted least squares in both unknowns.
Affine fit_affine(const float* x, int n, int q_max) {
  float low = x[0], high = x[0], square = 0;
  for (int i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    square += x[i] * x[i];
  }
  low = std::min(low, 0.0f);  // min is stored unsigned
  if (high <= low) return {0, -low};
  const float typical = std::sqrt(square / static_cast<float>(n));
  Affine best{(high - low) / static_cast<float>(q_max), -low};
  float best_error = FLT_MAX;
  const auto try_candidate = [&](Affine c) {
    if (!(c.scale > 0)) return;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const int q = std::clamp(nearest((x[i] + c.min) / c.scale), 0, q_max);
      const float e = c.scale * static_cast<float>(q) - c.min - x[i];
      error += (typical + std::fabs(x[i])) * e * e;
    }
    if (error < best_error) {
      best_error = error;
      best = c;
    }
  };
  try_candidate(best);
  for (int step = -8; step <= 10; ++step) {
    const float levels = static_cast<float>(q_max) + 0.1f * static_cast<float>(step);
    const float to_level = levels / (high - low);
    float sw = 0, sx = 0, sq = 0, sqq = 0, sxq = 0;
    for (int i = 0; i < n; ++i) {
      const auto q = static_cast<float>(std::clamp(nearest(to_level * (x[i] - low)), 0, q_max));
      const float w = typical + std::fabs(x[i]);
      sw += w;
      sx += w * x[i];
      sq += w * q;
      sqq += w * q * q;
      sxq += w * x[i] * q;
    }
    const float det = sw * sqq - sq * sq;
    if (det <= 0) continue;
    Affine c{(sw * sxq - sx * sq) / det, -(sqq * sx - sq * sxq) / det};
    if (c.min < 0) c = {sqq > 0 ? sxq / sqq : 0, 0};
    try_candidate(c);
  }
  return best;
}

void quantize(const float* x, BlockQ4_0& b) {
  uint8_t q[32];
  b.d = float_to_half(fit_symmetric(x, 32, 8, q));
  for (int j = 0; j < 16; ++j) b.qs[j] = static_cast<uint8_t>(q[j] | q[j + 16] << 4);
}

void pack_five_bits(const uint8_t* q, uint8_t* qs, uint8_t* qh) {
  std::memset(qh, 0, 4);
  for (int j = 0; j < 16; ++j) {
    qs[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
  }
  for (int j = 0; j < 32; ++j) {
    qh[j / 8] = static_cast<uint8_t>(qh[j / 8] | (q[j] >> 4) << (j % 8));
  }
}

void quantize(const float* x, BlockQ5_0& b) {
  uint8_t q[32];
  b.d = float_to_half(fit_symmetric(x, 32, 16, q));
  pack_five_bits(q, b.qs, b.qh);
}

/// Q4_1 and Q5_1: min and max of the block are levels; the minimum may have either sign.
void levels_from_range(const float* x, int q_max, uint16_t& d, uint16_t& m, uint8_t* q) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  d = float_to_half((*high - *low) / static_cast<float>(q_max));
  m = float_to_half(*low);
  const float to_level = inverse(half_to_float(d)), base = half_to_float(m);
  for (int j = 0; j < 32; ++j) {
    q[j] = static_cast<uint8_t>(std::clamp(nearest((x[j] - base) * to_level), 0, q_max));
  }
}

void quantize(const float* x, BlockQ4_1& b) {
  uint8_t q[32];
  levels_from_range(x, 15, b.d, b.m, q);
  for (int j = 0; j < 16; ++j) b.qs[j] = static_cast<uint8_t>(q[j] | q[j + 16] << 4);
}

void quantize(const float* x, BlockQ5_1& b) {
  uint8_t q[32];
  levels_from_range(x, 31, b.d, b.m, q);
  pack_five_bits(q, b.qs, b.qh);
}

void quantize(const float* x, BlockQ8_0& b) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f;
  b.d = float_to_half(d);
  const float to_level = inverse(d);
  for (int j = 0; j < 32; ++j) b.qs[j] = static_cast<int8_t>(nearest(x[j] * to_level));
}

/// Sub-block scales and minima as integers of at most `top`, and their two common factors.
struct SuperScales {
  uint16_t d, dmin;
  std::array<uint8_t, 16> scale, min;
};

/// Fits every sub-block of `n` elements, rounds scales and minima to [0, top], then rounds x under
/// what the file will hold.
template <int n>
SuperScales fit_super_affine(const float* x, int q_max, int top, uint8_t* q) {
  constexpr int kSubs = 256 / n;
  std::array<Affine, kSubs> fit;
  float top_scale = 0, top_min = 0;
  for (int j = 0; j < kSubs; ++j) {
    fit[static_cast<size_t>(j)] = fit_affine(x + j * n, n, q_max);
    top_scale = std::max(top_scale, fit[static_cast<size_t>(j)].scale);
    top_min = std::max(top_min, fit[static_cast<size_t>(j)].min);
  }
  SuperScales s{float_to_half(top_scale / static_cast<float>(top)),
                float_to_half(top_min / static_cast<float>(top)),
                {},
                {}};
  const float d = half_to_float(s.d), dmin = half_to_float(s.dmin);
  for (size_t j = 0; j < kSubs; ++j) {
    s.scale[j] = static_cast<uint8_t>(std::clamp(nearest(fit[j].scale * inverse(d)), 0, top));
    s.min[j] = static_cast<uint8_t>(std::clamp(nearest(fit[j].min * inverse(dmin)), 0, top));
    const float to_level = inverse(d * static_cast<float>(s.scale[j]));
    const float min = dmin * static_cast<float>(s.min[j]);
    for (size_t i = j * n; i < (j + 1) * n; ++i) {
      q[i] = static_cast<uint8_t>(std::clamp(nearest((x[i] + min) * to_level), 0, q_max));
    }
  }
  return s;
}

void pack_scales_k4(const SuperScales& s, uint8_t* out) {
  for (size_t j = 0; j < 4; ++j) {
    out[j] = static_cast<uint8_t>(s.scale[j] | (s.scale[j + 4] >> 4) << 6);
    out[j + 4] = static_cast<uint8_t>(s.min[j] | (s.min[j + 4] >> 4) << 6);
    out[j + 8] = static_cast<uint8_t>((s.scale[j + 4] & 15) | (s.min[j + 4] & 15) << 4);
  }
}

void quantize(const float* x, BlockQ2_K& b) {
  uint8_t q[256];
  const SuperScales s = fit_super_affine<16>(x, 3, 15, q);
  b.d = s.d;
  b.dmin = s.dmin;
  for (size_t j = 0; j < 16; ++j) b.scales[j] = static_cast<uint8_t>(s.scale[j] | s.min[j] << 4);
  std::memset(b.qs, 0, sizeof(b.qs));
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = b.qs[i / 128 * 32 + i % 32];
    byte = static_cast<uint8_t>(byte | q[i] << (i % 128 / 32 * 2));
  }
}

void quantize(const float* x, BlockQ4_K& b) {
  uint8_t q[256];
  const SuperScales s = fit_super_affine<32>(x, 15, 63, q);
  b.d = s.d;
  b.dmin = s.dmin;
  pack_scales_k4(s, b.scales);
  for (int i = 0; i < 128; ++i) {
    const int from = i / 32 * 64 + i % 32;
    b.qs[i] = static_cast<uint8_t>(q[from] | q[from + 32] << 4);
  }
}

void quantize(const float* x, BlockQ5_K& b) {
  uint8_t q[256];
  const SuperScales s = fit_super_affine<32>(x, 31, 63, q);
  b.d = s.d;
  b.dmin = s.dmin;
  pack_scales_k4(s, b.scales);
  std::memset(b.qh, 0, sizeof(b.qh));
  for (int i = 0; i < 128; ++i) {
    const int from = i / 32 * 64 + i % 32;
    b.qs[i] = static_cast<uint8_t>((q[from] & 15) | (q[from + 32] & 15) << 4);
  }
  for (int i = 0; i < 256; ++i) {
    b.qh[i % 32] = static_cast<uint8_t>(b.qh[i % 32] | (q[i] >> 4) << (i / 32));
  }
}

/// Q3_K and Q6_K: 16 sub-blocks of 16 with signed integer scales in [-top, top - 1]. Writes level +
/// n_max to q and the integer scales; returns their common factor.
uint16_t fit_super_symmetric(const float* x, int n_max, int top, int* scale, uint8_t* q) {
  float fit[16];
  for (int j = 0; j < 16; ++j) fit[j] = fit_symmetric(x + j * 16, 16, n_max, q + j * 16);
  const float widest = extreme(fit, 16);
  // The widest scale becomes -top, the end of the range that has one level more.
  const uint16_t d = float_to_half(widest / static_cast<float>(-top));
  const float common = half_to_float(d);
  for (int j = 0; j < 16; ++j) {
    scale[j] = std::clamp(nearest(fit[j] * inverse(common)), -top, top - 1);
    const float to_level = inverse(common * static_cast<float>(scale[j]));
    for (int i = j * 16; i < (j + 1) * 16; ++i) {
      q[i] = static_cast<uint8_t>(std::clamp(nearest(x[i] * to_level), -n_max, n_max - 1) + n_max);
    }
  }
  return d;
}

void quantize(const float* x, BlockQ3_K& b) {
  uint8_t q[256];
  int scale[16];
  b.d = fit_super_symmetric(x, 4, 32, scale, q);
  std::memset(&b, 0, offsetof(BlockQ3_K, d));
  for (int j = 0; j < 16; ++j) {
    const int s = scale[j] + 32;
    b.scales[j % 8] = static_cast<uint8_t>(b.scales[j % 8] | (s & 15) << (j / 8 * 4));
    b.scales[8 + j % 4] = static_cast<uint8_t>(b.scales[8 + j % 4] | (s >> 4) << (j / 4 * 2));
  }
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = b.qs[i / 128 * 32 + i % 32];
    byte = static_cast<uint8_t>(byte | (q[i] & 3) << (i % 128 / 32 * 2));
    b.hmask[i % 32] = static_cast<uint8_t>(b.hmask[i % 32] | (q[i] >> 2) << (i / 32));
  }
}

void quantize(const float* x, BlockQ6_K& b) {
  uint8_t q[256];
  int scale[16];
  b.d = fit_super_symmetric(x, 32, 128, scale, q);
  for (int j = 0; j < 16; ++j) b.scales[j] = static_cast<int8_t>(scale[j]);
  std::memset(b.ql, 0, sizeof(b.ql));
  std::memset(b.qh, 0, sizeof(b.qh));
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, r = i % 128;
    uint8_t& low = b.ql[half * 64 + r % 64];
    uint8_t& high = b.qh[half * 32 + r % 32];
    low = static_cast<uint8_t>(low | (q[i] & 15) << (r / 64 * 4));
    high = static_cast<uint8_t>(high | (q[i] >> 4) << (r / 32 * 2));
  }
}

void quantize(const float* x, BlockIQ4_NL& b) {
  // The largest magnitude becomes level 0 (-127): then the other sign reaches 113 of 127.
  const float d = extreme(x, 32) / -127.0f;
  b.d = float_to_half(d);
  const float to_level = inverse(half_to_float(b.d));
  const auto level = [&](float v) {
    const float target = v * to_level;
    int best = 0;
    for (int l = 1; l < 16; ++l) {
      if (std::fabs(target - static_cast<float>(kIq4Levels[l])) <
          std::fabs(target - static_cast<float>(kIq4Levels[best]))) {
        best = l;
      }
    }
    return best;
  };
  for (int j = 0; j < 16; ++j) b.qs[j] = static_cast<uint8_t>(level(x[j]) | level(x[j + 16]) << 4);
}

template <class Block, int kElements>
size_t quantize_blocks(const float* x, void* out, int64_t n) {
  auto* bytes = static_cast<std::byte*>(out);
  for (int64_t i = 0; i < n; i += kElements) {
    Block block;
    quantize(x + i, block);
    std::memcpy(bytes, &block, sizeof(Block));
    bytes += sizeof(Block);
  }
  return static_cast<size_t>(bytes - static_cast<std::byte*>(out));
}

template <uint16_t (*kConvert)(float)>
size_t narrow(const float* x, void* out, int64_t n) {
  auto* bytes = static_cast<std::byte*>(out);
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t h = kConvert(x[i]);
    std::memcpy(bytes + i * 2, &h, 2);
  }
  return static_cast<size_t>(n) * 2;
}

}  // namespace

bool can_quantize(DType type) { return type_traits(type) != nullptr && type != DType::iq4_xs; }

size_t quantize_row(DType type, const float* x, void* out, int64_t n) {
  switch (type) {
    case DType::f32:
      std::memcpy(out, x, static_cast<size_t>(n) * 4);
      return static_cast<size_t>(n) * 4;
    case DType::f16:
      return narrow<float_to_half>(x, out, n);
    case DType::bf16:
      return narrow<float_to_bfloat>(x, out, n);
    case DType::q4_0:
      return quantize_blocks<BlockQ4_0, 32>(x, out, n);
    case DType::q4_1:
      return quantize_blocks<BlockQ4_1, 32>(x, out, n);
    case DType::q5_0:
      return quantize_blocks<BlockQ5_0, 32>(x, out, n);
    case DType::q5_1:
      return quantize_blocks<BlockQ5_1, 32>(x, out, n);
    case DType::q8_0:
      return quantize_blocks<BlockQ8_0, 32>(x, out, n);
    case DType::q2_k:
      return quantize_blocks<BlockQ2_K, 256>(x, out, n);
    case DType::q3_k:
      return quantize_blocks<BlockQ3_K, 256>(x, out, n);
    case DType::q4_k:
      return quantize_blocks<BlockQ4_K, 256>(x, out, n);
    case DType::q5_k:
      return quantize_blocks<BlockQ5_K, 256>(x, out, n);
    case DType::q6_k:
      return quantize_blocks<BlockQ6_K, 256>(x, out, n);
    case DType::iq4_nl:
      return quantize_blocks<BlockIQ4_NL, 32>(x, out, n);
    case DType::iq4_xs:
      return 0;
  }
  return 0;
}

}  // namespace cambium::engine::cpu
