// Which lines of a text are new or changed against an older one.
//
// The shortest edit script over lines (Myers 1986, "An O(ND) Difference Algorithm and Its Variations").
// Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "syntax/scopes.h"

namespace cambium::assist {

/// Bytes of `after`, whole lines, ascending and disjoint. Where lines were only taken away, the line
/// that now stands in their place. Texts that differ in more than 1,000 lines count as changed
/// wherever their differing middle lies. Line ends ("\r\n" or "\n") make no difference.
std::vector<syntax::ByteRange> changed_lines(std::string_view before, std::string_view after);

size_t count_lines(std::string_view text, const std::vector<syntax::ByteRange>& ranges);
bool touches(const std::vector<syntax::ByteRange>& ranges, syntax::ByteRange range);

}  // namespace cambium::assist
