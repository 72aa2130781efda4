// The part of BodyReader that reads YAML.
//
// A body is what stands deeper than a key that has nothing behind it on its line, than a key with a block
// scalar, or than the dash of an entry that goes on below its line; flow collections over several lines are
// bodies as in JSON.
#include <algorithm>

#include "syntax/body_reader.h"
#include "syntax/bytes.h"

namespace cambium::syntax {

// The first byte of code or comment on a line.
void BodyReader::begin_key_line(char c) {
  if (mode_ == Mode::literal) {
    if (column_ > frames_.back().indent) {
      mode_ = Mode::literal_text;
      return;
    }
    pop_to(frames_.size() - 1, code_end_);
    mode_ = Mode::code;
  } else if (mode_ == Mode::string) {
    if (column_ >= static_cast<int32_t>(matched_)) return;
    mode_ = Mode::code;  // a quote that was never closed: the rest of the file is no string
  }
  size_t i = frames_.size();
  if (in_flow()) {
    if (column_ > frames_.back().indent || c == ']' || c == '}') return;
    // Nor is it in a bracket that was never closed.
    while (i > 0 &&
           (frames_[i - 1].bracket == Bracket::square || frames_[i - 1].bracket == Bracket::brace))
      --i;
    pop_to(i, code_end_);
  }
  while (i > 0 && column_ <= frames_[i - 1].indent &&
         !(c == '-' && column_ == frames_[i - 1].indent && frames_[i - 1].bracket == Bracket::key))
    --i;
  if (c == '#') {
    comment_body_ = i > 0 ? frames_[i - 1].id : 0;
    comment_line_ = true;
    mode_ = Mode::line_comment;
    return;
  }
  pop_to(i, code_end_);
}

// A value begins behind a key or the dash of an entry, or on a line of its own: the body that the key would
// have had is none. Returns the column that further lines of the value must be deeper than.
int32_t BodyReader::begin_value(bool may_be_key) {
  if (in_flow()) return frames_.back().indent;
  scalar_ = true;
  const Frame* opened = opened_here();
  if (!opened) return column_ - 1;
  const int32_t indent = opened->indent;
  if (opened->bracket == Bracket::key || (opened->bracket == Bracket::entry && !may_be_key))
    pop_to(frames_.size() - 1, pos_);
  return indent;
}

// A byte where a node may begin.
bool BodyReader::key_node(char c) {
  if (is_space(c)) return false;
  if (c == '#' && (is_space(previous_) || pos_ == 0)) {
    mode_ = Mode::line_comment;
    return false;
  }
  code_end_ = pos_ + 1;
  if (!in_flow() && !name_follows_) header_indent_ = column_;
  name_follows_ = false;
  switch (c) {
    case '"':
    case '\'':
      matched_ = static_cast<size_t>(begin_value(true) + 1);  // the least column of further lines
      string_ = {};
      string_.quote = c;
      mode_ = Mode::string;
      return false;
    case '[':
    case '{': {
      const int32_t indent = begin_value(false);
      const size_t before = frames_.size();
      push(c == '[' ? Bracket::square : Bracket::brace, true, pos_);
      if (frames_.size() > before) frames_.back().indent = indent;
      return false;
    }
    case '&':
    case '!':
      mode_ = Mode::property;
      return false;
    case '-':
      if (in_flow()) break;
      mode_ = Mode::dash;
      return false;
    case '|':
    case '>':
      if (Frame* opened = opened_here(); opened && !in_flow()) {
        opened->bracket = Bracket::literal;
        mode_ = Mode::text;
        return false;
      }
      break;
    default:
      if (in_flow()) return key_plain(c);
  }
  begin_value(true);
  mode_ = Mode::plain;
  return false;
}

// A byte in a scalar, or behind a node.
bool BodyReader::key_plain(char c) {
  mode_ = Mode::plain;
  if (c == '#' && is_space(previous_)) {
    mode_ = Mode::line_comment;
    return false;
  }
  if (is_space(c)) return false;
  code_end_ = pos_ + 1;
  if (!in_flow()) {
    if (c == ':') mode_ = Mode::colon;
    return false;
  }
  if (c == ',' || c == ':') mode_ = Mode::code;
  if (c == '[' || c == '{') {
    mode_ = Mode::code;
    return key_node(c);
  }
  return c == ']' || c == '}';
}

bool BodyReader::read_keys(char c) {
  if (line_start_ && !is_space(c)) begin_key_line(c);
  switch (mode_) {
    case Mode::code:
      return key_node(c);
    case Mode::plain:
      return key_plain(c);
    case Mode::colon: {
      if (!is_space(c)) return key_plain(c);
      if (Frame* entry = opened_here(); entry && entry->bracket == Bracket::entry)
        entry->bracket = Bracket::indent;
      const size_t before = frames_.size();
      push(Bracket::key, true, pos_ - 1);
      if (frames_.size() > before) frames_.back().indent = header_indent_;
      mode_ = Mode::code;
      return false;
    }
    case Mode::dash: {
      if (is_space(c)) {
        if (Frame* entry = opened_here(); entry && entry->bracket == Bracket::entry)
          entry->bracket = Bracket::indent;
        const size_t before = frames_.size();
        push(Bracket::entry, true, pos_ - 1);
        if (frames_.size() > before) frames_.back().indent = header_indent_;
        scalar_ = false;
        mode_ = Mode::code;
        return false;
      }
      // No entry after all, which would have been in the body of the key in its column.
      size_t i = frames_.size();
      while (i > 0 && frames_[i - 1].body && frames_[i - 1].indent >= header_indent_) --i;
      pop_to(i, code_end_);
      if (c == '-' && column_ == 1) {
        code_end_ = pos_ + 1;
        mode_ = Mode::dashes;
        return false;
      }
      begin_value(true);
      return key_plain(c);
    }
    case Mode::dashes:  // "---", and perhaps a node behind it
      if (column_ == 2 && c == '-') {
        code_end_ = pos_ + 1;
        return false;
      }
      if (column_ == 3 && is_space(c)) {
        mode_ = Mode::code;
        return false;
      }
      return key_plain(c);
    case Mode::property:
      if (is_space(c)) {
        mode_ = Mode::code;
        name_follows_ = true;
        return false;
      }
      if (in_flow() && one_of(c, ",[]{}")) return key_plain(c);
      code_end_ = pos_ + 1;
      return false;
    case Mode::string:
      if (!is_space(c)) code_end_ = pos_ + 1;
      if (string_.escaped)
        string_.escaped = false;
      else if (c == '\\' && string_.quote == '"')
        string_.escaped = true;
      else if (c == string_.quote)
        mode_ = Mode::quote_end;
      return false;
    case Mode::quote_end:  // two quotes in a row stand for one
      if (c != '\'' || string_.quote != '\'') return key_plain(c);
      code_end_ = pos_ + 1;
      mode_ = Mode::string;
      return false;
    case Mode::literal:
    case Mode::line_comment:
      return false;
    default:  // text, literal_text
      if (!is_space(c)) code_end_ = pos_ + 1;
      return false;
  }
}

void BodyReader::keys_line_end() {
  if (Frame* entry = opened_here(); entry && entry->bracket == Bracket::entry) {
    if (scalar_)
      pop_to(frames_.size() - 1, pos_);
    else
      entry->bracket = Bracket::indent;
  }
  if (mode_ != Mode::string && mode_ != Mode::literal) mode_ = Mode::code;
  name_follows_ = scalar_ = false;
}

}  // namespace cambium::syntax
