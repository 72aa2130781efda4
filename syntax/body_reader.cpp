#include "syntax/body_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

// Deeper brackets are counted but not kept, which bounds the cost of a byte.
constexpr size_t kMaxDepth = 1024;
constexpr size_t kMaxConditionals = 256;

template <class T>
bool contains(const T& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

BodyReader::BodyReader(const LexicalRules& rules) : rules_(&rules) {
  if (rules.php_tags) mode_ = Mode::markup;
}

bool BodyReader::in_literal() const {
  return mode_ != Mode::code && mode_ != Mode::slash && mode_ != Mode::markup &&
         mode_ != Mode::string_maybe_triple && mode_ != Mode::verbatim_maybe_end;
}

std::vector<uint32_t> BodyReader::open_bodies() const {
  std::vector<uint32_t> ids;
  for (const Frame& frame : frames_)
    if (frame.body) ids.push_back(frame.id);
  return ids;
}

std::vector<ReadBody> BodyReader::drain() {
  std::vector<ReadBody> out;
  out.swap(bodies_);
  first_id_ = next_id_;
  return out;
}

void BodyReader::drop_innermost(size_t count) {
  size_t size = frames_.size();
  while (count > 0 && size > 0) count -= frames_[--size].body ? 1 : 0;
  pop_to(size, pos_);
}

// --- frames -------------------------------------------------------------------------------------

void BodyReader::push(Bracket bracket, bool candidate, uint32_t opener) {
  if (frames_.size() >= kMaxDepth) {
    ++overflow_;
    return;
  }
  Frame frame;
  frame.bracket = bracket;
  frame.candidate = candidate;
  frame.id = current();
  frame.opener = opener;
  frames_.push_back(frame);
}

// A word's body begins late, when its parameters are over, and a brace among them may have begun one by then
// that is still open: `if a.map { |b| c(⏎ b)`. What opens in that brace comes after the word's body and would
// have a parent from before it; it goes to what is around both, so that children follow their parents.
uint32_t BodyReader::parent_in_order(uint32_t id) const {
  uint32_t last = next_id_ - 1;
  while (last > id && last >= first_id_) last = bodies_[last - first_id_].parent;
  return last < first_id_ && first_id_ > 1 ? id : last;
}

void BodyReader::make_body(Frame& frame) {
  ReadBody body;
  body.opener = frame.opener;
  body.begin = pos_ + 1;  // the line after this line end
  body.parent = parent_in_order(frame.id);
  bodies_.push_back(body);
  frame.id = next_id_++;
  frame.body = true;
}

// Ends every frame above `size`; their bodies end at `end`.
void BodyReader::pop_to(size_t size, uint32_t end) {
  for (size_t i = frames_.size(); i-- > size;) {
    const Frame& frame = frames_[i];
    if (!frame.body || frame.id < first_id_) continue;
    ReadBody& body = bodies_[frame.id - first_id_];
    end = body.end =
        std::max(end, body.begin);  // an empty one ends where it began, and so holds its parent
    body.closed_at = pos_;
    code_end_ = std::max(code_end_, end);
  }
  frames_.resize(std::min(size, frames_.size()));
  pending_ = std::min(pending_, frames_.size());
  for (size_t i = conditionals_.size(); i-- > 0 && conditionals_[i] > frames_.size();)
    conditionals_[i] = static_cast<uint32_t>(frames_.size());
}

bool BodyReader::on_bracket() const {
  return !frames_.empty() && frames_.back().bracket != Bracket::indent &&
         frames_.back().bracket != Bracket::word;
}

void BodyReader::close_bracket(char c) {
  if (overflow_ > 0) {
    --overflow_;
    return;
  }
  const Bracket wanted = c == ')' ? Bracket::paren : c == ']' ? Bracket::square : Bracket::brace;
  for (size_t i = frames_.size(); i-- > 0;) {
    Frame& frame = frames_[i];
    if (frame.bracket == wanted) {
      pop_to(i + 1, pos_);
      pop_to(i, pos_ + 1);
      return;
    }
    if (frame.bracket == Bracket::interpolation) {
      if (frame.closer != c) return;
      string_ = frame.resume;
      pop_to(i, pos_);
      mode_ = Mode::string;
      return;
    }
    // A stray ')' ends no body; a '}' may end what was left open inside its braces.
    if (frame.bracket == Bracket::indent || (frame.body && wanted != Bracket::brace)) return;
  }
}

bool BodyReader::close_word(uint32_t end) {
  for (size_t i = frames_.size(); i-- > 0;) {
    if (frames_[i].bracket == Bracket::interpolation) return false;
    if (frames_[i].bracket != Bracket::word) continue;
    pop_to(i, end);
    return true;
  }
  return false;
}

// --- lines --------------------------------------------------------------------------------------

void BodyReader::line_end() {
  switch (mode_) {
    case Mode::line_comment:
    case Mode::slash:
    case Mode::regex:
    case Mode::char_first:
    case Mode::char_maybe:
    case Mode::char_end:
    case Mode::char_escape:
    case Mode::dash_dash:
    case Mode::long_open:
    case Mode::string_maybe_triple:
    case Mode::verbatim_maybe_end:
    case Mode::raw_delimiter:
      mode_ = Mode::code;
      break;
    case Mode::directive:
      directive_word();
      if (previous_ != '\\') mode_ = Mode::code;
      break;
    case Mode::string:
      // A quote that is never closed spoils its line, not the rest of the file.
      if (!string_.triple &&
          (string_.kind == Quote::raw_line || (string_.kind == Quote::line && previous_ != '\\')))
        mode_ = Mode::code;
      break;
    default:
      break;
  }
  comment_line_ = false;
  continued_ = mode_ == Mode::code && previous_ == '\\';

  if (rules_->layout == Layout::indentation && mode_ == Mode::code && !on_bracket() &&
      !continued_) {
    if (significant_ == ':' && contains(rules_->headers, first_word_)) {
      const size_t before = frames_.size();
      push(Bracket::indent, false, significant_at_);
      if (frames_.size() > before) {
        frames_.back().indent = header_indent_;
        make_body(frames_.back());
      }
    }
    significant_ = 0;
    first_word_.clear();
  }

  // The header of a table is one line, whatever it leaves open.
  if (rules_->layout == Layout::tables && !frames_.empty() &&
      frames_.front().bracket == Bracket::indent && !frames_.front().body)
    pop_to(1, pos_);
  begin_bodies();

  if (mode_ == Mode::code && !heredocs_.empty()) {
    delimiter_ = heredocs_.front();
    heredocs_.erase(heredocs_.begin());
    matched_ = 0;
    mode_ = Mode::heredoc;
  }
  line_start_ = statement_start_ = true;
}

// Every brace that is still open begins its body here; a word does unless its parameters go on.
void BodyReader::begin_bodies() {
  bool left = false;
  size_t innermost_bracket = frames_.size();
  if (pending_ < frames_.size()) {
    while (innermost_bracket > pending_ &&
           frames_[innermost_bracket - 1].bracket != Bracket::paren &&
           frames_[innermost_bracket - 1].bracket != Bracket::square)
      --innermost_bracket;
    for (size_t i = pending_; i < frames_.size(); ++i) {
      Frame& frame = frames_[i];
      if (frame.body) continue;
      frame.id = i > 0 ? frames_[i - 1].id : 0;
      if (!frame.candidate) continue;
      if (frame.bracket == Bracket::word && i < innermost_bracket) {
        if (!left) pending_ = i;
        left = true;
        continue;
      }
      make_body(frame);
    }
    if (!left) pending_ = frames_.size();
  }
}

// The first byte of code or comment on a line, in a language of indentation.
void BodyReader::begin_logical_line(char c) {
  if (continued_) return;
  if (on_bracket()) {
    // A bracket that was never closed would swallow the rest of the file: code that stands left of the
    // block it is in ends it.
    if (!is_letter(c) && c != '@') return;
    size_t i = frames_.size();
    while (i > 0 && frames_[i - 1].bracket != Bracket::indent) --i;
    if (i == 0 || column_ > frames_[i - 1].indent) return;
    pop_to(i, code_end_);
  }
  if (c == '#') {
    size_t i = frames_.size();
    while (i > 0 && frames_[i - 1].bracket == Bracket::indent && column_ <= frames_[i - 1].indent)
      --i;
    comment_body_ = i > 0 ? frames_[i - 1].id : 0;
    comment_line_ = true;
    return;
  }
  size_t i = frames_.size();
  while (i > 0 && frames_[i - 1].bracket == Bracket::indent && column_ <= frames_[i - 1].indent)
    --i;
  pop_to(i, code_end_);
  header_indent_ = column_;
  significant_ = 0;
  first_word_.clear();
}

// The first byte of code or comment on a line of TOML.
void BodyReader::begin_table_line(char c) {
  if (on_bracket()) {
    // An array that was never closed would swallow the rest of the file: a key at the first column ends it.
    if (!is_letter(c) || column_ > 0) return;
    pop_to(frames_.front().bracket == Bracket::indent ? 1 : 0, code_end_);
  } else if (c == '[') {
    pop_to(0, code_end_);
    push(Bracket::indent, true, pos_);
  }
}

// The branches of an #if each begin where the first began, so that `if (a) {` #else `if (b) {` opens
// one body, not two.
void BodyReader::directive_word() {
  if (delimiter_.empty()) return;
  const std::string word = std::exchange(delimiter_, {});
  if (word == "if" || word == "ifdef" || word == "ifndef") {
    if (conditionals_.size() < kMaxConditionals)
      conditionals_.push_back(static_cast<uint32_t>(frames_.size()));
  } else if (word == "endif") {
    if (!conditionals_.empty()) conditionals_.pop_back();
  } else if (word.starts_with("el") && !conditionals_.empty()) {
    if (frames_.size() > conditionals_.back()) pop_to(conditionals_.back(), pos_);
  }
}

// --- words --------------------------------------------------------------------------------------

void BodyReader::end_word(char next) {
  in_word_ = false;
  significant_ = 'a';
  significant_at_ = pos_ - 1;
  code_end_ = pos_;
  if (first_word_.empty()) first_word_ = word_;
  const bool is_name = std::exchange(name_follows_, false);
  if (rules_->layout != Layout::keywords || is_name) return;
  if (one_of(before_word_, ".:$@") && !rules_->hash_needs_space) return;
  if (rules_->hash_needs_space
          ? !is_space(next) && !one_of(next, ";&|()")
          : next == '?' || next == '!' || (next == ':' && !rules_->long_brackets))
    return;
  for (const WordRule& rule : rules_->words)
    if (rule.word == word_) {
      keyword(rule.role, next);
      break;
    }
  // After these a new command begins on the same line.
  static constexpr std::string_view kStarters[] = {"then",  "do",    "else",  "if", "elif",
                                                   "while", "until", "begin", "!",  "time"};
  if (contains(kStarters, word_)) statement_start_ = true;
  if (rules_->interpolation == Interpolation::hash_brace && word_ == "def") name_follows_ = true;
}

void BodyReader::keyword(WordRole role, char) {
  const bool shell = rules_->hash_needs_space, reserved = rules_->long_brackets;
  const bool first = word_starts_statement_ || reserved;
  switch (role) {
    case WordRole::open_first:
      if (!first && (shell || !one_of(operand_before_, "=([{,|&!<+>"))) return;
      break;
    case WordRole::open_once:
      if (!frames_.empty() && frames_.back().loop && !frames_.back().body) return;
      break;
    case WordRole::middle:
      if (!first || !close_word(pos_)) return;
      break;
    case WordRole::close:
      if (first || !shell) close_word(pos_);
      return;
    case WordRole::open:
      break;
  }
  const size_t before = frames_.size();
  push(Bracket::word, true, word_begin_);
  if (frames_.size() == before) return;
  frames_.back().loop = word_ == "while" || word_ == "until" || word_ == "for";
  frames_.back().method = word_ == "def";
}

bool BodyReader::list_before_brace() const {
  for (std::string_view before : rules_->list_before_brace) {
    if (!is_letter(before.front())) {
      if (significant_ == before.back()) return true;
    } else if (first_word_ == "import" || first_word_ == "export") {
      // import {a}, import type {a}, import a, {b}, export {a}; not export default {a: 1}
      if (significant_ == 'a' && (word_ == before || word_ == "type")) return true;
      if (significant_ == ',' && first_word_ == "import" && !on_bracket()) return true;
    }
  }
  return false;
}

}  // namespace cambium::syntax
