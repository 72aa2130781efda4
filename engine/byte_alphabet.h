// GPT-2's byte alphabet: how a vocabulary file spells arbitrary bytes as text. Printable Latin-1
// characters stand for themselves, the other bytes for U+0100 onwards in ascending order.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace cambium::engine {

class ByteAlphabet {
 public:
  ByteAlphabet();
  /// Appends the bytes a spelling stands for; false, and `out` as it was, if a character is not of
  /// the alphabet.
  bool decode(std::string_view spelling, std::string& out) const;
  /// The spelling of any bytes, as UTF-8.
  std::string encode(std::string_view bytes) const;

 private:
  static constexpr size_t kEnd = 0x144;  ///< first code point after the alphabet
  std::array<int16_t, kEnd> byte_of_;
  std::array<uint16_t, 256> point_of_;
};

}  // namespace cambium::engine
