#include "syntax/problems.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "syntax/bytes.h"
#include "syntax/closes.h"

namespace cambium::syntax {
namespace {

constexpr size_t kMostProblems = 20;
constexpr size_t kMostQuoted = 32;
constexpr size_t kMostPlaces = 4;                 // a parse each
constexpr ParseLimits kCheck = {.polls = 4'000};  // some 50 ms

ByteRange range_of(TSNode node) { return {ts_node_start_byte(node), ts_node_end_byte(node)}; }

size_t line_begin(std::string_view text, size_t at) {
  return at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
}
size_t line_end(std::string_view text, size_t at) {
  return std::min(text.find('\n', at), text.size());
}

/// The part of a range on its first line, without white space at either end.
ByteRange first_line(std::string_view text, ByteRange range) {
  while (range.begin < range.end && is_space(text[range.begin])) ++range.begin;
  range.end = static_cast<uint32_t>(std::min<size_t>(range.end, line_end(text, range.begin)));
  while (range.end > range.begin && is_space(text[range.end - 1])) --range.end;
  return range;
}

std::string quoted(std::string_view text, ByteRange range) {
  range = first_line(text, range);
  std::string_view part = text.substr(range.begin, range.end - range.begin);
  const size_t n = char_begin(part, std::min(part.size(), kMostQuoted));
  std::string out = "'";
  out.append(part.substr(0, n)).append(n < part.size() ? "…'" : "'");
  return out;
}

/// What a grammar's node is called by a person: "argument_list" is an argument list.
std::string spoken(std::string_view type) {
  std::string name(type.substr(0, 1) == "_" ? type.substr(1) : type);
  std::replace(name.begin(), name.end(), '_', ' ');
  const bool vowel =
      !name.empty() && std::string_view("aeiou").find(name[0]) != std::string_view::npos;
  std::string out = vowel ? "an " : "a ";
  out.append(name);
  return out;
}

/// ALL_CAPS as macros are written; short names are types and constants just as often.
bool names_macro(std::string_view line) {
  for (size_t i = 0; i < line.size();) {
    if (!is_word_byte(line[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    size_t upper = 0, lower = 0;
    while (end < line.size() && is_word_byte(line[end])) {
      if (line[end] >= 'A' && line[end] <= 'Z') ++upper;
      if (line[end] >= 'a' && line[end] <= 'z') ++lower;
      ++end;
    }
    if (upper >= 3 && lower == 0) return true;
    i = end;
  }
  return false;
}

/// A macro or a directive near the error: what the compiler sees there is not what is written.
bool macros_mislead(TSNode node, std::string_view text) {
  const ByteRange range = range_of(node);
  size_t begin = line_begin(text, range.begin);
  for (int above = 0; above < 2 && begin > 0; ++above) begin = line_begin(text, begin - 1);
  size_t end = line_end(text, std::min<size_t>(range.end, range.begin + 2000));
  if (end < text.size()) end = line_end(text, end + 1);
  const std::string_view around = text.substr(begin, end - begin);
  if (names_macro(around)) return true;
  // A declaration cut in two by #if: its halves need not parse, alone or together.
  TSNode outermost = node;
  for (TSNode parent = ts_node_parent(node); !ts_node_is_null(parent);
       parent = ts_node_parent(parent)) {
    if (std::string_view(ts_node_type(parent)).starts_with("preproc_")) return true;
    if (!ts_node_is_null(ts_node_parent(parent))) outermost = parent;
  }
  ByteRange whole = range_of(outermost);
  const std::string_view declaration = text.substr(whole.begin, whole.end - whole.begin);
  for (size_t at = declaration.find('#'); at != declaration.npos;
       at = declaration.find('#', at + 1)) {
    const std::string_view before = declaration.substr(0, at);
    const std::string_view lead = before.substr(before.rfind('\n') + 1);
    if (std::all_of(lead.begin(), lead.end(), is_space)) return true;
  }
  return false;
}

char closer_of(char opener) {
  return opener == '(' ? ')' : opener == '[' ? ']' : opener == '{' ? '}' : '\0';
}

/// A bracket of its own, which a grammar's leaf of one byte can be; '\0' for every other node.
char bracket_of(TSNode node) {
  const std::string_view type = ts_node_type(node);
  if (type.size() != 1 || ts_node_child_count(node) > 0) return '\0';
  return std::string_view("()[]{}").find(type[0]) == std::string_view::npos ? '\0' : type[0];
}

/// Brackets that are open, in the order of the text.
class OpenBrackets {
 public:
  /// An opener is kept, a closer takes its own off; false for one that finds another or none.
  bool take(TSNode node, char bracket) {
    if (closer_of(bracket) != '\0') {
      open_.push_back(node);
    } else if (!open_.empty() && closer_of(bracket_of(open_.back())) == bracket) {
      open_.pop_back();
    } else {
      return false;
    }
    return true;
  }
  /// Those after the last '{'.
  std::span<const TSNode> in_block() const { return std::span(open_).subspan(block()); }
  /// Drops them, and the brace.
  void end_block() { open_.resize(std::max<size_t>(block(), 1) - 1); }
  bool empty() const { return open_.empty(); }
  TSNode last() const { return open_.back(); }

 private:
  size_t block() const {
    size_t begin = open_.size();
    while (begin > 0 && bracket_of(open_[begin - 1]) != '{') --begin;
    return begin;
  }
  std::vector<TSNode> open_;
};

/// Brackets among the leaves of an error that have no partner there: the last opener, the first closer.
struct Unpaired {
  std::optional<TSNode> opener, closer;
};
Unpaired unpaired_brackets(TSNode error) {
  Unpaired out;
  OpenBrackets open;
  const auto unclosed = [&](TSNode node) {
    if (!out.opener || ts_node_start_byte(*out.opener) < ts_node_start_byte(node))
      out.opener = node;
  };
  walk(error, [&](TSNode node, uint32_t depth) {
    if (depth > 0 && !ts_node_is_error(node)) {
      // Whole nodes inside an error are balanced; only its own tokens are not.
      if (ts_node_child_count(node) > 0 && !ts_node_has_error(node)) return false;
    }
    const char bracket = bracket_of(node);
    if (bracket == '\0' || open.take(node, bracket)) return true;
    if (bracket == '}' && !open.empty()) {
      // The end of a block: what is still open inside was forgotten, and the brace is right.
      unclosed(open.last());
      open.end_block();
    } else if (!out.closer) {
      out.closer = node;
    }
    return true;
  });
  if (!open.empty()) unclosed(open.last());
  return out;
}

/// Where the code of the line ends in which `at` is: before a comment, and white space.
uint32_t code_end(TSNode root, std::string_view text, uint32_t at) {
  auto end = static_cast<uint32_t>(line_end(text, at));
  while (end > at) {
    if (is_space(text[end - 1])) {
      --end;
      continue;
    }
    const TSNode last = ts_node_descendant_for_byte_range(root, end - 1, end);
    if (std::string_view(ts_node_type(last)).find("comment") == std::string_view::npos) break;
    end = std::max(at, ts_node_start_byte(last));
  }
  return end;
}

/// Offers fixes and keeps only those after which the text parses better.
class Fixer {
 public:
  Fixer(const Tree& tree, std::string_view text)
      : tree_(tree), text_(text), parser_(tree.language()), errors_(count_errors(tree)) {}

  TSNode root() const { return tree_.root(); }

  std::optional<Problem::Fix> checked(std::string title, ByteRange range, std::string replacement) {
    const Edit edit{range.begin, range.end, replacement};
    Tree old = tree_;
    old.edit(input_edit(text_, edit));
    const auto after = parser_.parse(applied(text_, edit), &old, kCheck);
    if (!after || count_errors(*after).total() >= errors_.total()) return std::nullopt;
    return Problem::Fix{std::move(title), range, std::move(replacement)};
  }

 private:
  const Tree& tree_;
  std::string_view text_;
  Parser parser_;
  ErrorCount errors_;
};

/// A block's closer goes on a line of its own, as deep as the line that opened it.
std::string closing_line(TSNode missing, std::string_view text, std::string_view closer) {
  const uint32_t opened = ts_node_start_byte(ts_node_parent(missing));
  const size_t begin = line_begin(text, opened);
  if (text.substr(begin, ts_node_start_byte(missing) - begin).find('\n') == std::string_view::npos)
    return std::string(closer);
  size_t code = begin;
  while (code < text.size() && (text[code] == ' ' || text[code] == '\t')) ++code;
  const bool crlf = begin >= 2 && text[begin - 2] == '\r';
  std::string out = crlf ? "\r\n" : "\n";
  out.append(text.substr(begin, code - begin)).append(closer);
  return out;
}

Problem missing(TSNode node, std::string_view text, Fixer& fixer) {
  const std::string_view type = ts_node_type(node);
  // After the last code before it, not where the next token happens to begin.
  uint32_t at = ts_node_start_byte(node);
  while (at > 0 && is_space(text[at - 1])) --at;
  uint32_t begin = at;
  if (begin > 0 && is_word_byte(text[begin - 1])) {
    while (begin > 0 && is_word_byte(text[begin - 1])) --begin;
  } else if (begin > 0) {
    begin = static_cast<uint32_t>(char_begin(text, begin - 1));
  }
  Problem problem;
  problem.kind = "missing";
  problem.range = {begin, at};
  const bool token = !ts_node_is_named(node);
  if (!token) {
    problem.message.append("Expected ").append(spoken(type));
    problem.message.append(" after ").append(quoted(text, problem.range)).append(".");
    return problem;
  }
  problem.message.append("Expected '").append(type).append("' after ");
  problem.message.append(quoted(text, problem.range)).append(".");
  const bool word = is_word_byte(type[0]);
  std::string inserted;
  if (type == "}" || word) inserted = closing_line(node, text, type);
  if (inserted.empty() || inserted == type) {
    inserted = word && at > 0 && is_word_byte(text[at - 1]) ? " " : "";
    inserted.append(type);
  }
  std::string title = "Insert '";
  title.append(type).append("'");
  problem.fix = fixer.checked(std::move(title), {at, at}, std::move(inserted));
  return problem;
}

/// What closes the round and square brackets that are opened from `begin` on and open at `end`.
std::string closers_at(TSNode root, size_t begin, uint32_t end) {
  OpenBrackets open;
  walk(root, [&](TSNode node, uint32_t) {
    if (ts_node_end_byte(node) <= begin || ts_node_start_byte(node) >= end) return false;
    const char bracket = bracket_of(node);
    if (bracket != '\0' && !ts_node_is_missing(node)) open.take(node, bracket);
    return true;
  });
  std::string closers;
  for (const TSNode node : open.in_block())
    closers.insert(closers.begin(), closer_of(bracket_of(node)));
  return closers;
}

/// What its line leaves open, `opener` among it, closed at the line's end: before what ends a statement or
/// begins a block there. None where nothing follows in the line, as in a call over several lines.
std::optional<Problem::Fix> close_in_line(TSNode opener, std::string_view text, Fixer& fixer) {
  const uint32_t first = ts_node_end_byte(opener);
  std::vector<uint32_t> places;
  for (uint32_t at = code_end(fixer.root(), text, first); at > first; --at) {
    if (is_space(text[at - 1])) continue;
    places.push_back(at);
    const bool ends = std::string_view(";:{}").find(text[at - 1]) != std::string_view::npos;
    if (!ends || places.size() == kMostPlaces) break;
  }
  // An operator or a comma goes on in the next line.
  if (places.empty()) return std::nullopt;
  const char last = text[places.back() - 1];
  if (!is_word_byte(last) && std::string_view(")]}\"'`").find(last) == std::string_view::npos)
    return std::nullopt;
  const std::string closers = closers_at(fixer.root(), line_begin(text, first - 1), places.back());
  if (closers.empty()) return std::nullopt;
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    auto fix = fixer.checked("Insert '" + closers + "'", {*place, *place}, closers);
    if (fix) return fix;
  }
  return std::nullopt;
}

Problem error(TSNode node, std::string_view text, Fixer& fixer) {
  Problem problem;
  const ByteRange whole = range_of(node);
  const Unpaired unpaired = unpaired_brackets(node);
  if (unpaired.closer) {
    problem.kind = "unopened";
    problem.range = range_of(*unpaired.closer);
    problem.message =
        quoted(text, problem.range) + " closes nothing: no bracket before it is open.";
    problem.fix = fixer.checked("Remove " + quoted(text, problem.range), problem.range, "");
    return problem;
  }
  if (unpaired.opener) {
    problem.kind = "unclosed";
    problem.range = range_of(*unpaired.opener);
    problem.message = quoted(text, problem.range) + " is never closed.";
    problem.fix = close_in_line(*unpaired.opener, text, fixer);
    return problem;
  }
  problem.range = first_line(text, whole);
  const char first = problem.range.begin < problem.range.end ? text[problem.range.begin] : '\0';
  const std::string_view line =
      text.substr(problem.range.begin, problem.range.end - problem.range.begin);
  if ((first == '"' || first == '\'' || first == '`') && line.find(first, 1) == line.npos) {
    problem.kind = "unclosed";
    problem.message = "The string that begins here is never closed.";
    return problem;
  }
  problem.kind = "unexpected";
  problem.message = problem.range.begin == problem.range.end
                        ? "The text ends in the middle of something."
                        : quoted(text, problem.range) + " does not fit here.";
  return problem;
}

}  // namespace

Problems find_problems(const Tree& tree, std::string_view text) {
  Problems problems;
  if (!tree.has_error()) return problems;
  const bool macros = tree.language().rules->preprocessor;
  Fixer fixer(tree, text);
  walk(tree.root(), [&](TSNode node, uint32_t) {
    const bool is_missing = ts_node_is_missing(node);
    if (!is_missing && !ts_node_is_error(node)) return ts_node_has_error(node);
    if (macros && macros_mislead(node, text)) return false;
    if (problems.found.size() == kMostProblems) {
      ++problems.left_out;
    } else {
      problems.found.push_back(is_missing ? missing(node, text, fixer) : error(node, text, fixer));
    }
    return false;
  });
  return problems;
}

}  // namespace cambium::syntax
