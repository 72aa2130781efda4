// How bodies become numbered scopes; shared by scopes.cpp and middle_labeler.cpp.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "syntax/body_reader.h"
#include "syntax/scopes.h"

namespace cambium::syntax {

/// Scope i + 1 is bodies[i]; numbers and label changes are left to the caller.
ScopeMap map_of_bodies(const std::vector<ReadBody>& bodies, uint32_t size);

/// Reads `text` on from where the reader stands and appends where the innermost body changes. `changes`
/// is not empty.
void read_text(BodyReader& reader, std::string_view text, std::vector<ScopeMap::Change>& changes);

/// A place at which bodies will open later, and the numbers kept free for them.
struct NumberGap {
  static constexpr int64_t kNumbers = int64_t{1} << 30;  ///< in all
  struct Range {
    int64_t next = 0, last = -1;  ///< free: next … last
  };
  size_t scopes_before = 0;    ///< scopes with a smaller index opened before the place
  std::vector<uint32_t> open;  ///< scopes open there, the file first
  std::vector<Range> free;     ///< out: for each of those
};

/// Pre-order numbers with a gap between any two events; `gap` may be null.
void number_scopes(ScopeMap& map, NumberGap* gap = nullptr);

}  // namespace cambium::syntax
