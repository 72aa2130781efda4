#include "engine/cpu/quantize.h"

#include <doctest/doctest.h>

#include <bit>

#include "engine/cpu/blocks.h"
#include "random_data.h"

namespace cambium::engine::cpu {
namespace {

using namespace test;

TEST_CASE("half: every bit pattern survives a round trip") {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = half_to_float(static_cast<uint16_t>(h));
    if (f != f) {
      CHECK((float_to_half(f) & 0x7c00) == 0x7c00);
      continue;
    }
    if (float_to_half(f) != h) FAIL("pattern " << h);
  }
}

TEST_CASE("half: rounds to nearest even, overflows to infinity") {
  struct Case {
    float in;
    uint16_t out;
  };
  for (const Case& c :
       {Case{1.0f, 0x3c00}, Case{1.0f + 0x1p-11f, 0x3c00}, Case{1.0f + 0x3p-11f, 0x3c02},
        Case{65504.0f, 0x7bff}, Case{65519.9f, 0x7bff}, Case{65520.0f, 0x7c00}, Case{-1e9f, 0xfc00},
        Case{0x1p-24f, 0x0001}, Case{0x1p-25f, 0x0000}, Case{0x1.8p-24f, 0x0002},
        Case{0x1.ff8p-15f, 0x03ff}, Case{0x1.ffcp-15f, 0x0400}}) {
    CHECK(float_to_half(c.in) == c.out);
  }
  CHECK(float_to_bfloat(1.0f + 0x1p-8f) == 0x3f80);
  CHECK(float_to_bfloat(1.0f + 0x3p-8f) == 0x3f82);
}

TEST_CASE("row_bytes follows the block geometry") {
  CHECK(row_bytes(DType::q8_0, 2048) == 64 * 34);
  CHECK(row_bytes(DType::q4_k, 2048) == 8 * 144);
  CHECK(row_bytes(DType::q6_k, 512) == 420);
  CHECK(row_bytes(DType::f16, 3) == 6);
  CHECK(type_traits(static_cast<DType>(99)) == nullptr);
}

TEST_CASE("dequantize: blocks written by hand") {
  float y[256];
  SUBCASE("Q4_0 puts low nibbles first") {
    BlockQ4_0 b{float_to_half(0.5f), {}};
    for (int j = 0; j < 16; ++j) b.qs[j] = static_cast<uint8_t>(j | (15 - j) << 4);
    dequantize_row(DType::q4_0, &b, y, 32);
    for (int j = 0; j < 16; ++j) {
      CHECK(y[j] == 0.5f * static_cast<float>(j - 8));
      CHECK(y[j + 16] == 0.5f * static_cast<float>(7 - j));
    }
  }
  SUBCASE("Q5_0 takes bit j of qh as the fifth bit of element j") {
    BlockQ5_0 b{float_to_half(1.0f), {0x01, 0, 0, 0x80}, {}};
    dequantize_row(DType::q5_0, &b, y, 32);
    CHECK(y[0] == 0.0f);
    CHECK(y[1] == -16.0f);
    CHECK(y[31] == 0.0f);
  }
  SUBCASE("Q4_K unpacks 6-bit scales and minima on both sides of the split") {
    BlockQ4_K b{float_to_half(1.0f), float_to_half(1.0f), {}, {}};
    b.scales[1] = 0x80 | 5;        // scale 1 = 5; high bits of scale 5 = 2
    b.scales[5] = 0x40 | 7;        // min 1 = 7; high bits of min 5 = 1
    b.scales[9] = 0x3 | 0x4 << 4;  // low bits of scale 5 = 3, of min 5 = 4
    b.qs[0] = 0x20;                // element 32 (sub-block 1) = 2
    b.qs[64] = 0x90;               // element 160 (sub-block 5) = 9
    dequantize_row(DType::q4_k, &b, y, 256);
    CHECK(y[32] == 5.0f * 2 - 7);
    CHECK(y[33] == -7.0f);
    CHECK(y[160] == 35.0f * 9 - 20);
    CHECK(y[0] == 0.0f);
  }
  SUBCASE("Q6_K spreads 128 elements over nibbles and pairs of high bits") {
    BlockQ6_K b{};
    b.d = float_to_half(1.0f);
    for (int j = 0; j < 16; ++j) b.scales[j] = static_cast<int8_t>(j - 8);
    b.ql[0] = 0x21;
    b.ql[32] = 0x43;
    b.qh[0] = 0xe4;  // 0, 1, 2, 3 for elements 0, 32, 64, 96
    dequantize_row(DType::q6_k, &b, y, 256);
    CHECK(y[0] == -8.0f * (1 - 32));
    CHECK(y[32] == -6.0f * (3 + 16 - 32));
    CHECK(y[64] == -4.0f * (2 + 32 - 32));
    CHECK(y[96] == -2.0f * (4 + 48 - 32));
  }
}

TEST_CASE("quantize: the round trip stays within the type's error") {
  struct Case {
    DType type;
    double bound;  // relative error on normal data
  };
  constexpr Case kCases[] = {{DType::f32, 0},       {DType::f16, 3e-4},    {DType::bf16, 2.3e-3},
                             {DType::q8_0, 5.5e-3}, {DType::q6_k, 0.0185}, {DType::q5_k, 0.037},
                             {DType::q5_0, 0.043},  {DType::q5_1, 0.041},  {DType::q4_k, 0.074},
                             {DType::q4_0, 0.088},  {DType::q4_1, 0.083},  {DType::iq4_nl, 0.081},
                             {DType::q3_k, 0.16},   {DType::q2_k, 0.29}};
  std::mt19937 rng(11);
  const std::vector<float> x = normal(rng, 256 * 64);
  for (const Case& c : kCases) {
    CAPTURE(type_traits(c.type)->name);
    REQUIRE(can_quantize(c.type));
    std::vector<std::byte> bytes(row_bytes(c.type, 256 * 64) + 1, std::byte{0x5a});
    CHECK(quantize_row(c.type, x.data(), bytes.data(), 256 * 64) == bytes.size() - 1);
    CHECK(bytes.back() == std::byte{0x5a});
    std::vector<float> y(x.size(), NAN);
    dequantize_row(c.type, bytes.data(), y.data(), 256 * 64);
    const double error = relative_error(y.data(), x.data(), x.size());
    CHECK(error <= c.bound);
  }
  CHECK(!can_quantize(DType::iq4_xs));
  std::byte none[136];
  CHECK(quantize_row(DType::iq4_xs, x.data(), none, 256) == 0);
}

TEST_CASE("quantize: zeros, constants and one outlier come back") {
  for (const DType type : kAllTypes) {
    if (!can_quantize(type)) continue;
    CAPTURE(type_traits(type)->name);
    for (const float value : {0.0f, 0.75f, -0.75f}) {
      std::vector<float> x(256, value), y(256, NAN);
      std::vector<std::byte> bytes(row_bytes(type, 256));
      quantize_row(type, x.data(), bytes.data(), 256);
      dequantize_row(type, bytes.data(), y.data(), 256);
      CHECK(relative_error(y.data(), x.data(), 256) <= 0.01);
    }
    std::vector<float> x(256, 0.0f), y(256, NAN);
    x[77] = 3.0f;
    std::vector<std::byte> bytes(row_bytes(type, 256));
    quantize_row(type, x.data(), bytes.data(), 256);
    dequantize_row(type, bytes.data(), y.data(), 256);
    // IQ4_NL has no level 0: the other 31 of the block get the level 1.
    CHECK(relative_error(y.data(), x.data(), 256) <= (type == DType::iq4_nl ? 0.05 : 0.01));
  }
}

}  // namespace
}  // namespace cambium::engine::cpu
