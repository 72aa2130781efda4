#include "lsp/assist/postprocess.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "lsp/assist/code_scanner.h"

namespace cambium::assist {
namespace {

/// Parses a completion may cost: each is an incremental parse of the document.
constexpr size_t kMostChecks = 8;

const syntax::LexicalRules* rules_of(const CompletionPlan& plan) {
  return plan.language == nullptr ? nullptr : plan.language->rules;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool is_word(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u == '_' ||
         u >= 0x80;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (;;) {
    const size_t newline = text.find('\n');
    lines.push_back(text.substr(0, newline));
    if (newline == text.npos) return lines;
    text.remove_prefix(newline + 1);
  }
}

/// The file's indentation in every line but the first, whose indentation is before the cursor.
std::string indent_like_file(const CompletionPlan& plan, std::string_view text) {
  std::string out;
  const std::vector<std::string_view> lines = lines_of(text);
  // The model's own level where it wrote spaces into a file with tabs: its smallest step.
  int level = plan.indent_width;
  if (plan.tabs) {
    int smallest = 8, previous = 0;
    for (size_t i = 1; i < lines.size(); ++i) {
      const auto spaces =
          static_cast<int>(std::min(lines[i].find_first_not_of(' '), lines[i].size()));
      if (trim(lines[i]).empty()) continue;
      const int step = std::abs(spaces - previous);
      if (step > 1) smallest = std::min(smallest, step);
      previous = spaces;
    }
    if (smallest < 4) level = smallest;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    const std::string_view line = lines[i];
    const size_t white = std::min(line.find_first_not_of(" \t"), line.size());
    const std::string_view indent = line.substr(0, white);
    const bool own = i > 0 || plan.line_before.empty();
    const char foreign = plan.tabs ? ' ' : '\t';
    if (!own || indent.find(foreign) == indent.npos) {
      out += line;
      continue;
    }
    if (plan.tabs) {
      const int width = std::max(level, 1);
      const int column = column_of(indent, width);
      out.append(static_cast<size_t>(column / width), '\t');
      out.append(static_cast<size_t>(column % width), ' ');  // alignment, not indentation
    } else {
      for (const char c : indent) {
        out.append(c == '\t' ? static_cast<size_t>(plan.indent_width) : 1, ' ');
      }
    }
    out += line.substr(white);
  }
  return out;
}

/// Cuts before the first bracket that closes what the text before the cursor opened and what follows
/// the cursor closes.
std::string_view cut_closers(const CompletionPlan& plan, std::string_view text) {
  const std::string& rest = plan.rest_of_line;
  if (rest.empty() || !is_closer(rest[0])) return text;
  CodeScanner before(rules_of(plan));
  before.feed(plan.line_before);
  OuterBrackets outer(std::move(before));
  for (size_t i = 0; i < text.size(); ++i) {
    const std::optional<size_t> closed = outer.feed(text[i]);
    if (closed && *closed <= plan.rest_closers && text[i] == rest[0]) return text.substr(0, i);
  }
  return text;
}

/// Cuts the longest end of the text that is the beginning of what follows on the line. Short overlaps
/// of punctuation are left: the brackets were looked at, and "a, " before ", b" is no repetition of
/// the comma that a human would see.
std::string_view cut_overlap(const CompletionPlan& plan, std::string_view text) {
  const std::string& rest = plan.rest_of_line;
  if (rest.empty()) return text;
  for (size_t n = std::min(rest.size(), text.size()); n > 0; --n) {
    if (text.substr(text.size() - n) != std::string_view(rest).substr(0, n)) continue;
    const size_t words = static_cast<size_t>(
        std::count_if(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n), is_word));
    // A word must be repeated as a whole: "count" before "t = 3" is no overlap.
    const bool splits_word =
        (n < text.size() && is_word(rest[0]) && is_word(text[text.size() - n - 1])) ||
        (n < rest.size() && is_word(rest[n - 1]) && is_word(rest[n]));
    const bool whole = n == rest.size();
    const bool bracket = n == 1 && is_closer(rest[0]);
    if (splits_word || bracket || (!whole && words < 2 && n < 3)) continue;
    return text.substr(0, text.size() - n);
  }
  return text;
}

/// Drops lines that stand below the cursor already, and all after them; and a line said twice.
std::string_view cut_repeated_lines(const CompletionPlan& plan, std::string_view text) {
  const std::vector<std::string_view> lines = lines_of(text);
  std::string_view previous;
  size_t at = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string first = plan.line_before + std::string(lines[i]);
    const std::string_view whole = trim_right(i == 0 ? std::string_view(first) : lines[i]);
    const std::string_view content = trim(whole);
    const bool below =
        !plan.next_line.empty() && whole == plan.next_line && !trim(lines[i]).empty();
    const auto words = std::count_if(content.begin(), content.end(), is_word);
    const bool again = i > 0 && words >= 2 && content == trim(previous);
    if (below || again) return text.substr(0, at == 0 ? 0 : at - 1);
    if (!content.empty()) previous = i == 0 ? lines[i] : whole;
    at += lines[i].size() + 1;
  }
  return text;
}

/// Shorter versions of the text worth a parse, longest first: whole lines, then points of the first
/// line at which all its brackets are closed.
std::vector<std::string_view> shorter(const CompletionPlan& plan, std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t newline = text.rfind('\n'); newline != text.npos && newline > 0;
       newline = text.rfind('\n', newline - 1)) {
    const std::string_view part = trim_right(text.substr(0, newline));
    if (!part.empty() && (out.empty() || part.size() < out.back().size())) out.push_back(part);
  }
  const std::string_view line = text.substr(0, text.find('\n'));
  std::vector<std::string_view> points;
  CodeScanner scanner(rules_of(plan));
  for (size_t i = 0; i < line.size(); ++i) {
    const size_t open = scanner.open().size();
    scanner.feed(line[i]);
    if (scanner.unmatched()) {
      points.push_back(trim_right(line.substr(0, i)));  // without the bracket nobody opened
    } else if (scanner.in_code() && scanner.open().empty() && (open == 1 || line[i] == ';')) {
      points.push_back(line.substr(0, i + 1));
    }
  }
  out.insert(out.end(), points.rbegin(), points.rend());
  return out;
}

