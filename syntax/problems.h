// What does not parse, told so that a person understands it, with a fix where only one can be meant.
//
// Pure; any thread. A clean tree costs nothing; each fix that is tried costs a parse, of one problem five at most.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syntax/tree.h"

namespace cambium::syntax {

struct Problem {
  std::string_view kind;  ///< "missing", "unclosed", "unopened", "unexpected": see find_problems
  ByteRange range;        ///< what to underline; never empty unless the text is
  std::string message;
  struct Fix {
    std::string title;  ///< "Insert ')'"
    ByteRange range;
    std::string replacement;
  };
  std::optional<Fix> fix;  ///< the text parses better with it
};

struct Problems {
  std::vector<Problem> found;  ///< in the order of the tree
  size_t left_out = 0;         ///< more than a person can use; the first 20 are there
};

/// missing: a token the grammar expects. unclosed: a bracket or string. unopened: a closer of nothing.
/// unexpected: anything else.
///
/// Silent where the grammar can't know: in C and its kin, about macros and conditional compilation.
Problems find_problems(const Tree& tree, std::string_view text);

}  // namespace cambium::syntax
