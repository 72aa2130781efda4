// What copying and pasting leaves behind: of two neighbours built alike (statements, branches, arguments,
// operands), the second changes a word of the first in one place and not in another.
//
//   start_x = first.x
//   start_y = first.x      x became y in the name, not in the field
//
// A word is a part of a name (camelCase and snake_case), a number, or such a part of a text. Told by the
// tree alone. Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "syntax/review_sites.h"

namespace cambium::syntax {

struct RepeatedStatements {
  /// Leaves that did not change along, with what they would be if they had; SiteKind::leftover.
  std::vector<Site> leftovers;
  /// Leaves that did, with what stands in the first of the two: where a leftover could have been.
  std::vector<Site> consistent;
};

/// Of all pairs of neighbours below `root`, each list ascending by place.
RepeatedStatements repeated_statements(TSNode root, std::string_view text);

}  // namespace cambium::syntax
