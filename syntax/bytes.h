// Bytes of program text, without locale.
#pragma once

#include <string_view>

namespace cambium::syntax {

inline bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
/// Letters, digits and every byte of a character beyond ASCII.
inline bool is_word_byte(char c) {
  return is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80;
}
inline bool one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

}  // namespace cambium::syntax
