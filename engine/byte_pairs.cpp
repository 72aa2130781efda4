#include "engine/byte_pairs.h"

#include <bit>
#include <cstring>
#include <queue>

namespace cambium::engine {

namespace {

/// Pieces up to this many bytes are merged by scanning for the lowest rank; longer ones by a heap.
constexpr size_t kShortPiece = 48;

uint64_t mixed(uint64_t x) {
  x *= 0x9e3779b97f4a7c15u;
  return x ^ (x >> 32);
}

uint64_t hash_of(std::string_view s) {
  uint64_t h = s.size();
  while (s.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, s.data(), 8);
    h = mixed(h ^ word);
    s.remove_prefix(8);
  }
  uint64_t word = 0;
  if (!s.empty()) std::memcpy(&word, s.data(), s.size());
  return mixed(h ^ word);
}

}  // namespace

BytesIndex::BytesIndex(std::vector<std::string_view> pieces)
    : pieces_(std::move(pieces)), slots_(std::bit_ceil(2 * pieces_.size() + 2)) {
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].empty() || find(pieces_[id]) >= 0) continue;
    const uint64_t hash = hash_of(pieces_[id]);
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].id >= 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {static_cast<uint32_t>(hash >> 32), static_cast<TokenId>(id)};
  }
}

TokenId BytesIndex::find(std::string_view bytes) const {
  const uint64_t hash = hash_of(bytes);
  const auto mark = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask) {
    if (slots_[i].mark == mark && pieces_[static_cast<size_t>(slots_[i].id)] == bytes) {
      return slots_[i].id;
    }
  }
  return -1;
}

BytePairs::BytePairs(std::vector<std::string_view> pieces, size_t n_merges, bool ignore_merges)
    : ignore_merges_(ignore_merges), index_(std::move(pieces)), itself_(index_.size()) {
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    byte_id_[b] = index_.find({&c, 1});
  }
  merges_.resize(std::bit_ceil(2 * n_merges + 2));
}

bool BytePairs::add_merge(std::string_view left, std::string_view right, std::string_view result) {
  const TokenId a = index_.find(left), b = index_.find(right), c = index_.find(result);
  if (a < 0 || b < 0 || c < 0) return false;
  const uint64_t pair = static_cast<uint64_t>(a) << 32 | static_cast<uint32_t>(b);
  const size_t mask = merges_.size() - 1;
  size_t i = mixed(pair) & mask;
  for (; merges_[i].result >= 0; i = (i + 1) & mask) {
    if (merges_[i].pair == pair) return true;  // the earlier, lower rank stands
  }
  merges_[i] = {pair, n_merges_++, c};
  return true;
}

const BytePairs::Merge* BytePairs::find_merge(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) return nullptr;
  const uint64_t pair = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  const size_t mask = merges_.size() - 1;
  for (size_t i = mixed(pair) & mask; merges_[i].result >= 0; i = (i + 1) & mask) {
    if (merges_[i].pair == pair) return &merges_[i];
  }
  return nullptr;
}

void BytePairs::append(TokenId id, uint32_t end, std::vector<TokenId>& ids,
                       std::vector<uint32_t>* ends) const {
  if (id >= 0) {
    ids.push_back(id);
    if (ends) ends->push_back(end);
    return;
  }
  for (const TokenId r : replacement) {
    ids.push_back(r);
    if (ends) ends->push_back(end);
  }
}

bool BytePairs::merges_to_itself(TokenId id, std::string_view piece) const {
  std::atomic<uint8_t>& known = itself_[static_cast<size_t>(id)];
  uint8_t value = known.load(std::memory_order_relaxed);
  if (value == 0) {
    std::vector<TokenId> ids;
    if (piece.size() <= kShortPiece)
      merge_short(piece, 0, ids, nullptr);
    else
      merge_long(piece, 0, ids, nullptr);
    value = ids.size() == 1 && ids[0] == id ? 1 : 2;
    known.store(value, std::memory_order_relaxed);
  }
  return value == 1;
}

