#include "engine/tree_paths.h"

#include <algorithm>
#include <utility>

namespace cambium::engine {

TreePaths::TreePaths(const TokenStructure& cells) {
  const size_t n = cells.size();
  // Scopes and where each occurs first: that label's `last` counts. Neighbours mostly share one.
  std::vector<std::pair<int32_t, size_t>> found;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0 || cells.scope[i] != cells.scope[i - 1]) found.emplace_back(cells.scope[i], i);
  }
  std::sort(found.begin(), found.end());
  const auto same_scope = [](const auto& a, const auto& b) { return a.first == b.first; };
  found.erase(std::unique(found.begin(), found.end(), same_scope), found.end());

  scopes_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    if (i > 0 && cells.scope[i] == cells.scope[i - 1]) {
      scopes_[i] = scopes_[i - 1];
      continue;
    }
    const auto at =
        std::lower_bound(found.begin(), found.end(), std::pair(cells.scope[i], size_t{0}));
    scopes_[i] = static_cast<int32_t>(at - found.begin());
  }
  paths_.resize(found.size());
  std::vector<int32_t> open;  // scopes whose interval reaches this far, the outermost first
  for (size_t s = 0; s < found.size(); ++s) {
    const int32_t scope = found[s].first;
    std::erase_if(
        open, [&](int32_t o) { return cells.last[found[static_cast<size_t>(o)].second] < scope; });
    if (scope != 0 && cells.last[found[s].second] >= scope) open.push_back(static_cast<int32_t>(s));
    Path& path = paths_[s];
    path.depth = std::min(kTreeLevels, static_cast<int32_t>(open.size()));
    std::copy_n(open.begin(), path.depth, path.level.begin());
  }
}

size_t TreePaths::common_prefix(const TreePaths& a, const TreePaths& b, size_t most) {
  most = std::min({most, a.scopes_.size(), b.scopes_.size()});
  // What a scope of one is called in the other; -1: nothing yet.
  std::vector<int32_t> to_b(a.paths_.size(), -1), to_a(b.paths_.size(), -1);
  const auto alike = [&](int32_t x, int32_t y) {
    int32_t &there = to_b[static_cast<size_t>(x)], &back = to_a[static_cast<size_t>(y)];
    if (there == -1 && back == -1) there = y, back = x;
    return there == y && back == x;
  };
  for (size_t i = 0; i < most; ++i) {
    if (i > 0 && a.scopes_[i] == a.scopes_[i - 1] && b.scopes_[i] == b.scopes_[i - 1]) continue;
    const Path &p = a.paths_[static_cast<size_t>(a.scopes_[i])],
               &q = b.paths_[static_cast<size_t>(b.scopes_[i])];
    if (p.depth != q.depth) return i;
    for (size_t l = 0; l < static_cast<size_t>(p.depth); ++l) {
      if (!alike(p.level[l], q.level[l])) return i;
    }
  }
  return most;
}

}  // namespace cambium::engine
