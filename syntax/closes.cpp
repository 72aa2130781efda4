#include "syntax/closes.h"

#include <algorithm>

#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

constexpr size_t kLong = 16u << 10;   // longer texts are not parsed whole for one check
constexpr size_t kNearby = 4u << 10;  // what is parsed on either side where no body is small enough
constexpr ParseLimits kLimits = {.polls = 2'000};  // some 25 ms, and the same on every machine

size_t line_begin(std::string_view text, size_t at) {
  return at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
}

/// The part of a long text that is parsed to judge an insertion at `cursor`.
ByteRange neighbourhood(const Language& language, std::string_view text, size_t cursor) {
  const ScopeMap map = read_scopes(&language, text);
  size_t best = 0;
  for (size_t i = map.index_at(static_cast<uint32_t>(cursor)); i != 0;
       i = static_cast<size_t>(map.scopes()[i].parent)) {
    const Scope& scope = map.scopes()[i];
    if (scope.body.end - scope.opener > kLong) break;
    best = i;
  }
  if (best != 0) {
    const Scope& scope = map.scopes()[best];
    return {static_cast<uint32_t>(line_begin(text, scope.opener)),
            std::max(scope.body.end, static_cast<uint32_t>(cursor))};
  }
  const size_t begin = line_begin(text, cursor - std::min(cursor, kNearby));
  const size_t end =
      std::min(text.find('\n', std::min(cursor + kNearby, text.size())), text.size());
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
}

/// A node that only lists others and begins where the first of them does: Python's `block`, Go's
/// `statement_list`. A statement does not end where its list ends.
bool is_list(TSNode node) {
  if (!ts_node_is_named(ts_node_child(node, 0))) return false;
  const std::string_view type = ts_node_type(node);
  // Of markup: a pair, an entry and fenced code are whole things, though `block` is in their names.
  for (std::string_view thing : {"_pair", "_item", "code_block", "block_quote"})
    if (type.ends_with(thing)) return false;
  for (std::string_view word : {"block", "statement_list", "statements", "body", "chunk"})
    if (type.find(word) != std::string_view::npos) return true;
  return false;
}

}  // namespace

ErrorCount count_errors(const Tree& tree, ByteRange range) {
  ErrorCount count;
  walk(tree.root(), [&](TSNode node, uint32_t) {
    const uint32_t begin = ts_node_start_byte(node), end = ts_node_end_byte(node);
    if (end < range.begin || begin > range.end) return false;
    if (ts_node_is_missing(node)) {
      ++count.missing;
      return false;
    }
    if (ts_node_is_error(node)) {
      ++count.errors;
      count.bytes += end - begin;
      return false;
    }
    return ts_node_has_error(node);
  });
  return count;
}

InsertionCheck::InsertionCheck(const Language* language, std::string_view text, size_t cursor,
                               const Tree* tree) {
  if (!language || text.size() > kMaxText) return;
  cursor = std::min(cursor, text.size());
  parser_.emplace(*language);
  if (tree) {
    text_ = text;
    cursor_ = cursor;
    tree_ = *tree;
  } else {
    ByteRange part{0, static_cast<uint32_t>(text.size())};
    if (text.size() > kLong) part = neighbourhood(*language, text, cursor);
    text_ = text.substr(part.begin, part.end - part.begin);
    cursor_ = cursor - part.begin;
    tree_ = parser_->parse(text_, nullptr, kLimits);
  }
  if (tree_) before_ = count_errors(*tree_);
}

std::optional<Tree> InsertionCheck::parse_with(std::string_view insertion, size_t replaced) {
  replaced = std::min(replaced, cursor_);
  const Edit edit{static_cast<uint32_t>(cursor_ - replaced), static_cast<uint32_t>(cursor_),
                  insertion};
  Tree old = *tree_;
  old.edit(input_edit(text_, edit));
  return parser_->parse(applied(text_, edit), &old, kLimits);
}

bool InsertionCheck::has_more_errors(const Tree& after) const {
  const ErrorCount count = count_errors(after);
  return count.total() > before_.total() &&
         (before_.bytes == 0 || uint64_t{2} * count.bytes >= before_.bytes);
}

bool InsertionCheck::adds_errors(std::string_view insertion, size_t replaced) {
  if (!tree_) return false;
  const std::optional<Tree> after = parse_with(insertion, replaced);
  return !after || has_more_errors(*after);
}

