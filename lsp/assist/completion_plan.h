// How far a completion at this cursor should go: to the end of the line, of the statement, or of the
// body it stands in. Decided once a request, from the text around the cursor.
#pragma once

#include <string>
#include <string_view>

#include "syntax/languages.h"

namespace cambium::assist {

enum class Extent : unsigned char {
  line,       ///< code follows on the line, or the cursor stands in a string or comment
  statement,  ///< the line, and the lines that belong to it: an open bracket, the block it opens
  body,       ///< the cursor is where an empty body's first line goes: until that body closes
};
const char* to_string(Extent extent);

struct CompletionPlan {
  Extent extent = Extent::line;
  const syntax::Language* language = nullptr;  ///< null: unknown
  bool blank_before = false;  ///< only white space between the line's start and the cursor
  /// Column (tabs to the next multiple of `tab_width`) of the line the body or statement hangs on. A
  /// body's lines are deeper; so are the further lines of a statement.
  int base_column = 0;
  int tab_width = 4;
  std::string line_before;  ///< the cursor's line up to the cursor
  std::string
      rest_of_line;  ///< from the cursor to the line's end, without white space at either end
  size_t rest_closers = 0;  ///< brackets of `rest_of_line` that close what stands before the cursor
  std::string next_line;    ///< the first line below with something on it, as it is; may be empty
  int next_column = -1;     ///< its column; -1: none
  size_t next_closers = 0;  ///< closing brackets that `next_line` begins with
  bool indentation_delimits = false;
  bool tabs = false;     ///< lines around here are indented with tabs
  bool crlf = false;     ///< the line ends around here
  int indent_width = 4;  ///< one level, where it is spaces
};

/// `multiline` false: never beyond the line.
CompletionPlan plan_completion(std::string_view text, size_t cursor,
                               const syntax::Language* language, bool multiline);

/// Column after the leading white space of `line`.
int column_of(std::string_view line, int tab_width);
/// Without white space at its ends.
std::string_view trim(std::string_view text);
std::string_view trim_right(std::string_view text);

/// True if a line that ends like this opens a body on the next one: "{", a Python header, "do".
bool opens_body(std::string_view line, const syntax::Language* language);

}  // namespace cambium::assist
