// AVX2 + FMA + F16C behind the vector names of the kernel headers; see simd_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define CAMBIUM_SIMD avx2

namespace cambium::engine::cpu::avx2 {

inline constexpr int kLanes = 8;
inline constexpr int kMaxColumns = 4;
inline constexpr bool kManyRegisters = false;
inline constexpr uint8_t kByteBias = 0;  // dot_s8 takes signed bytes as they are

using F = __m256;
using I = __m256i;
using B = __m256i;
using M = __m256i;

inline F zero() { return _mm256_setzero_ps(); }
inline F set1(float v) { return _mm256_set1_ps(v); }
inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline I lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
inline F load_n(const float* p, int n) {
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane_numbers()));
}
inline void store_n(float* p, F v, int n) {
  _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane_numbers()), v);
}
inline F add(F a, F b) { return _mm256_add_ps(a, b); }
inline F sub(F a, F b) { return _mm256_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F div(F a, F b) { return _mm256_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm256_max_ps(a, b); }
inline F min(F a, F b) { return _mm256_min_ps(a, b); }
inline F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F scale_by_power(F a, F n) {
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_mul_ps(a,
                       _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000))));
}
inline float reduce_add(F a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float reduce_max(F a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

inline F load_half(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline void store_half(void* p, F v) {
  _mm_storeu_si128(static_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline F load_bfloat(const void* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline F load_u8(const void* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
}
inline F load_i8(const void* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
}

inline I set1_int(int32_t v) { return _mm256_set1_epi32(v); }
inline I load_int(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline I sub_int(I a, I b) { return _mm256_sub_epi32(a, b); }
inline I add_int(I a, I b) { return _mm256_add_epi32(a, b); }
inline F to_float(I a) { return _mm256_cvtepi32_ps(a); }
template <int n>
inline I shift_right_arithmetic(I a) {
  return _mm256_srai_epi32(a, n);
}
inline void store_i8(void* p, F v) {
  const __m256i i = _mm256_cvtps_epi32(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}

inline B load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline B set1_byte(uint8_t v) { return _mm256_set1_epi8(static_cast<char>(v)); }
inline B and_bytes(B a, B b) { return _mm256_and_si256(a, b); }
inline B or_and(B a, B b, B c) { return _mm256_or_si256(a, _mm256_and_si256(b, c)); }
template <int n>
inline B shift(B a) {
  if constexpr (n > 0)
    return _mm256_srli_epi16(a, n);
  else if constexpr (n < 0)
    return _mm256_slli_epi16(a, -n);
  else
    return a;
}
inline B broadcast_4(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }

inline I dot_u7(I acc, B w, B x) {
  // 127·127·2 fits 16 bits, so the pairwise sum cannot saturate.
  const __m256i pairs = _mm256_maddubs_epi16(w, x);
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline I dot_s8(I acc, B w, B x) {
  // |w| <= 128 and |x| <= 127: 128·127·2 = 32512 still fits.
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline M equal(I a, I b) { return _mm256_cmpeq_epi32(a, b); }
inline M less_equal(I a, I b) {
  return _mm256_xor_si256(_mm256_cmpgt_epi32(a, b), _mm256_set1_epi32(-1));
}
inline M greater(F a, F b) { return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
inline M both(M a, M b) { return _mm256_and_si256(a, b); }
inline M either(M a, M b) { return _mm256_or_si256(a, b); }
inline I abs_int(I a) { return _mm256_abs_epi32(a); }
inline F select(M mask, F a, F b) { return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(mask)); }

}  // namespace cambium::engine::cpu::avx2
