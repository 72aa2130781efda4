#include "syntax/outline.h"

#include <algorithm>

#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

bool is_definition(ScopeKind kind) {
  switch (kind) {
    case ScopeKind::function:
    case ScopeKind::method:
    case ScopeKind::class_:
    case ScopeKind::struct_:
    case ScopeKind::interface_:
    case ScopeKind::enum_:
    case ScopeKind::namespace_:
    case ScopeKind::module:
    case ScopeKind::section:
    case ScopeKind::table:
    case ScopeKind::key:
      return true;
    default:
      return false;
  }
}

bool has_members(std::string_view kind) {
  return kind != "function" && kind != "method" && kind != "lambda" && kind != "import" &&
         kind != "variable" && kind != "type" && kind != "key";
}

bool is_type(std::string_view kind) {
  return kind == "class" || kind == "struct" || kind == "interface" || kind == "enum";
}

}  // namespace

std::vector<OutlineItem> outline(const TreeFacts& facts) {
  std::vector<OutlineItem> items;
  for (const TreeScope& scope : facts.scopes) {
    const bool named_lambda = scope.kind == ScopeKind::lambda && !scope.name.empty();
    const bool identified =
        scope.kind == ScopeKind::element && scope.name.find('#') != std::string::npos;
    if (!is_definition(scope.kind) && !named_lambda && !identified) continue;
    if (scope.name.empty() && scope.kind != ScopeKind::namespace_)
      continue;  // a type without a name
    items.push_back({named_lambda ? "function" : to_string(scope.kind), scope.name, scope.owner,
                     scope.header, -1});
  }
  for (const TreeMark& mark : facts.marks)
    items.push_back({mark.kind, mark.name, mark.range, mark.range, -1});
  // Outer before inner; of two over the same bytes, the one with the shorter signature tells more.
  std::stable_sort(items.begin(), items.end(), [](const OutlineItem& a, const OutlineItem& b) {
    if (a.range.begin != b.range.begin) return a.range.begin < b.range.begin;
    if (a.range.end != b.range.end) return a.range.end > b.range.end;
    return a.signature.end < b.signature.end;
  });

  std::vector<OutlineItem> out;
  std::vector<int32_t> open;
  for (OutlineItem& item : items) {
    while (!open.empty() && out[static_cast<size_t>(open.back())].range.end <= item.range.begin)
      open.pop_back();
    if (!open.empty()) {
      const OutlineItem& parent = out[static_cast<size_t>(open.back())];
      if (!has_members(parent.kind)) continue;  // what a function holds is its own affair
      if (parent.range == item.range) continue;
      item.parent = open.back();
      if (item.kind == "function" && is_type(parent.kind)) item.kind = "method";
    }
    open.push_back(static_cast<int32_t>(out.size()));
    out.push_back(std::move(item));
  }
  return out;
}

std::vector<OutlineItem> outline(const Tree& tree, std::string_view text) {
  return outline(tree_facts(tree, text, {0, static_cast<uint32_t>(text.size())}));
}

std::string outline_text(const std::vector<OutlineItem>& items, std::string_view text,
                         size_t max_bytes, ByteRange skip) {
  std::string out;
  std::vector<int> depth(items.size(), 0);
  for (size_t i = 0; i < items.size(); ++i) {
    const OutlineItem& item = items[i];
    if (item.parent >= 0) depth[i] = depth[static_cast<size_t>(item.parent)] + 1;
    if (item.signature.begin < skip.end && skip.begin < item.signature.end) continue;
    if (item.signature.end > text.size()) continue;
    std::string line(static_cast<size_t>(2 * depth[i]), ' ');
    bool space = false;  // a signature over several lines is told in one
    for (char c : text.substr(item.signature.begin, item.signature.end - item.signature.begin)) {
      if (is_space(c)) {
        space = true;
        continue;
      }
      if (space) line += ' ';
      space = false;
      line += c;
    }
    line += '\n';
    if (out.size() + line.size() > max_bytes) break;
    out += line;
  }
  return out;
}

}  // namespace cambium::syntax
