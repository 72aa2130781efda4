#include "engine/attention_mask.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <unordered_map>

namespace cambium::engine {

void TokenStructure::push_back(TokenLabel label) {
  scope.push_back(label.scope);
  last.push_back(label.last);
  place.push_back(label.place);
}

void TokenStructure::resize(size_t n) {
  constexpr TokenLabel root;
  scope.resize(n, root.scope);
  last.resize(n, root.last);
  place.resize(n, root.place);
}

namespace {

// A key is on the path of every query whose scope lies in [scope, path_last]. relation() calls
// equal scopes `same` whatever `last` says, hence the maximum.
int32_t path_last(const TokenStructure& cells, size_t i) {
  return std::max(cells.scope[i], cells.last[i]);
}

// Cells of one block (or tile) with the same label. For a pair of groups the relation is one and
// the same, and the largest place difference follows from the ends of the ranges.
struct Group {
  int32_t scope, path_last;
  int32_t min_place, max_place;
  size_t first_run = 0, last_run = 0;
};

// A run of consecutive places that all occur: between two such runs the smallest difference is that
// of their nearest ends.
struct PlaceRun {
  int32_t first, last;
};

// What is known of a range of cells. Ranges are 16 to 64 cells of a file, so they hold few groups
// with mostly one run each; arbitrary labels stay exact and only cost time.
class Summaries {
 public:
  struct Range {
    size_t first_group, last_group;
    int32_t min_scope, max_scope, max_path_last, min_place, max_place;
  };

  // Summary of cells [begin, end); with `group_by_last` cells are told apart by path_last too
  // (keys).
  Range add(const TokenStructure& cells, size_t begin, size_t end, bool group_by_last) {
    Range range{groups_.size(), groups_.size(), INT32_MAX, INT32_MIN,
                INT32_MIN,      INT32_MAX,      INT32_MIN};
    size_t current = SIZE_MAX;  // neighbours mostly share a label
    of_cell_.clear();
    for (size_t i = begin; i < end; ++i) {
      const int32_t scope = cells.scope[i], last = path_last(cells, i), place = cells.place[i];
      const auto fits = [&](const Group& g) {
        return g.scope == scope && (!group_by_last || g.path_last == last);
      };
      if (current == SIZE_MAX || !fits(groups_[current])) {
        current = range.first_group;
        while (current < groups_.size() && !fits(groups_[current])) ++current;
        if (current == groups_.size()) groups_.push_back({scope, last, place, place});
      }
      Group& group = groups_[current];
      group.min_place = std::min(group.min_place, place);
      group.max_place = std::max(group.max_place, place);
      of_cell_.push_back(current);
    }
    range.last_group = groups_.size();
    for (size_t g = range.first_group; g < range.last_group; ++g) {
      range.min_scope = std::min(range.min_scope, groups_[g].scope);
      range.max_scope = std::max(range.max_scope, groups_[g].scope);
      range.max_path_last = std::max(range.max_path_last, groups_[g].path_last);
      range.min_place = std::min(range.min_place, groups_[g].min_place);
      range.max_place = std::max(range.max_place, groups_[g].max_place);
      add_runs(cells, begin, g);
    }
    return range;
  }

  void clear() {
    groups_.clear();
    runs_.clear();
  }

  // True if a query of `q` (in `queries`) sees a key of `k` by its place; sinks are the caller's.
  static bool any_visible(const Summaries& queries, const Range& q, const Summaries& keys,
                          const Range& k, PruneRule rule) {
    const int64_t gap = between(q.min_place, q.max_place, k.min_place, k.max_place);
    const bool related = k.min_scope <= q.max_scope && k.max_path_last >= q.min_scope;
    if (gap > rule.reach(related)) return false;
    for (size_t j = k.first_group; j < k.last_group; ++j) {
      const Group& key = keys.groups_[j];
      for (size_t i = q.first_group; i < q.last_group; ++i) {
        const Group& query = queries.groups_[i];
        const int32_t reach = rule.reach(on_path(query, key));
        if (between(query.min_place, query.max_place, key.min_place, key.max_place) > reach) {
          continue;
        }
        for (size_t a = query.first_run; a < query.last_run; ++a) {
          for (size_t b = key.first_run; b < key.last_run; ++b) {
            const PlaceRun of_query = queries.runs_[a], of_key = keys.runs_[b];
            if (between(of_query.first, of_query.last, of_key.first, of_key.last) <= reach) {
              return true;
            }
          }
        }
      }
    }
    return false;
  }

  // True if every query of `q` sees every key of `k` by its place.
  static bool all_visible(const Summaries& queries, const Range& q, const Summaries& keys,
                          const Range& k, PruneRule rule) {
    for (size_t j = k.first_group; j < k.last_group; ++j) {
      const Group& key = keys.groups_[j];
      for (size_t i = q.first_group; i < q.last_group; ++i) {
        const Group& query = queries.groups_[i];
        const int64_t farthest = std::max(int64_t{query.max_place} - key.min_place,
                                          int64_t{key.max_place} - query.min_place);
        if (farthest > rule.reach(on_path(query, key))) return false;
      }
    }
    return true;
  }

