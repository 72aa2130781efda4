#include "engine/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

using namespace cambium::engine;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Logits whose softmax is p.
std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> out;
  for (const double x : p) out.push_back(x > 0 ? static_cast<float>(std::log(x) + 3.0) : kNever);
  return out;
}

/// How often each token is drawn in n draws.
std::map<TokenId, int> draw(const SamplingParams& params, const std::vector<float>& logits, int n) {
  Sampler sampler(params);
  std::map<TokenId, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits, {})];
  return counts;
}

SamplingParams warm(float temperature = 1.0f) {
  SamplingParams p;
  p.temperature = temperature;
  p.seed = 42;
  return p;
}

}  // namespace

TEST_CASE("sampler: greedy takes the largest, the smallest id on a tie, never a NaN") {
  Sampler sampler(SamplingParams{});
  CHECK(sampler.greedy());
  struct Case {
    std::vector<float> logits;
    TokenId expected;
  };
  for (const Case& c : {Case{{1, 3, 2}, 1}, Case{{2, 3, 3}, 1}, Case{{kNaN, 1, kNaN}, 1},
                        Case{{kNever, -5, kNever}, 1}, Case{{kNever, kNever}, 0}}) {
    CHECK(sampler.sample(c.logits, {}) == c.expected);
    CHECK(argmax(c.logits) == c.expected);
  }
}

TEST_CASE("sampler: repetition divides positive and multiplies negative logits") {
  SamplingParams params;
  params.repetition = 2.0f;
  params.repetition_last = 2;
  Sampler sampler(params);
  const std::vector<float> logits = {5, 4, -1, -3};
  CHECK(sampler.sample(logits, {}) == 0);
  CHECK(sampler.sample(logits, std::vector<TokenId>{0}) == 1);
  CHECK(sampler.sample(logits, std::vector<TokenId>{0, 0}) == 1);     // counted once: 5/2, not 5/4
  CHECK(sampler.sample(logits, std::vector<TokenId>{0, 2, 2}) == 0);  // too long ago
  CHECK(sampler.sample(std::vector<float>{-1, -3}, std::vector<TokenId>{0}) == 0);  // -2 > -3
  CHECK(sampler.sample(std::vector<float>{-2, -3}, std::vector<TokenId>{0}) == 1);  // -4 < -3
  CHECK(sampler.sample(logits, std::vector<TokenId>{99}) == 0);  // no id of these logits
}

