// The tables of byte-level byte-pair encoding: bytes to id, and which adjacent pair merges to what
// first. Immutable after building, but for a benign cache; usable from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace cambium::engine {

/// Open-addressing map from a token's bytes to its id. Slots are small (a mark and an id), so that
/// the table of a large vocabulary stays in cache; the bytes are looked at when the marks agree.
class BytesIndex {
 public:
  /// `pieces[id]` are the bytes of id; empty ones are left out, the first of equal ones wins.
  explicit BytesIndex(std::vector<std::string_view> pieces);
  TokenId find(std::string_view bytes) const;  ///< -1 if absent
  size_t size() const { return pieces_.size(); }

 private:
  struct Slot {
    uint32_t mark = 0;
    TokenId id = -1;
  };
  std::vector<std::string_view> pieces_;
  std::vector<Slot> slots_;  // a power of two, at most half full
};

class BytePairs {
 public:
  /// `pieces[id]` are the bytes of token id, empty for tokens that text cannot produce; they
  /// outlive the object.
  BytePairs(std::vector<std::string_view> pieces, size_t n_merges, bool ignore_merges);

  TokenId find(std::string_view bytes) const { return index_.find(bytes); }
  /// Merges are added in order of rank. False if left, right or the result is no token.
  bool add_merge(std::string_view left, std::string_view right, std::string_view result);

  /// Appends the tokens of a piece and, if `ends` is not null, where each ends (`base` added). A
  /// byte that is no token of its own gives `replacement` instead.
  void encode(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
              std::vector<uint32_t>* ends) const;
  /// Tokens for a byte that the vocabulary cannot spell.
  std::vector<TokenId> replacement;

 private:
  struct Merge {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = UINT32_MAX;
    TokenId result = -1;
  };
  const Merge* find_merge(TokenId left, TokenId right) const;
  bool merges_to_itself(TokenId id, std::string_view piece) const;
  void merge_short(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
                   std::vector<uint32_t>* ends) const;
  void merge_long(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
                  std::vector<uint32_t>* ends) const;
  void append(TokenId id, uint32_t end, std::vector<TokenId>& ids,
              std::vector<uint32_t>* ends) const;

  bool ignore_merges_;
  BytesIndex index_;
  TokenId byte_id_[256];
  std::vector<Merge> merges_;  // open addressing, a power of two
  uint32_t n_merges_ = 0;
  /// Whether merging a token's own bytes gives that one token again: 0 not known yet, 1 yes, 2 no.
  /// Filled as asked; every writer writes the same value.
  mutable std::vector<std::atomic<uint8_t>> itself_;
};

}  // namespace cambium::engine
