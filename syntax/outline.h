// Definitions, signatures and imports of a file, for prompts and review.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "syntax/tree_scopes.h"

namespace cambium::syntax {

struct OutlineItem {
  std::string_view kind;  ///< "import", "function", "method", "class", "type", "variable", …
  std::string name;       ///< empty for imports
  ByteRange range;        ///< the whole construct
  ByteRange signature;    ///< what tells how to use it: the header of a body, or the whole
  int32_t parent = -1;    ///< index of the item it is a member of
};

/// In the order of the text; bodies of functions are not looked into.
std::vector<OutlineItem> outline(const TreeFacts& facts);
std::vector<OutlineItem> outline(const Tree& tree, std::string_view text);

/// Signatures as text, one a line, members indented under their type, up to `max_bytes`; items that
/// touch `skip` are left out. What a prompt or a reviewer is shown of a file.
std::string outline_text(const std::vector<OutlineItem>& items, std::string_view text,
                         size_t max_bytes, ByteRange skip = {});

}  // namespace cambium::syntax