size_t InsertionCheck::node_end(std::string_view insertion) {
  if (!tree_) return insertion.size();
  const std::optional<Tree> after = parse_with(insertion, 0);
  if (!after) return insertion.size();
  size_t line = line_begin(text_, cursor_);
  while (line < cursor_ && is_space(text_[line])) ++line;
  size_t first = cursor_;  // the first code of the line, or of the insertion
  if (line < cursor_) {
    first = line;
  } else {
    while (first - cursor_ < insertion.size() && is_space(insertion[first - cursor_])) ++first;
    if (first - cursor_ == insertion.size()) return insertion.size();
  }
  TSNode node = ts_node_descendant_for_byte_range(after->root(), static_cast<uint32_t>(first),
                                                  static_cast<uint32_t>(first + 1));
  if (ts_node_is_null(node)) return insertion.size();
  for (TSNode parent = ts_node_parent(node);
       !ts_node_is_null(parent) && ts_node_start_byte(parent) >= first && !is_list(parent) &&
       !ts_node_is_null(ts_node_parent(parent));
       parent = ts_node_parent(node))
    node = parent;
  const size_t end = ts_node_end_byte(node);
  // A node that ended before the cursor says nothing of the insertion.
  if (end <= cursor_ || ts_node_is_error(node)) return insertion.size();
  return std::min(end - cursor_, insertion.size());
}

size_t InsertionCheck::first_node(std::string_view insertion) {
  if (!tree_) return insertion.size();
  const std::optional<Tree> after = parse_with(insertion, 0);
  if (!after) return insertion.size();
  const size_t limit = cursor_ + insertion.size();
  const auto next_code = [&](size_t at) {
    while (at < limit && is_space(insertion[at - cursor_])) ++at;
    return at;
  };
  for (size_t at = next_code(cursor_); at < limit;) {
    TSNode node = ts_node_descendant_for_byte_range(after->root(), static_cast<uint32_t>(at),
                                                    static_cast<uint32_t>(at + 1));
    if (ts_node_is_null(node)) break;
    const uint32_t begin = ts_node_start_byte(node);
    for (TSNode parent = ts_node_parent(node);
         !ts_node_is_null(parent) && ts_node_start_byte(parent) == begin && !is_list(parent) &&
         ts_node_end_byte(parent) <= limit && !ts_node_is_error(parent) &&
         !ts_node_is_null(ts_node_parent(parent));
         parent = ts_node_parent(node))
      node = parent;
    const size_t end = ts_node_end_byte(node);
    if (end <= at || end > limit || ts_node_is_error(node)) break;
    const size_t next = next_code(end);
    const std::string_view between = insertion.substr(end - cursor_, next - end);
    if (ts_node_is_named(node) || next == limit || between.find('\n') != between.npos)
      return end - cursor_;
    at = next;
  }
  return insertion.size();
}

bool InsertionCheck::is_complete_node(std::string_view insertion) {
  while (!insertion.empty() && is_space(insertion.back())) insertion.remove_suffix(1);
  return !insertion.empty() && !adds_errors(insertion) && node_end(insertion) == insertion.size();
}

bool InsertionCheck::ends_node(std::string_view insertion) {
  const auto trailing = [](char c) { return is_space(c) || c == ';' || c == ','; };
  while (!insertion.empty() && is_space(insertion.back())) insertion.remove_suffix(1);
  if (insertion.empty() || !tree_) return false;
  const std::optional<Tree> after = parse_with(insertion, 0);
  if (!after || has_more_errors(*after)) return false;
  size_t first = line_begin(text_, cursor_);
  while (first < cursor_ && is_space(text_[first])) ++first;
  // A separator may be a node's last byte or stand behind it.
  for (;;) {
    const auto end = static_cast<uint32_t>(cursor_ + insertion.size());
    for (TSNode node = ts_node_descendant_for_byte_range(after->root(), end - 1, end);
         !ts_node_is_null(node) && ts_node_end_byte(node) == end &&
         ts_node_start_byte(node) >= first;
         node = ts_node_parent(node)) {
      if (ts_node_is_named(node) && !ts_node_is_error(node)) return true;
    }
    if (insertion.size() < 2 || !trailing(insertion.back())) return false;
    do insertion.remove_suffix(1);
    while (insertion.size() > 1 && is_space(insertion.back()));
  }
}

}  // namespace cambium::syntax