 private:
  static bool on_path(const Group& query, const Group& key) {
    return key.scope <= query.scope && query.scope <= key.path_last;
  }

  // Smallest difference of a place in [a, a_last] and one in [b, b_last]; 0 where they overlap.
  static int64_t between(int32_t a, int32_t a_last, int32_t b, int32_t b_last) {
    return std::max({int64_t{b} - a_last, int64_t{a} - b_last, int64_t{0}});
  }

  // The runs of group `g` of the range that begins at cell `begin`.
  void add_runs(const TokenStructure& cells, size_t begin, size_t g) {
    places_.clear();
    for (size_t i = 0; i < of_cell_.size(); ++i) {
      if (of_cell_[i] == g) places_.push_back(cells.place[begin + i]);
    }
    if (!std::is_sorted(places_.begin(), places_.end())) std::sort(places_.begin(), places_.end());
    groups_[g].first_run = runs_.size();
    PlaceRun run{places_.front(), places_.front()};
    for (const int32_t place : places_) {
      if (int64_t{place} - run.last > 1) {
        runs_.push_back(run);
        run.first = place;
      }
      run.last = place;
    }
    runs_.push_back(run);
    groups_[g].last_run = runs_.size();
  }

  std::vector<Group> groups_;
  std::vector<PlaceRun> runs_;
  std::vector<size_t> of_cell_;  // the group of each cell of the range being added
  std::vector<int32_t> places_;
};

// One query (a decode step): to test each key costs less than to sum the blocks up.
void list_for_one(const TokenStructure& cells, size_t query, PruneRule rule, VisibleBlocks& out) {
  const int32_t scope = cells.scope[query], place = cells.place[query];
  const auto block = static_cast<size_t>(out.key_block);
  for (size_t begin = 0; begin <= query; begin += block) {
    const size_t end = std::min(query + 1, begin + block);
    size_t seen = 0;
    for (size_t k = begin; k < end; ++k) {  // without branches, so that it is vectorized
      const int32_t distance = place - cells.place[k];
      const int32_t apart = distance < 0 ? -distance : distance;
      const bool on_path = (cells.scope[k] <= scope) & (scope <= path_last(cells, k));
      const bool near = (apart <= rule.window) | (on_path & (apart <= rule.scope_window));
      seen += static_cast<size_t>(near | (static_cast<int32_t>(k) < rule.sinks));
    }
    if (seen == 0) continue;
    out.blocks.push_back(static_cast<int32_t>(begin / block));
    out.full.push_back(seen == end - begin);
  }
  out.offsets.push_back(static_cast<int32_t>(out.blocks.size()));
}

}  // namespace

VisibleBlocks visible_blocks(const TokenStructure& cells, int32_t first_query, int32_t n_query,
                             PruneRule rule, int32_t query_tile, int32_t key_block) {
  assert(query_tile > 0 && key_block > 0 && first_query >= 0 && n_query >= 0);
  const int32_t n_cells = first_query + n_query;
  assert(cells.size() >= static_cast<size_t>(n_cells));
  VisibleBlocks out;
  out.query_tile = query_tile;
  out.key_block = key_block;
  out.offsets.push_back(0);
  if (n_query == 0) return out;
  if (n_query == 1) {
    list_for_one(cells, static_cast<size_t>(first_query), rule, out);
    return out;
  }

  // Sinks are left out of the summaries: a block with one is listed anyway, and only its other keys
  // decide whether it is full.
  Summaries keys, queries;
  std::vector<Summaries::Range> blocks;
  const int32_t n_blocks = (n_cells + key_block - 1) / key_block;
  blocks.reserve(static_cast<size_t>(n_blocks));
  for (int32_t b = 0; b < n_blocks; ++b) {
    const int32_t end = std::min(n_cells, (b + 1) * key_block);
    const int32_t begin = std::clamp(rule.sinks, b * key_block, end);
    blocks.push_back(keys.add(cells, static_cast<size_t>(begin), static_cast<size_t>(end), true));
  }

  for (int32_t first = first_query; first < n_cells; first += query_tile) {
    const int32_t end = std::min(n_cells, first + query_tile);
    queries.clear();
    const auto tile =
        queries.add(cells, static_cast<size_t>(first), static_cast<size_t>(end), false);
    for (int32_t b = 0; b < n_blocks && b * key_block < end; ++b) {
      const auto& block = blocks[static_cast<size_t>(b)];
      // A block that reaches past the tile's first query holds a query of the tile, which sees
      // itself; and a later key that the first query does not see.
      const bool past = std::min(n_cells, (b + 1) * key_block) - 1 > first;
      const bool has_sink = b * key_block < rule.sinks;
      if (past || has_sink || Summaries::any_visible(queries, tile, keys, block, rule)) {
        out.blocks.push_back(b);
        out.full.push_back(!past && Summaries::all_visible(queries, tile, keys, block, rule));
      }
    }
    out.offsets.push_back(static_cast<int32_t>(out.blocks.size()));
  }
  return out;
}

namespace {

// Two sequences walked side by side, cell by cell, as far as what a masked layer sees is the same.
class StructureComparison {
 public:
  StructureComparison(const TokenStructure& a, const TokenStructure& b, PruneRule rule)
      : a_(a), b_(b), rule_(rule) {}

