// AVX-512 (F, BW, VL, DQ, VNNI) behind the vector names of the kernel headers. Only files compiled
// for that instruction set include it. simd_avx2.h has the same names with 8 lanes.
#pragma once

// GCC 12's own header sets a vector to itself where a value does not matter, and warns of it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>

#define CAMBIUM_SIMD avx512

namespace cambium::engine::cpu::avx512 {

inline constexpr int kLanes = 16;       // rows of a weight panel, keys of a score vector
inline constexpr int kMaxColumns = 16;  // columns of a register tile
inline constexpr bool kManyRegisters = true;
inline constexpr uint8_t kByteBias = 128;  // what dot_s8 wants added to its first operand

using F = __m512;     // floats
using I = __m512i;    // int32
using B = __m512i;    // bytes, 4 a lane
using M = __mmask16;  // a bit a lane

inline F zero() { return _mm512_setzero_ps(); }
inline F set1(float v) { return _mm512_set1_ps(v); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F load_n(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
inline void store_n(float* p, F v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }    // a·b + c
inline F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }  // c − a·b
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F abs(F a) { return _mm512_abs_ps(a); }
inline F round(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// a·2^n for integral n in [-126, 127]
inline F scale_by_power(F a, F n) { return _mm512_scalef_ps(a, n); }
inline float reduce_add(F a) { return _mm512_reduce_add_ps(a); }
inline float reduce_max(F a) { return _mm512_reduce_max_ps(a); }

inline F load_half(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline void store_half(void* p, F v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline F load_bfloat(const void* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline F load_u8(const void* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
inline F load_i8(const void* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}

inline I set1_int(int32_t v) { return _mm512_set1_epi32(v); }
inline I load_int(const int32_t* p) { return _mm512_loadu_si512(p); }
inline I sub_int(I a, I b) { return _mm512_sub_epi32(a, b); }
inline F to_float(I a) { return _mm512_cvtepi32_ps(a); }
template <int n>
inline I shift_right_arithmetic(I a) {
  return _mm512_srai_epi32(a, n);
}
/// Rounds to nearest even and stores a byte a lane; values in [-127, 127].
inline void store_i8(void* p, F v) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

inline B load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline B set1_byte(uint8_t v) { return _mm512_set1_epi8(static_cast<char>(v)); }
inline B and_bytes(B a, B b) { return _mm512_and_si512(a, b); }
/// a | (b & c)
inline B or_and(B a, B b, B c) { return _mm512_ternarylogic_epi32(a, b, c, 0xf8); }
/// Shifts whole 16-bit units: bits cross bytes and must be masked after. n > 0 is to the right.
template <int n>
inline B shift(B a) {
  if constexpr (n > 0)
    return _mm512_srli_epi16(a, n);
  else if constexpr (n < 0)
    return _mm512_slli_epi16(a, -n);
  else
    return a;
}
inline B broadcast_4(const void* p) { return _mm512_set1_epi32(*static_cast<const int32_t*>(p)); }

/// acc + Σ w·x over each lane's 4 bytes; w in [0, 127], x signed.
inline I dot_u7(I acc, B w, B x) { return _mm512_dpbusd_epi32(acc, w, x); }
/// acc + Σ (w − kByteBias)·x for w stored with kByteBias added, but without the constant term: the
/// caller starts acc at −kByteBias·Σx.
inline I dot_s8(I acc, B w, B x) { return _mm512_dpbusd_epi32(acc, w, x); }

inline M equal(I a, I b) { return _mm512_cmpeq_epi32_mask(a, b); }
inline M less_equal(I a, I b) { return _mm512_cmple_epi32_mask(a, b); }
inline M greater(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline M both(M a, M b) { return static_cast<M>(a & b); }
inline M either(M a, M b) { return static_cast<M>(a | b); }
inline I abs_int(I a) { return _mm512_abs_epi32(a); }
/// lane numbers 0, 1, 2…
inline I lane_numbers() {
  return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
inline I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
/// mask ? a : b
inline F select(M mask, F a, F b) { return _mm512_mask_blend_ps(mask, b, a); }

}  // namespace cambium::engine::cpu::avx512
