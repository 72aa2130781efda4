// What an answer to a case is worth. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "lsp/eval/cases.h"

namespace cambium::eval {

struct Judgement {
  bool shown = false;        ///< there was something to show
  bool exact = false;        ///< the hole's text, white space at its end and line ends apart
  double similarity = 0;     ///< edit_similarity to the hole's text; 0 if nothing was shown
  bool adds_errors = false;  ///< the document has more error and missing nodes with it than without
  bool ends_node = false;    ///< adds none, and ends where a node of the tree ends
};
Judgement judge(const Case& asked, std::string_view answer);

/// 1 - distance / length of the longer one, in bytes (Levenshtein 1966); 1 for two empty texts.
double edit_similarity(std::string_view a, std::string_view b);

/// The baseline every model must beat: of all places in the document, that whose text before it agrees
/// longest with the text before the cursor (of equals the nearest above), and what follows there: to
/// the end of the line, or for a block as far as its indentation lasts. Empty if no byte agrees.
std::string copy_continuation(const Case& asked);

}  // namespace cambium::eval
