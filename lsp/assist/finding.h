// What a review says: one finding, whatever its source. Ranges are bytes of the reviewed text.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syntax/scopes.h"

namespace cambium::assist {

enum class FindingSource : uint8_t { syntax, likelihood, reasoning };
const char* to_string(FindingSource source);

/// LSP's numbers.
enum class Severity : uint8_t { error = 1, warning = 2, information = 3, hint = 4 };
const char* to_string(Severity severity);

struct TextChange {
  syntax::ByteRange range;
  std::string text;
  friend bool operator==(const TextChange&, const TextChange&) = default;
};
/// `text` with the changes made; they are ascending and do not touch each other. Nothing if one lies
/// outside the text.
std::optional<std::string> with_changes(std::string_view text,
                                        const std::vector<TextChange>& changes);

struct Fix {
  std::string title;  ///< "Insert ')'"
  std::vector<TextChange> changes;
};

struct RelatedPlace {
  syntax::ByteRange range;
  std::string message;
};

struct Finding {
  FindingSource source = FindingSource::syntax;
  std::string code;  ///< stable, "syntax/missing"; a client may filter by it
  Severity severity = Severity::warning;
  syntax::ByteRange range;
  std::string message;
  std::vector<RelatedPlace> related;
  std::optional<Fix> fix;
  std::string fingerprint;  ///< the same for the same complaint about the same code
  double score = 0;         ///< how sure the source is; compares within one source only
};

/// 16 hexadecimal digits of the code, the line, the line above and what the range holds: edits
/// elsewhere, a move of the lines and a rename of the file keep it.
std::string fingerprint_of(const Finding& finding, std::string_view text);

/// Brings findings from `before` to `after`: those the difference touches are gone, the others move.
/// True if one is gone.
bool follow_edit(std::vector<Finding>& findings, std::string_view before, std::string_view after);

/// Ascending by place; of two of one source at one place, the first is kept.
void sort_findings(std::vector<Finding>& findings);

}  // namespace cambium::assist
