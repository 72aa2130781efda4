#include "lsp/eval/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "lsp/training/random.h"

namespace cambium::eval {
namespace {

constexpr double kZ = 1.959964;  // of the normal distribution, 95 % within
constexpr size_t kResamples = 10000;

/// A statistic of the sums of both over the cases, and its percentiles over cases drawn anew.
template <class Statistic>
Interval bootstrap(std::span<const double> a, std::span<const double> b, Statistic statistic) {
  Interval result;
  result.n = a.size();
  if (a.empty()) return result;
  double sum_a = 0, sum_b = 0;
  for (size_t i = 0; i < a.size(); ++i) sum_a += a[i], sum_b += b[i];
  result.mean = statistic(sum_a, sum_b);
  training::Random random(1);
  std::vector<double> values(kResamples);
  for (double& resampled : values) {
    double of_a = 0, of_b = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const size_t drawn = random.below(static_cast<uint32_t>(a.size()));
      of_a += a[drawn], of_b += b[drawn];
    }
    resampled = statistic(of_a, of_b);
  }
  std::sort(values.begin(), values.end());
  result.low = values[static_cast<size_t>(0.025 * kResamples)];
  result.high = values[static_cast<size_t>(0.975 * kResamples) - 1];
  return result;
}

}  // namespace

Interval proportion(double successes, double n) {
  if (n == 0) return {};
  const double p = successes / n;
  const double scale = 1 + kZ * kZ / n;
  const double center = (p + kZ * kZ / (2 * n)) / scale;
  const double half = kZ / scale * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  // The ends are exact where no or every case succeeded; rounding would leave them a hair off.
  return {p, successes == 0 ? 0 : center - half, successes == n ? 1 : center + half,
          static_cast<size_t>(n)};
}

Interval mean(std::span<const double> values) {
  Interval result;
  result.n = values.size();
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) result.mean += v / n;
  double half = 0;
  if (values.size() > 1) {
    double squares = 0;
    for (const double v : values) squares += (v - result.mean) * (v - result.mean);
    half = kZ * std::sqrt(squares / (n - 1) / n);
  }
  result.low = result.mean - half;
  result.high = result.mean + half;
  return result;
}

Interval paired_difference(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  const auto n = static_cast<double>(a.size());
  return bootstrap(a, b, [n](double of_a, double of_b) { return (of_b - of_a) / n; });
}

Interval share_saved(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  return bootstrap(a, b, [](double of_a, double of_b) { return 1 - of_b / of_a; });
}

Interval ratio(std::span<const double> of, std::span<const double> over) {
  assert(of.size() == over.size());
  return bootstrap(of, over, [](double sum, double whole) { return whole == 0 ? 0 : sum / whole; });
}

}  // namespace cambium::eval
