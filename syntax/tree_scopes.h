// What the syntax tree says of bodies (their kind, header and name) and of definitions, by the queries.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "syntax/scopes.h"
#include "syntax/tree.h"

namespace cambium::syntax {

/// A construct with a body; found by a pattern with @owner and an opener.
struct TreeScope {
  uint32_t opener = 0;  ///< first byte of the opener
  ByteRange owner;      ///< the whole construct
  ByteRange header;     ///< what of it stands before the opener, without white space at its end
  std::string name;     ///< empty where it has none
  ScopeKind kind = ScopeKind::block;
  friend bool operator==(const TreeScope&, const TreeScope&) = default;
};

/// A definition without a body, or an import.
struct TreeMark {
  ByteRange range;
  std::string name;
  std::string_view kind;  ///< "import", or what follows "definition." in the query
};

struct TreeFacts {
  std::vector<TreeScope> scopes;  ///< ascending by opener, one for each
  std::vector<TreeMark> marks;    ///< ascending by first byte
};

/// Runs the language's queries over the nodes that touch `range` (and, so, over all that are around it).
/// Takes 500 ms at most: a hostile text, of a hundred thousand brackets say, has no facts.
TreeFacts tree_facts(const Tree& tree, std::string_view text, ByteRange range);

/// Whether a node of this kind is a mark in some places only, at the top of the file say, or leads to one that
/// is. Every other fact is known from the subtree of the node that its pattern begins with.
bool wants_place(const Language& language, TSSymbol kind);

/// Gives the scopes of `map` the kind, header and name of the tree scope with the same opener, and turns
/// functions inside types into methods.
void name_scopes(ScopeMap& map, const std::vector<TreeScope>& scopes);

/// Error of the language's query, or empty; for the tests.
std::string query_error(const Language& language);

}  // namespace cambium::syntax
