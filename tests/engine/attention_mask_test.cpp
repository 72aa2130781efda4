// The parent mask against its definition, pair by pair, on random trees in both orders of
// fill-in-the-middle and on labels that no tree would give.
#include "engine/attention_mask.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace cambium::engine {
namespace {

enum class Order { psm, spm };

// A document of `n` tokens under a random tree of scopes whose numbers have gaps.
TokenStructure random_document(std::mt19937& random, int n, int max_depth, double open_chance) {
  struct Scope {
    int32_t number, last;
  };
  std::vector<Scope> scopes{{0, 0}};
  std::vector<size_t> open{0}, of_token;
  int32_t next = 0;
  for (int i = 0; i < n; ++i) {
    const double dice = std::uniform_real_distribution<>(0, 1)(random);
    if (dice < open_chance && static_cast<int>(open.size()) < max_depth) {
      next += 1 + static_cast<int32_t>(random() % 7);
      open.push_back(scopes.size());
      scopes.push_back({next, next});
    } else if (dice > 1 - open_chance && open.size() > 1) {
      open.pop_back();
    }
    for (const size_t s : open) scopes[s].last = std::max(scopes[s].last, next);
    of_token.push_back(open.back());
  }
  TokenStructure document;
  for (const size_t s : of_token) document.push_back({scopes[s].number, scopes[s].last, 0});
  return document;
}

// The same tokens as a fill-in-the-middle sequence: middle tokens all have the cursor's place.
TokenStructure sequence(const TokenStructure& document, int cursor, int middle, Order order) {
  const int n = static_cast<int>(document.size());
  TokenStructure out;
  const auto add = [&](int from, int to, int place, int step) {
    for (int i = from; i < to; ++i, place += step) {
      auto label = document.at(static_cast<size_t>(i));
      label.place = place;
      out.push_back(label);
    }
  };
  if (order == Order::psm) add(0, cursor, 0, 1);
  add(cursor + middle, n, cursor, 1);
  if (order == Order::spm) add(0, cursor, 0, 1);
  add(cursor, cursor + middle, cursor, 0);
  return out;
}

TokenStructure random_labels(std::mt19937& random, int n) {
  TokenStructure out;
  for (int i = 0; i < n; ++i) {
    const auto scope = static_cast<int32_t>(random() % 12);
    out.push_back({scope, scope + static_cast<int32_t>(random() % 8) - 2,
                   static_cast<int32_t>(random() % 60)});
  }
  return out;
}

/// Below and above `window`, and in every third case endless.
int32_t random_scope_window(std::mt19937& random) {
  return random() % 3 == 0 ? INT32_MAX : static_cast<int32_t>(random() % 60);
}

struct Pairs {
  bool any = false, all = true;
};
Pairs brute_force(const TokenStructure& cells, int q0, int q1, int k0, int k1, PruneRule rule) {
  Pairs pairs;
  for (int q = q0; q < q1; ++q) {
    for (int k = k0; k < k1; ++k) {
      const bool sees = k <= q && visible(cells.at(static_cast<size_t>(q)),
                                          cells.at(static_cast<size_t>(k)), k, rule);
      pairs.any |= sees;
      pairs.all &= sees;
    }
  }
  return pairs;
}

void check_blocks(const TokenStructure& cells, int first, int n, PruneRule rule, int tile,
                  int block) {
  CAPTURE(first);
  CAPTURE(n);
  CAPTURE(tile);
  CAPTURE(block);
  CAPTURE(rule.window);
  CAPTURE(rule.sinks);
  CAPTURE(rule.scope_window);
  const VisibleBlocks got = visible_blocks(cells, first, n, rule, tile, block);
  REQUIRE(got.query_tile == tile);
  REQUIRE(got.key_block == block);
  const int n_cells = first + n, n_tiles = (n + tile - 1) / tile;
  REQUIRE(got.offsets.size() == static_cast<size_t>(n_tiles) + 1);
  REQUIRE(got.offsets.front() == 0);
  REQUIRE(static_cast<size_t>(got.offsets.back()) == got.blocks.size());
  REQUIRE(got.full.size() == got.blocks.size());
  for (int t = 0; t < n_tiles; ++t) {
    auto at = static_cast<size_t>(got.offsets[static_cast<size_t>(t)]);
    const auto end = static_cast<size_t>(got.offsets[static_cast<size_t>(t) + 1]);
    const int q0 = first + t * tile, q1 = std::min(n_cells, q0 + tile);
    for (int b = 0; b * block < n_cells; ++b) {
      const Pairs want =
          brute_force(cells, q0, q1, b * block, std::min(n_cells, (b + 1) * block), rule);
      const bool listed = at < end && got.blocks[at] == b;
      CHECK_MESSAGE(listed == want.any, "tile " << t << ", block " << b);
      if (listed) CHECK_MESSAGE((got.full[at] != 0) == want.all, "tile " << t << ", block " << b);
      if (listed) ++at;
    }
    CHECK(at == end);
  }
}

TEST_CASE("relation: same, ancestor, other") {
  const TokenLabel root{0, 30, 0}, outer{10, 20, 0}, inner{12, 15, 0}, sibling{25, 30, 0};
  CHECK(relation(inner, inner) == Relation::same);
  CHECK(relation(inner, outer) == Relation::ancestor);
  CHECK(relation(inner, root) == Relation::ancestor);
  CHECK(relation(outer, inner) == Relation::other);
  CHECK(relation(sibling, outer) == Relation::other);
  // An interval's two ends belong to it.
  CHECK(relation({20, 20, 0}, outer) == Relation::ancestor);
  CHECK(relation({21, 21, 0}, outer) == Relation::other);
}

TEST_CASE("visible: sinks, path, window") {
  const TokenLabel query{10, 10, 100};
  const PruneRule rule{.window = 5, .sinks = 2};
  CHECK(visible(query, {50, 50, 900}, 1, rule));
  CHECK_FALSE(visible(query, {50, 50, 900}, 2, rule));
  CHECK(visible(query, {0, 60, 900}, 2, rule));
  CHECK(visible(query, {50, 50, 95}, 2, rule));
  CHECK(visible(query, {50, 50, 105}, 2, rule));
  CHECK_FALSE(visible(query, {50, 50, 94}, 2, rule));
  CHECK_FALSE(visible(query, {50, 50, 106}, 2, rule));
}

TEST_CASE("visible: a scope that reaches so far and no farther") {
  const TokenLabel query{10, 10, 100};
  const PruneRule rule{.window = 5, .sinks = 2, .scope_window = 20};
  for (const TokenLabel key : {TokenLabel{10, 10, 0}, {0, 60, 0}}) {
    CHECK(visible(query, {key.scope, key.last, 80}, 2, rule));
    CHECK_FALSE(visible(query, {key.scope, key.last, 79}, 2, rule));
    CHECK_FALSE(visible(query, {key.scope, key.last, 121}, 2, rule));
    CHECK(visible(query, {key.scope, key.last, 79}, 1, rule));
  }
  // It never takes away what the window shows.
  CHECK(visible(query, {10, 10, 96}, 2, {.window = 5, .sinks = 0, .scope_window = 1}));
}

TEST_CASE("visible_blocks: random trees against brute force") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    const int n = 40 + static_cast<int>(random() % 260);
    const auto document = random_document(random, n, 6, 0.08);
    const int cursor = static_cast<int>(random() % static_cast<unsigned>(n - 20));
    const auto order = round % 2 == 0 ? Order::psm : Order::spm;
    const auto cells = sequence(document, cursor, 10, order);
    const PruneRule rule{.window = static_cast<int32_t>(random() % 24),
                         .sinks = static_cast<int32_t>(random() % 6),
                         .scope_window = random_scope_window(random)};
    const int block = 1 << (3 + random() % 3);
    check_blocks(cells, 0, static_cast<int>(cells.size()), rule, 16, block);
    const int first = static_cast<int>(random() % cells.size());
    const int count = static_cast<int>(cells.size()) - first;
    check_blocks(cells, first, std::min(count, 8), rule, 1 + static_cast<int>(random() % 8), block);
    check_blocks(cells, static_cast<int>(cells.size()) - 1, 1, rule, 1, block);
  }
}

