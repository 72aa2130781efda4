// Rows as int8 for the kernels after them: what a launch, a product's blocks and a product's epilogue
// make of the same row has the same bits, and is what the formula says.
#include <array>
#include <cmath>
#include <cstring>

#include "engine/cpu/reference.h"
#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace twin = cpu::reference;
namespace {

constexpr float kEps = 1e-6f;

/// Activations of `n` tokens, poisoned: NaN scales and squares, bytes of NaN.
struct Rows {
  int32_t width;
  size_t blocks;
  Floats values, scales, squares;
  Rows(CudaBackend& b, int64_t cols, int32_t n)
      : width(n == 1 ? 1 : kMaxColumns),
        blocks(static_cast<size_t>(ceil_div(cols, kTileCols)) * 8),
        values(b, blocks * 8 * static_cast<size_t>(width)),
        scales(b, blocks * 2 * static_cast<size_t>(width)),
        squares(b, blocks * static_cast<size_t>(width)) {}
  Activations get(bool normed) const {
    return {reinterpret_cast<int8_t*>(values.data()), reinterpret_cast<float2*>(scales.data()),
            normed ? squares.data() : nullptr};
  }
};

bool same(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
}

struct Check {
  CudaBackend& b;
  Report& report;
  Launch launch;

  void expect_same(const Rows& got, const Rows& want, bool normed, const std::string& label) const {
    report.expect(same(got.values.read(b, report), want.values.read(b, report)), label + " values");
    report.expect(same(got.scales.read(b, report), want.scales.read(b, report)), label + " scales");
    if (normed)
      report.expect(same(got.squares.read(b, report), want.squares.read(b, report)),
                    label + " squares");
  }

  /// Against the formula; returns what a product reads of column c, 1 / rms not in it.
  std::vector<std::vector<float>> expect_plain(const Rows& rows, std::span<const float> x,
                                               const std::vector<float>* norm, int32_t n,
                                               const std::string& label) const {
    const auto width = static_cast<size_t>(rows.width), cols = x.size() / static_cast<size_t>(n);
    const std::vector<float> packed = rows.values.read(b, report),
                             scales = rows.scales.read(b, report),
                             squares = rows.squares.read(b, report);
    std::vector<int8_t> values(packed.size() * sizeof(float));
    std::memcpy(values.data(), packed.data(), values.size());
    std::vector<std::vector<float>> seen(static_cast<size_t>(n), std::vector<float>(cols));
    double worst = 0, worst_sum = 0, worst_squares = 0;
    for (size_t c = 0; c < width; ++c)
      for (size_t block = 0; block < rows.blocks; ++block) {
        double y[32], largest = 0, square = 0, sum = 0;
        for (size_t i = 0; i < 32; ++i) {
          const size_t k = block * 32 + i;
          const bool there = c < static_cast<size_t>(n) && k < cols;
          const float v = there ? x[c * cols + k] : 0;
          y[i] = there && norm != nullptr ? double{v} * (*norm)[k] : v;
          largest = std::max(largest, std::fabs(y[i]));
          square += double{v} * v;
        }
        const float d = scales[(block * width + c) * 2];
        for (size_t i = 0; i < 32; ++i) {
          const size_t at = i % 16 / 4 * 8 + i / 16 * 4 + i % 4;
          const double q = double{d} * values[(block * width + c) * 32 + at];
          sum += q;
          worst = std::max(worst, std::fabs(q - y[i]) - largest / 254 * 1.001);
          if (c < static_cast<size_t>(n) && block * 32 + i < cols)
            seen[c][block * 32 + i] = static_cast<float>(q);
        }
        const double told = scales[(block * width + c) * 2 + 1];
        worst_sum = std::max(worst_sum, std::isfinite(told) ? std::fabs(told - sum) : INFINITY);
        if (norm == nullptr) continue;
        const double found = squares[c * rows.blocks + block];
        worst_squares = std::max(worst_squares, std::isfinite(found) && found >= 0
                                                    ? std::fabs(found - square) / (square + 1e-30)
                                                    : INFINITY);
      }
    report.expect(worst, 1e-6, label + " rounding");
    report.expect(worst_sum, 1e-3, label + " scaled sums");
    report.expect(worst_squares, 1e-5, label + " squares");
    return seen;
  }

