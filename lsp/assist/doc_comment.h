// Puts a documentation comment to a definition, as its language writes them: markers, place (above the
// definition and its attributes; in Python below the header), indentation, line width. What a model wrote
// is text to this: it can end no comment and begin no code.
//
// Plain values; any thread.
#pragma once

#include <string>
#include <string_view>

#include "engine/result.h"
#include "lsp/assist/finding.h"
#include "syntax/outline.h"
#include "syntax/tree.h"

namespace cambium::assist {

/// Why no comment is written there: it has one, or its language has none. Empty: one can be.
std::string why_not_documented(const syntax::Language& language, std::string_view text,
                               const syntax::OutlineItem& item);

/// `comment` is plain text, its paragraphs apart by empty lines; markers that are in it all the same are
/// taken off. Errors: invalid_argument, with a sentence: why_not_documented(), an empty comment, a
/// definition that stands on one line with its body in a language that documents inside, or a text that
/// parses worse with the comment than without.
Result<TextChange> doc_comment(const syntax::Tree& tree, std::string_view text,
                               const syntax::OutlineItem& item, std::string_view comment);

}  // namespace cambium::assist
