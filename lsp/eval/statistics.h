// How sure a measured share or difference is. Pure functions; the same input gives the same figures.
#pragma once

#include <cstddef>
#include <span>

namespace cambium::eval {

/// A mean with the ends of its 95 % confidence interval.
struct Interval {
  double mean = 0, low = 0, high = 0;
  size_t n = 0;
};

/// A share of successes (Wilson 1927): sound for few cases and for shares near 0 or 1. Cases may have
/// weights, of which these are the sums.
Interval proportion(double successes, double n);

/// Mean of values, by the normal approximation. Of fewer than two values the ends are the mean.
Interval mean(std::span<const double> values);

/// Mean of b[i] - a[i] over paired cases, by the bootstrap over cases (Efron 1979, percentile, 10,000
/// resamples of a fixed seed): what both found hard or easy cancels out. Both have the same length.
Interval paired_difference(std::span<const double> a, std::span<const double> b);

/// 1 - Σb / Σa over paired cases of positive cost, by the same bootstrap: what of a's time b saves.
Interval share_saved(std::span<const double> a, std::span<const double> b);

/// Σof / Σover (0 where Σover is), by the same bootstrap over what was drawn as one: a project with all
/// its cases, say.
Interval ratio(std::span<const double> of, std::span<const double> over);

}  // namespace cambium::eval
