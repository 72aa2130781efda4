// Does this text fit where it is put, and where does the node it continues end?
//
// A completion is judged by its effect on the tree: it may leave no more error and missing nodes than
// there were before it, and is best cut where the node that holds the cursor ends.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "syntax/tree.h"

namespace cambium::syntax {

struct ErrorCount {
  uint32_t errors = 0;   ///< ERROR nodes; one inside another counts once
  uint32_t missing = 0;  ///< nodes the parser made up
  uint32_t bytes = 0;    ///< covered by the ERROR nodes
  uint32_t total() const { return errors + missing; }
};

/// Of the nodes that touch `range`. Subtrees without errors are skipped, so a clean file costs nothing.
ErrorCount count_errors(const Tree& tree, ByteRange range = {0, UINT32_MAX});

/// Judges insertions at one place of one text. Not for use by two threads at a time.
class InsertionCheck {
 public:
  /// `tree` is that of `text`, if the caller has it: a check then costs an incremental parse, well under
  /// a millisecond as a rule. Without one, what is parsed is the text, or in a long text (over 16 KiB)
  /// the outermost body around the cursor that is not long, or the lines near it. `language` may be null: everything fits.
  InsertionCheck(const Language* language, std::string_view text, size_t cursor,
                 const Tree* tree = nullptr);

  /// True if text[replace_begin, cursor) + insertion leaves more errors than there were. Not so if they
  /// cover less than half of the text they did: a parser that gave up on all that surrounds the cursor
  /// reads on, and meets the macros there that its grammar does not know. An insertion whose parse takes
  /// very long is taken to be broken: that is what makes parses slow.
  bool adds_errors(std::string_view insertion) { return adds_errors(insertion, 0); }
  /// The same where the insertion replaces the `replaced` bytes before the cursor.
  bool adds_errors(std::string_view insertion, size_t replaced);

  /// How many bytes of the insertion lie in the node that it continues or begins: the outermost node
  /// that begins no earlier than the first code on the cursor's line. insertion.size() where the node
  /// reaches the insertion's end or goes on after it.
  size_t node_end(std::string_view insertion);

  /// How many bytes of the insertion its first node takes, the white space before it included: the
  /// outermost node that begins with the insertion's first code (or holds it, where the insertion goes
  /// on with a word) and ends in the insertion. Punctuation and keywords take the node after them on
  /// their line along. Statements are taken one by one. insertion.size() where there is no such node.
  size_t first_node(std::string_view insertion);

  /// True if the insertion ends where the node of node_end() ends (white space apart) and adds no errors.
  bool is_complete_node(std::string_view insertion);

  /// True if the insertion ends (white space, `;` and `,` apart) where a named node ends that begins
  /// in it or with the first code of the cursor's line, and adds no errors. False where nothing can be
  /// parsed.
  bool ends_node(std::string_view insertion);

  ErrorCount before() const { return before_; }

 private:
  std::optional<Tree> parse_with(std::string_view insertion, size_t replaced);
  bool has_more_errors(const Tree& after) const;

  std::string text_;   ///< what is parsed
  size_t cursor_ = 0;  ///< in it
  std::optional<Parser> parser_;
  std::optional<Tree> tree_;
  ErrorCount before_;
};

}  // namespace cambium::syntax
