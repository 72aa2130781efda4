// Seeded data for the kernel tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "engine/cpu/half.h"
#include "engine/cpu/quantize.h"
#include "engine/cpu_variants.h"
#include "engine/tensor.h"

namespace cambium::engine::cpu::test {

inline constexpr DType kAllTypes[] = {DType::f32,  DType::f16,    DType::bf16,  DType::q4_0,
                                      DType::q4_1, DType::q5_0,   DType::q5_1,  DType::q8_0,
                                      DType::q2_k, DType::q3_k,   DType::q4_k,  DType::q5_k,
                                      DType::q6_k, DType::iq4_nl, DType::iq4_xs};

/// The instruction sets whose kernels run on this machine, for make_cpu_backend(). "scalar" is the plain
/// twins themselves, as a backend.
inline std::vector<std::string> isas() {
  std::vector<std::string> list;
  for (const CpuVariant& variant : cpu_variants())
    if (variant.runs) list.emplace_back(variant.isa);
  return list;
}

inline std::vector<float> normal(std::mt19937& rng, size_t n, float sigma = 1.0f) {
  std::normal_distribution<float> dist(0.0f, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = dist(rng);
  return x;
}

/// Rows of `type` whose bits are random but whose scales are sane, so that every code of the format
/// occurs, not only those a quantizer would choose. Scales sit where the block layout has them.
inline std::vector<std::byte> random_rows(std::mt19937& rng, DType type, int64_t rows,
                                          int64_t cols) {
  std::vector<std::byte> bytes(row_bytes(type, cols) * static_cast<size_t>(rows));
  if (type == DType::f32 || type == DType::f16 || type == DType::bf16) {
    const std::vector<float> x = normal(rng, static_cast<size_t>(rows * cols), 0.5f);
    quantize_row(type, x.data(), bytes.data(), rows * cols);
    return bytes;
  }
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng());
  struct Place {
    DType type;
    size_t offset;
    int halves;
  };
  constexpr Place kScales[] = {{DType::q4_0, 0, 1},   {DType::q4_1, 0, 2},   {DType::q5_0, 0, 1},
                               {DType::q5_1, 0, 2},   {DType::q8_0, 0, 1},   {DType::q2_k, 80, 2},
                               {DType::q3_k, 108, 1}, {DType::q4_k, 0, 2},   {DType::q5_k, 0, 2},
                               {DType::q6_k, 208, 1}, {DType::iq4_nl, 0, 1}, {DType::iq4_xs, 0, 1}};
  std::uniform_real_distribution<float> scale(-0.02f, 0.02f);
  const size_t block = type_traits(type)->block_bytes;
  for (const Place& place : kScales) {
    if (place.type != type) continue;
    for (size_t at = 0; at < bytes.size(); at += block) {
      for (int i = 0; i < place.halves; ++i) {
        const uint16_t h = float_to_half(scale(rng));
        std::memcpy(&bytes[at + place.offset + static_cast<size_t>(i) * 2], &h, 2);
      }
    }
  }
  return bytes;
}

/// ‖a − b‖ / ‖b‖; infinite if a value is not finite.
inline double relative_error(const float* a, const float* b, size_t n) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace cambium::engine::cpu::test
