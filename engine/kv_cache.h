// What each slot's cells hold, which of them a new sequence can take over, and which slot it should
// run in.
//
// A cell is reusable while its token and position are unchanged and, with a structure mode on, its
// relations to the cells before it: past the first layer it holds what was computed under the mask.
// The first cell that differs ends the reuse.
//
// Used from the engine thread. Memory of a slot is taken at its first use and touched only as cells
// are written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/ops.h"
#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

/// A slot: the cells of one sequence. Parked (kept for reuse) while no request runs in it.
class Slot {
 public:
  std::unique_ptr<KvStore> kv;  ///< null until first used
  uint64_t key = 0;             ///< affinity of the request that ran here last
  uint64_t last_used = 0;       ///< by KvCache's own clock
  bool in_use = false;

  /// The cells that hold valid keys and values.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  std::span<const TokenId> tokens() const { return tokens_; }
  const TokenStructure& labels() const { return labels_; }
  /// The labels given last, with those of cells that are not here: a path through the tree has scopes
  /// that only they name.
  const TokenStructure& whole_labels() const { return whole_labels_; }

  /// Records that cells [size(), size() + tokens.size()) were written. `labels` has a label for
  /// each cell up to there, or is empty.
  void append(std::span<const TokenId> tokens, const TokenStructure& labels);
  /// Forgets cells [n, size()).
  void truncate(int32_t n);
  /// The cells go on as part of a sequence with these labels, alike in their relations: from now on
  /// its numbers count, since those of the cells to come are to be compared with them.
  void relabel(const TokenStructure& labels);

 private:
  std::vector<TokenId> tokens_;
  TokenStructure labels_;  // empty, or one a cell
  TokenStructure whole_labels_;
};

class KvCache {
 public:
  struct Options {
    int32_t slots = 2;
    /// How labels are compared; unset: labels do not matter.
    std::optional<PruneRule> structure;
    bool tree = false;  ///< a layer has tree positions: paths are compared as well
  };
  using CreateKv = std::function<Result<std::unique_ptr<KvStore>>()>;

  KvCache(const Options& options, CreateKv create);

  /// Leading cells of `slot` that a sequence of these tokens and labels may keep.
  int32_t reusable(const Slot& slot, std::span<const TokenId> tokens,
                   const TokenStructure& labels) const;

  /// Takes the best free slot for a sequence and truncates it to what is reusable. In order:
  /// the slot whose cells the sequence continues (it keeps at least half of the slot's cells, or
  /// the slot has the same key), most cells kept first; an empty slot; the least recently used one.
  /// nullptr if every slot is in use; an error if the backend has no memory for one.
  Result<Slot*> acquire(std::span<const TokenId> tokens, const TokenStructure& labels,
                        uint64_t key);
  /// Parks the slot: its cells stay for whoever continues them.
  void park(Slot* slot);

  std::span<const std::unique_ptr<Slot>> slots() const { return slots_; }

 private:
  Options options_;
  CreateKv create_;
  std::vector<std::unique_ptr<Slot>> slots_;
  uint64_t clock_ = 0;
};

}  // namespace cambium::engine
