#include "engine/copying.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "engine/sampler.h"

namespace cambium::engine {
namespace {

constexpr TokenId kSpecial = 99;

CopyContext context(std::vector<TokenId> prompt, int32_t text_end = -1) {
  return CopyContext(prompt, text_end, {kSpecial});
}

}  // namespace

TEST_CASE("copying: the longest match counts, of equals the latest") {
  // "1 2 3" stood here twice and "2 3" a third time.
  auto text = context({1, 2, 3, 4, 7, 1, 2, 3, 5, 8, 2, 3, 6, 1, 2, 3});
  REQUIRE(text.guess().has_value());
  CHECK(text.guess()->token == 5);
  CHECK(text.guess()->match == 3);
  text.append(4);  // the earliest place goes on like this
  CHECK(text.guess()->token == 7);
  CHECK(text.guess()->match == 4);
  text.append(42);
  CHECK_FALSE(text.guess().has_value());
  CHECK_FALSE(context({}).guess().has_value());
  // What was written is context, and never copied itself.
  auto written = context({9, 1});
  for (const TokenId token : {2, 3, 2, 3}) written.append(token);
  CHECK_FALSE(written.guess().has_value());
  CHECK(context({5, 5}).guess()->token == 5);
}

TEST_CASE("copying: nothing reaches over special tokens, and none is copied") {
  CHECK_FALSE(context({3, kSpecial, 1, 2, 3}).guess().has_value());
  const auto cut = context({1, 2, kSpecial, 2, 3, 4, kSpecial, 2, 3});
  CHECK(cut.guess()->match == 2);
  const auto over = context({1, kSpecial, 3, 7, 1, kSpecial, 3});
  CHECK(over.guess()->match == 1);
}

TEST_CASE("copying: text after the hole stands before it, and apart from it") {
  // Prefix 1 2, suffix 1 2 3: the middle goes on after the prefix.
  const auto text = context({1, 2, kSpecial, 1, 2, 3}, 2);
  REQUIRE(text.guess().has_value());
  CHECK(text.guess()->token == 3);
  CHECK(text.guess()->match == 2);
}

TEST_CASE("copying: long matches are trusted more, and never against a sure model") {
  for (int32_t match = 1; match <= CopyContext::kLongestMatch; ++match) {
    CHECK(copy_odds(match) >= copy_odds(match - 1));
    CHECK(copy_odds(match) < 1);
  }
  CHECK(copy_odds(0) == 0);
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 2);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> logits(50);
    for (float& logit : logits) logit = normal(random);
    const CopyGuess guess{static_cast<TokenId>(random() % 50),
                          static_cast<int32_t>(8 + random() % 56)};
    const TokenId best = argmax(logits);
    const double lead = std::exp(double{log_probability(logits, best)}) -
                        std::exp(double{log_probability(logits, guess.token)});
    if (std::abs(lead - double{copy_odds(guess.match)}) < 1e-4) continue;
    CHECK(prefers_copy(logits, {}, guess, 1) == (lead < double{copy_odds(guess.match)}));
    CHECK(prefers_copy(logits, {}, guess, 0) == false);
    logits[static_cast<size_t>(best)] += 60;
    CHECK(prefers_copy(logits, {}, guess, 100) == (guess.token == best));
  }
}

TEST_CASE("copying: only what is allowed counts") {
  const std::vector<float> logits{9, 1, 1, -INFINITY, NAN};
  const std::vector<TokenId> allowed{1, 2, 4};
  const CopyGuess guess{2, CopyContext::kLongestMatch};
  CHECK_FALSE(prefers_copy(logits, {}, guess, 1));
  CHECK(prefers_copy(logits, allowed, guess, 1));
  CHECK_FALSE(prefers_copy(logits, allowed, {0, 64}, 1));
  CHECK_FALSE(prefers_copy(logits, allowed, {4, 64}, 1));
  CHECK_FALSE(prefers_copy(logits, {}, {3, 64}, 1));
}

}  // namespace cambium::engine