void BytePairs::encode(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
                       std::vector<uint32_t>* ends) const {
  if (piece.size() == 1) {
    return append(byte_id_[static_cast<uint8_t>(piece[0])], base + 1, ids, ends);
  }
  const TokenId whole = index_.find(piece);
  if (whole >= 0 && (ignore_merges_ || merges_to_itself(whole, piece))) {
    return append(whole, base + static_cast<uint32_t>(piece.size()), ids, ends);
  }
  if (piece.size() <= kShortPiece)
    merge_short(piece, base, ids, ends);
  else
    merge_long(piece, base, ids, ends);
}

void BytePairs::merge_short(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
                            std::vector<uint32_t>* ends) const {
  // Entry i is a symbol, where it ends, and what merging it with the next one would give.
  struct Symbol {
    TokenId id;
    uint32_t end;
    uint32_t rank;
    TokenId merged;
  };
  Symbol s[kShortPiece];
  size_t n = piece.size();
  for (size_t i = 0; i < n; ++i) {
    s[i].id = byte_id_[static_cast<uint8_t>(piece[i])];
    s[i].end = static_cast<uint32_t>(i + 1);
  }
  const auto look_up = [&](size_t i) {
    const Merge* m = i + 1 < n ? find_merge(s[i].id, s[i + 1].id) : nullptr;
    s[i].rank = m ? m->rank : UINT32_MAX;
    s[i].merged = m ? m->result : -1;
  };
  for (size_t i = 0; i < n; ++i) look_up(i);
  for (;;) {
    size_t best = 0;
    for (size_t i = 1; i < n; ++i) {
      if (s[i].rank < s[best].rank) best = i;
    }
    if (s[best].rank == UINT32_MAX) break;
    s[best].id = s[best].merged;
    s[best].end = s[best + 1].end;
    std::memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof(Symbol));
    --n;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  for (size_t i = 0; i < n; ++i) append(s[i].id, base + s[i].end, ids, ends);
}

void BytePairs::merge_long(std::string_view piece, uint32_t base, std::vector<TokenId>& ids,
                           std::vector<uint32_t>* ends) const {
  struct Symbol {
    TokenId id;
    uint32_t end;
    int32_t previous, next;  // -1: none
    bool gone;
  };
  struct Candidate {
    uint32_t rank;
    int32_t left;
    TokenId left_id, right_id, merged;  // what was seen; stale if the symbols changed since
    bool operator<(const Candidate& other) const {  // the heap's top is the lowest rank, leftmost
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Symbol> s(piece.size());
  std::priority_queue<Candidate> heap;
  const auto offer = [&](int32_t left) {
    if (left < 0 || s[static_cast<size_t>(left)].next < 0) return;
    const Symbol& a = s[static_cast<size_t>(left)];
    const Symbol& b = s[static_cast<size_t>(a.next)];
    if (const Merge* m = find_merge(a.id, b.id)) heap.push({m->rank, left, a.id, b.id, m->result});
  };
  const auto n = static_cast<int32_t>(piece.size());
  for (int32_t i = 0; i < n; ++i) {
    s[static_cast<size_t>(i)] = {byte_id_[static_cast<uint8_t>(piece[static_cast<size_t>(i)])],
                                 static_cast<uint32_t>(i + 1), i - 1, i + 1 < n ? i + 1 : -1,
                                 false};
  }
  for (int32_t i = 0; i < n; ++i) offer(i);
  while (!heap.empty()) {
    const Candidate c = heap.top();
    heap.pop();
    Symbol& a = s[static_cast<size_t>(c.left)];
    if (a.gone || a.id != c.left_id || a.next < 0) continue;
    Symbol& b = s[static_cast<size_t>(a.next)];
    if (b.id != c.right_id) continue;
    a.id = c.merged;
    a.end = b.end;
    a.next = b.next;
    b.gone = true;
    if (b.next >= 0) s[static_cast<size_t>(b.next)].previous = c.left;
    offer(a.previous);
    offer(c.left);
  }
  for (int32_t i = 0; i >= 0; i = s[static_cast<size_t>(i)].next) {
    append(s[static_cast<size_t>(i)].id, base + s[static_cast<size_t>(i)].end, ids, ends);
  }
}

}  // namespace cambium::engine
