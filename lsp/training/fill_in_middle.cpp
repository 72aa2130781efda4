#include "lsp/training/fill_in_middle.h"

#include <algorithm>
#include <array>
#include <optional>

#include "syntax/tree.h"

namespace cambium::training {

namespace {

constexpr uint32_t kMaxNode = 2000;  // bytes; longer nodes are never a middle
constexpr uint32_t kMaxExpression = 160;

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }
bool is_closer(char c) {
  return c == ')' || c == ']' || c == '}' || c == ';' || c == ',' || c == ':' || c == '"' ||
         c == '\'';
}
/// "\r\n" is one character: no cursor stands inside it.
bool starts_character(std::string_view text, size_t at) {
  if (at >= text.size()) return true;
  if (text[at] == '\n' && at > 0 && text[at - 1] == '\r') return false;
  return (static_cast<uint8_t>(text[at]) & 0xc0) != 0x80;
}

/// First byte of the line that holds `at`.
uint32_t line_begin(std::string_view text, uint32_t at) {
  while (at > 0 && text[at - 1] != '\n') --at;
  return at;
}
/// One past the line's last byte, its line end not counted.
uint32_t line_end(std::string_view text, uint32_t at) {
  while (at < text.size() && !is_line_end(text[at])) ++at;
  return at;
}

/// Nothing but white space before it on its first line, and at most a separator after it on its
/// last.
bool fills_lines(std::string_view text, ByteRange r) {
  uint32_t at = r.begin;
  while (at > 0 && is_blank(text[at - 1])) --at;
  if (at > 0 && text[at - 1] != '\n') return false;
  at = r.end;
  while (at < text.size() && (is_blank(text[at]) || text[at] == ';' || text[at] == ',')) ++at;
  return at >= text.size() || is_line_end(text[at]);
}

bool is_body(std::string_view type) {
  for (const std::string_view word : {"block", "body", "compound", "suite", "declaration_list",
                                      "enumerator_list", "field_declaration_list", "statements"})
    if (type.find(word) != std::string_view::npos) return true;
  return false;
}

void visit(std::string_view text, TSNode node, uint32_t parent, Cuts& cuts) {
  const ByteRange r{ts_node_start_byte(node), ts_node_end_byte(node)};
  if (!ts_node_is_named(node) || r.end <= r.begin || r.end > text.size()) return;
  const uint32_t size = r.end - r.begin;
  const bool one_line = ts_node_start_point(node).row == ts_node_end_point(node).row;
  if (size <= kMaxNode && !ts_node_is_error(node)) {
    if (fills_lines(text, r)) {
      if (cuts.statements.empty() || cuts.statements.back().range != r)
        cuts.statements.push_back({r, parent});
    } else if (one_line && size >= 2 && size <= kMaxExpression) {
      cuts.expressions.push_back(r);
    }
  }
  if (is_body(ts_node_type(node))) {
    if (const uint32_t n = ts_node_named_child_count(node)) {
      const ByteRange inside{ts_node_start_byte(ts_node_named_child(node, 0)),
                             ts_node_end_byte(ts_node_named_child(node, n - 1))};
      if (inside.end > inside.begin && inside.end - inside.begin <= kMaxNode &&
          inside.end <= text.size())
        cuts.bodies.push_back(inside);
    }
  }
}

/// The element that begins at or after `target`, or the last before it, if it lies in the window.
template <class T, class Get>
const T* nearest(const std::vector<T>& items, uint32_t target, ByteRange window, Get range) {
  auto it = std::partition_point(items.begin(), items.end(),
                                 [&](const T& x) { return range(x).begin < target; });
  for (int tries = 0; tries < 8 && it != items.end(); ++tries, ++it)
    if (range(*it).begin >= window.begin && range(*it).end <= window.end) return &*it;
  it = std::partition_point(items.begin(), items.end(),
                            [&](const T& x) { return range(x).begin < target; });
  for (int tries = 0; tries < 8 && it != items.begin(); ++tries) {
    --it;
    if (range(*it).begin >= window.begin && range(*it).end <= window.end) return &*it;
  }
  return nullptr;
}

/// Somewhere between `begin` and `end` on a character boundary, `end` excluded.
uint32_t inside(std::string_view text, uint32_t begin, uint32_t end, Random& random) {
  if (end <= begin) return begin;
  uint32_t at = begin + random.below(end - begin);
  while (at > begin && !starts_character(text, at)) --at;
  return at;
}

/// From a cursor somewhere in a line to its end, or to the closing characters an editor would
/// already have put after the cursor.
Hole rest_of_line(std::string_view text, ByteRange window, uint32_t target, Random& random) {
  uint32_t begin = line_begin(text, target), end = line_end(text, begin);
  uint32_t first = begin;
  for (int tries = 0; tries < 20; ++tries) {
    first = begin;
    while (first < end && is_blank(text[first])) ++first;
    if (first < end || end >= window.end) break;
    begin = end;
    while (begin < window.end && is_line_end(text[begin])) ++begin;
    if (begin >= window.end) break;
    end = line_end(text, begin);
  }
  end = std::min(end, window.end);
  first = std::clamp(first, window.begin, end);
  const uint32_t cursor = random.chance(0.25) ? first : inside(text, first, end, random);
  uint32_t stop = end;
  if (random.chance(0.25))
    while (stop > cursor + 1 && is_closer(text[stop - 1])) --stop;
  return {{cursor, stop}, HoleKind::rest_of_line};
}

/// A cursor inside the first line of a node in half of the cases: the line was begun by hand.
ByteRange maybe_begun(std::string_view text, ByteRange r, Random& random) {
  if (!random.chance(0.5)) return r;
  const uint32_t limit = std::min(line_end(text, r.begin), r.end);
  return {inside(text, r.begin, limit, random), r.end};
}

std::optional<Hole> cut(std::string_view text, ByteRange window, const Cuts& cuts, HoleKind kind,
                        uint32_t target, uint32_t max_bytes, Random& random) {
  const auto of_statement = [](const Cuts::Statement& s) { return s.range; };
  const auto of_range = [](ByteRange r) { return r; };
  const auto fits = [&](ByteRange r) { return r.end - r.begin <= max_bytes; };
  switch (kind) {
    case HoleKind::statement: {
      const auto* s = nearest(cuts.statements, target, window, of_statement);
      if (s && fits(s->range)) return Hole{maybe_begun(text, s->range, random), kind};
      return std::nullopt;
    }
    case HoleKind::siblings: {
      const auto* s = nearest(cuts.statements, target, window, of_statement);
      if (!s) return std::nullopt;
      ByteRange r = s->range;
      uint32_t more = 1 + random.below(4);
      for (auto it = s + 1; more > 0 && it != cuts.statements.data() + cuts.statements.size();
           ++it) {
        if (it->range.begin < r.end) continue;  // inside the one before
        if (it->parent != s->parent || it->range.end > window.end ||
            it->range.end - r.begin > max_bytes)
          break;
        r.end = it->range.end;
        --more;
      }
      if (fits(r)) return Hole{maybe_begun(text, r, random), kind};
      return std::nullopt;
    }
    case HoleKind::body: {
      const ByteRange* b = nearest(cuts.bodies, target, window, of_range);
      if (b && fits(*b)) return Hole{maybe_begun(text, *b, random), kind};
      return std::nullopt;
    }
    case HoleKind::expression: {
      const ByteRange* e = nearest(cuts.expressions, target, window, of_range);
      if (!e) return std::nullopt;
      return Hole{{random.chance(0.5) ? e->begin : inside(text, e->begin, e->end, random), e->end},
                  kind};
    }
    case HoleKind::rest_of_line:
      return rest_of_line(text, window, target, random);
    case HoleKind::random: {
      const uint32_t begin = inside(text, target, window.end, random);
      // Log-uniform: short holes as often as long ones.
      uint32_t length = 1u << random.below(10);
      length = std::min({length + random.below(length), max_bytes, window.end - begin});
      uint32_t end = begin + length;
      while (end > begin && !starts_character(text, end)) --end;
      return Hole{{begin, end}, kind};
    }
    case HoleKind::nothing: {
      const uint32_t at = std::min(line_end(text, target), window.end);
      return Hole{{at, at}, kind};
    }
  }
  return std::nullopt;
}

/// Where in the window to look for a hole.
uint32_t choose_target(ByteRange window, Random& random) {
  const double where = random.chance(0.1) ? 0.35 * random.unit() : 0.35 + 0.63 * random.unit();
  return window.begin + static_cast<uint32_t>(where * (window.end - window.begin));
}

/// The hole within `max_bytes`, both ends on character boundaries.
Hole on_characters(std::string_view text, ByteRange window, uint32_t max_bytes, Hole hole) {
  ByteRange& r = hole.range;
  while (r.begin > window.begin && !starts_character(text, r.begin)) --r.begin;
  r.end = std::min(r.end, r.begin + max_bytes);
  while (r.end > r.begin && !starts_character(text, r.end)) --r.end;
  return hole;
}

}  // namespace

