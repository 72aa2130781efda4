#include "syntax/middle_labeler.h"

#include <algorithm>

#include "syntax/languages.h"

namespace cambium::syntax {
MiddleLabeler::MiddleLabeler(const Language* language, std::string_view prefix,
                             std::string_view suffix) {
  const size_t size = prefix.size() + suffix.size();
  if (!language || size > kMaxText) {
    map_ = std::make_shared<ScopeMap>(
        ScopeMap::whole_file(static_cast<uint32_t>(std::min<size_t>(size, UINT32_MAX))));
    return;
  }
  reader_.emplace(*language->rules);
  std::vector<ScopeMap::Change> changes = {{0, 0}};
  read_text(*reader_, prefix, changes);

  // The first reading of the suffix only counts what it leaves open.
  const std::vector<uint32_t> open = reader_->open_bodies();
  const size_t changes_before = changes.size();
  BodyReader rest = *reader_;
  read_text(rest, suffix, changes);
  const std::vector<uint32_t> open_at_end = rest.open_bodies();
  size_t left_open = 0;
  while (left_open < std::min(open.size(), open_at_end.size()) &&
         open[left_open] == open_at_end[left_open])
    ++left_open;
  // What needs no closer may be open at the end of the text: that is no sign of an error.
  if (left_open > 0 && !language->bodies_end_by_themselves()) {
    changes.resize(changes_before);
    rest = *reader_;
    rest.drop_innermost(left_open);
    // The hole's body ends at the hole, and the suffix does not lie in it.
    read_text(rest, suffix, changes);
  }
  if (rest.current() != changes.back().scope) changes.push_back({rest.position(), rest.current()});

  ScopeMap map = map_of_bodies(rest.bodies(), rest.position());
  map.changes_ = std::move(changes);
  hole_.scopes_before = reader_->bodies().size() + 1;
  hole_.open = {0};
  hole_.open.insert(hole_.open.end(), open.begin(), open.end());
  number_scopes(map, &hole_);
  map_ = std::make_shared<const ScopeMap>(std::move(map));

  reader_->drain();
  first_middle_id_ = reader_->first_id();
}

ScopeLabel MiddleLabeler::feed(std::string_view bytes) {
  if (!reader_) return {};
  if (bytes.empty()) return label_of(reader_->current());
  const ScopeLabel first = read(bytes.front());
  for (char c : bytes.substr(1)) read(c);
  return first;
}

void MiddleLabeler::feed(std::string_view bytes, std::vector<ScopeLabel>& labels) {
  for (char c : bytes) labels.push_back(reader_ ? read(c) : ScopeLabel{});
}

int MiddleLabeler::depth() const {
  return reader_ ? static_cast<int>(reader_->open_bodies().size() + 1) -
                       static_cast<int>(hole_.open.size())
                 : 0;
}

ScopeLabel MiddleLabeler::read(char c) {
  const uint32_t id = reader_->step(c);
  if (!reader_->bodies().empty()) open_new();
  return label_of(id);
}

void MiddleLabeler::open_new() {
  for (const ReadBody& body : reader_->drain()) {
    Opened opened;
    opened.label = label_of(body.parent);
    if (NumberGap::Range* free = free_of(body.parent); free && free->last - free->next >= 1) {
      const int64_t size = std::max<int64_t>(1, (free->last - free->next + 1) / 8);
      opened.label = {static_cast<int32_t>(free->next),
                      static_cast<int32_t>(free->next + size - 1)};
      opened.free = {free->next + 1, free->next + size - 1};
      free->next += size;
    }
    opened_.push_back(opened);
  }
}

ScopeLabel MiddleLabeler::label_of(uint32_t id) const {
  return id >= first_middle_id_ ? opened_[id - first_middle_id_].label : map_->label_of(id);
}

NumberGap::Range* MiddleLabeler::free_of(uint32_t id) {
  if (id >= first_middle_id_) return &opened_[id - first_middle_id_].free;
  const auto open = std::find(hole_.open.begin(), hole_.open.end(), id);
  return open == hole_.open.end() ? nullptr
                                  : &hole_.free[static_cast<size_t>(open - hole_.open.begin())];
}

}  // namespace cambium::syntax
