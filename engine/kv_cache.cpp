#include "engine/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <tuple>

#include "engine/tree_paths.h"

namespace cambium::engine {

void Slot::append(std::span<const TokenId> tokens, const TokenStructure& labels) {
  const size_t end = tokens_.size() + tokens.size();
  whole_labels_ = labels;
  if (!labels.empty()) {
    assert(labels.size() >= end);
    labels_.resize(tokens_.size());  // cells without labels are in the root scope
    for (size_t i = tokens_.size(); i < end; ++i) labels_.push_back(labels.at(i));
  } else if (!labels_.empty()) {
    labels_.resize(end);
  }
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void Slot::truncate(int32_t n) {
  if (n >= size()) return;
  tokens_.resize(static_cast<size_t>(n));
  if (n == 0) {
    labels_ = {};
  } else if (!labels_.empty()) {
    labels_.resize(static_cast<size_t>(n));
  }
}

void Slot::relabel(const TokenStructure& labels) {
  labels_ = {};
  whole_labels_ = labels;
  if (labels.empty()) return;
  assert(labels.size() >= tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) labels_.push_back(labels.at(i));
}

KvCache::KvCache(const Options& options, CreateKv create)
    : options_(options), create_(std::move(create)) {
  for (int32_t i = 0; i < std::max(1, options.slots); ++i) {
    slots_.push_back(std::make_unique<Slot>());
  }
}

int32_t KvCache::reusable(const Slot& slot, std::span<const TokenId> tokens,
                          const TokenStructure& labels) const {
  const auto own = slot.tokens();
  const size_t n = std::min(own.size(), tokens.size());
  size_t same = static_cast<size_t>(
      std::mismatch(own.begin(), own.begin() + static_cast<ptrdiff_t>(n), tokens.begin()).first -
      own.begin());
  if (options_.structure && same > 0 && !(slot.labels().empty() && labels.empty())) {
    // A sequence without labels is one in the root scope.
    const auto labelled = [](const TokenStructure& given, size_t size, TokenStructure& filled) {
      if (!given.empty()) return &given;
      filled.resize(size);
      return static_cast<const TokenStructure*>(&filled);
    };
    TokenStructure a, b;
    same = std::min(same, common_structure_prefix(*labelled(slot.labels(), same, a),
                                                  *labelled(labels, same, b), *options_.structure));
    if (options_.tree) {
      same = TreePaths::common_prefix(TreePaths(slot.whole_labels()), TreePaths(labels), same);
    }
  }
  return static_cast<int32_t>(same);
}

Result<Slot*> KvCache::acquire(std::span<const TokenId> tokens, const TokenStructure& labels,
                               uint64_t key) {
  // A candidate's rank; larger is better, compared field by field.
  using Rank = std::tuple<int, int64_t, uint64_t>;
  Slot* best = nullptr;
  Rank best_rank{};
  int32_t best_kept = 0;
  for (const auto& slot : slots_) {
    if (slot->in_use) continue;
    const int32_t kept = reusable(*slot, tokens, labels);
    const bool continues =
        (key != 0 && slot->key == key) || (slot->size() > 0 && int64_t{kept} * 2 >= slot->size());
    const uint64_t age = clock_ - slot->last_used;
    const Rank rank = continues           ? Rank{2, kept, age}
                      : slot->size() == 0 ? Rank{1, slot->kv != nullptr, 0}
                                          : Rank{0, static_cast<int64_t>(age), 0};
    if (best == nullptr || rank > best_rank) {
      best = slot.get();
      best_rank = rank;
      best_kept = kept;
    }
  }
  if (best == nullptr) return nullptr;
  if (best->kv == nullptr) {
    auto kv = create_();
    if (!kv) return tl::unexpected(kv.error());
    best->kv = std::move(*kv);
  }
  best->truncate(best_kept);
  best->relabel(labels);
  best->key = key;
  best->in_use = true;
  best->last_used = ++clock_;
  return best;
}

void KvCache::park(Slot* slot) {
  slot->in_use = false;
  slot->last_used = ++clock_;
}

}  // namespace cambium::engine