  // True if cell i relates to the cells before it (and to itself) alike in both; cells come in
  // order.
  bool next(size_t i) {
    const size_t pair = pair_of(i);
    // Relations depend on the pair of labels only, so each ordered pair of pairs is tested once.
    for (size_t& seen = pairs_[pair].tested; seen < pairs_.size(); ++seen) {
      if (relation(pairs_[pair].a, pairs_[seen].a) != relation(pairs_[pair].b, pairs_[seen].b)) {
        return false;
      }
    }
    return windows_alike(i);
  }

 private:
  struct Pair {
    TokenLabel a, b;  // place unused
    size_t tested = 0;
  };
  struct KeyPlace {
    int32_t place;  // in a
    size_t cell;
    bool operator<(const KeyPlace& other) const { return place < other.place; }
  };
  // Cells whose place moved by the same distance from a to b; differences among them are unchanged.
  struct Moved {
    int64_t by;
    std::vector<KeyPlace> keys;  // ascending by place; sinks left out
  };

  size_t pair_of(size_t i) {
    const TokenLabel a{a_.scope[i], a_.last[i], 0}, b{b_.scope[i], b_.last[i], 0};
    if (previous_ < pairs_.size() && pairs_[previous_].a == a && pairs_[previous_].b == b) {
      return previous_;
    }
    auto& bucket = index_[(static_cast<uint64_t>(static_cast<uint32_t>(a.scope)) << 32) |
                          static_cast<uint32_t>(b.scope)];
    for (const size_t p : bucket) {
      if (pairs_[p].a == a && pairs_[p].b == b) return previous_ = p;
    }
    bucket.push_back(pairs_.size());
    pairs_.push_back({a, b, 0});
    return previous_ = pairs_.size() - 1;
  }

  // A key must be inside its window in both sequences or in neither.
  bool windows_alike(size_t i) {
    const int32_t place = a_.place[i];
    const int64_t by = int64_t{b_.place[i]} - place;
    Moved* own = nullptr;
    for (Moved& moved : moved_) {
      if (moved.by == by) {
        own = &moved;
        continue;
      }
      for (const int64_t window : {rule_.window, rule_.scope_window}) {
        if (!ends_alike(moved, i, place, by - moved.by, window)) return false;
      }
    }
    if (own == nullptr) {
      moved_.push_back({by, {}});
      own = &moved_.back();
    }
    if (static_cast<int64_t>(i) >= rule_.sinks) {
      const KeyPlace key{place, i};
      own->keys.insert(std::upper_bound(own->keys.begin(), own->keys.end(), key), key);
    }
    return true;
  }

  // In places of a, a window is [place - window, place + window] and becomes the same range
  // shifted: only keys between the old and the new ends can have changed sides.
  bool ends_alike(const Moved& moved, size_t i, int64_t place, int64_t shift,
                  int64_t window) const {
    const int64_t low = place - window, high = place + window;
    return keys_alike(moved, i, std::min(low, low + shift), std::max(low, low + shift)) &&
           keys_alike(moved, i, std::min(high, high + shift) + 1, std::max(high, high + shift) + 1);
  }

  // Does cell i see the keys with a place in [begin, end) in both sequences or in neither?
  bool keys_alike(const Moved& moved, size_t i, int64_t begin, int64_t end) const {
    auto key = std::lower_bound(moved.keys.begin(), moved.keys.end(), begin,
                                [](const KeyPlace& k, int64_t place) { return k.place < place; });
    for (; key != moved.keys.end() && key->place < end; ++key) {
      const auto index = static_cast<int32_t>(key->cell);
      if (visible(a_.at(i), a_.at(key->cell), index, rule_) !=
          visible(b_.at(i), b_.at(key->cell), index, rule_)) {
        return false;
      }
    }
    return true;
  }

  const TokenStructure &a_, &b_;
  const PruneRule rule_;
  std::vector<Pair> pairs_;
  std::unordered_map<uint64_t, std::vector<size_t>> index_;
  size_t previous_ = SIZE_MAX;
  std::vector<Moved> moved_;
};

}  // namespace

TokenStructure closed_scopes(const TokenStructure& cells) {
  TokenStructure closed = cells;
  closed.last = cells.scope;
  return closed;
}

size_t common_structure_prefix(const TokenStructure& a, const TokenStructure& b, PruneRule rule) {
  const size_t n = std::min(a.size(), b.size());
  StructureComparison comparison(a, b, rule);
  for (size_t i = 0; i < n; ++i) {
    if (!comparison.next(i)) return i;
  }
  return n;
}

}  // namespace cambium::engine
