// Where a hole is cut into a source file, so that what the model learns to fill is what people ask
// for: the rest of a line, a statement, the body of a block, a few statements, an expression; nine
// of ten cuts follow the syntax tree, the rest are random.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lsp/training/random.h"
#include "syntax/document_tree.h"
#include "syntax/languages.h"

namespace cambium::training {

using syntax::ByteRange;

/// Places of a file where a cut makes sense; every list ascends by `begin`.
struct Cuts {
  struct Statement {
    ByteRange range;
    uint32_t parent;  ///< equal for siblings
  };
  std::vector<Statement> statements;   ///< nodes that fill their lines
  std::vector<ByteRange> bodies;       ///< from the first to the last child of a block
  std::vector<ByteRange> expressions;  ///< nodes within one line
};

/// Parses `text`; no cuts where the language is unknown.
Cuts find_cuts(std::string_view text, const syntax::Language* language);

enum class HoleKind : uint8_t {
  rest_of_line,
  statement,
  body,
  siblings,
  expression,
  random,
  nothing
};
inline constexpr int kHoleKinds = 7;

struct Hole {
  ByteRange range;  ///< the middle; empty for `nothing`
  HoleKind kind = HoleKind::rest_of_line;
};

/// A hole inside `window` (bytes; both ends at line starts or the text's end), at most `max_bytes`
/// long, both ends on character boundaries. The cursor lies in the later part of the window more
/// often, as in a prompt.
Hole choose_hole(std::string_view text, ByteRange window, const Cuts& cuts, uint32_t max_bytes,
                 Random& random);
/// One of this kind, for measuring; none where the window has no node for it.
std::optional<Hole> cut_hole(std::string_view text, ByteRange window, const Cuts& cuts,
                             HoleKind kind, uint32_t max_bytes, Random& random);

}  // namespace cambium::training
