// Bytes of program text, without locale.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace cambium::syntax {

namespace bytes {
enum : uint8_t { space = 1, digit = 2, letter = 4, beyond_ascii = 8 };
constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> classes{};
  for (int c : {' ', '\t', '\r', '\n', '\f'}) classes[static_cast<size_t>(c)] = space;
  for (size_t c = '0'; c <= '9'; ++c) classes[c] = digit;
  for (size_t c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 'a' + 'A'] = letter;
  classes['_'] = letter;
  for (size_t c = 0x80; c < 256; ++c) classes[c] = beyond_ascii;
  return classes;
}
inline constexpr std::array<uint8_t, 256> kClasses = make_classes();
inline bool is(char c, int which) { return (kClasses[static_cast<unsigned char>(c)] & which) != 0; }
}  // namespace bytes

inline bool is_space(char c) { return bytes::is(c, bytes::space); }
inline bool is_digit(char c) { return bytes::is(c, bytes::digit); }
inline bool is_letter(char c) { return bytes::is(c, bytes::letter); }
/// Letters, digits and every byte of a character beyond ASCII.
inline bool is_word_byte(char c) {
  return bytes::is(c, bytes::letter | bytes::digit | bytes::beyond_ascii);
}
/// The place of the first byte of the character that text[at] belongs to, in UTF-8; at most 3 bytes before it.
/// `at` itself at the end of the text, and in a text that is no UTF-8.
inline size_t char_begin(std::string_view text, size_t at) {
  size_t begin = at;
  const auto continues = [&] {
    return begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80;
  };
  for (int i = 0; i < 3 && begin > 0 && continues(); ++i) --begin;
  return continues() ? at : begin;
}
inline bool one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

}  // namespace cambium::syntax
