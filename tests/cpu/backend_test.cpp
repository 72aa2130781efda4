// Every op of the CPU backends against the plain twins, on fresh seeded input, with poisoned
// outputs.
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <string>

#include "engine/cpu/reference.h"
#include "engine/ops.h"
#include "random_data.h"

namespace cambium::engine::cpu {
namespace {

using namespace test;

std::unique_ptr<Weight> load(Backend& backend, const TensorView& view, WeightUse use) {
  auto weight = backend.load_weight(view, use);
  REQUIRE(weight.has_value());
  return std::move(*weight);
}

TensorView view_of(DType type, int64_t rows, int64_t cols, const std::vector<std::byte>& bytes) {
  return {type, rows, cols, bytes.data()};
}

TensorView vector_view(const std::vector<float>& values) {
  return {DType::f32, 1, static_cast<int64_t>(values.size()),
          reinterpret_cast<const std::byte*>(values.data())};
}

// Each op is compared with the plain twins, variant by variant, by the cases below and the other files here.
TEST_CASE(
    "every variant that is built is reported by name, and those that run are the ones chosen") {
  const std::vector<CpuVariant> variants = cpu_variants();
  REQUIRE_FALSE(variants.empty());
  CHECK(std::string(variants.back().isa) == "scalar");
  CHECK(variants.back().runs);
#if defined(__x86_64__)
  CHECK(variants.size() == 3);
#endif
  const std::string text = cpu_variants_text();
  std::string fastest;
  for (auto variant = variants.rbegin(); variant != variants.rend(); ++variant) {
    CAPTURE(std::string(variant->isa));
    if (variant->runs) fastest = variant->name;
    // One that does not run here falls back to the next that does.
    const std::string expected = variant->runs ? variant->name : fastest;
    const std::string threads = expected == "plain loops" ? "1 thread" : "3 threads";
    CHECK(make_cpu_backend(3, variant->isa)->description() == "CPU, " + expected + ", " + threads);
    CHECK(text.find(variant->name) != std::string::npos);
    CHECK((text.find(std::string(variant->name) + " (not on this processor)") ==
           std::string::npos) == variant->runs);
  }
  CHECK(text.starts_with(fastest + " in use"));
  CHECK(make_cpu_backend(0)->description().find(fastest) != std::string::npos);
}

TEST_CASE("matmul: every type, odd sizes, bias and residual, against the twin") {
  struct Shape {
    int64_t rows, cols;
    int32_t n_tokens;
  };
  std::mt19937 rng(1);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    for (const DType type : kAllTypes) {
      const int64_t block = type_traits(type)->block_elements;
      for (const Shape& base : {Shape{1, 4, 40}, Shape{17, 3, 2}, Shape{48, 5, 5}, Shape{37, 7, 9},
                                Shape{130, 2, 33}, Shape{16, 9, 16}}) {
        const Shape s{base.rows, base.cols * block * (block == 1 ? 13 : 1), base.n_tokens};
        CAPTURE(isa);
        CAPTURE(type_traits(type)->name);
        CAPTURE(s.rows);
        CAPTURE(s.cols);
        CAPTURE(s.n_tokens);
        const std::vector<std::byte> bytes = random_rows(rng, type, s.rows, s.cols);
        const std::vector<float> bias = normal(rng, static_cast<size_t>(s.rows));
        const std::vector<float> x = normal(rng, static_cast<size_t>(s.cols * s.n_tokens));
        const TensorView view = view_of(type, s.rows, s.cols, bytes);
        const auto weight = load(*backend, view, WeightUse::matmul);
        const auto bias_weight = load(*backend, vector_view(bias), WeightUse::vector);
        const auto n = static_cast<size_t>(s.rows * s.n_tokens);
        // Bytes round the input to 1/254 of its block's largest; floats not at all.
        const double bound = block == 1 ? 2e-6 : 2e-2;

        std::vector<float> y(n + 8, NAN), expected(n);
        backend->matmul(std::vector<MatmulTarget>{{weight.get(), y.data(), nullptr, false}},
                        x.data(), s.n_tokens);
        reference::matmul(view, nullptr, x.data(), s.n_tokens, false, expected.data());
        CHECK(relative_error(y.data(), expected.data(), n) <= bound);
        CHECK(std::isnan(y[n]));

        std::vector<float> z = normal(rng, n), z_expected = z;
        backend->matmul(
            std::vector<MatmulTarget>{{weight.get(), z.data(), bias_weight.get(), true}}, x.data(),
            s.n_tokens);
        reference::matmul(view, bias.data(), x.data(), s.n_tokens, true, z_expected.data());
        CHECK(relative_error(z.data(), z_expected.data(), n) <= bound);
      }
    }
  }
}

TEST_CASE("matmul: exact where the input is already bytes") {
  // Inputs that the quantizer represents without rounding leave only float additions.
  std::mt19937 rng(2);
  std::uniform_int_distribution<int> level(-127, 127);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    for (const DType type : kAllTypes) {
      constexpr int64_t kRows = 70, kCols = 768;
      constexpr int32_t kTokens = 21;
      std::vector<float> x(kCols * kTokens);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = (i % 32 == 0 ? 127.0f : static_cast<float>(level(rng))) / 64.0f;
      }
      const std::vector<std::byte> bytes = random_rows(rng, type, kRows, kCols);
      const TensorView view = view_of(type, kRows, kCols, bytes);
      const auto weight = load(*backend, view, WeightUse::both);
      std::vector<float> y(kRows * kTokens, NAN), expected(kRows * kTokens);
      backend->matmul(std::vector<MatmulTarget>{{weight.get(), y.data()}}, x.data(), kTokens);
      reference::matmul(view, nullptr, x.data(), kTokens, false, expected.data());
      CAPTURE(isa);
      CAPTURE(type_traits(type)->name);
      CHECK(relative_error(y.data(), expected.data(), y.size()) <= 3e-6);
    }
  }
}

