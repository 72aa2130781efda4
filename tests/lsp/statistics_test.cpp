#include "lsp/eval/statistics.h"

#include <doctest/doctest.h>

#include <vector>

#include "lsp/training/random.h"

using namespace cambium;
using eval::Interval;

TEST_CASE("a share's interval is Wilson's") {
  // From his formula: 10 of 50, 95 %.
  const Interval fifth = eval::proportion(10, 50);
  CHECK(fifth.mean == doctest::Approx(0.2));
  CHECK(fifth.low == doctest::Approx(0.1124).epsilon(0.001));
  CHECK(fifth.high == doctest::Approx(0.3304).epsilon(0.001));
  CHECK(fifth.n == 50);

  const Interval none = eval::proportion(0, 10), all = eval::proportion(10, 10);
  CHECK(none.low == 0.0);
  CHECK(none.high == doctest::Approx(0.2775).epsilon(0.001));
  CHECK(all.high == 1.0);
  CHECK(all.low == doctest::Approx(1 - none.high));
  CHECK(eval::proportion(0, 0).n == 0);
}

TEST_CASE("a mean's interval shrinks with the root of the count") {
  const std::vector<double> few{1, 2, 3, 4};
  const Interval small = eval::mean(few);
  CHECK(small.mean == doctest::Approx(2.5));
  CHECK(small.high - small.mean == doctest::Approx(1.96 * 0.6455).epsilon(0.001));
  std::vector<double> many;
  for (int i = 0; i < 100; ++i) many.insert(many.end(), few.begin(), few.end());
  const Interval large = eval::mean(many);
  CHECK((small.high - small.low) / (large.high - large.low) == doctest::Approx(11.5).epsilon(0.02));
  const std::vector<double> one{7};
  CHECK(eval::mean(one).low == 7.0);
  CHECK(eval::mean({}).n == 0);
}

TEST_CASE("pairing takes out what both share") {
  training::Random random(5);
  std::vector<double> a, b;
  for (int i = 0; i < 200; ++i) {
    const double hard = 10 * random.unit();  // far larger than the difference
    a.push_back(hard + 0.1 * random.unit());
    b.push_back(hard + 0.1 + 0.1 * random.unit());
  }
  const Interval d = eval::paired_difference(a, b);
  CHECK(d.mean == doctest::Approx(0.1).epsilon(0.1));
  CHECK(d.low > 0.08);
  CHECK(d.high < 0.12);
  const Interval again = eval::paired_difference(a, b);
  CHECK(again.low == d.low);
  CHECK(again.high == d.high);
  const Interval same = eval::paired_difference(a, a);
  CHECK(same.low == 0.0);
  CHECK(same.high == 0.0);
}

TEST_CASE("the share of a cost that is saved is of the sums") {
  const std::vector<double> a{10, 10, 80}, b{10, 5, 20};
  const Interval saved = eval::share_saved(a, b);
  CHECK(saved.mean == doctest::Approx(0.65));
  CHECK(saved.low >= 0);
  CHECK(saved.low < saved.mean);
  CHECK(saved.high > saved.mean);
  CHECK(saved.high <= 0.75);
  CHECK(eval::share_saved({}, {}).n == 0);
}

TEST_CASE("the bootstrap covers the truth about as often as it says") {
  training::Random random(9);
  int covered = 0;
  constexpr int kRuns = 100;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> a(40, 0.0), b;
    for (int i = 0; i < 40; ++i) b.push_back(random.chance(0.3) ? 1.0 : 0.0);
    const Interval d = eval::paired_difference(a, b);
    covered += d.low <= 0.3 && 0.3 <= d.high ? 1 : 0;
  }
  CHECK(covered >= 86);
  CHECK(covered < kRuns);
}
