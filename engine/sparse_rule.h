// Block-sparse attention for long answers: which blocks of cells a query reads. The CPU and the
// kernels of a device take it from here, so that both read the same.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/host_device.h"

namespace cambium::engine {

/// A query in cell n >= `from` reads the blocks of key_block() cells that hold the first `sinks`
/// cells or the last `window`, and of those between them the √n most promising: the ones with the
/// largest sum, over the heads that share keys, of softmax over blocks of scale · q · (mean key of
/// the block); of equals the earlier one. Passes of up to 8 tokens; longer ones are dense.
struct SparseRule {
  int32_t from = 0;  ///< 0: never
  int32_t sinks = 64;
  int32_t window = 1024;
};
inline constexpr int32_t kMostSparseTokens = 8;  ///< of a pass

/// The blocks a query sees: [0, first) hold the sinks, [last, end) the window. A block before `last`
/// holds no cell after the query's.
struct SparseRange {
  int32_t first = 0, last = 0, end = 0;
  int32_t best = 0;  ///< of [first, last), how many are read; 0: every block is

  CAMBIUM_HD int32_t n_read() const { return best == 0 ? end : first + best + end - last; }
};

/// ⌊√n⌋, the same on every processor: their roots may differ in the last bit.
CAMBIUM_HD inline int32_t whole_root(int32_t n) {
  auto root = static_cast<int64_t>(std::sqrt(static_cast<float>(n)));
  while (root * root > n) --root;
  while ((root + 1) * (root + 1) <= n) ++root;
  return static_cast<int32_t>(root);
}

CAMBIUM_HD inline SparseRange sparse_range(const SparseRule& rule, int32_t cell, int32_t block) {
  SparseRange range;
  const int32_t outside = cell + 1 - rule.window;
  range.first = (rule.sinks + block - 1) / block;
  range.last = outside > 0 ? outside / block : 0;
  range.end = cell / block + 1;
  if (rule.from <= 0 || cell < rule.from) return range;
  const int32_t root = whole_root(cell);
  if (range.last - range.first > root) range.best = root;
  return range;
}

/// Blocks that a query in one of the first n_cells cells reads at most, where it does not read all.
inline int32_t most_sparse_blocks(const SparseRule& rule, int32_t n_cells, int32_t block) {
  return (rule.sinks + block - 1) / block + whole_root(n_cells) + rule.window / block + 2;
}

}  // namespace cambium::engine
