#include "lsp/assist/completion_plan.h"

#include <algorithm>
#include <vector>

#include "lsp/assist/code_scanner.h"

namespace cambium::assist {
namespace {

constexpr size_t kStyleLines = 200;  ///< lines looked at on each side to learn the file's style

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/// The line that ends before `line_begin` (a line start > 0).
std::string_view line_above(std::string_view text, size_t line_begin, size_t& begin) {
  const size_t end = line_begin - 1;
  const size_t newline = end == 0 ? text.npos : text.rfind('\n', end - 1);
  begin = newline == text.npos ? 0 : newline + 1;
  return text.substr(begin, end - begin);
}

void learn_style(std::string_view text, size_t cursor, CompletionPlan& plan) {
  int with_tab = 0, with_space = 0, crlf = 0, lf = 0;
  std::vector<int> steps;
  int previous = 0;
  const auto look = [&](std::string_view line, bool ended) {
    if (ended) ++(!line.empty() && line.back() == '\r' ? crlf : lf);
    if (trim(line).empty()) return;
    if (line[0] == '\t') ++with_tab;
    if (line[0] == ' ') ++with_space;
    const int column = column_of(line, 4);
    if (line[0] != '\t' && column > previous && column - previous <= 8) {
      steps.push_back(column - previous);
    }
    previous = column;
  };
  size_t begin = text.rfind('\n', cursor == 0 ? 0 : cursor - 1);
  begin = begin == text.npos ? 0 : begin + 1;
  for (size_t i = 0; i < kStyleLines && begin > 0; ++i) line_above(text, begin, begin);
  for (size_t i = 0; i < 2 * kStyleLines && begin < text.size(); ++i) {
    const size_t newline = text.find('\n', begin);
    const bool ended = newline != text.npos;
    look(text.substr(begin, (ended ? newline : text.size()) - begin), ended);
    if (!ended) break;
    begin = newline + 1;
  }
  plan.tabs = with_tab > with_space;
  plan.crlf = crlf > lf;
  int best = 0;
  for (const int width : {2, 4, 8, 3}) {
    const auto n = static_cast<int>(std::count(steps.begin(), steps.end(), width));
    if (n > best) best = n, plan.indent_width = width;
  }
}

/// The nearest line above with code on it: comments and a docstring between a header and the cursor
/// leave the body empty.
std::string_view header_above(std::string_view text, size_t line_begin,
                              const syntax::Language* language) {
  const std::string_view comment =
      language == nullptr ? std::string_view{} : language->line_comment;
  bool in_docstring = false;
  for (size_t i = 0; i < 64 && line_begin > 0; ++i) {
    const std::string_view line = line_above(text, line_begin, line_begin);
    const std::string_view content = trim(line);
    if (content.empty()) continue;
    if (language != nullptr && language->indentation_delimits_blocks()) {
      const auto fence = [&](std::string_view mark) {
        const bool begins = content.substr(0, 3) == mark;
        const bool ends = content.size() >= 3 && content.substr(content.size() - 3) == mark;
        if (in_docstring) {
          if (begins) in_docstring = false;
          return true;
        }
        if (begins && ends && content.size() >= 6) return true;
        if (ends && !begins) return in_docstring = true;
        if (begins && content.size() == 3) return in_docstring = true;
        return false;
      };
      if (fence("\"\"\"") || fence("'''") || in_docstring) continue;
    }
    if (!comment.empty() && content.substr(0, comment.size()) == comment) continue;
    return line;
  }
  return {};
}

/// What a body must be deeper than. In "- key:" of YAML that is the key.
int header_column(std::string_view header, int tab_width, const syntax::Language* language) {
  int column = column_of(header, tab_width);
  if (language == nullptr || language->rules->layout != syntax::Layout::keys) return column;
  for (std::string_view rest = trim(header); rest.starts_with("- "); rest = trim(rest.substr(1))) {
    const size_t next = rest.find_first_not_of(' ', 1);
    if (next != rest.npos) column += static_cast<int>(next);
  }
  return column;
}

/// "run: |", "- >-": the lines below are one text.
bool heads_block_scalar(std::string_view line) {
  const std::string_view content = trim(line);
  const std::string_view last = content.substr(content.find_last_of(' ') + 1);
  return !last.empty() && last.size() < content.size() && (last[0] == '|' || last[0] == '>') &&
         last.find_first_not_of("+-123456789", 1) == last.npos;
}

/// Brackets of `rest` that close what was opened in what `scanner` has read, or before it.
size_t closers_in(std::string_view rest, const CodeScanner& scanner) {
  OuterBrackets outer(scanner);
  size_t closers = 0;
  for (const char c : rest) closers += outer.feed(c).has_value() ? 1 : 0;
  return closers;
}

}  // namespace

const char* to_string(Extent extent) {
  switch (extent) {
    case Extent::line:
      return "line";
    case Extent::statement:
      return "statement";
    case Extent::body:
      return "body";
  }
  return "line";
}

std::string_view trim_right(std::string_view text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  return end == text.npos ? std::string_view{} : text.substr(0, end + 1);
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == text.npos ? std::string_view{} : trim_right(text.substr(begin));
}

int column_of(std::string_view line, int tab_width) {
  int column = 0;
  for (const char c : line) {
    if (c == '\t') {
      column += tab_width - column % tab_width;
    } else if (c == ' ') {
      ++column;
    } else {
      break;
    }
  }
  return column;
}

bool opens_body(std::string_view line, const syntax::Language* language) {
  if (language == nullptr || language->rules == nullptr) {
    const std::string_view content = trim_right(line);
    return !content.empty() && content.back() == '{';
  }
  CodeScanner scanner(language->rules);
  scanner.feed(line);
  if (scanner.in_string()) return false;
  if (scanner.last_code() == '{') return true;
  if (language->indentation_delimits_blocks()) {
    if (!scanner.open().empty()) return false;
    return scanner.last_code() == ':' ||
           (language->rules->layout == syntax::Layout::keys && heads_block_scalar(line));
  }
  if (language->rules->layout != syntax::Layout::keywords) return false;
  // The line opens more than it closes, by its words.
  int depth = 0;
  bool first = true;
  const std::string_view content = trim(line);
  for (size_t i = 0; i < content.size();) {
    if (!is_word_byte(content[i])) {
      if (!language->line_comment.empty() &&
          content.substr(i, language->line_comment.size()) == language->line_comment) {
        break;
      }
      ++i;
      continue;
    }
    size_t end = i;
    while (end < content.size() && is_word_byte(content[end])) ++end;
    const std::string_view word = content.substr(i, end - i);
    for (const syntax::WordRule& rule : language->rules->words) {
      if (rule.word != word) continue;
      switch (rule.role) {
        case syntax::WordRole::open:
          ++depth;
          break;
        case syntax::WordRole::open_first:
        case syntax::WordRole::open_once:
          depth += first ? 1 : 0;
          break;
        case syntax::WordRole::middle:
          depth += depth == 0 ? 1 : 0;
          break;
        case syntax::WordRole::close:
          --depth;
          break;
      }
    }
    first = false;
    i = end;
  }
  return depth > 0;
}

CompletionPlan plan_completion(std::string_view text, size_t cursor,
                               const syntax::Language* language, bool multiline) {
  CompletionPlan plan;
  plan.language = language;
  plan.indentation_delimits = language != nullptr && language->indentation_delimits_blocks();
  learn_style(text, cursor, plan);
  plan.tab_width = plan.tabs ? plan.tab_width : plan.indent_width;

  const size_t newline = cursor == 0 ? text.npos : text.rfind('\n', cursor - 1);
  const size_t line_begin = newline == text.npos ? 0 : newline + 1;
  const size_t line_end = std::min(text.find('\n', cursor), text.size());
  plan.line_before = text.substr(line_begin, cursor - line_begin);
  plan.rest_of_line = trim(text.substr(cursor, line_end - cursor));
  plan.blank_before = trim(plan.line_before).empty();
  for (size_t at = line_end; at < text.size();) {
    const size_t end = std::min(text.find('\n', at + 1), text.size());
    const std::string_view line = text.substr(at + 1, end - at - 1);
    if (!trim(line).empty()) {
      plan.next_line = trim_right(line);
      plan.next_column = column_of(line, plan.tab_width);
      const std::string_view code = trim(line);
      while (plan.next_closers < code.size() && is_closer(code[plan.next_closers]))
        ++plan.next_closers;
      break;
    }
    at = end;
  }

  const syntax::LexicalRules* rules = language == nullptr ? nullptr : language->rules;
  CodeScanner before(rules);
  before.feed(plan.line_before);
  plan.base_column = column_of(plan.line_before, plan.tab_width);
  plan.rest_closers = closers_in(plan.rest_of_line, before);
  plan.extent = Extent::line;
  if (!multiline || !plan.rest_of_line.empty() || !before.in_code()) return plan;

  plan.extent = Extent::statement;
  const std::string_view header = plan.blank_before ? header_above(text, line_begin, language)
                                                    : std::string_view(plan.line_before);
  if (!header.empty() && opens_body(header, language)) {
    const int column = header_column(header, plan.tab_width, language);
    const bool inside = !plan.blank_before || plan.base_column > column || plan.line_before.empty();
    const bool filled = plan.next_column > column;  // the body has lines already
    if (inside && !filled) {
      plan.extent = Extent::body;
      plan.base_column = column;
    } else if (!plan.blank_before) {
      plan.extent = Extent::line;  // between a header and the body it has: nothing belongs here
    }
  }
  return plan;
}

}  // namespace cambium::assist
