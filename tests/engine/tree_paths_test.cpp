#include "engine/tree_paths.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace cambium::engine {
namespace {

/// Labels of a random tree in document order, and for each token the scopes around it.
struct Walk {
  TokenStructure cells;
  std::vector<std::vector<int32_t>> paths;  // below the file's scope, the outermost first
};

Walk random_walk(std::mt19937& random, size_t n, int32_t deepest) {
  Walk walk;
  std::vector<int32_t> stack;
  int32_t number = 0;
  std::vector<int32_t> last(n + 1, 0);
  for (size_t i = 0; i < n; ++i) {
    const uint32_t roll = random() % 8;
    if (roll == 0 && static_cast<int32_t>(stack.size()) < deepest) {
      stack.push_back(++number);
    } else if (roll == 1 && !stack.empty()) {
      stack.pop_back();
    }
    for (const int32_t scope : stack) last[static_cast<size_t>(scope)] = number;
    walk.paths.push_back(stack);
  }
  for (size_t i = 0; i < n; ++i) {
    const auto& path = walk.paths[i];
    walk.cells.push_back(path.empty() ? TokenLabel{0, INT32_MAX, static_cast<int32_t>(i)}
                                      : TokenLabel{10 * path.back(),
                                                   10 * last[static_cast<size_t>(path.back())] + 9,
                                                   static_cast<int32_t>(i)});
  }
  return walk;
}

int32_t class_by_walking(std::vector<int32_t> q, std::vector<int32_t> k) {
  if (q.size() > kTreeLevels) q.resize(kTreeLevels);
  if (k.size() > kTreeLevels) k.resize(kTreeLevels);
  const auto apart = std::mismatch(q.begin(), q.end(), k.begin(), k.end());
  const auto up = static_cast<int32_t>(q.end() - apart.first);
  const auto down = static_cast<int32_t>(k.end() - apart.second);
  return 4 * std::min(up, 3) + std::min(down, 3);
}

}  // namespace

TEST_CASE("tree positions: classes are steps up to the common ancestor and down") {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const Walk walk = random_walk(random, 120, 8);
    const TreePaths tree(walk.cells);
    // Scopes that no token names are on no path.
    auto paths = walk.paths;
    for (auto& path : paths) {
      std::erase_if(path, [&](int32_t s) {
        return std::ranges::find(walk.cells.scope, 10 * s) == walk.cells.scope.end();
      });
    }
    bool alike = true;
    for (size_t q = 0; q < paths.size(); ++q) {
      for (size_t k = 0; k < paths.size(); ++k)
        alike &= tree.tree_class(tree.scopes()[q], tree.scopes()[k]) ==
                 class_by_walking(paths[q], paths[k]);
    }
    CHECK(alike);
  }
  CHECK(TreePaths(TokenStructure{}).n_scopes() == 0);
}

TEST_CASE("tree positions: cells are alike as far as their paths are, whatever the numbers") {
  std::mt19937 random(2);
  for (int round = 0; round < 40; ++round) {
    const Walk walk = random_walk(random, 80, 6);
    TokenStructure renumbered = walk.cells;
    for (size_t i = 0; i < renumbered.size(); ++i) {
      if (renumbered.scope[i] != 0) renumbered.scope[i] += 500, renumbered.last[i] += 500;
    }
    const TreePaths a(walk.cells), b(renumbered);
    CHECK(TreePaths::common_prefix(a, b, 1000) == 80);
    CHECK(TreePaths::common_prefix(a, b, 33) == 33);
    // A scope of its own from some token on: what is promised holds for every pair.
    const size_t at = random() % 80;
    for (size_t i = at; i < 80; ++i) renumbered.scope[i] = renumbered.last[i] = 100000;
    const TreePaths c(renumbered);
    const size_t same = TreePaths::common_prefix(a, c, 80);
    bool alike = true;
    for (size_t q = 0; q < same; ++q) {
      for (size_t k = 0; k <= q; ++k)
        alike &= a.tree_class(a.scopes()[q], a.scopes()[k]) ==
                 c.tree_class(c.scopes()[q], c.scopes()[k]);
    }
    CHECK(alike);
    CHECK(same < 80);
  }
}

}  // namespace cambium::engine
