// The half of BodyReader's lexer that reads strings, directives and heredocs.
#include <algorithm>
#include <utility>

#include "syntax/body_reader.h"
#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

constexpr size_t kMaxDirective = 32, kMaxDelimiter = 128;

}  // namespace

// --- strings ------------------------------------------------------------------------------------

void BodyReader::open_quote(char c, Quote kind) {
  statement_start_ = false;
  if (kind == Quote::none) {
    significant(c);
    return;
  }
  const bool after_word = is_word_byte(previous_);
  if (kind == Quote::character) {
    if (after_word && is_digit(word_.empty() ? '\0' : word_[0])) return;  // 1'000
    mode_ = Mode::char_first;
    return;
  }
  if (c == '"' && rules_->cpp_raw && after_word && word_.ends_with('R')) {
    delimiter_.clear();
    mode_ = Mode::raw_delimiter;
    return;
  }
  if (c == '"' && rules_->hash_raw) {
    const bool raw_word = word_ == "r" || word_ == "br" || word_ == "cr";
    const bool swift = rules_->interpolation == Interpolation::backslash_paren;
    if ((previous_ == '#' && (swift || raw_word)) || (after_word && raw_word && !swift)) {
      string_ = {};
      string_.run = previous_ == '#' ? run_ : uint8_t{0};
      matched_ = 0;
      mode_ = Mode::hash_raw_string;
      return;
    }
  }
  // JSX text: "It's". In JavaScript only a keyword may stand right before a quote.
  if (c == '\'' && after_word && rules_->regex && rules_->line_comment == "//" &&
      !regex_may_start()) {
    significant(c);
    return;
  }
  string_ = {};
  string_.quote = c;
  string_.kind = kind;
  string_.interpolation = c == '`'   ? rules_->backtick_interpolation
                          : c == '"' ? rules_->interpolation
                                     : Interpolation::none;
  if (c == '"' && rules_->verbatim_at &&
      (previous_ == '@' || (previous_ == '$' && significant_ == '@')))
    string_.verbatim = true;
  significant(c);
  mode_ = Mode::string;
}

void BodyReader::interpolate(char closer) {
  string_.empty = false;
  string_.run = 0;
  string_.previous = 0;
  mode_ = Mode::code;
  const size_t before = frames_.size();
  push(Bracket::interpolation, false, pos_);
  if (frames_.size() == before) return;
  frames_.back().closer = closer;
  frames_.back().resume = string_;
  significant_ = '(';
  statement_start_ = true;
}

void BodyReader::in_string(char c) {
  String& s = string_;
  const char before = std::exchange(s.previous, c);
  if (s.escaped) {
    s.escaped = s.empty = false;
    s.run = 0;
    s.previous = 0;
    if (c == '(' && s.interpolation == Interpolation::backslash_paren) interpolate(')');
    return;
  }
  if (c == '\\' && s.kind != Quote::raw && s.kind != Quote::raw_line && !s.verbatim) {
    s.escaped = true;
    return;
  }
  if ((c == '{' && before == '$' && s.interpolation == Interpolation::dollar_brace) ||
      (c == '{' && before == '#' && s.interpolation == Interpolation::hash_brace)) {
    interpolate('}');
    return;
  }
  if (c == '(' && before == '$' && s.interpolation == Interpolation::dollar_paren) {
    interpolate(')');
    return;
  }
  if (c != s.quote) {
    s.empty = false;
    s.run = 0;
    return;
  }
  const bool triple_allowed =
      (c == '"' && rules_->triple_double) || (c == '\'' && rules_->triple_single);
  if (s.triple) {
    if (++s.run < 3) return;
    mode_ = Mode::code;
  } else if (s.empty && triple_allowed && !s.verbatim) {
    mode_ = Mode::string_maybe_triple;
  } else {
    mode_ = s.verbatim ? Mode::verbatim_maybe_end : Mode::code;
  }
  significant(c);
}

// --- directives and heredocs ----------------------------------------------------------------------

void BodyReader::in_directive(char c) {
  // matched_: 0 before the word, 1 inside it, 2 after it.
  if (matched_ < 2) {
    if (is_letter(c)) {
      matched_ = 1;
      if (delimiter_.size() < kMaxDirective) delimiter_ += c;
    } else if (matched_ == 1) {
      matched_ = 2;
      directive_word();
    }
  }
  if (c == '*' && previous_ == '/') {
    comment_depth_ = 1;
    escaped_ = true;
    comment_return_ = Mode::directive;
    mode_ = Mode::block_comment;
  }
}

// Called with the byte after "<<" or "<<<"; true if a heredoc is announced there.
bool BodyReader::at_heredoc(char c) {
  if (previous_ != '<' || run_ != (rules_->php_tags ? 3 : 2) || significant_ != '<') return false;
  const bool shell = rules_->hash_needs_space;
  const bool name = shell || rules_->php_tags ? is_letter(c) : c >= 'A' && c <= 'Z';
  const bool quote = c == '"' || c == '\'';
  const bool dash = c == '-' || (c == '~' && !shell);
  const bool space = (c == ' ' || c == '\t') && (shell || rules_->php_tags) && !on_bracket();
  if (!name && !quote && !space && (!dash || rules_->php_tags)) return false;
  delimiter_.clear();
  if (name) delimiter_ += c;
  mode_ = Mode::heredoc_intro;
  return true;
}

void BodyReader::heredoc_intro(char c) {
  if (is_word_byte(c)) {
    if (delimiter_.size() < kMaxDelimiter) delimiter_ += c;
    return;
  }
  if (delimiter_.empty() && (c == '"' || c == '\'' || c == ' ' || c == '-' || c == '~')) return;
  if (!delimiter_.empty() && heredocs_.size() < 16) heredocs_.push_back(delimiter_);
  significant('a');
  mode_ = Mode::code;
  if (c != '"' && c != '\'') code(c);
}

void BodyReader::in_heredoc(char c) {
  constexpr size_t kNoMatch = SIZE_MAX;  // this line is not the end
  const bool whole = matched_ == delimiter_.size();
  if (c == '\n') {
    if (whole) mode_ = Mode::code;
    matched_ = 0;
  } else if (matched_ == kNoMatch || (matched_ == 0 && is_space(c)) || (whole && c == '\r')) {
    return;
  } else if (!whole && c == delimiter_[matched_]) {
    ++matched_;
  } else if (whole && rules_->php_tags && !is_word_byte(c)) {
    back_to_code(c);
  } else {
    matched_ = kNoMatch;
  }
}

}  // namespace cambium::syntax
