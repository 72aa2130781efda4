// Tree positions: how far a key's scope is from the query's in the syntax tree, as steps up to the
// common ancestor and down from there. A table has a bias of the score for each class of such
// distances and each head. The twin of path_codes() and tree_class() of engine/training/structure.py.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention_mask.h"

namespace cambium::engine {

inline constexpr int32_t kTreeLevels =
    5;  ///< scopes of a path, below the file's, that are told apart
inline constexpr int32_t kTreeSteps = 4;  ///< up or down: 0, 1, 2, 3 or more
inline constexpr int32_t kTreeClasses = kTreeSteps * kTreeSteps;

/// The distinct scopes of a labelled sequence and their paths. A path has only scopes that some token of
/// the sequence is labelled with, so the labels are those of a whole prompt and of what was written so
/// far, not of a part of it. Immutable; any thread.
class TreePaths {
 public:
  TreePaths() = default;
  explicit TreePaths(const TokenStructure& cells);

  /// [cells] each cell's scope, as a number in [0, n_scopes()).
  std::span<const int32_t> scopes() const { return scopes_; }
  int32_t n_scopes() const { return static_cast<int32_t>(paths_.size()); }
  /// kTreeSteps · (steps up from the query's scope) + (steps down to the key's).
  int32_t tree_class(int32_t query_scope, int32_t key_scope) const {
    const Path &q = paths_[static_cast<size_t>(query_scope)],
               &k = paths_[static_cast<size_t>(key_scope)];
    int32_t common = 0;
    while (common < q.depth && common < k.depth &&
           q.level[static_cast<size_t>(common)] == k.level[static_cast<size_t>(common)])
      ++common;
    return kTreeSteps * step(q.depth - common) + step(k.depth - common);
  }

  /// Leading cells, of at most `most`, between which all classes are the same in both: their paths are
  /// alike but for the scopes' numbers.
  static size_t common_prefix(const TreePaths& a, const TreePaths& b, size_t most);

 private:
  struct Path {
    int32_t depth = 0;  ///< of `level` used
    std::array<int32_t, kTreeLevels>
        level{};  ///< scopes that enclose it, itself last, the outermost first
  };
  static int32_t step(int32_t n) { return n < kTreeSteps ? n : kTreeSteps - 1; }

  std::vector<int32_t> scopes_;
  std::vector<Path> paths_;
};

}  // namespace cambium::engine
