// The parent mask: what a token may see of the syntax tree around it.
//
// The formula this project realises is softmax((Q·Kᵀ) ∘ parent_mask). Multiplying a score by 0
// leaves weight e⁰ = 1, so "masked" means -infinity here, and "strengthened" is an affine map of the
// score, not a factor. Every token carries an interval of pre-order scope numbers; two compares tell
// whether a key lies on the query's path to the root:
//
//     key on path  <=>  scope[key] <= scope[query] && scope[query] <= last[key]
//
// That is O(n) memory for an n×n mask. Nothing here knows of syntax trees: the integers come from
// lsp/assist/token_structure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace cambium::engine {

/// How a layer uses the structure. Values as in the file key `cambium.structure.mode`.
/// `own` is `prune` for which ancestors count as `other` too: a token sees its own scope, the window and
/// the sinks. Kernels know no such mode: it is `prune` over closed_scopes(). `tree` has a bias for the
/// way through the tree (engine/tree_paths.h); a file's layer has it where the mode is off and the
/// tensor attn_tree_bias is there.
enum class StructureMode : uint8_t { off = 0, emphasis = 1, prune = 2, own = 3, tree = 4 };

/// Relation of a key to a query; also the row of the tensors `attn_structure_scale/bias`.
enum class Relation : uint8_t { same = 0, ancestor = 1, other = 2 };

/// What one token knows of the tree.
struct TokenLabel {
  int32_t scope = 0;  ///< pre-order number of the scope open where the token starts; 0 is the file
  int32_t last = INT32_MAX;  ///< largest number inside that scope
  /// Place in the document, in tokens, with the hole of a fill-in-the-middle empty: prefix tokens
  /// count up to the cursor, every middle token has the cursor's place, the suffix goes on from the
  /// next multiple of a step (the caller's). Windows are distances of places, whatever the order.
  int32_t place = 0;

  friend bool operator==(const TokenLabel&, const TokenLabel&) = default;
};

/// Labels of a token sequence, one array each so that kernels read them with unit stride.
/// Empty means "no structure": every token is in the root scope and nothing is pruned.
struct TokenStructure {
  std::vector<int32_t> scope, last, place;

  size_t size() const { return scope.size(); }
  bool empty() const { return scope.empty(); }
  void push_back(TokenLabel label);
  void resize(size_t n);
  TokenLabel at(size_t i) const { return {scope[i], last[i], place[i]}; }
};

/// Relation of key to query by the two compares above.
inline Relation relation(TokenLabel query, TokenLabel key) {
  if (key.scope == query.scope) return Relation::same;
  return key.scope <= query.scope && query.scope <= key.last ? Relation::ancestor : Relation::other;
}

/// The `prune` rule's constants; from the model file, overridable.
struct PruneRule {
  int32_t window = 256;  ///< |place difference| up to which an `other` key stays visible
  int32_t sinks = 4;     ///< the first cells of the sequence every query sees
  int32_t scope_window = INT32_MAX;  ///< |place difference| up to which any key on the path does

  /// Up to which |place difference| a key is visible, by whether it is on the query's path.
  int32_t reach(bool on_path) const { return on_path ? std::max(window, scope_window) : window; }
};

/// True if `key_index` (a cell) may be seen by a query of a pruning head. Causality is not checked.
inline bool visible(TokenLabel query, TokenLabel key, int32_t key_index, PruneRule rule) {
  if (key_index < rule.sinks) return true;
  const int32_t d = query.place - key.place;
  return (d < 0 ? -d : d) <= rule.reach(relation(query, key) != Relation::other);
}

/// For every tile of queries, the key blocks in which at least one query sees at least one key, in
/// ascending order (CSR). A block absent from the list is skipped, not masked.
struct VisibleBlocks {
  int32_t query_tile = 1;        ///< queries a tile
  int32_t key_block = 32;        ///< keys a block
  std::vector<int32_t> offsets;  ///< [n_tiles + 1]
  std::vector<int32_t> blocks;   ///< [offsets.back()] block indices
  /// [offsets.back()] 1 where every query of the tile sees every key of the block, so that the kernel
  /// need not test a key.
  std::vector<uint8_t> full;
};

/// Blocks seen by queries in cells [first_query, first_query + n_query) among cells
/// [0, first_query + n_query), causal. `cells` holds the labels of all those cells.
/// Cost: O(n_tiles · n_blocks) on block summaries plus the exact test where a summary is undecided;
/// exact in both directions (a listed block has a visible pair, an unlisted one has none).
VisibleBlocks visible_blocks(const TokenStructure& cells, int32_t first_query, int32_t n_query,
                             PruneRule rule, int32_t query_tile, int32_t key_block);

/// The same cells with every scope closed to what is inside it, so that the only key on a query's path is
/// one of its own scope.
TokenStructure closed_scopes(const TokenStructure& cells);

/// Number of leading cells whose token, label relations and place differences are the same in both
/// sequences, so that what a masked layer computed for them still holds. Scope *numbers* may differ
/// (an edit above renumbers); relations to all earlier cells may not.
size_t common_structure_prefix(const TokenStructure& a, const TokenStructure& b, PruneRule rule);

}  // namespace cambium::engine
