// Matmul, embedding and the small ops against their plain twins.
#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "engine/cpu/half.h"
#include "engine/cpu/quantize.h"
#include "engine/cpu/reference.h"
#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace twin = cpu::reference;

HostMatrix random_matrix(Random& random, DType type, int64_t rows, int64_t cols, float scale) {
  HostMatrix m;
  if (cols % type_traits(type)->block_elements != 0) {
    std::printf("no %s matrix has rows of %lld\n", std::string(type_traits(type)->name).c_str(),
                static_cast<long long>(cols));
    std::exit(1);
  }
  const size_t stride = row_bytes(type, cols);
  m.bytes.resize(stride * static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<float> row = random.normal(static_cast<size_t>(cols), scale);
    cpu::quantize_row(type, row.data(), m.bytes.data() + static_cast<size_t>(r) * stride, cols);
  }
  m.view = {type, rows, cols, m.bytes.data()};
  return m;
}

namespace {

constexpr DType kTypes[] = {DType::q4_k,   DType::q5_k, DType::q6_k, DType::q8_0, DType::q4_0,
                            DType::q5_0,   DType::q4_1, DType::q5_1, DType::q3_k, DType::q2_k,
                            DType::iq4_nl, DType::f16,  DType::bf16, DType::f32};

/// What the int8 kernels see of x: one scale per 32.
std::vector<float> as_int8(std::vector<float> x) {
  for (size_t i = 0; i < x.size(); i += 32) {
    float largest = 0;
    for (size_t j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(x[i + j]));
    if (largest == 0) continue;
    const float d = largest / 127.0f, to_int = 127.0f / largest;
    for (size_t j = 0; j < 32; ++j) x[i + j] = d * std::nearbyintf(x[i + j] * to_int);
  }
  return x;
}

/// ‖got − want‖ against what ‖want‖ is on average over random x of this length: ‖w‖·‖x‖/√cols.
/// One output alone may cancel to nearly nothing and says nothing of its error's size.
double error_of_scale(std::span<const float> got, std::span<const float> want,
                      std::span<const float> w, std::span<const float> x, int64_t cols) {
  double difference = 0, w_norm = 0, x_norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(got[i])) return INFINITY;
    const double d = static_cast<double>(got[i]) - want[i];
    difference += d * d;
  }
  for (const float v : w) w_norm += static_cast<double>(v) * v;
  for (const float v : x) x_norm += static_cast<double>(v) * v;
  return std::sqrt(difference / (w_norm * x_norm / static_cast<double>(cols)));
}

/// The most that rounding x to int8 can change an output, in units of which the error is returned:
/// half a step of each block of 32 times the sum of |w| there.
double error_of_rounding(std::span<const float> got, std::span<const float> want,
                         std::span<const float> w, std::span<const float> x, int64_t rows,
                         int64_t cols) {
  double worst = 0;
  const auto n_cols = static_cast<size_t>(cols), n_rows = static_cast<size_t>(rows);
  for (size_t i = 0; i < want.size(); ++i) {
    const float* wr = w.data() + i % n_rows * n_cols;
    const float* xr = x.data() + i / n_rows * n_cols;
    double bound = 0;
    for (size_t k = 0; k < n_cols; k += 32) {
      double largest = 0, sum = 0;
      for (size_t j = k; j < std::min(k + 32, n_cols); ++j) {
        largest = std::max(largest, std::fabs(static_cast<double>(xr[j])));
        sum += std::fabs(static_cast<double>(wr[j]));
      }
      bound += largest / 254.0 * sum;
    }
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - want[i]) / bound);
  }
  return worst;
}

std::string name(DType type, int64_t rows, int64_t cols, int32_t n) {
  return std::string(type_traits(type)->name) + " " + std::to_string(rows) + "x" +
         std::to_string(cols) + " n=" + std::to_string(n);
}

}  // namespace

