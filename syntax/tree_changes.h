// Where two trees differ, finely.
#pragma once

#include <vector>

#include "syntax/scopes.h"
#include "syntax/tree.h"

namespace cambium::syntax {

/// Where nodes begin that only one of the trees has, or that stand in another place of it which decides whether
/// they are marks (wants_place()), as short ranges of the new text, ascending: the queries say the same as
/// before of all that begins elsewhere. `old` has been edited and `fresh` was parsed from it. What an edit itself
/// replaced is not among them.
///
/// ts_tree_get_changed_ranges() answers by leaves: behind a broken `else` every leaf of the file can have
/// another (hidden) ancestor, and the range reaches to its end although all but a few nodes were reused. Asking
/// a query about all of it takes twenty times as long as the parse did.
std::vector<ByteRange> changed_places(const Tree& old, const Tree& fresh);

}  // namespace cambium::syntax