  void shape(Random& random, DType type, int64_t rows, int64_t cols, bool normed,
             std::span<const int32_t> tokens) const;
};

void Check::shape(Random& random, DType type, int64_t rows, int64_t cols, bool normed,
                  std::span<const int32_t> tokens) const {
  const std::string label = std::string(type_traits(type)->name) + " " + std::to_string(rows) +
                            "x" + std::to_string(cols) + (normed ? " normed" : "");
  const float scale = 1.0f / std::sqrt(static_cast<float>(cols));
  const HostMatrix w = random_matrix(random, type, rows, cols, scale),
                   other = random_matrix(random, type, rows, cols, scale);
  auto gate = b.load_weight(w.view, WeightUse::matmul);
  auto up = b.load_weight(other.view, WeightUse::matmul);
  if (!report.expect_value(gate, "load") || !report.expect_value(up, "load")) return;
  const auto& gate_tiles = static_cast<const CudaWeight&>(**gate);
  const auto& up_tiles = static_cast<const CudaWeight&>(**up);
  const auto n_rows = static_cast<size_t>(rows), n_cols = static_cast<size_t>(cols);
  const std::vector<float> x = random.normal(kMaxColumns * n_cols),
                           before = random.normal(kMaxColumns * n_rows),
                           bias = random.normal(n_rows);
  std::vector<float> norm = random.normal(n_cols, 0.2f), next = random.normal(n_rows, 0.2f);
  for (float& v : norm) v += 1;
  for (float& v : next) v += 1;
  const Floats dx(b, x), dnorm(b, norm), dnext(b, next), dbias(b, bias);
  const float* under = normed ? dnorm.data() : nullptr;
  const std::vector<float>* host_norm = normed ? &norm : nullptr;
  const auto ok = [&](cudaError_t e, const std::string& what) {
    report.expect(e == cudaSuccess, label + what + ": " + cudaGetErrorString(e));
  };
  enum Result : uint8_t { added, silu };
  const auto args = [&](Result result, int32_t n, const Floats& y) {
    MatmulArgs a;
    a.type = gate_tiles.tile;
    a.cols = static_cast<int32_t>(cols);
    a.n_tokens = n;
    a.eps = kEps;
    a.ready = true;
    a.target[0] = {gate_tiles.tiles(), y.data(), nullptr, static_cast<int32_t>(rows), false};
    if (result == silu) {
      a.epilogue = Epilogue::silu_mul;
      a.n_targets = 2;
      a.target[1] = {up_tiles.tiles(), nullptr, nullptr, static_cast<int32_t>(rows), false};
    } else {
      a.target[0].bias = dbias.data();
      a.target[0].accumulate = true;
    }
    return a;
  };
  const auto result_of = [&](Result result, int32_t n) {
    const auto all = std::span(before).first(static_cast<size_t>(n) * n_rows);
    return result == added ? Floats(b, all) : Floats(b, all.size());
  };

  const Rows eight(b, cols, kMaxColumns), one(b, cols, 1);
  ok(ready_rows(launch, dx.data(), under, static_cast<int>(cols), kMaxColumns, eight.get(normed)),
     " quantize");
  ok(ready_rows(launch, dx.data(), under, static_cast<int>(cols), 1, one.get(normed)),
     " quantize one");
  const auto seen = expect_plain(eight, x, host_norm, kMaxColumns, label + " of 8");
  expect_plain(one, std::span(x).first(n_cols), host_norm, 1, label + " of 1");
  const Rows three(b, cols, 3);
  ok(ready_rows(launch, dx.data(), under, static_cast<int>(cols), 3, three.get(normed)),
     " quantize three");
  expect_plain(three, std::span(x).first(3 * n_cols), host_norm, 3, label + " of 3");

  if (!normed) {
    const Rows whole(b, cols, 3);
    ok(quantize_rows(launch, dx.data(), nullptr, 0, static_cast<int>(cols), 3, whole.get(false)),
       " whole rows");
    expect_same(whole, three, false, label + " whole and ready");
  }

  for (const Result result : {added, silu}) {
    const std::string name = label + (result == added ? " added" : " silu");
    const Floats y = result_of(result, kMaxColumns);
    MatmulArgs a = args(result, kMaxColumns, y);
    a.activations = eight.get(normed);
    ok(matmul_tiles(launch, a), " product");
    const std::vector<float> got = y.read(b, report);
    // The plain twin on what was rounded to int8.
    std::vector<float> want = before, gates(n_rows), ups(n_rows);
    for (size_t c = 0; c < kMaxColumns; ++c) {
      double square = 0;
      for (size_t k = 0; k < n_cols; ++k) square += double{x[c * n_cols + k]} * x[c * n_cols + k];
      const double inverse =
          normed ? 1 / std::sqrt(square / static_cast<double>(cols) + double{kEps}) : 1;
      std::vector<float> row = seen[c];
      for (float& v : row) v = static_cast<float>(v * inverse);
      float* to = want.data() + c * n_rows;
      if (result == added) {
        twin::matmul(w.view, bias.data(), row.data(), 1, true, to);
      } else {
        twin::matmul(w.view, nullptr, row.data(), 1, false, gates.data());
        twin::matmul(other.view, nullptr, row.data(), 1, false, ups.data());
        twin::silu_mul(gates.data(), ups.data(), to, rows);
      }
    }
    report.expect(relative_error(got, want), 2e-4, name);

    // One token: its blocks quantize, or read what a launch did.
    const auto first = std::span(got).first(n_rows);
    for (const bool by_blocks : {true, false}) {
      const Floats alone = result_of(result, 1);
      MatmulArgs single = args(result, 1, alone);
      if (by_blocks) {
        single.x = dx.data();
        single.norm = under;
      } else {
        single.activations = one.get(normed);
      }
      ok(matmul_tiles(launch, single), " one");
      report.expect(same(alone.read(b, report), first),
                    name + (by_blocks ? " one, by its blocks" : " one, by a launch"));
    }

    if (!can_make(rows, cols)) continue;
    for (const int32_t n : tokens)
      for (const bool next_normed : {false, true}) {
        const std::string what =
            name + " made " + std::to_string(n) + (next_normed ? " under a norm" : "");
        const Rows made(b, rows, n), by_launch(b, rows, n);
        const Floats floats = result_of(result, n);
        MatmulArgs m = args(result, n, floats);
        if (n == 1 && next_normed) {
          m.x = dx.data();
          m.norm = under;
        } else {
          m.activations = n == 1 ? one.get(normed) : eight.get(normed);
        }
        m.made = made.get(next_normed);
        m.made_norm = next_normed ? dnext.data() : nullptr;
        const bool silent = result == silu && !next_normed;  // the floats left out
        if (silent) m.target[0].y = nullptr;
        ok(matmul_tiles(launch, m), " made");
        if (!silent)
          report.expect(
              same(floats.read(b, report), std::span(got).first(static_cast<size_t>(n) * n_rows)),
              what + " floats");
        ok(ready_rows(launch, y.data(), m.made_norm, static_cast<int>(rows), n,
                      by_launch.get(next_normed)),
           " quantize");
        expect_same(made, by_launch, next_normed, what);
      }
  }
}

}  // namespace

