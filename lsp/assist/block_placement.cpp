#include "lsp/assist/block_placement.h"

#include <algorithm>
#include <chrono>

#include "syntax/bytes.h"
#include "syntax/outline.h"

namespace cambium::assist {

namespace {

using syntax::ByteRange;
using syntax::OutlineItem;

constexpr std::chrono::milliseconds kParseTime{500};

std::string_view part(std::string_view text, ByteRange range) {
  return text.substr(range.begin, range.end - range.begin);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && syntax::is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && syntax::is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// The lines of a text, each with its line end.
std::vector<ByteRange> lines_of(std::string_view text) {
  std::vector<ByteRange> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const size_t next = end == text.npos ? text.size() : end + 1;
    lines.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(next)});
    begin = next;
  }
  return lines;
}

uint32_t line_begin(std::string_view text, uint32_t at) {
  while (at > 0 && text[at - 1] != '\n') --at;
  return at;
}

/// After the line's end, or the end of the text.
uint32_t line_end(std::string_view text, uint32_t at) {
  const size_t end = text.find('\n', at);
  return static_cast<uint32_t>(end == text.npos ? text.size() : end + 1);
}

/// The whole lines that a range touches; one that ends where a line begins does not touch that line.
ByteRange whole_lines(std::string_view text, ByteRange range) {
  const bool ends_line = range.end > range.begin && text[range.end - 1] == '\n';
  return {line_begin(text, range.begin), ends_line ? range.end : line_end(text, range.end)};
}

std::string_view indent_of(std::string_view line) {
  size_t n = 0;
  while (n < line.size() && (line[n] == ' ' || line[n] == '\t')) ++n;
  return line.substr(0, n);
}

/// Lines with another indentation than their first one has, each with a line end.
std::string under_indent(std::string_view text, std::string_view indent) {
  const std::string_view own = indent_of(text);
  std::string out;
  for (const ByteRange& range : lines_of(text)) {
    std::string_view line = part(text, range);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (line.starts_with(own)) {
      line.remove_prefix(own.size());
      if (!line.empty()) out.append(indent).append(line);
    } else if (!line.empty()) {  // further out than the first line by so much, and it stays so
      const std::string_view has = indent_of(line);
      const size_t lack = own.size() - std::min(own.size(), has.size());
      out.append(indent.substr(0, indent.size() - std::min(indent.size(), lack)));
      out.append(line.substr(has.size()));
    }
    out += '\n';
  }
  return out;
}

/// A comment, a decorator or an attribute: what belongs to the definition below it. Directives of a
/// preprocessor (`#include`) do not.
bool leads_a_definition(std::string_view line) {
  const std::string_view code = trimmed(line);
  if (code.starts_with('#')) return code.size() < 2 || !syntax::is_letter(code[1]);
  if (code.starts_with('[')) return code.ends_with(']');
  return code.starts_with("//") || code.starts_with("/*") || code.starts_with("*") ||
         code.starts_with("--") || code.starts_with("@") || code.starts_with("template");
}

/// An outline, and the text it is of.
struct Side {
  std::string_view text;
  std::vector<OutlineItem> items;

  ByteRange lines(size_t item) const { return whole_lines(text, items[item].range); }
  /// Where the comments, decorators and attributes right above the item begin.
  uint32_t lead(size_t item) const {
    uint32_t at = lines(item).begin;
    while (at > 0) {
      const uint32_t above = line_begin(text, at - 1);
      if (!leads_a_definition(text.substr(above, at - above))) break;
      at = above;
    }
    return at;
  }
  std::vector<size_t> members(int32_t parent) const {
    std::vector<size_t> found;
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].parent == parent) found.push_back(i);
    }
    return found;
  }
  bool alone_on_its_lines(size_t item) const {
    const ByteRange all = lines(item), own = items[item].range;
    const std::string_view after = trimmed(part(text, {own.end, all.end}));
    return after.find_first_not_of(";,") == after.npos;
  }
};

std::optional<Side> side_of(const syntax::Language& language, std::string_view text) {
  const auto tree = syntax::Parser(language).parse(text, nullptr, {.time = kParseTime});
  if (!tree) return std::nullopt;
  return Side{text, syntax::outline(*tree, text)};
}

bool is_import(const OutlineItem& item) { return item.kind == "import"; }
/// Of what a block can be about: a variable's name, in an example too, says nothing of a place.
bool is_definition(const OutlineItem& item) {
  return !item.name.empty() && !is_import(item) && item.kind != "variable";
}

/// The definitions of a block, put where the file has them.
class Placing {
 public:
  Placing(const Side& file, const Side& block, std::optional<ByteRange> selection)
      : file_(file), block_(block), selection_(selection) {}

  void run() {
    const std::vector<size_t> top = block_.members(-1);
    imports(top);
    place(top, -1);
    size_t covered_to = 0;
    for (const size_t item : top) {
      if (is_definition(block_.items[item]) || is_import(block_.items[item])) {
        count_left_out(covered_to, block_.lead(item));
        covered_to = block_.lines(item).end;
      }
    }
    count_left_out(covered_to, block_.text.size());
  }

