#include "syntax/scopes.h"

#include <algorithm>

#include "syntax/body_reader.h"
#include "syntax/languages.h"
#include "syntax/reading.h"
#include "syntax/scope_numbers.h"

namespace cambium::syntax {

const char* to_string(ScopeKind kind) {
  static constexpr const char* kNames[] = {
      "file",   "function", "method",  "class", "struct", "interface", "enum",   "namespace",
      "module", "loop",     "branch",  "try",   "switch", "case",      "lambda", "block",
      "object", "element",  "section", "code",  "table",  "key",       "entry"};
  return kNames[static_cast<size_t>(kind)];
}

ScopeMap ScopeMap::whole_file(uint32_t size) {
  ScopeMap map;
  map.size_ = size;
  Scope file;
  file.body = {0, size};
  file.last = INT32_MAX;
  map.scopes_.push_back(file);
  map.changes_.push_back({0, 0});
  return map;
}

size_t ScopeMap::index_at(uint32_t byte) const {
  const auto after =
      std::upper_bound(changes_.begin(), changes_.end(), byte,
                       [](uint32_t b, const Change& change) { return b < change.byte; });
  return after == changes_.begin() ? 0 : std::prev(after)->scope;
}

ScopeLabel ScopeMap::label_at(uint32_t byte) const { return label_of(index_at(byte)); }

void ScopeMap::labels_at(const std::vector<uint32_t>& offsets, std::vector<ScopeLabel>& out) const {
  out.clear();
  out.reserve(offsets.size());
  if (offsets.empty()) return;
  auto change = std::upper_bound(changes_.begin(), changes_.end(), offsets.front(),
                                 [](uint32_t b, const Change& c) { return b < c.byte; });
  for (uint32_t offset : offsets) {
    while (change != changes_.end() && change->byte <= offset) ++change;
    out.push_back(label_of(change == changes_.begin() ? 0 : std::prev(change)->scope));
  }
}

ScopeMap ScopeMap::shifted(uint32_t begin, uint32_t old_end, uint32_t new_size) const {
  begin = std::min(begin, size_);
  old_end = std::clamp(old_end, begin, size_);
  const int64_t delta = static_cast<int64_t>(new_size) - (old_end - begin);
  const uint32_t new_end = begin + new_size;
  // A place in the replaced bytes goes to the end of the new ones, so that what is typed at the end of a
  // line stays in the body of that line.
  const auto move = [&](uint32_t byte) {
    if (byte <= begin) return byte;
    return byte < old_end ? new_end : static_cast<uint32_t>(byte + delta);
  };
  const auto move_range = [&](ByteRange range) {
    return ByteRange{move(range.begin), move(range.end)};
  };

  ScopeMap map;
  map.size_ = static_cast<uint32_t>(size_ + delta);
  std::vector<uint32_t> index(scopes_.size(), 0);
  map.scopes_.reserve(scopes_.size());
  for (size_t i = 0; i < scopes_.size(); ++i) {
    const Scope& old = scopes_[i];
    const bool replaced = i > 0 && old.opener >= begin && old.opener < old_end;
    if (replaced) {  // its bytes fall to its parent
      index[i] = index[static_cast<size_t>(old.parent)];
      continue;
    }
    index[i] = static_cast<uint32_t>(map.scopes_.size());
    map.scopes_.push_back(old);
    Scope& scope = map.scopes_.back();
    scope.body = i == 0 ? ByteRange{0, map.size_} : move_range(old.body);
    scope.header = move_range(old.header);
    scope.opener = old.opener < begin ? old.opener : move(old.opener);
    if (old.opener >= old_end) scope.opener = static_cast<uint32_t>(old.opener + delta);
    if (old.parent >= 0)
      scope.parent = static_cast<int32_t>(index[static_cast<size_t>(old.parent)]);
  }
  for (const Change& old : changes_) {
    const Change change{old.byte == 0 ? 0 : move(old.byte), index[old.scope]};
    if (!map.changes_.empty() && map.changes_.back().byte == change.byte)
      map.changes_.back() = change;
    else if (map.changes_.empty() || map.changes_.back().scope != change.scope)
      map.changes_.push_back(change);
  }
  return map;
}

std::string ScopeMap::describe(size_t index) const {
  const Scope& scope = scopes_[index];
  std::string out = to_string(scope.kind);
  if (!scope.name.empty()) out += " " + scope.name;
  return out;
}

// --- from a reading -----------------------------------------------------------------------------

ScopeMap map_of_bodies(const std::vector<ReadBody>& bodies, uint32_t size) {
  ScopeMap map;
  map.size_ = size;
  map.scopes_.resize(bodies.size() + 1);
  map.scopes_[0].body = {0, size};
  for (size_t i = 0; i < bodies.size(); ++i) {
    Scope& scope = map.scopes_[i + 1];
    scope.body = {bodies[i].begin, bodies[i].closed_at == UINT32_MAX ? size : bodies[i].end};
    scope.body.begin = std::min(scope.body.begin, size);
    scope.opener = bodies[i].opener;
    scope.parent = static_cast<int32_t>(bodies[i].parent);
    scope.kind = ScopeKind::block;
  }
  return map;
}

void number_scopes(ScopeMap& map, NumberGap* gap) {
  std::vector<Scope>& scopes = map.scopes_;
  scopes[0].number = 0;
  scopes[0].last = INT32_MAX;
  // Every opening and every closing moves on by one stride, which leaves free numbers between any two.
  const int64_t events = 2 * static_cast<int64_t>(scopes.size()) + 2;
  const int64_t reserve = gap ? NumberGap::kNumbers : 0;
  const int64_t stride = std::clamp<int64_t>((INT32_MAX - reserve) / events, 1, 1 << 16);
  const int64_t share = gap ? reserve / static_cast<int64_t>(gap->open.size()) : 0;
  if (gap) gap->free.assign(gap->open.size(), {});

  int64_t next = 1;
  std::vector<uint32_t> open = {0};
  bool passed = false;  // the gap
  const auto leave_free = [&] {
    gap->free[open.size() - 1] = {next, next + share - 1};
    next += share;
  };
  const auto close = [&] {
    scopes[open.back()].last = static_cast<int32_t>(next);
    next += stride;
    open.pop_back();
    // Those open at the gap may be closed in it, and others opened in what is around them.
    if (passed && open.size() < gap->open.size() && gap->free[open.size() - 1].last < 0)
      leave_free();
  };
  const auto pass_gap = [&] {
    while (open.size() > gap->open.size()) close();
    passed = true;
    leave_free();
  };
  for (uint32_t i = 1; i < scopes.size(); ++i) {
    if (gap && !passed && i >= gap->scopes_before) pass_gap();
    while (static_cast<int32_t>(open.back()) != scopes[i].parent) close();
    scopes[i].number = static_cast<int32_t>(next);
    next += stride;
    open.push_back(i);
  }
  if (gap && !passed) pass_gap();
  while (open.size() > 1) close();
}

void read_text(BodyReader& reader, std::string_view text, std::vector<ScopeMap::Change>& changes) {
  for (size_t i = 0; i < text.size();) {
    const uint32_t at = reader.position();
    if (const uint32_t id = reader.step(text[i]); id != changes.back().scope)
      changes.push_back({at, id});
    ++i;
    i += reader.skip(text.substr(i));
  }
}

ScopeMap read_scopes(const Language* language, std::string_view text) {
  if (language) return Reading(*language, text).map();
  return ScopeMap::whole_file(static_cast<uint32_t>(std::min<size_t>(text.size(), UINT32_MAX)));
}

}  // namespace cambium::syntax