TEST_CASE("matmul: extremes of the byte range do not saturate") {
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(1, isa);
    for (const DType type : {DType::q8_0, DType::q6_k, DType::q5_k, DType::q5_0}) {
      const size_t block = type_traits(type)->block_bytes;
      for (const int fill : {0x80, 0x7f, 0xff}) {
        for (const float sign : {1.0f, -1.0f}) {
          std::vector<std::byte> bytes(row_bytes(type, 512) * 16, static_cast<std::byte>(fill));
          const uint16_t one = float_to_half(0.01f);
          const size_t d = type == DType::q6_k ? 208 : 0;
          for (size_t at = 0; at < bytes.size(); at += block) {
            std::memcpy(&bytes[at + d], &one, 2);
            if (type == DType::q5_k) std::memcpy(&bytes[at + 2], &one, 2);
          }
          const std::vector<float> x(512, sign);
          const TensorView view = view_of(type, 16, 512, bytes);
          const auto weight = load(*backend, view, WeightUse::matmul);
          std::vector<float> y(16, NAN), expected(16);
          backend->matmul(std::vector<MatmulTarget>{{weight.get(), y.data()}}, x.data(), 1);
          reference::matmul(view, nullptr, x.data(), 1, false, expected.data());
          CAPTURE(isa);
          CAPTURE(type_traits(type)->name);
          CAPTURE(fill);
          CHECK(relative_error(y.data(), expected.data(), 16) <= 1e-5);
        }
      }
    }
  }
}

