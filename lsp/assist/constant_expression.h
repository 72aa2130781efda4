// The value of a constant expression of whole numbers, for a model that would otherwise do sums in its head.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "engine/result.h"

namespace cambium::assist {

/// What a name was defined as, as an expression; or why that is not known.
using WrittenAs = std::function<Result<std::string>(std::string_view name)>;

/// | ^ & << >> + - * / % and unary + - ~ with the precedence that C, Java and JavaScript give them, in 64 bits; / and %
/// as there, towards zero. Numbers decimal, 0x, 0o, 0b and 0 for octal, parts set off by ' or _, suffixes of C and Rust
/// taken for what they are. Of a qualified name (a::B, a.B) the last part counts. An error where
/// something else is written, where a result is undefined or does not fit, where names go in a circle.
Result<int64_t> constant_value(std::string_view expression, const WrittenAs& written_as);

/// The expression in `definition`, the text of a constant's definition in one of the languages known:
/// "10" of "#define LIMIT 10", "constexpr int kLimit = 10;", "const LIMIT: usize = 10;", "LIMIT = 10  # most".
/// Empty: none was found.
std::string_view expression_of(std::string_view definition, std::string_view name);

}  // namespace cambium::assist
