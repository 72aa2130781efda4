// Where in a file a block of code belongs that a model wrote for it. The block's definitions take the
// place of those of the same name, what the file lacks is added beside its neighbours, and a block
// without definitions goes between the lines that it begins and ends with.
//
// Plain values; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "lsp/assist/finding.h"
#include "syntax/tree.h"

namespace cambium::assist {

struct BlockPlacement {
  std::vector<TextChange>
      changes;  ///< ascending, apart from each other; empty: the file has it all
  std::vector<std::string> replaced, added;  ///< names of definitions, in the block's order
  /// Lines of the block beside its definitions and imports (an example call, say), which go nowhere.
  size_t left_out = 0;
};

/// `language` may be null. `selection`: the lines that the question was about; a block that defines
/// nothing the file has takes their place. Errors: invalid_argument, where nothing says where the block
/// belongs; the message says what to do.
Result<BlockPlacement> place_block(const syntax::Language* language, std::string_view text,
                                   std::string_view block,
                                   std::optional<syntax::ByteRange> selection);

}  // namespace cambium::assist
