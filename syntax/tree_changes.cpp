#include "syntax/tree_changes.h"

#include <algorithm>
#include <cstdlib>

#include "syntax/tree_scopes.h"

namespace cambium::syntax {
namespace {

/// Up to here it costs less to ask about the whole range than to look closer.
constexpr uint32_t kNarrow = 256;
/// Places closer than this are one: each is a query of its own.
constexpr uint32_t kApart = 256;
/// Nodes opened in one range, beyond which it counts as changed throughout.
constexpr int kMostOpened = 1 << 14;
/// Levels of new nodes over reused ones that are compared before they count as different.
constexpr int kDeepest = 8;

/// A node still to come, and the kinds of the three nodes around it, the nearest last.
struct Pending {
  TSNode node;
  uint64_t around = 0;
};
constexpr uint64_t kThreeKinds = (uint64_t{1} << 48) - 1;

std::vector<TSNode> children(TSNode node, TSTreeCursor& cursor) {
  std::vector<TSNode> out;
  out.reserve(ts_node_child_count(node));
  ts_tree_cursor_reset(&cursor, node);
  if (!ts_tree_cursor_goto_first_child(&cursor)) return out;
  do out.push_back(ts_tree_cursor_current_node(&cursor));
  while (ts_tree_cursor_goto_next_sibling(&cursor));
  return out;
}

/// Walks both trees from left to right at once, and opens only what they do not share.
class Comparison {
 public:
  Comparison(const Tree& old, const Tree& fresh, ByteRange within, std::vector<ByteRange>& places)
      : language_(fresh.language()),
        old_{{old.root()}},
        fresh_{{fresh.root()}},
        within_(within),
        places_(places),
        cursor_(ts_tree_cursor_new(fresh.root())) {}
  ~Comparison() { ts_tree_cursor_delete(&cursor_); }
  Comparison(const Comparison&) = delete;
  Comparison& operator=(const Comparison&) = delete;

  void run() {
    int opened = 0;
    while (!old_.empty() || !fresh_.empty()) {
      if (outside(old_) || outside(fresh_)) continue;
      if (!old_.empty() && !fresh_.empty() && same(old_.back().node, fresh_.back().node)) {
        // The same subtree in other surroundings, such as no longer at the top of the file.
        if (old_.back().around != fresh_.back().around) moved(fresh_.back().node);
        old_.pop_back();
        fresh_.pop_back();
        continue;
      }
      if (++opened > kMostOpened) {
        places_.push_back(within_);
        return;
      }
      open(fresh_.empty() || (!old_.empty() && before(old_.back().node, fresh_.back().node))
               ? old_
               : fresh_);
    }
  }

 private:
  /// Drops a last node that lies where nothing changed.
  bool outside(std::vector<Pending>& nodes) {
    if (nodes.empty()) return false;
    if (!apart(nodes.back().node)) return false;
    nodes.pop_back();
    return true;
  }

  /// Which of two different nodes is opened first: the earlier, then the longer, then the one of more nodes,
  /// so that the other is still there when its equal comes up.
  static bool before(TSNode a, TSNode b) {
    const uint32_t a_begin = ts_node_start_byte(a), b_begin = ts_node_start_byte(b);
    if (a_begin != b_begin) return a_begin < b_begin;
    const uint32_t a_end = ts_node_end_byte(a), b_end = ts_node_end_byte(b);
    if (a_end != b_end) return a_end > b_end;
    return ts_node_descendant_count(a) > ts_node_descendant_count(b);
  }

  bool apart(TSNode node) const {
    return ts_node_end_byte(node) < within_.begin || ts_node_start_byte(node) > within_.end;
  }

  /// Whether two nodes are the same subtree. A reused one keeps its children where they are in memory, which is
  /// what their ids say; one that was built anew out of reused ones is as good. Of a leaf the kind and the range
  /// are all there is: its text is another only where an edit was.
  bool same(TSNode a, TSNode b, int depth = 0) {
    const uint32_t count = ts_node_child_count(a);
    if (ts_node_symbol(a) != ts_node_symbol(b) || ts_node_start_byte(a) != ts_node_start_byte(b) ||
        ts_node_end_byte(a) != ts_node_end_byte(b) || count != ts_node_child_count(b) ||
        ts_node_is_missing(a) != ts_node_is_missing(b))
      return false;
    if (count == 0) return true;
    if (depth == kDeepest) return false;
    const auto of_a = children(a, cursor_), of_b = children(b, cursor_);
    for (uint32_t i = 0; i < count; ++i) {
      if (of_a[i].id == of_b[i].id) continue;
      if (ts_node_field_name_for_child(a, i) != ts_node_field_name_for_child(b, i)) return false;
      if (!(apart(of_a[i]) && apart(of_b[i])) && !same(of_a[i], of_b[i], depth + 1)) return false;
    }
    return true;
  }

  void open(std::vector<Pending>& nodes) {
    const Pending opened = nodes.back();
    nodes.pop_back();
    const uint32_t begin = ts_node_start_byte(opened.node);
    const auto inside = children(opened.node, cursor_);
    places_.push_back({begin, inside.empty() ? ts_node_end_byte(opened.node) : begin});
    const uint64_t around = ((opened.around << 16) | ts_node_symbol(opened.node)) & kThreeKinds;
    for (auto child = inside.rbegin(); child != inside.rend(); ++child)
      nodes.push_back({*child, around});
  }

  /// A subtree whose surroundings are other ones: what its place decides about.
  void moved(TSNode node) {
    if (!wants_place(language_, ts_node_symbol(node))) return;
    places_.push_back({ts_node_start_byte(node), ts_node_start_byte(node)});
    for (const TSNode child : children(node, cursor_)) moved(child);
  }

  const Language& language_;
  std::vector<Pending> old_, fresh_;  ///< still to come, the next one last
  ByteRange within_;
  std::vector<ByteRange>& places_;
  TSTreeCursor cursor_;
};

}  // namespace

std::vector<ByteRange> changed_places(const Tree& old, const Tree& fresh) {
  uint32_t count = 0;
  TSRange* ranges = ts_tree_get_changed_ranges(old.get(), fresh.get(), &count);
  std::vector<ByteRange> places;
  for (uint32_t i = 0; i < count; ++i) {
    const ByteRange range{ranges[i].start_byte, ranges[i].end_byte};
    if (range.end - range.begin <= kNarrow)
      places.push_back(range);
    else
      Comparison(old, fresh, range, places).run();
  }
  std::free(ranges);

  std::sort(places.begin(), places.end(),
            [](ByteRange a, ByteRange b) { return a.begin < b.begin; });
  std::vector<ByteRange> out;
  for (const ByteRange& place : places) {
    if (!out.empty() && place.begin <= out.back().end + kApart)
      out.back().end = std::max(out.back().end, place.end);
    else
      out.push_back(place);
  }
  return out;
}

}  // namespace cambium::syntax