TEST_CASE("visible_blocks: labels of no tree") {
  std::mt19937 random(8);
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    const auto cells = random_labels(random, 90);
    const PruneRule rule{.window = static_cast<int32_t>(random() % 8),
                         .sinks = static_cast<int32_t>(random() % 20),
                         .scope_window = random_scope_window(random)};
    check_blocks(cells, 0, 90, rule, 4, 8);
    check_blocks(cells, 33, 57, rule, 5, 16);
  }
}

TEST_CASE("visible_blocks: no query, no block") {
  TokenStructure cells;
  cells.resize(10);
  const auto got = visible_blocks(cells, 10, 0, {}, 8, 32);
  CHECK(got.offsets == std::vector<int32_t>{0});
  CHECK(got.blocks.empty());
}

TEST_CASE("visible_blocks: a file of functions leaves most blocks out") {
  // 32 functions of 128 tokens; with a window of 64 a query sees its own function, the neighbour's
  // edge, and nothing of the others.
  TokenStructure cells;
  for (int i = 0; i < 4096; ++i) cells.push_back({i / 128 + 1, i / 128 + 1, i});
  const auto got = visible_blocks(cells, 0, 4096, {.window = 64, .sinks = 4}, 32, 32);
  const int causal = 128 * 129 / 2;
  CHECK(static_cast<int>(got.blocks.size()) < causal / 8);
}