void check_matmul(CudaBackend& b, Random& random, Report& report) {
  for (const DType type : kTypes) {
    report.group("matmul " + std::string(type_traits(type)->name));
    const bool wide = type_traits(type)->block_elements == 256;
    const bool is_float = type_traits(type)->block_elements == 1;
    struct Shape {
      int64_t rows, cols;
    };
    std::vector<Shape> shapes = {
        {37, wide ? 768 : 352}, {1, wide ? 256 : 32}, {200, 4352}, {40, 8448}};
    if (is_float) shapes.push_back({19, 101});
    // Three of them are more row tiles than two blocks a multiprocessor, of longer rows than stages.
    if (type == DType::q4_k) shapes.push_back({1500, 6400});
    for (const auto& [rows, cols] : shapes) {
      const HostMatrix w = random_matrix(random, type, rows, cols, 0.05f);
      auto weight = b.load_weight(w.view, WeightUse::both);
      const std::vector<float> bias = random.normal(static_cast<size_t>(rows), 0.3f);
      auto bias_weight =
          b.load_weight({DType::f32, 1, rows, reinterpret_cast<const std::byte*>(bias.data())},
                        WeightUse::vector);
      if (!report.expect_value(weight, "load") || !report.expect_value(bias_weight, "load"))
        continue;
      std::vector<int32_t> all_rows(static_cast<size_t>(rows));
      std::iota(all_rows.begin(), all_rows.end(), 0);
      std::vector<float> values(static_cast<size_t>(rows * cols));
      twin::embed(w.view, all_rows, values.data());
      std::vector<float> all_single;
      for (const int32_t n : {8, 1, 2, 5, 13, 40}) {
        const auto nx = static_cast<size_t>(n * cols), ny = static_cast<size_t>(n * rows);
        const std::vector<float> x = random.normal(nx);
        const std::vector<float> before = random.normal(ny);
        Floats dx(b, x), plain(b, ny), second(b, ny), added(b, before);
        // Two targets share the input; the third adds to what is there and has a bias.
        const MatmulTarget targets[] = {{weight->get(), plain.data(), nullptr, false},
                                        {weight->get(), second.data(), bias_weight->get(), false},
                                        {weight->get(), added.data(), bias_weight->get(), true}};
        b.matmul(targets, dx.data(), n);
        std::vector<float> want(ny), want_bias(ny), want_added = before;
        const bool int8 = !is_float && type != DType::q2_k && n <= 24;
        const std::vector<float> seen = int8 && cols % 32 == 0 ? as_int8(x) : x;
        twin::matmul(w.view, nullptr, seen.data(), n, false, want.data());
        twin::matmul(w.view, bias.data(), seen.data(), n, false, want_bias.data());
        twin::matmul(w.view, bias.data(), seen.data(), n, true, want_added.data());
        // Against what the kernel is given to multiply, then against the exact product.
        // Q2_K is held as F16, whose rounding it adds.
        const double bound = type == DType::f32 ? 1e-5
                             : n <= 24          ? (type == DType::q2_k ? 1e-3 : 2e-4)
                                                : 4e-3;
        const std::string label = name(type, rows, cols, n);
        report.expect(error_of_scale(plain.read(b, report), want, values, x, cols), bound, label);
        report.expect(error_of_scale(second.read(b, report), want_bias, values, x, cols), bound,
                      label + " bias");
        report.expect(error_of_scale(added.read(b, report), want_added, values, x, cols), bound,
                      label + " added");
        if (int8) {
          twin::matmul(w.view, nullptr, x.data(), n, false, want.data());
          const std::vector<float> got = plain.read(b, report);
          report.expect(error_of_rounding(got, want, values, x, rows, cols), 1.001,
                        label + " exact, worst");
          if (rows * n >= 200)  // enough outputs for an average
            report.expect(relative_error(got, want), 1e-2, label + " exact");
        }
        if (n != 8) continue;
        // The same columns one, two and three at a time: the same bits.
        for (const int32_t step : {1, 2, 3}) {
          Floats apart(b, ny);
          for (int32_t first = 0; first < n; first += step) {
            const MatmulTarget t[] = {{weight->get(), apart.data() + first * rows, nullptr, false}};
            b.matmul(t, dx.data() + first * cols, std::min(step, n - first));
          }
          const auto together = plain.read(b, report), alone = apart.read(b, report);
          report.expect(std::memcmp(together.data(), alone.data(), ny * sizeof(float)) == 0,
                        label + " differs from steps of " + std::to_string(step));
        }
      }
      const int32_t ids[] = {static_cast<int32_t>(rows) - 1, 0, static_cast<int32_t>(rows / 2)};
      Floats gathered(b, static_cast<size_t>(3 * cols));
      std::vector<float> want(static_cast<size_t>(3 * cols));
      b.embed(**weight, ids, gathered.data());
      twin::embed(w.view, ids, want.data());
      report.expect(relative_error(gathered.read(b, report), want),
                    type == DType::q2_k ? 1e-3 : 1e-6, name(type, rows, cols, 3) + " embed");
    }
  }
}

