// Reads code byte by byte and knows whether it stands in a string or a comment, and which brackets are
// open. A reader, no parser: what it says decides where a completion stops, and the tree has the last
// word afterwards.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "syntax/lexical_rules.h"

namespace cambium::assist {

class CodeScanner {
 public:
  /// `rules` null: brackets and double quotes only. Kept by reference; language data is constant.
  explicit CodeScanner(const syntax::LexicalRules* rules) : rules_(rules) {}

  void feed(char c);
  void feed(std::string_view text) {
    for (const char c : text) feed(c);
  }

  /// Brackets opened and not closed, outermost first.
  const std::string& open() const { return open_; }
  /// Set by feed(): the byte was code (not string or comment) and closed a bracket that was not
  /// opened in what was fed.
  bool unmatched() const { return unmatched_; }
  bool in_string() const { return quote_ != 0; }
  bool in_comment() const { return comment_ != Comment::none; }
  bool in_code() const { return quote_ == 0 && comment_ == Comment::none; }
  /// The last byte that was code and no white space; 0 if there was none.
  char last_code() const { return last_code_; }

 private:
  enum class Comment : unsigned char { none, line, block };
  syntax::Quote quote_kind(char c) const;
  void feed_string(char c);
  void feed_code(char c);

  const syntax::LexicalRules* rules_;
  std::string open_;
  std::string word_;  ///< the last few bytes of code, for comment markers and triple quotes
  char quote_ = 0;
  bool triple_ = false, escaped_ = false, unmatched_ = false;
  int length_ = 0;  ///< bytes of the string so far
  int quote_run_ = 0;
  Comment comment_ = Comment::none;
  char last_code_ = 0, before_last_ = 0, previous_ = 0;
};

/// Reads on behind some text and tells which of its brackets are closed.
class OuterBrackets {
 public:
  /// `before` has read that text.
  explicit OuterBrackets(CodeScanner before)
      : scanner_(std::move(before)), outer_(scanner_.open().size()) {}

  /// Reads a byte. If it closes a bracket of the text before: how many of those were open, so which it
  /// was; 0 for one that was opened before all that the scanner has read.
  std::optional<size_t> feed(char c) {
    const size_t open = scanner_.open().size();
    scanner_.feed(c);
    if (scanner_.unmatched()) return 0;
    if (scanner_.open().size() >= open || open > outer_) return std::nullopt;
    outer_ = scanner_.open().size();
    return open;
  }
  const CodeScanner& scanner() const { return scanner_; }

 private:
  CodeScanner scanner_;
  size_t outer_;  ///< brackets of the text before that are still open
};

/// The closing bracket of `c`, or 0.
char closer_of(char c);
bool is_closer(char c);

}  // namespace cambium::assist
