#include "lsp/assist/completion_controller.h"

#include <algorithm>
#include <utility>

namespace cambium::assist {
namespace {

constexpr std::string_view kEndOfNode = "end_of_node";
constexpr std::string_view kEndOfLine = "end_of_line";
constexpr std::string_view kRepeatsSuffix = "repeats_suffix";
constexpr std::string_view kRepeatsItself = "repeats_itself";
constexpr int kBlankLines = 2;  ///< in a row; more end the completion

size_t word_bytes(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  }));
}

/// Whether `end` and the like close what a line opens.
bool words_close_blocks(const syntax::Language* language) {
  return language != nullptr && language->rules != nullptr &&
         language->rules->layout == syntax::Layout::keywords;
}

/// A body is closed by brackets that were opened outside it; elsewhere the brackets of the line so far
/// belong to what is being written.
OuterBrackets brackets_of(const CompletionPlan& plan) {
  CodeScanner before(plan.language == nullptr ? nullptr : plan.language->rules);
  if (plan.extent != Extent::body) before.feed(plan.line_before);
  return OuterBrackets(std::move(before));
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

CompletionController::CompletionController(CompletionPlan plan, std::string required,
                                           MiddleLabels labels)
    : plan_(std::move(plan)),
      required_(std::move(required)),
      labels_(std::move(labels)),
      brackets_(brackets_of(plan_)),
      line_column_(column_of(plan_.line_before, plan_.tab_width)),
      line_(plan_.line_before) {}

engine::StepDecision CompletionController::on_token(const engine::Step& step) {
  using Verdict = engine::StepDecision::Verdict;
  engine::StepDecision decision;
  if (misplaces_first_word(step.piece)) {
    decision.verdict = Verdict::reject;
    return decision;
  }
  size_t i = 0;
  if (!required_.empty()) {
    i = std::min(required_.size(), step.piece.size());
    required_.erase(0, i);
  }
  for (; i < step.piece.size(); ++i) {
    const Stop where = feed(step.piece[i]);
    if (where == Stop::none) continue;
    decision.keep_bytes = i + (where == Stop::after ? 1 : 0);
    decision.verdict = decision.keep_bytes == 0 ? Verdict::stop_before : Verdict::stop_after;
    break;
  }
  if (decision.verdict == Verdict::accept && labels_) decision.label = labels_(step.piece);
  return decision;
}

bool CompletionController::may_end() const {
  if (plan_.extent != Extent::statement || !wrote_ || plan_.language == nullptr ||
      !plan_.language->programming) {
    return true;
  }
  const std::string& head = trim(line_).empty() ? last_line_ : line_;
  if (!opens_body(head, plan_.language)) return true;
  const std::string_view below = trim(plan_.next_line);
  if (below.empty()) return false;
  const int column = column_of(head, plan_.tab_width);
  const bool keywords = words_close_blocks(plan_.language);
  // Its lines, its bracket, or the word that closes it.
  return plan_.next_column > column || is_closer(below[0]) ||
         (keywords && plan_.next_column == column);
}

/// A byte-pair vocabulary joins a word with the one space before it. After indentation that is already
/// there, such a token would put the line one column too deep.
bool CompletionController::misplaces_first_word(std::string_view piece) const {
  return plan_.blank_before && !plan_.line_before.empty() && required_.empty() && text_.empty() &&
         piece.size() >= 2 && piece[0] == ' ' && !is_space(piece[1]);
}

CompletionController::Stop CompletionController::feed(char c) {
  const bool was_code = brackets_.scanner().in_code();
  if (closing_ && c != ')' && c != ']' && c != '}' && c != ';' && c != ',') {
    return stop(Stop::before, kEndOfNode);
  }
  if (at_line_start_ && !is_space(c)) {
    at_line_start_ = false;
    if (const Stop where = first_of_line(c); where != Stop::none) return where;
  }
  if (const std::optional<size_t> open = brackets_.feed(c)) {
    if (const Stop where = outer_closer(c, *open); where != Stop::none) return where;
  }
  if (c == '\n') {
    const bool in_code = brackets_.scanner().in_code() || was_code;
    if (plan_.extent == Extent::line) return stop(Stop::before, kEndOfLine);
    if (in_code) {
      if (const Stop where = end_of_line(); where != Stop::none) return where;
    }
    if (trim(line_).empty()) {
      ++blank_lines_;
    } else {
      blank_lines_ = 0;
      last_line_ = line_;
    }
    line_.clear();
    text_ += c;
    at_line_start_ = brackets_.scanner().in_code();
    last_of_body_ = false;
    return Stop::none;
  }
  text_ += c;
  line_ += c;
  if (!is_space(c)) wrote_ = true;
  return feed_line(c);
}

/// What follows the cursor on its line must not be written again.
CompletionController::Stop CompletionController::feed_line(char) {
  const std::string& rest = plan_.rest_of_line;
  if (plan_.extent != Extent::line || rest.size() < 2 || word_bytes(rest) == 0) return Stop::none;
  const bool repeated = text_.size() >= rest.size() &&
                        text_.compare(text_.size() - rest.size(), rest.size(), rest) == 0;
  return repeated ? stop(Stop::after, kRepeatsSuffix) : Stop::none;
}

/// A bracket that was opened before the cursor is being closed: the last of `open` that the cursor's
/// line has open (0: one of an earlier line). Those that are closed below or after the cursor are not
/// closed again.
CompletionController::Stop CompletionController::outer_closer(char c, size_t open) {
  const std::string& rest = plan_.rest_of_line;
  if (!rest.empty()) {
    return rest[0] == c && open <= plan_.rest_closers ? stop(Stop::before, kRepeatsSuffix)
                                                      : Stop::none;
  }
  const std::string_view next = trim(plan_.next_line);
  const bool comes_next = !next.empty() && next[0] == c;
  if (open > 0) {
    // What closes a bracket of this line stands below it, where the line begins.
    const bool below =
        comes_next && open <= plan_.next_closers && plan_.next_column == line_column_;
    return below ? stop(Stop::before, kEndOfNode) : Stop::none;
  }
  if (plan_.extent == Extent::body) {
    // The bracket below may belong to an outer body: its column tells.
    if (comes_next && plan_.next_column == plan_.base_column) {
      return stop(Stop::before, kEndOfNode);
    }
    closing_ = true;
    return Stop::none;
  }
  if (comes_next || c == '}') return stop(Stop::before, kEndOfNode);
  return Stop::none;
}

/// Indentation that leaves the body or statement ends it.
CompletionController::Stop CompletionController::first_of_line(char c) {
  if (!brackets_.scanner().open().empty()) return Stop::none;
  const int column = column_of(line_, plan_.tab_width);
  const bool keywords = words_close_blocks(plan_.language);
  if (plan_.extent == Extent::body) {
    if (column > plan_.base_column || is_closer(c)) return Stop::none;
    if (keywords && column == plan_.base_column) {
      last_of_body_ = true;
      return Stop::none;
    }
    // The file's first level may hold a body whose header has no indentation to be deeper than.
    return stop(Stop::before, kEndOfNode);
  }
  if (!block_open_ || column > plan_.base_column || is_closer(c)) return Stop::none;
  if (keywords && column == plan_.base_column) {
    block_open_ = false;  // `end`, or `else`, which opens again
    return Stop::none;
  }
  return stop(Stop::before, kEndOfNode);
}

CompletionController::Stop CompletionController::end_of_line() {
  const std::string_view content = trim(line_);
  if (content.empty() && blank_lines_ + 1 > kBlankLines) return stop(Stop::before, kEndOfLine);
  if (!content.empty()) {
    if (wrote_ && !plan_.next_line.empty() && trim_right(line_) == plan_.next_line) {
      return stop(Stop::before, kRepeatsSuffix);
    }
    if (word_bytes(content) >= 2 && content == trim(last_line_)) {
      return stop(Stop::before, kRepeatsItself);
    }
  }
  if (last_of_body_) return stop(Stop::before, kEndOfNode);
  if (!brackets_.scanner().open().empty() || plan_.extent == Extent::body) return Stop::none;
  // Extent::statement
  if (!wrote_) {
    return plan_.blank_before ? Stop::none : stop(Stop::before, kEndOfLine);
  }
  if (opens_body(line_, plan_.language)) {
    if (!block_open_) plan_.base_column = column_of(line_, plan_.tab_width);
    block_open_ = true;
    return Stop::none;
  }
  if (block_open_ && (content.empty() || column_of(line_, plan_.tab_width) > plan_.base_column)) {
    return Stop::none;
  }
  return stop(Stop::before, block_open_ ? kEndOfNode : kEndOfLine);
}

}  // namespace cambium::assist