void check_elementwise(CudaBackend& b, Random& random, Report& report) {
  report.group("rms_norm");
  for (const int64_t cols : {1, 64, 101, 128, 300, 4096, 11008})
    for (const int32_t rows : {1, 7, 33}) {
      const auto n = static_cast<size_t>(rows * cols);
      const std::vector<float> x = random.normal(n, 3),
                               w = random.normal(static_cast<size_t>(cols));
      auto weight = b.load_weight(
          {DType::f32, 1, cols, reinterpret_cast<const std::byte*>(w.data())}, WeightUse::vector);
      if (!report.expect_value(weight, "load")) return;
      Floats dx(b, x), y(b, n);
      b.rms_norm(dx.data(), **weight, 1e-6f, rows, y.data());
      b.rms_norm(dx.data(), **weight, 1e-6f, rows, dx.data());
      std::vector<float> want(n);
      twin::rms_norm(x.data(), w.data(), 1e-6f, rows, cols, want.data());
      const std::string label = std::to_string(rows) + "x" + std::to_string(cols);
      report.expect(relative_error(y.read(b, report), want), 1e-5, label);
      report.expect(relative_error(dx.read(b, report), want), 1e-5, label + " in place");
    }
  report.group("rope");
  for (const RopeLayout layout : {RopeLayout::interleaved, RopeLayout::split})
    for (const int32_t head_dim : {64, 128, 80})
      for (const int32_t n_rot : {head_dim, head_dim / 2})
        for (const int32_t first : {0, 15000}) {
          std::vector<float> freq(static_cast<size_t>(n_rot / 2));
          for (size_t i = 0; i < freq.size(); ++i)
            freq[i] =
                0.25f * std::pow(1e5f, -2.0f * static_cast<float>(i) / static_cast<float>(n_rot));
          const RopeTable table{layout, freq, 1.1f};
          std::vector<float> x = random.normal(static_cast<size_t>(5 * 3 * head_dim));
          Floats dx(b, x);
          b.rope(dx.data(), table, first, 5, 3, head_dim);
          twin::rope(x.data(), table, first, 5, 3, head_dim);
          report.expect(relative_error(dx.read(b, report), x), 1e-3,
                        "head " + std::to_string(head_dim) + " at " + std::to_string(first));
        }
  report.group("silu_mul, add");
  for (const size_t n : {size_t{1}, size_t{1000}, size_t{123457}}) {
    const std::vector<float> gate = random.normal(n, 4), up = random.normal(n);
    Floats g(b, gate), u(b, up), y(b, n);
    b.silu_mul(g.data(), u.data(), y.data(), static_cast<int64_t>(n));
    std::vector<float> want(n), sum = gate;
    twin::silu_mul(gate.data(), up.data(), want.data(), static_cast<int64_t>(n));
    report.expect(relative_error(y.read(b, report), want), 1e-5, "silu_mul " + std::to_string(n));
    b.add(u.data(), g.data(), static_cast<int64_t>(n));
    twin::add(up.data(), sum.data(), static_cast<int64_t>(n));
    report.expect(relative_error(g.read(b, report), sum), 1e-6, "add " + std::to_string(n));
  }
}

void check_errors(CudaBackend& b, Report& report) {
  report.group("errors are values");
  auto huge = b.allocate(size_t{1} << 46);
  report.expect(!huge && huge.error().code == ErrorCode::out_of_memory, "64 TiB were given");
  auto none = CudaBackend::create(1000);
  report.expect(!none && none.error().code == ErrorCode::not_found, "device 1000 opened");
  KvShape shape{1, 1, 64, 64, 64, DType::bf16};
  report.expect(!b.create_kv(shape), "a bf16 cache was made");
  shape = {1000, 128, 128, 128, 1 << 24, DType::f16};
  auto kv = b.create_kv(shape);
  report.expect(!kv && kv.error().code == ErrorCode::out_of_memory,
                "a cache of petabytes was made");
  const std::vector<std::byte> bytes(64);
  report.expect(!b.load_weight({DType::q4_k, 1, 100, bytes.data()}, WeightUse::matmul),
                "a Q4_K row of 100 was loaded");
  report.expect(b.synchronize().has_value(), "an error stayed behind");
}

}  // namespace cambium::engine::cuda::verify
