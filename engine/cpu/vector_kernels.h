// Element-wise ops and row norms for the instruction set of the including file.
#pragma once

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd.h"

namespace cambium::engine::cpu::CAMBIUM_SIMD {

/// e^x to about 1 ulp·2: e^x = 2^n · e^r with |r| <= ln2 / 2, e^r by a polynomial of degree 6.
/// Exactly 0 below −87 (so that a masked score of −infinity weighs nothing), saturated above 88.
inline F exp(F x) {
  const F floor = set1(-87.0f);
  const M counts = greater(x, floor);
  const F clamped = min(max(x, floor), set1(88.0f));
  const F n = round(mul(clamped, set1(1.44269504f)));
  F r = fnma(n, set1(0.693359375f), clamped);  // ln2 in two parts: the first is exact times n
  r = fnma(n, set1(-2.12194440e-4f), r);
  F p = set1(1.0f / 720);
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  return select(counts, scale_by_power(p, n), zero());
}

inline void rms_norm(const float* x, const float* w, float eps, int32_t n_rows, int64_t n_cols,
                     float* y) {
  for (int32_t r = 0; r < n_rows; ++r, x += n_cols, y += n_cols) {
    F sums[4] = {zero(), zero(), zero(), zero()};
    int64_t c = 0;
    for (; c + 4 * kLanes <= n_cols; c += 4 * kLanes) {
      for (int i = 0; i < 4; ++i) {
        const F v = load(x + c + i * kLanes);
        sums[i] = fma(v, v, sums[i]);
      }
    }
    for (; c < n_cols; c += kLanes) {
      const int64_t n = n_cols - c < kLanes ? n_cols - c : kLanes;
      const F v = load_n(x + c, static_cast<int>(n));
      sums[0] = fma(v, v, sums[0]);
    }
    const float sum = reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
    const F inverse = set1(1.0f / __builtin_sqrtf(sum / static_cast<float>(n_cols) + eps));
    for (c = 0; c + kLanes <= n_cols; c += kLanes) {
      store(y + c, mul(mul(load(x + c), inverse), load(w + c)));
    }
    if (c < n_cols) {
      const int n = static_cast<int>(n_cols - c);
      store_n(y + c, mul(mul(load_n(x + c, n), inverse), load_n(w + c, n)), n);
    }
  }
}

inline F silu_mul(F gate, F up) {
  return mul(div(gate, add(set1(1.0f), exp(sub(zero(), gate)))), up);
}

inline void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, silu_mul(load(gate + i), load(up + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_n(y + i, silu_mul(load_n(gate + i, rest), load_n(up + i, rest)), rest);
  }
}

inline void add(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, add(load(y + i), load(x + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_n(y + i, add(load_n(y + i, rest), load_n(x + i, rest)), rest);
  }
}

}  // namespace cambium::engine::cpu::CAMBIUM_SIMD
