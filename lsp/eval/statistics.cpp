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

}  // namespace

Interval proportion(size_t successes, size_t n) {
  if (n == 0) return {};
  const auto count = static_cast<double>(n);
  const double p = static_cast<double>(successes) / count;
  const double scale = 1 + kZ * kZ / count;
  const double center = (p + kZ * kZ / (2 * count)) / scale;
  const double half = kZ / scale * std::sqrt(p * (1 - p) / count + kZ * kZ / (4 * count * count));
  // The ends are exact where no or every case succeeded; rounding would leave them a hair off.
  return {p, successes == 0 ? 0 : center - half, successes == n ? 1 : center + half, n};
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
  Interval result;
  result.n = a.size();
  if (a.empty()) return result;
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = b[i] - a[i];
  const auto n = static_cast<double>(a.size());
  for (const double d : differences) result.mean += d / n;
  training::Random random(1);
  std::vector<double> means(kResamples);
  for (double& resampled : means) {
    double sum = 0;
    for (size_t i = 0; i < differences.size(); ++i)
      sum += differences[random.below(static_cast<uint32_t>(differences.size()))];
    resampled = sum / n;
  }
  std::sort(means.begin(), means.end());
  result.low = means[static_cast<size_t>(0.025 * kResamples)];
  result.high = means[static_cast<size_t>(0.975 * kResamples) - 1];
  return result;
}

}  // namespace cambium::eval
