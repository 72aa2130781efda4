#include "engine/draft.h"

#include <doctest/doctest.h>

#include <random>

namespace cambium::engine {
namespace {

using Tokens = std::vector<TokenId>;

Tokens proposed(const Tokens& sequence, int32_t limit) {
  PromptLookup lookup;
  lookup.append(sequence);
  const auto draft = lookup.propose(limit);
  return {draft.begin(), draft.end()};
}

TEST_CASE("prompt lookup: what followed the last time") {
  struct {
    Tokens sequence;
    int32_t limit;
    Tokens want;
  } const cases[] = {
      {{}, 7, {}},
      {{1}, 7, {}},
      {{1, 2, 3, 4}, 7, {}},
      {{1, 2, 3, 4, 1, 2}, 7, {3, 4, 1, 2}},
      {{1, 2, 3, 4, 1, 2}, 2, {3, 4}},
      {{1, 2, 3, 4, 1, 2}, 0, {}},
      // The latest place counts,
      {{1, 2, 3, 9, 1, 2, 4, 9, 1, 2}, 1, {4}},
      // but a longer agreement counts more.
      {{5, 6, 1, 2, 3, 9, 1, 2, 4, 5, 6, 1, 2}, 1, {3}},
      // A run overlaps itself.
      {{7, 7, 7, 7}, 3, {7}},
      {{8, 8, 8, 8, 8, 8}, 3, {8}},
  };
  for (const auto& c : cases) {
    CAPTURE(c.sequence.size());
    CHECK(proposed(c.sequence, c.limit) == c.want);
  }
}

TEST_CASE("prompt lookup: a draft is always a continuation of the same two tokens") {
  std::mt19937 random(1);
  PromptLookup lookup;
  Tokens sequence;
  int drafts = 0;
  for (int i = 0; i < 30000; ++i) {
    sequence.push_back(static_cast<TokenId>(random() % 40));
    lookup.append(sequence.back());
    const auto draft = lookup.propose(4);
    if (draft.empty()) continue;
    ++drafts;
    bool found = false;
    for (size_t at = sequence.size() - 1; at >= 2 && !found; --at) {
      found = sequence[at - 2] == sequence.end()[-2] && sequence[at - 1] == sequence.back() &&
              std::equal(draft.begin(), draft.end(), sequence.begin() + static_cast<ptrdiff_t>(at));
    }
    CHECK(found);
  }
  CHECK(drafts > 20000);
}

TEST_CASE("draft length: as long as it pays by measured cost") {
  DraftPolicy cheap, dear;
  for (int32_t columns = 1; columns <= kMaxDraft + 1; ++columns) {
    for (int i = 0; i < 100; ++i) {
      cheap.measured(columns, 1.0 + 0.03 * (columns - 1));
      dear.measured(columns, columns);
    }
  }
  CHECK(cheap.length(0.9) == kMaxDraft);
  CHECK(cheap.length(0.3) >= 1);
  CHECK(cheap.length(0.3) < kMaxDraft);
  CHECK(cheap.length(0.01) == 0);
  // A pass that costs as much as the steps it replaces never pays.
  for (const double chance : {0.1, 0.5, 0.99}) CHECK(dear.length(chance) == 0);
}

TEST_CASE("draft length: one slow pass does not decide for long") {
  DraftPolicy policy;
  for (int32_t columns = 1; columns <= kMaxDraft + 1; ++columns) policy.measured(columns, 1.0);
  const int32_t before = policy.length(0.7);
  policy.measured(1, 0.9);
  policy.measured(2, 500);
  for (int i = 0; i < 20; ++i) policy.measured(2, 1.0);
  CHECK(policy.length(0.7) == before);
}

TEST_CASE("draft chance: follows what happens and recovers when passed over") {
  DraftChance chance;
  for (int i = 0; i < 50; ++i) chance.observed(4, 4);
  CHECK(chance.value() > 0.95);
  for (int i = 0; i < 50; ++i) chance.observed(4, 0);
  CHECK(chance.value() < 0.05);
  for (int i = 0; i < 200; ++i) chance.passed_over();
  CHECK(chance.value() > 0.5);
}

}  // namespace
}  // namespace cambium::engine
