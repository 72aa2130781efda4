// The line that stands elsewhere in the document behind the same text: often what is wanted, and what a
// small model nearly writes.
//
// A model that writes the likeliest token each time does not always write the likeliest line. Where it
// wavers between two words, the second may lead into a line that is then all but certain, because it
// stood here before, and the first into one that the model makes up as it goes. So both lines are
// compared as wholes, by the same model: one pass over some twenty tokens.
//
// Pure functions; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cambium::assist {

struct CopiedLine {
  std::string text;  ///< to the end of its line; no '\r', no white space at its end
  size_t match = 0;  ///< bytes before it that are the same as before the cursor
};

/// Of all places near the cursor, before and after it, the one whose text before it agrees longest with
/// the text before the cursor; of equals the nearest before it. From there to the end of the line,
/// without what follows the cursor on its own (`rest_of_line`). Nothing if fewer than 4 bytes agree, or
/// if it would be empty.
std::optional<CopiedLine> copied_line(std::string_view text, size_t cursor,
                                      std::string_view rest_of_line);

/// What the match adds to the log-probability that the model gives the line: a model sees but a part of
/// the document, and trusts little that it sees once. Rises with the match, and is 0 at 64 bytes.
double copied_line_prior(size_t match);

}  // namespace cambium::assist