std::string with_line_ends(const CompletionPlan& plan, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '\r') continue;  // the model's own idea of line ends
    if (c == '\n' && plan.crlf) out += '\r';
    out += c;
  }
  return out;
}

bool nothing_in(std::string_view text) { return std::all_of(text.begin(), text.end(), is_space); }

}  // namespace

Fitted postprocess(const CompletionPlan& plan, const Draft& draft, const FitsSyntax& fits) {
  std::string_view text = draft.text;
  if (text.substr(0, draft.required.size()) != draft.required) {
    return {{}, "the model did not go on from the word at the cursor"};
  }
  text.remove_prefix(draft.required.size());
  if (nothing_in(text)) return {{}, "nothing was generated"};
  if (plan.extent == Extent::line) text = text.substr(0, text.find('\n'));
  // Cut off in the middle of a line: the lines before it are whole.
  if (draft.cut_off) {
    if (const size_t newline = text.rfind('\n'); newline != text.npos) {
      if (!nothing_in(text.substr(0, newline))) text = text.substr(0, newline);
    }
  }
  // A model that starts a word after the space a person typed writes that space again.
  if (text.size() > 1 && text[0] == ' ' && text[1] != ' ' && !plan.line_before.empty() &&
      plan.line_before.back() == ' ' && !plan.blank_before) {
    text.remove_prefix(1);
  }
  text = cut_closers(plan, text);
  text = cut_overlap(plan, text);
  text = cut_repeated_lines(plan, text);
  // Before code on the same line a space at the end may be wanted: "return |x" gets "not ".
  if (plan.rest_of_line.empty() || !is_word(plan.rest_of_line[0])) text = trim_right(text);
  if (nothing_in(text)) return {{}, "it only repeated what follows the cursor"};

  const std::string shaped = indent_like_file(plan, text);
  if (!fits) return {with_line_ends(plan, shaped), {}};
  std::string whole = with_line_ends(plan, shaped);
  if (fits(whole)) return {std::move(whole), {}};
  size_t checks = 1;
  for (const std::string_view part : shorter(plan, shaped)) {
    if (nothing_in(part)) continue;
    if (checks++ == kMostChecks) break;
    whole = with_line_ends(plan, part);
    if (fits(whole)) return {std::move(whole), {}};
  }
  return {{}, "it would have left a syntax error"};
}

}  // namespace cambium::assist
