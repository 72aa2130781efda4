// The half of BodyReader that tells code from strings, comments and the like; how a string ends is told
// by body_reader_literals.cpp.
#include <algorithm>
#include <array>
#include <utility>

#include "syntax/body_reader.h"
#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

constexpr size_t kMaxWord = 32;

}  // namespace

uint32_t BodyReader::step(char c) {
  if (rules_->layout >= Layout::keys) return step_markup(c);
  // What the byte before left open and this byte decides, before it is labelled itself.
  if (in_word_ && !is_word(c)) end_word(c);
  if (rules_->layout >= Layout::indentation && mode_ == Mode::code && line_start_ && !is_space(c)) {
    if (rules_->layout == Layout::indentation)
      begin_logical_line(c);
    else
      begin_table_line(c);
  }

  const uint32_t label = label_ = comment_line_ ? comment_body_ : current();
  read(c);
  if (c == '\n') line_end();

  if (!is_space(c)) line_start_ = false;
  column_ = c == '\n' ? 0 : c == '\t' ? (column_ / 8 + 1) * 8 : column_ + 1;
  previous_ = c;
  ++pos_;
  return label;
}

void BodyReader::significant(char c) {
  significant_ = c;
  significant_at_ = pos_;
  code_end_ = pos_ + 1;
}

void BodyReader::back_to_code(char c) {
  mode_ = Mode::code;
  code(c);
}

void BodyReader::read(char c) {
  switch (mode_) {
    case Mode::code:
      code(c);
      break;
    case Mode::markup:
      if (c == '?' && previous_ == '<') mode_ = Mode::code;
      break;
    case Mode::line_comment:
      if (rules_->php_tags && c == '>' && previous_ == '?') mode_ = Mode::markup;
      break;
    case Mode::block_comment:
      if (escaped_) {
        escaped_ = false;  // the byte after "/*" or "*/": it is part of no other such pair
      } else if (c == '/' && previous_ == '*') {
        if (--comment_depth_ == 0) mode_ = comment_return_;
        escaped_ = comment_depth_ > 0;
      } else if (c == '*' && previous_ == '/' && rules_->nested_comments) {
        ++comment_depth_;
        escaped_ = true;
      }
      break;
    case Mode::directive:
      in_directive(c);
      break;
    case Mode::string:
      in_string(c);
      break;
    case Mode::string_maybe_triple:
      if (c == string_.quote) {
        string_.triple = true;
        string_.empty = false;
        string_.run = 0;
        mode_ = Mode::string;
      } else {
        back_to_code(c);
      }
      break;
    case Mode::verbatim_maybe_end:
      if (c == '"') {
        mode_ = Mode::string;
      } else {
        back_to_code(c);
      }
      break;
    case Mode::raw_delimiter:
      if (c == '(') {
        matched_ = 0;
        mode_ = Mode::raw_string;
      } else if (delimiter_.size() < 16 && !is_space(c) && c != ')' && c != '\\') {
        delimiter_ += c;
      } else {
        back_to_code(c);
      }
      break;
    case Mode::raw_string:  // matched_: 0, or 1 + the bytes of the delimiter seen after ')'
      if (matched_ == delimiter_.size() + 1 && c == '"') {
        significant('"');
        mode_ = Mode::code;
      } else if (matched_ > 0 && matched_ <= delimiter_.size() && c == delimiter_[matched_ - 1]) {
        ++matched_;
      } else {
        matched_ = c == ')' ? 1 : 0;
      }
      break;
    case Mode::hash_raw_string:  // matched_: 0, or 1 + the '#' seen after a quote
      if (matched_ > 0 && c == '#') {
        ++matched_;
      } else {
        matched_ = c == '"' ? 1 : 0;
      }
      if (matched_ == string_.run + 1U) {
        significant('"');
        mode_ = Mode::code;
      }
      break;
    case Mode::long_open:  // run_: the '=' seen
      if (c == '=') {
        ++run_;
      } else if (c == '[') {
        matched_ = 0;
        mode_ = Mode::long_string;
      } else if (long_comment_) {
        mode_ = Mode::line_comment;
      } else {
        push(Bracket::square, false, pos_ - 1);
        back_to_code(c);
      }
      break;
    case Mode::long_string:  // matched_: 0, or 1 + the '=' seen after ']'
      if (c == ']' && matched_ == run_ + 1U) {
        if (!long_comment_) significant(']');
        mode_ = Mode::code;
      } else if (c == '=' && matched_ > 0) {
        ++matched_;
      } else {
        matched_ = c == ']' ? 1 : 0;
      }
      break;
    case Mode::dash_dash:
      run_ = 0;
      long_comment_ = true;
      mode_ = c == '[' && rules_->long_brackets ? Mode::long_open : Mode::line_comment;
      break;
    case Mode::char_first:
      if (c == '\\') {
        escaped_ = true;
        mode_ = Mode::char_escape;
      } else if (c == '\'') {
        significant(c);
        mode_ = Mode::code;
      } else {
        mode_ = is_word_byte(c) ? Mode::char_maybe : Mode::char_end;
      }
      break;
    case Mode::char_maybe:  // 'a' or a lifetime 'a
      if (c == '\'') {
        significant(c);
        mode_ = Mode::code;
      } else if (static_cast<unsigned char>(c) < 0x80) {
        back_to_code(c);
      }
      break;
    case Mode::char_end:
      if (c == '\'') {
        significant(c);
        mode_ = Mode::code;
      } else {
        back_to_code(c);
      }
      break;
    case Mode::char_escape:
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\'') {
        significant(c);
        mode_ = Mode::code;
      }
      break;
    case Mode::slash:
      if (c == '/' && rules_->line_comment == "//") {
        mode_ = Mode::line_comment;
      } else if (c == '*' && rules_->block_comments) {
        comment_depth_ = 1;
        escaped_ = true;
        comment_return_ = Mode::code;
        mode_ = Mode::block_comment;
      } else if (regex_allowed_) {
        escaped_ = regex_class_ = false;
        mode_ = Mode::regex;
        read(c);
      } else {
        significant_ = '/';
        significant_at_ = pos_ - 1;
        code_end_ = pos_;
        back_to_code(c);
      }
      break;
    case Mode::regex:
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '[') {
        regex_class_ = true;
      } else if (c == ']') {
        regex_class_ = false;
      } else if (c == '/' && !regex_class_) {
        significant(c);
        mode_ = Mode::code;
      }
      break;
    case Mode::heredoc_intro:
      heredoc_intro(c);
      break;
    case Mode::heredoc:
      in_heredoc(c);
      break;
    default:  // of the languages that step_markup() reads
      break;
  }
}