Cuts find_cuts(std::string_view text, const syntax::Language* language) {
  Cuts cuts;
  if (!language) return cuts;
  const auto tree = syntax::Parser(*language).parse(text);
  if (!tree) return cuts;
  std::vector<uint32_t> open;  // numbers of the nodes from the root down
  uint32_t number = 0;
  syntax::walk(tree->root(), [&](TSNode node, uint32_t depth) {
    open.resize(depth);
    if (depth > 0) visit(text, node, open.back(), cuts);
    open.push_back(number++);
    return true;
  });
  std::sort(cuts.bodies.begin(), cuts.bodies.end(),
            [](ByteRange x, ByteRange y) { return x.begin < y.begin; });
  return cuts;
}

Hole choose_hole(std::string_view text, ByteRange window, const Cuts& cuts, uint32_t max_bytes,
                 Random& random) {
  const uint32_t target = choose_target(window, random);

  struct Share {
    HoleKind kind;
    double share;
  };
  static constexpr std::array<Share, kHoleKinds> kShares{{
      {HoleKind::rest_of_line, 0.34},
      {HoleKind::statement, 0.16},
      {HoleKind::body, 0.17},
      {HoleKind::siblings, 0.09},
      {HoleKind::expression, 0.12},
      {HoleKind::random, 0.10},
      {HoleKind::nothing, 0.02},
  }};
  double left = random.unit();
  HoleKind kind = HoleKind::rest_of_line;
  for (const Share& s : kShares) {
    kind = s.kind;
    if ((left -= s.share) < 0) break;
  }

  const auto found = cut(text, window, cuts, kind, target, max_bytes, random);
  return on_characters(text, window, max_bytes,
                       found ? *found : rest_of_line(text, window, target, random));
}

std::optional<Hole> cut_hole(std::string_view text, ByteRange window, const Cuts& cuts,
                             HoleKind kind, uint32_t max_bytes, Random& random) {
  const auto found =
      cut(text, window, cuts, kind, choose_target(window, random), max_bytes, random);
  if (!found) return std::nullopt;
  return on_characters(text, window, max_bytes, *found);
}

}  // namespace cambium::training
