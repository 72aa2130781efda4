#include "lsp/assist/code_scanner.h"

namespace cambium::assist {

using syntax::Quote;

char closer_of(char c) {
  switch (c) {
    case '(':
      return ')';
    case '[':
      return ']';
    case '{':
      return '}';
    default:
      return 0;
  }
}

bool is_closer(char c) { return c == ')' || c == ']' || c == '}'; }

Quote CodeScanner::quote_kind(char c) const {
  if (rules_ == nullptr) return c == '"' ? Quote::line : Quote::none;
  switch (c) {
    case '"':
      return rules_->double_quote;
    case '\'':
      return rules_->single_quote;
    case '`':
      return rules_->backtick;
    default:
      return Quote::none;
  }
}

void CodeScanner::feed(char c) {
  unmatched_ = false;
  if (comment_ != Comment::none) {
    const bool ends = comment_ == Comment::line ? c == '\n' : c == '/' && previous_ == '*';
    if (ends) comment_ = Comment::none, word_.clear();
  } else if (quote_ != 0) {
    feed_string(c);
  } else {
    feed_code(c);
  }
  previous_ = c;
}

void CodeScanner::feed_string(char c) {
  const Quote kind = quote_kind(quote_);
  if (escaped_) {
    escaped_ = false;
    return;
  }
  if (c == '\\' && kind != Quote::raw && kind != Quote::raw_line) {
    escaped_ = true;
    return;
  }
  if (triple_) {
    quote_run_ = c == quote_ ? quote_run_ + 1 : 0;
    if (quote_run_ == 3) quote_ = 0, triple_ = false, word_.clear();
    return;
  }
  const bool empty = length_++ == 0;
  // A quote that turns out to be a lifetime or a digit separator is no string.
  const bool no_string = kind == Quote::character && c != quote_ && length_ > 3;
  const bool line_end = c == '\n' && kind != Quote::multiline && kind != Quote::raw;
  if (c == quote_ || no_string || line_end) {
    if (empty && c == quote_) {
      word_ += c;  // a third quote may follow
    } else {
      word_.clear();
    }
    quote_ = 0;
  }
}

void CodeScanner::feed_code(char c) {
  const Quote kind = quote_kind(c);
  if (kind != Quote::none) {
    const bool may_be_triple = rules_ != nullptr && ((c == '"' && rules_->triple_double) ||
                                                     (c == '\'' && rules_->triple_single));
    // After an empty string ("") a third quote opens a triple one.
    word_ += c;
    const bool third = word_.size() >= 3 && word_.substr(word_.size() - 3) == std::string(3, c);
    quote_ = c;
    triple_ = may_be_triple && third;
    quote_run_ = 0;
    length_ = 0;
    last_code_ = c;
    return;
  }
  word_ += c;
  if (word_.size() > 8) word_.erase(0, word_.size() - 4);
  if (rules_ != nullptr) {
    const auto ends_with = [&](std::string_view mark) {
      return !mark.empty() && word_.size() >= mark.size() &&
             std::string_view(word_).substr(word_.size() - mark.size()) == mark;
    };
    const auto free_standing = [&](std::string_view mark) {
      if (!rules_->hash_needs_space || mark != "#") return true;
      return previous_ == 0 || previous_ == ' ' || previous_ == '\t' || previous_ == '\n';
    };
    for (const std::string_view mark : {rules_->line_comment, rules_->line_comment2}) {
      if (ends_with(mark) && free_standing(mark)) {
        comment_ = Comment::line;
        if (mark.size() > 1) last_code_ = before_last_;  // the mark's first byte passed for code
        return;
      }
    }
    if (rules_->block_comments && ends_with("/*")) {
      comment_ = Comment::block;
      last_code_ = before_last_;
      return;
    }
  }
  if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return;
  before_last_ = last_code_;
  last_code_ = c;
  if (closer_of(c) != 0) {
    open_ += c;
  } else if (is_closer(c)) {
    if (!open_.empty() && closer_of(open_.back()) == c) {
      open_.pop_back();
    } else {
      unmatched_ = true;
    }
  }
}

}  // namespace cambium::assist
