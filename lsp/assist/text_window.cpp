#include "lsp/assist/text_window.h"

#include <algorithm>

#include "syntax/bytes.h"

namespace cambium::assist {

namespace {
constexpr size_t kBytesPerToken = 3;  // of code; a tokenizer of prose would find four

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }
}  // namespace

size_t floor_char_boundary(std::string_view text, size_t at) {
  return at >= text.size() ? text.size() : syntax::char_begin(text, at);
}

size_t ceil_char_boundary(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  while (at < text.size() && continues(text[at])) ++at;
  return at;
}

TextWindow text_window(std::string_view text, size_t cursor, int32_t tokens, double prefix_share) {
  const auto budget = static_cast<size_t>(std::max(tokens, 1)) * kBytesPerToken;
  const auto before = static_cast<size_t>(static_cast<double>(budget) * prefix_share);
  TextWindow window;
  window.end = text.size();
  if (cursor > before) {
    const size_t step = std::max<size_t>(before / 4, 1);
    const size_t cut = (cursor - before + step - 1) / step * step;
    const size_t line = text.find('\n', std::min(cut, cursor));
    window.begin = line == text.npos || line >= cursor ? cursor : line + 1;
    if (window.begin == cursor) {  // one endless line: cut it, but not inside a character
      window.begin = ceil_char_boundary(text, std::min(cut, cursor));
    }
  }
  const size_t after = budget - std::min(budget, cursor - window.begin);
  if (text.size() - cursor > after) {
    const size_t line = after == 0 ? text.npos : text.rfind('\n', cursor + after - 1);
    window.end = line == text.npos || line < cursor ? cursor : line + 1;
  }
  return window;
}

}  // namespace cambium::assist