size_t BodyReader::skip(std::string_view next) {
  // The last byte may have ended a body: the '}' of an interpolation, back in whose string we are.
  if (label_ != (comment_line_ ? comment_body_ : current())) return 0;
  if (rules_->layout >= Layout::keys) return skip_markup(next);
  size_t n = 0;
  switch (mode_) {
    case Mode::code:
      if (in_word_) {
        if (rules_->hash_needs_space) return 0;
        while (n < next.size() && is_word_byte(next[n])) ++n;
        if (word_.size() < kMaxWord)
          word_.append(next.substr(0, std::min(n, kMaxWord - word_.size())));
      } else if (previous_ == ' ' && !escaped_) {
        while (n < next.size() && next[n] == ' ') ++n;
      }
      break;
    case Mode::line_comment:
      if (rules_->php_tags) return 0;
      n = std::min(next.find('\n'), next.size());
      break;
    case Mode::block_comment:
      if (escaped_) return 0;
      while (n < next.size() && next[n] != '*' && next[n] != '/' && next[n] != '\n') ++n;
      break;
    case Mode::string:
      if (string_.escaped) return 0;
      while (n < next.size() && next[n] != string_.quote && next[n] != '\\' && next[n] != '\n' &&
             next[n] != '{' && next[n] != '(')
        ++n;
      if (n > 0) {
        string_.previous = next[n - 1];
        string_.empty = false;
        string_.run = 0;
      }
      break;
    default:
      return 0;
  }
  if (n == 0) return 0;
  // Columns are asked for at the start of a line only, where all of these bytes were spaces.
  column_ += static_cast<int32_t>(n);
  previous_ = next[n - 1];
  pos_ += static_cast<uint32_t>(n);
  if (mode_ != Mode::code) line_start_ = false;
  return n;
}

bool BodyReader::regex_may_start() const {
  if (significant_ == 0) return true;
  if (significant_ != 'a') return one_of(significant_, "(,=:[!&|?{;+-*%~^>");
  static constexpr std::array<std::string_view, 16> kWords = {
      "return", "typeof", "case", "in",   "of",     "do",  "else", "void",
      "delete", "throw",  "new",  "when", "unless", "and", "or",   "if"};
  return std::find(kWords.begin(), kWords.end(), word_) != kWords.end();
}