  BlockPlacement out;

 private:
  /// The file's definition of this name among those that may be meant: methods that a block shows
  /// without their class are looked for in every class.
  std::optional<size_t> twin(const OutlineItem& item, int32_t parent) const {
    std::optional<size_t> found, outermost;
    size_t all = 0, outer = 0;
    for (size_t i = 0; i < file_.items.size(); ++i) {
      const OutlineItem& each = file_.items[i];
      if (each.name != item.name || !is_definition(each)) continue;
      if (parent >= 0 && each.parent != parent) continue;
      const bool selected =
          selection_ && each.range.begin < selection_->end && selection_->begin < each.range.end;
      if (selected) return i;
      found = i;
      ++all;
      if (each.parent >= 0) continue;
      outermost = i;  // a class rather than its constructor
      ++outer;
    }
    if (outer == 1) return outermost;
    // Of several, nothing says which is meant.
    return all == 1 ? found : std::nullopt;
  }

  void place(const std::vector<size_t>& items, int32_t parent) {
    std::optional<size_t> before;  // the file's twin of the item before
    for (const size_t i : items) {
      const OutlineItem& item = block_.items[i];
      if (!is_definition(item)) continue;
      const auto found = twin(item, parent);
      if (!found) {
        add(i, before, parent);
        continue;
      }
      before = found;
      if (holds_back_members(i, *found)) {
        place(block_.members(static_cast<int32_t>(i)), static_cast<int32_t>(*found));
      } else {
        replace(i, *found);
      }
    }
  }

  /// A class that is shown with some of its members is not all that is left of it.
  bool holds_back_members(size_t mine, size_t theirs) const {
    const auto shown = block_.members(static_cast<int32_t>(mine));
    if (shown.empty()) return false;
    for (const size_t member : file_.members(static_cast<int32_t>(theirs))) {
      const auto& name = file_.items[member].name;
      const bool there = std::any_of(shown.begin(), shown.end(),
                                     [&](size_t i) { return block_.items[i].name == name; });
      if (!there && is_definition(file_.items[member])) return true;
    }
    return false;
  }

  void replace(size_t mine, size_t theirs) {
    out.replaced.push_back(block_.items[mine].name);
    if (!file_.alone_on_its_lines(theirs) || !block_.alone_on_its_lines(mine)) {
      // The rest of the line is something else's.
      return change(file_.items[theirs].range,
                    std::string(part(block_.text, block_.items[mine].range)));
    }
    ByteRange from = block_.lines(mine), to = file_.lines(theirs);
    const uint32_t lead = block_.lead(mine);
    if (lead < from.begin) to.begin = file_.lead(theirs);
    from.begin = lead;
    std::string text = indented(from, indent_of(part(file_.text, to)));
    if (to.end == 0 || file_.text[to.end - 1] != '\n') text.pop_back();
    change(to, std::move(text));
  }

  /// After the definition that stands before it in the block, or at the end of what holds it.
  void add(size_t mine, std::optional<size_t> before, int32_t parent) {
    if (!before) {
      const auto members = file_.members(parent);
      for (const size_t member : members) {
        if (is_definition(file_.items[member])) before = member;
      }
    }
    ByteRange from = block_.lines(mine);
    from.begin = block_.lead(mine);
    uint32_t at = static_cast<uint32_t>(file_.text.size());
    std::string_view indent;
    if (before) {
      at = file_.lines(*before).end;
      indent = indent_of(part(file_.text, file_.lines(*before)));
    }
    // As far apart as the file's own definitions, as a rule.
    const bool ends_line = at == 0 || file_.text[at - 1] == '\n';
    std::string text = ends_line ? "\n" : "\n\n";
    if (spacious(before) && at > 0) text += '\n';
    text += indented(from, indent);
    out.added.push_back(block_.items[mine].name);
    change({at, at}, std::move(text));
  }

  /// Does the file leave two lines between definitions where this one goes?
  bool spacious(std::optional<size_t> before) const {
    if (!before) return false;
    const uint32_t begin = file_.lead(*before);
    const std::string_view above = file_.text.substr(0, begin);
    return above.ends_with("\n\n\n") || above.ends_with("\r\n\r\n\r\n");
  }

  void imports(const std::vector<size_t>& top) {
    std::string missing;
    uint32_t at = 0;
    for (const OutlineItem& item : file_.items) {
      if (is_import(item) && item.parent < 0) at = whole_lines(file_.text, item.range).end;
    }
    for (const size_t i : top) {
      if (!is_import(block_.items[i])) continue;
      const std::string_view line = trimmed(part(block_.text, block_.items[i].range));
      const bool there =
          std::any_of(file_.items.begin(), file_.items.end(), [&](const OutlineItem& item) {
            return is_import(item) && trimmed(part(file_.text, item.range)) == line;
          });
      if (!there) missing += indented(block_.lines(i), "");
    }
    if (!missing.empty()) change({at, at}, std::move(missing));
  }