TEST_CASE("matmul: a column has the same bits in any company and on any number of threads") {
  std::mt19937 rng(3);
  constexpr int64_t kRows = 100, kCols = 512;
  for (const std::string& isa : isas()) {
    for (const DType type : kAllTypes) {
      CAPTURE(isa);
      CAPTURE(type_traits(type)->name);
      const std::vector<std::byte> bytes = random_rows(rng, type, kRows, kCols);
      const std::vector<float> x = normal(rng, kCols * 20);
      std::vector<float> alone(kRows * 20);
      {
        const auto backend = make_cpu_backend(1, isa);
        const auto weight = load(*backend, view_of(type, kRows, kCols, bytes), WeightUse::matmul);
        for (int32_t t = 0; t < 20; ++t) {
          backend->matmul(std::vector<MatmulTarget>{{weight.get(), alone.data() + t * kRows}},
                          x.data() + t * kCols, 1);
        }
      }
      for (int threads = 1; threads <= 3; ++threads) {
        const auto backend = make_cpu_backend(threads, isa);
        const auto weight = load(*backend, view_of(type, kRows, kCols, bytes), WeightUse::matmul);
        for (const int32_t n : {2, 3, 4, 5, 6, 7, 8, 20}) {
          std::vector<float> y(static_cast<size_t>(kRows * n), NAN);
          backend->matmul(std::vector<MatmulTarget>{{weight.get(), y.data()}}, x.data(), n);
          CHECK(std::memcmp(y.data(), alone.data(), y.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("matmul: targets of several types share one input") {
  std::mt19937 rng(4);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    const std::vector<float> x = normal(rng, 512 * 3);
    struct One {
      DType type;
      int64_t rows;
      std::vector<std::byte> bytes;
      std::unique_ptr<Weight> weight;
      std::vector<float> y;
    };
    std::vector<One> all;
    for (const auto& [type, rows] : {std::pair{DType::q4_k, 96}, std::pair{DType::f16, 33},
                                     std::pair{DType::q6_k, 16}, std::pair{DType::q2_k, 5}}) {
      One one{type, rows, random_rows(rng, type, rows, 512), nullptr, {}};
      one.weight = load(*backend, view_of(type, rows, 512, one.bytes), WeightUse::matmul);
      one.y.assign(static_cast<size_t>(rows) * 3, NAN);
      all.push_back(std::move(one));
    }
    std::vector<MatmulTarget> targets;
    for (One& one : all) targets.push_back({one.weight.get(), one.y.data()});
    backend->matmul(targets, x.data(), 3);
    for (const One& one : all) {
      std::vector<float> expected(one.y.size());
      reference::matmul(view_of(one.type, one.rows, 512, one.bytes), nullptr, x.data(), 3, false,
                        expected.data());
      CHECK(relative_error(one.y.data(), expected.data(), expected.size()) <= 2e-2);
    }
  }
}

TEST_CASE("embed gathers rows, also of a tied matrix") {
  std::mt19937 rng(5);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(1, isa);
    for (const DType type : kAllTypes) {
      const std::vector<std::byte> bytes = random_rows(rng, type, 20, 512);
      const TensorView view = view_of(type, 20, 512, bytes);
      for (const WeightUse use : {WeightUse::embedding, WeightUse::both}) {
        const auto table = load(*backend, view, use);
        const std::vector<int32_t> ids = {19, 0, 7, 7};
        std::vector<float> x(512 * 4, NAN), expected(512 * 4);
        backend->embed(*table, ids, x.data());
        reference::embed(view, ids, expected.data());
        CHECK(std::memcmp(x.data(), expected.data(), x.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("load_weight refuses what it cannot read") {
  const auto backend = make_cpu_backend(1);
  std::vector<std::byte> bytes(4096);
  const auto unknown =
      backend->load_weight(view_of(static_cast<DType>(77), 1, 256, bytes), WeightUse::matmul);
  REQUIRE(!unknown.has_value());
  CHECK(unknown.error().code == ErrorCode::unsupported);
  const auto ragged = backend->load_weight(view_of(DType::q4_k, 1, 100, bytes), WeightUse::matmul);
  REQUIRE(!ragged.has_value());
  CHECK(ragged.error().message.find("multiple of 256") != std::string::npos);
  KvShape shape{1, 1, 32, 32, 32, DType::q4_0};
  CHECK(!backend->create_kv(shape).has_value());
}

TEST_CASE("bytes_in_use counts what is held and gives it back") {
  const auto backend = make_cpu_backend(1);
  const size_t before = backend->bytes_in_use();
  {
    const auto buffer = backend->allocate(100000);
    REQUIRE(buffer.has_value());
    CHECK(backend->bytes_in_use() >= before + 100000);
    const auto kv = backend->create_kv({2, 2, 64, 64, 100, DType::f16});
    REQUIRE(kv.has_value());
    // 256 cells (a whole chunk) of 64 + 64 halves, 2 heads, 2 layers
    CHECK(backend->bytes_in_use() == before + 100000 + 256 * 256 * 4);
  }
  CHECK(backend->bytes_in_use() == before);
}

TEST_CASE("rms_norm, silu_mul, add: against the twins at odd sizes") {
  std::mt19937 rng(6);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(3, isa);
    for (const int64_t n : {1, 5, 16, 63, 64, 100, 2048}) {
      for (const int32_t rows : {1, 3, 40}) {
        CAPTURE(isa);
        CAPTURE(n);
        const auto total = static_cast<size_t>(n * rows);
        const std::vector<float> x = normal(rng, total, 3.0f),
                                 w = normal(rng, static_cast<size_t>(n));
        std::vector<float> y(total + 1, NAN), expected(total);
        const auto weight = load(*backend, vector_view(w), WeightUse::vector);
        backend->rms_norm(x.data(), *weight, 1e-6f, rows, y.data());
        reference::rms_norm(x.data(), w.data(), 1e-6f, rows, n, expected.data());
        CHECK(relative_error(y.data(), expected.data(), total) <= 1e-6);
        CHECK(std::isnan(y[total]));
        std::vector<float> in_place = x;
        backend->rms_norm(in_place.data(), *weight, 1e-6f, rows, in_place.data());
        CHECK(std::memcmp(in_place.data(), y.data(), total * sizeof(float)) == 0);

        const std::vector<float> up = normal(rng, total);
        backend->silu_mul(x.data(), up.data(), y.data(), static_cast<int64_t>(total));
        reference::silu_mul(x.data(), up.data(), expected.data(), static_cast<int64_t>(total));
        CHECK(relative_error(y.data(), expected.data(), total) <= 1e-6);
        CHECK(std::isnan(y[total]));

        std::vector<float> a = up, b = up;
        backend->add(x.data(), a.data(), static_cast<int64_t>(total));
        reference::add(x.data(), b.data(), static_cast<int64_t>(total));
        CHECK(a == b);
      }
    }
    // Far ends of the exponential: silu(-200) is -0, silu(200) is 200.
    const std::vector<float> far = {-200.0f, 200.0f, -88.5f, 88.5f, 0.0f};
    const std::vector<float> ones(far.size(), 1.0f);
    std::vector<float> y(far.size(), NAN);
    backend->silu_mul(far.data(), ones.data(), y.data(), static_cast<int64_t>(far.size()));
    CHECK(std::fabs(y[0]) < 1e-30f);
    CHECK(y[1] == 200.0f);
    CHECK(std::fabs(y[2]) < 1e-30f);
    CHECK(y[3] == 88.5f);
    CHECK(y[4] == 0.0f);
  }
}

TEST_CASE("rope: both layouts, partial rotation, far positions") {
  std::mt19937 rng(7);
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    for (const RopeLayout layout : {RopeLayout::interleaved, RopeLayout::split}) {
      for (const int32_t n_rot : {64, 20}) {
        std::vector<float> freq;
        for (int32_t i = 0; i < n_rot / 2; ++i) {
          freq.push_back(
              std::pow(100000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(n_rot)));
        }
        const RopeTable table{layout, freq, 1.25f};
        for (const int32_t n : {1, 3, 50}) {
          for (const int32_t first : {0, 16000, 16000}) {
            std::vector<float> x = normal(rng, static_cast<size_t>(n) * 5 * 64), expected = x;
            backend->rope(x.data(), table, first, n, 5, 64);
            reference::rope(expected.data(), table, first, n, 5, 64);
            CHECK(relative_error(x.data(), expected.data(), x.size()) <= 1e-6);
            // Tokens that stand anywhere: the same positions asked for one by one, and others after.
            for (const int32_t step : {1, 7}) {
              std::vector<int32_t> positions;
              for (int32_t i = 0; i < n; ++i) positions.push_back(first + i * step % 13);
              std::vector<float> anywhere = normal(rng, x.size()), one_by_one = anywhere;
              backend->rope_at(anywhere.data(), table, positions, 5, 64);
              for (int32_t i = 0; i < n; ++i) {
                reference::rope(one_by_one.data() + i * 5 * 64, table,
                                positions[static_cast<size_t>(i)], 1, 5, 64);
              }
              CHECK(relative_error(anywhere.data(), one_by_one.data(), x.size()) <= 1e-6);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace cambium::engine::cpu