void check_rows(CudaBackend& b, Random& random, Report& report, bool small) {
  report.group(small ? "small rows made ready" : "rows made ready");
  Launch launch = b.launch();
  launch.dependent = b.dependent_launch();
  const Check check{b, report, launch};
  using D = DType;
  if (small) {
    // Several items a block, and few altogether.
    launch.multiprocessors = 2;
    const Check few{b, report, launch};
    few.shape(random, D::q4_k, 160, 512, true, std::array<int32_t, 3>{1, 3, 8});
    few.shape(random, D::q5_0, 96, 2144, false, std::array<int32_t, 2>{1, 8});
    return;
  }
  constexpr int32_t kAll[] = {1, 2, 3, 4, 5, 6, 7, 8}, kSome[] = {1, 3, 8};
  for (const D type : {D::q4_k, D::q5_k, D::q6_k, D::q8_0, D::q4_0, D::q5_0, D::q4_1, D::q5_1}) {
    const bool wide = type_traits(type)->block_elements == 256;
    check.shape(random, type, 96, wide ? 768 : 352, true, kAll);
    check.shape(random, type, 32, wide ? 256 : 32, false, kSome);
    check.shape(random, type, 37, 2048, true, kSome);  // cannot be made: 32 rows share a scale
    check.shape(random, type, 352, 4352, true, kSome);
    check.shape(random, type, 64, 8448, false, kSome);
  }
  // More pairs of row tiles than multiprocessors, and not a multiple of them.
  check.shape(random, D::q4_k, 32 * (2 * launch.multiprocessors + 5), 512, true, kSome);
  check.shape(random, D::q5_0, 32 * (launch.multiprocessors + 1), 1376, false, kSome);
  MatmulArgs a;
  a.cols = 256;
  a.target[0].rows = 48;
  const Rows to(b, 256, 1);
  a.made = to.get(false);
  a.ready = true;
  report.expect(matmul_tiles(launch, a) != cudaSuccess, "48 rows were made ready");
  a.target[0].rows = 64;
  a.ready = false;
  report.expect(matmul_tiles(launch, a) != cudaSuccess, "a product of whole rows made some ready");
  a.made = {};
  a.activations = to.get(true);
  report.expect(matmul_tiles(launch, a) != cudaSuccess, "ready rows were read as whole ones");
}

}  // namespace cambium::engine::cuda::verify