  std::string indented(ByteRange lines, std::string_view indent) const {
    return under_indent(part(block_.text, lines), indent);
  }

  void change(ByteRange range, std::string text) {
    out.changes.push_back({range, std::move(text)});
  }

  void count_left_out(size_t begin, size_t end) {
    if (begin >= end) return;
    const std::string_view rest = block_.text.substr(begin, end - begin);
    for (const ByteRange& line : lines_of(rest)) {
      const std::string_view code = trimmed(part(rest, line));
      if (!code.empty() && !leads_a_definition(code)) ++out.left_out;
    }
  }

  const Side& file_;
  const Side& block_;
  const std::optional<ByteRange> selection_;
};

/// `block` in place of `lines`, with the indentation they have.
TextChange in_place_of(std::string_view text, ByteRange lines, std::string_view block) {
  std::string_view indent;
  for (const ByteRange& line : lines_of(part(text, lines))) {
    const std::string_view code = part(text, {lines.begin + line.begin, lines.begin + line.end});
    if (trimmed(code).empty()) continue;
    indent = indent_of(code);
    break;
  }
  std::string out = under_indent(block, indent);
  if (lines.end == 0 || text[lines.end - 1] != '\n') out.pop_back();
  return {lines, std::move(out)};
}

/// From the file's only line that is the block's first to its only one that is the block's last.
std::optional<ByteRange> between_its_ends(std::string_view text, std::string_view block) {
  const std::vector<ByteRange> mine = lines_of(block);
  if (mine.size() < 2) return std::nullopt;
  const std::string_view first = trimmed(part(block, mine.front()));
  const std::string_view last = trimmed(part(block, mine.back()));
  std::optional<ByteRange> from, to;
  for (const ByteRange& line : lines_of(text)) {
    const std::string_view code = trimmed(part(text, line));
    if (code == first) {
      if (from) return std::nullopt;
      from = line;
    }
    if (code == last) {
      if (to) return std::nullopt;
      to = line;
    }
  }
  if (!from || !to || from->begin >= to->begin) return std::nullopt;
  return ByteRange{from->begin, to->end};
}

/// Line ends as the file has them.
void keep_line_ends(std::string_view text, std::vector<TextChange>& changes) {
  const size_t end = text.find('\n');
  if (end == text.npos || end == 0 || text[end - 1] != '\r') return;
  for (TextChange& change : changes) {
    std::string with_returns;
    for (const char c : change.text) {
      if (c == '\n') with_returns += '\r';
      with_returns += c;
    }
    change.text = std::move(with_returns);
  }
}

/// Ascending, insertions at one place made one, without those that change nothing. False where two are
/// about the same text.
bool settle(std::string_view text, std::vector<TextChange>& changes) {
  std::stable_sort(changes.begin(), changes.end(), [](const TextChange& a, const TextChange& b) {
    return a.range.begin < b.range.begin;
  });
  std::vector<TextChange> out;
  for (TextChange& change : changes) {
    if (!out.empty() && change.range.begin < out.back().range.end) return false;
    if (!out.empty() && change.range.begin == out.back().range.end) {
      out.back().range.end = change.range.end;
      out.back().text += change.text;
    } else {
      out.push_back(std::move(change));
    }
  }
  changes = std::move(out);
  std::erase_if(changes,
                [&](const TextChange& each) { return part(text, each.range) == each.text; });
  return true;
}

}  // namespace

Result<BlockPlacement> place_block(const syntax::Language* language, std::string_view text,
                                   std::string_view block, std::optional<ByteRange> selection) {
  // Blank lines around a block are Markdown's.
  while (!block.empty() && trimmed(block.substr(0, line_end(block, 0))).empty())
    block.remove_prefix(line_end(block, 0));
  while (!block.empty() && syntax::is_space(block.back())) block.remove_suffix(1);
  if (block.empty()) return fail(ErrorCode::invalid_argument, "the block is empty");
  if (selection && selection->begin == selection->end) selection.reset();

  if (language != nullptr) {
    const auto file = side_of(*language, text), mine = side_of(*language, block);
    const bool defines =
        mine && std::any_of(mine->items.begin(), mine->items.end(), [](const OutlineItem& item) {
          return item.parent < 0 && is_definition(item);
        });
    if (file && defines) {
      Placing placing(*file, *mine, selection);
      placing.run();
      const bool by_selection = selection && placing.out.replaced.empty();
      keep_line_ends(text, placing.out.changes);
      if (!by_selection && settle(text, placing.out.changes)) {
        return std::move(placing.out);
      }
    }
  }
  auto lines =
      selection ? std::optional(whole_lines(text, *selection)) : between_its_ends(text, block);
  if (!lines) {
    return fail(ErrorCode::invalid_argument,
                "it is not clear where this block belongs: select the lines it should replace and "
                "try again, or insert it at the cursor");
  }
  BlockPlacement out;
  out.changes.push_back(in_place_of(text, *lines, block));
  keep_line_ends(text, out.changes);
  settle(text, out.changes);
  return out;
}

}  // namespace cambium::assist
