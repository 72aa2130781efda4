// Places of a function where people slip, and what could have been meant there instead: another
// variable, the neighbouring operator, one more or less, two arguments the other way round.
//
// Told by the kinds of the tree's nodes, never by names; a name that is being defined is no place.
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "syntax/tree.h"

namespace cambium::syntax {

enum class SiteKind : uint8_t {
  name,        ///< a use of a parameter or local: others that are visible there
  compare,     ///< < <= > >= == !=
  arithmetic,  ///< + - * / += -=
  logic,       ///< && || and or
  number,      ///< a small whole number: one more, one less
  boolean,
  arguments,  ///< two plain arguments: the other way round
  negation,   ///< a condition: with or without "not"
  await,      ///< a call in an asynchronous function: awaited
  return_,    ///< the last expression of a body: returned
  leftover,   ///< what a repeated statement did not change along (syntax/review_leftovers.h)
};
inline constexpr size_t kSiteKinds = 11;
const char* to_string(SiteKind kind);

struct Site {
  SiteKind kind = SiteKind::name;
  ByteRange range;                        ///< what stands there
  std::vector<std::string> alternatives;  ///< each fits in its place as far as the grammar goes
  /// Of a name: how often the function uses it in other places, and each alternative, in their order.
  uint32_t uses = 0;
  std::vector<uint32_t> alternative_uses = {};
};

struct FunctionSites {
  ByteRange range;          ///< the whole function
  std::vector<Site> sites;  ///< ascending by place
};

/// The outermost functions that touch one of `within`, with all their sites. Empty for languages whose
/// grammar is not known well enough: Python, JavaScript, TypeScript, Java, Go, C, C++, Rust and C# are.
std::vector<FunctionSites> review_sites(const Tree& tree, std::string_view text,
                                        const std::vector<ByteRange>& within);

}  // namespace cambium::syntax