// The definition, pair by pair.
size_t brute_force_prefix(const TokenStructure& a, const TokenStructure& b, PruneRule rule) {
  const size_t n = std::min(a.size(), b.size());
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const auto key = static_cast<int32_t>(j);
      if (relation(a.at(i), a.at(j)) != relation(b.at(i), b.at(j)) ||
          visible(a.at(i), a.at(j), key, rule) != visible(b.at(i), b.at(j), key, rule)) {
        return i;
      }
    }
  }
  return n;
}

TEST_CASE("common_structure_prefix: numbers may shift, relations may not") {
  TokenStructure a, b;
  for (const TokenLabel label : {TokenLabel{0, 99, 0}, {5, 9, 1}, {7, 9, 2}, {20, 20, 3}}) {
    a.push_back(label);
    b.push_back({label.scope * 3, label.last * 3 + 2, label.place});
  }
  CHECK(common_structure_prefix(a, b, {}) == 4);
  // The third token leaves the second's scope.
  b.scope[2] = b.last[2] = 50;
  CHECK(common_structure_prefix(a, b, {}) == 2);
  CHECK(common_structure_prefix(a, {}, {}) == 0);
}

TEST_CASE("common_structure_prefix: a moved suffix counts only where the window notices") {
  // Suffix first, then prefix: the suffix's places moved by one when a token was typed.
  TokenStructure a, b;
  for (int i = 0; i < 50; ++i) a.push_back({1, 1, 100 + i}), b.push_back({1, 1, 101 + i});
  for (int i = 0; i < 100; ++i) a.push_back({2, 2, i}), b.push_back({2, 2, i});
  CHECK(common_structure_prefix(a, b, {.window = 1000, .sinks = 0}) == 150);
  // Place 90 sees up to place 100 with a window of 10, and no longer after the shift.
  CHECK(common_structure_prefix(a, b, {.window = 10, .sinks = 0}) == 50 + 90);
}

TEST_CASE("common_structure_prefix: random edits against brute force") {
  std::mt19937 random(9);
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    const int n = 30 + static_cast<int>(random() % 80);
    const auto document = random_document(random, n, 5, 0.1);
    const int cursor = static_cast<int>(random() % static_cast<unsigned>(n - 12));
    const auto order = round % 2 == 0 ? Order::psm : Order::spm;
    auto a = sequence(document, cursor, 4, order);
    auto b = sequence(document, cursor + static_cast<int>(random() % 3), 4, order);
    for (size_t i = 0; i < b.size(); ++i)
      b.scope[i] = 2 * b.scope[i] + 1, b.last[i] = 2 * b.last[i] + 1;
    for (int edit = static_cast<int>(random() % 3); edit > 0; --edit) {
      const size_t at = random() % b.size();
      switch (random() % 3) {
        case 0:
          b.scope[at] += 2;
          break;
        case 1:
          b.last[at] = b.scope[at];
          break;
        default:
          b.place[at] += static_cast<int32_t>(random() % 5) - 2;
      }
    }
    const PruneRule rule{.window = static_cast<int32_t>(random() % 12),
                         .sinks = static_cast<int32_t>(random() % 4),
                         .scope_window = random_scope_window(random)};
    CHECK(common_structure_prefix(a, b, rule) == brute_force_prefix(a, b, rule));
  }
}

TEST_CASE("common_structure_prefix: labels of no tree") {
  std::mt19937 random(10);
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    auto a = random_labels(random, 40), b = a;
    const size_t at = random() % 40;
    if (round % 4 != 0)
      b.place[at] += 3, b.scope[(at * 7) % 40] += static_cast<int32_t>(random() % 2);
    const PruneRule rule{.window = static_cast<int32_t>(random() % 20),
                         .sinks = 3,
                         .scope_window = random_scope_window(random)};
    CHECK(common_structure_prefix(a, b, rule) == brute_force_prefix(a, b, rule));
  }
}

}  // namespace
}  // namespace cambium::engine
