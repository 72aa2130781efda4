// The text around a cursor for engines that take no tokens: which bytes before and after it are sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cambium::assist {

struct TextWindow {
  size_t begin = 0, end = 0;  ///< bytes of the text; the cursor is between them
};
/// At most about `tokens`, `prefix_share` of them before the cursor, in whole lines where it is cut.
/// The beginning moves in steps of a quarter of the window, so that the far side's cache of the
/// prompt survives typing.
TextWindow text_window(std::string_view text, size_t cursor, int32_t tokens, double prefix_share);

/// The nearest boundary of a character at or before byte `at` of UTF-8 text, and at or after it; the
/// text's size where `at` is beyond it.
size_t floor_char_boundary(std::string_view text, size_t at);
size_t ceil_char_boundary(std::string_view text, size_t at);

}  // namespace cambium::assist