TEST_CASE("sampler: draws follow the distribution") {
  const auto logits = logits_of({0.5, 0.3, 0.15, 0.05, 0});
  constexpr int n = 20000;
  struct Case {
    const char* what;
    SamplingParams params;
    std::vector<double> expected;
  };
  const auto with = [](auto change, float temperature = 1.0f) {
    SamplingParams p = warm(temperature);
    change(p);
    return p;
  };
  const Case cases[] = {
      {"plain", warm(), {0.5, 0.3, 0.15, 0.05, 0}},
      {"top-k 2", with([](auto& p) { p.top_k = 2; }), {0.625, 0.375, 0, 0, 0}},
      {"top-p 0.7", with([](auto& p) { p.top_p = 0.7f; }), {0.625, 0.375, 0, 0, 0}},
      {"top-p 0.81", with([](auto& p) { p.top_p = 0.81f; }), {0.5263, 0.3158, 0.1579, 0, 0}},
      {"min-p 0.25", with([](auto& p) { p.min_p = 0.25f; }), {0.5263, 0.3158, 0.1579, 0, 0}},
      {"temperature 0.5", warm(0.5f), {0.6849, 0.2466, 0.0616, 0.0068, 0}},
      // top-p looks at the distribution before the temperature flattens it.
      {"top-p, then temperature 2",
       with([](auto& p) { p.top_p = 0.7f; }, 2.0f),
       {0.5635, 0.4365, 0, 0, 0}},
      {"all together",
       with([](auto& p) {
         p.top_k = 3;
         p.top_p = 0.99f;
         p.min_p = 0.5f;
       }),
       {0.625, 0.375, 0, 0, 0}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    auto counts = draw(c.params, logits, n);
    for (size_t i = 0; i < c.expected.size(); ++i) {
      const double p = c.expected[i];
      const double sigma = std::sqrt(p * (1 - p) / n);
      CHECK(std::abs(counts[static_cast<TokenId>(i)] / double{n} - p) <= 4 * sigma + 1e-4);
    }
  }
}

TEST_CASE("sampler: a seed gives one sequence, another seed another") {
  const auto logits = logits_of({0.3, 0.3, 0.2, 0.2});
  const auto sequence = [&](uint64_t seed) {
    SamplingParams p = warm();
    p.seed = seed;
    Sampler sampler(p);
    std::vector<TokenId> out;
    for (int i = 0; i < 50; ++i) out.push_back(sampler.sample(logits, {}));
    return out;
  };
  CHECK(sequence(1) == sequence(1));
  CHECK(sequence(1) != sequence(2));
}

TEST_CASE("sampler: constraints") {
  const std::vector<float> logits = {1, 5, 4, 3, 2, kNever};
  const std::vector<TokenId> allowed = {0, 3, 4};
  for (const float temperature : {0.0f, 1.0f, 0.01f}) {
    CAPTURE(temperature);
    SamplingParams params = warm(temperature);
    params.top_k = 2;
    Sampler sampler(params);
    SampleConstraint only;
    only.allowed = allowed;
    const auto chosen = sampler.sample(logits, {}, only);
    REQUIRE(chosen);
    if (temperature < 0.1f)
      CHECK(*chosen == 3);
    else
      CHECK((*chosen == 3 || *chosen == 4));

    // Asked best first (greedy), each at most once, past top-k too, never about what cannot be.
    std::vector<TokenId> asked;
    SampleConstraint refuse;
    refuse.accept = [&](TokenId id) {
      asked.push_back(id);
      return false;
    };
    CHECK_FALSE(sampler.sample(logits, {}, refuse).has_value());
    if (temperature == 0.0f) CHECK(asked == std::vector<TokenId>{1, 2, 3, 4, 0});
    std::sort(asked.begin(), asked.end());
    CHECK(asked == std::vector<TokenId>{0, 1, 2, 3, 4});

    SampleConstraint last;
    last.accept = [](TokenId id) { return id == 0; };
    CHECK(sampler.sample(logits, {}, last) == std::optional<TokenId>(0));
    SampleConstraint both;
    both.allowed = allowed;
    both.accept = [](TokenId id) { return id != 3; };
    CHECK(sampler.sample(logits, {}, both) == std::optional<TokenId>(4));
    const std::vector<TokenId> nobody = {17};
    SampleConstraint outside;
    outside.allowed = nobody;
    CHECK_FALSE(sampler.sample(logits, {}, outside).has_value());
  }
}

TEST_CASE("sampler: a large vocabulary is sorted only as far as needed, with the same result") {
  std::vector<float> logits(50000);
  std::mt19937 random(3);
  for (float& l : logits) l = static_cast<float>(random() % 100000) / 10000.0f;
  std::vector<std::pair<float, TokenId>> sorted;
  for (size_t i = 0; i < logits.size(); ++i)
    sorted.emplace_back(-logits[i], static_cast<TokenId>(i));
  std::sort(sorted.begin(), sorted.end());
  Sampler sampler(SamplingParams{});
  std::vector<TokenId> asked;
  SampleConstraint constraint;
  constraint.accept = [&](TokenId id) {
    asked.push_back(id);
    return asked.size() == 1000;
  };
  CHECK(sampler.sample(logits, {}, constraint) == std::optional(sorted[999].second));
  for (size_t i = 0; i < 1000; ++i) REQUIRE(asked[i] == sorted[i].second);
}

TEST_CASE("sampler: log-probabilities and alternatives") {
  const auto logits = logits_of({0.1, 0.6, 0.3, 0});
  CHECK(log_probability(logits, 1) == doctest::Approx(std::log(0.6)));
  CHECK(log_probability(logits, 0) == doctest::Approx(std::log(0.1)));
  CHECK(log_probability(logits, 3) == kNever);
  const auto [own, top] = ranked(logits, 2, 2);
  CHECK(own == log_probability(logits, 2));
  REQUIRE(top.size() == 2);
  CHECK(top[0].token == 1);
  CHECK(top[1].token == 2);
  CHECK(top[1].logprob == doctest::Approx(std::log(0.3)));
  CHECK(ranked(logits, 0, 99).best.size() == 4);
  CHECK(ranked(logits, 0, 0).best.empty());
  CHECK(ranked(std::vector<float>{kNever, kNaN}, 1, 2).logprob == kNever);
  // Against the library's own exponential, over a vocabulary's width and any length of it.
  std::mt19937 random(8);
  for (const size_t n : {1, 15, 16, 17, 4095, 4097, 50000}) {
    std::vector<float> wide(n);
    for (float& l : wide) l = static_cast<float>(random() % 400000) / 10000.0f - 30.0f;
    if (n > 20) wide[3] = kNever, wide[5] = kNaN;
    double sum = 0;
    for (const float l : wide) sum += std::isnan(l) ? 0 : std::exp(static_cast<double>(l));
    CHECK(log_probability(wide, 0) ==
          doctest::Approx(static_cast<double>(wide[0]) - std::log(sum)).epsilon(1e-6));
    CHECK(argmax(wide) == std::max_element(wide.begin(), wide.end(), [](float a, float b) {
                            return (std::isnan(a) ? kNever : a) < (std::isnan(b) ? kNever : b);
                          }) - wide.begin());
    // The best of all, in order, the smaller id on a tie, with the log-probabilities they have alone.
    if (n > 100) wide[n - 2] = wide[n / 2] = wide[static_cast<size_t>(argmax(wide))];
    std::vector<TokenId> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
      const auto at = [&](TokenId id) {
        const float l = wide[static_cast<size_t>(id)];
        return std::isnan(l) ? kNever : l;
      };
      return at(a) > at(b);
    });
    for (const int32_t count : {1, 7, 70}) {
      const auto best = ranked(wide, 0, count).best;
      REQUIRE(best.size() == std::min(n, static_cast<size_t>(count)));
      for (size_t i = 0; i < best.size(); ++i) {
        CHECK(best[i].token == order[i]);
        CHECK(best[i].logprob == log_probability(wide, order[i]));
      }
    }
  }
  // Shifted far from 0 nothing overflows.
  CHECK(log_probability(std::vector<float>{1e4f, 1e4f}, 0) == doctest::Approx(std::log(0.5)));
}