void BodyReader::code(char c) {
  if (escaped_) {  // only a shell sets it here
    escaped_ = false;
    significant('a');
    return;
  }
  if (is_word(c)) {
    if (rules_->heredoc && at_heredoc(c)) return;
    if (!in_word_) {
      in_word_ = true;
      word_.clear();
      word_begin_ = pos_;
      before_word_ = previous_;
      operand_before_ = significant_;
      word_starts_statement_ = statement_start_;
      statement_start_ = false;
    }
    if (word_.size() < kMaxWord) word_ += c;
    return;
  }
  if (is_space(c)) {
    if (rules_->heredoc && at_heredoc(c)) return;
    return;
  }
  switch (c) {
    case '"':
      if (rules_->heredoc && at_heredoc(c)) return;
      open_quote(c, rules_->double_quote);
      break;
    case '\'':
      if (rules_->heredoc && at_heredoc(c)) return;
      open_quote(c, rules_->single_quote);
      break;
    case '`':
      open_quote(c, rules_->backtick);
      break;
    case '/':
      if (rules_->block_comments || rules_->regex) {
        regex_allowed_ = rules_->regex && regex_may_start();
        mode_ = Mode::slash;
        return;
      }
      significant(c);
      break;
    case '#':
      run_ = previous_ == '#' ? static_cast<uint8_t>(std::min(run_ + 1, 255)) : uint8_t{1};
      if (rules_->preprocessor && line_start_) {
        delimiter_.clear();
        matched_ = 0;
        mode_ = Mode::directive;
        return;
      }
      if (rules_->line_comment == "#" || rules_->line_comment2 == "#") {
        const bool starts = !rules_->hash_needs_space || pos_ == 0 || is_space(previous_) ||
                            one_of(previous_, ";&|()");
        if (starts) {
          mode_ = Mode::line_comment;
          return;
        }
      }
      significant(c);
      break;
    case '-':
      if (rules_->heredoc && at_heredoc(c)) return;
      if (rules_->line_comment == "--" && previous_ == '-') {
        mode_ = Mode::dash_dash;
        return;
      }
      significant(c);
      break;
    case '(':
      push(Bracket::paren, false, pos_);
      significant(c);
      break;
    case '[':
      if (rules_->long_brackets) {
        run_ = 0;
        long_comment_ = false;
        significant(c);
        mode_ = Mode::long_open;
        return;
      }
      push(Bracket::square, rules_->brackets_are_bodies, pos_);
      significant(c);
      break;
    case '{': {
      // In a shell a group stands alone; ${x} and a{b,c} do not.
      const bool group =
          !rules_->hash_needs_space || pos_ == 0 || is_space(previous_) || previous_ == ')';
      push(Bracket::brace, group && !list_before_brace(), pos_);
      significant(c);
      if (rules_->layout != Layout::indentation) first_word_.clear();
      break;
    }
    case ')':
    case ']':
    case '}':
      significant(c);
      close_bracket(c);
      if (c == '}' && rules_->layout != Layout::indentation) first_word_.clear();
      break;
    case '\\':
      if (rules_->hash_needs_space) {
        escaped_ = true;
        return;
      }
      // A backslash before the line end joins lines, and is no code of its own.
      if (rules_->layout != Layout::indentation) significant(c);
      break;
    case '>':
      if (rules_->php_tags && previous_ == '?') {
        mode_ = Mode::markup;
        return;
      }
      significant(c);
      break;
    case '<':
      run_ = previous_ == '<' ? static_cast<uint8_t>(std::min(run_ + 1, 255)) : uint8_t{1};
      significant(c);
      break;
    case '=':
      // An endless method: `def area = w * h`, `def area() = w * h`.
      if (!frames_.empty() && frames_.back().method && !frames_.back().body && previous_ == ' ' &&
          word_ != "def")
        pop_to(frames_.size() - 1, pos_);
      significant(c);
      break;
    case '~':
      if (rules_->heredoc && at_heredoc(c)) return;
      significant(c);
      break;
    case '?':
    case '!':
      // Part of a name in Ruby: `save! if x`.
      if (rules_->interpolation == Interpolation::hash_brace && is_word_byte(previous_)) {
        significant('a');
        break;
      }
      significant(c);
      break;
    default:
      significant(c);
  }
  if (one_of(c, ";&|({")) {
    statement_start_ = true;
    if (c == ';') first_word_.clear();
  } else {
    // A shell's `pattern)` and `}` are followed by commands, Ruby's by a modifier: `} if x`.
    const bool closer = c == '}' || c == ')';
    statement_start_ = closer ? rules_->hash_needs_space : statement_start_ && c == '!';
  }
}

}  // namespace cambium::syntax
