#include "engine/byte_alphabet.h"

namespace cambium::engine {

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  uint16_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    const uint16_t point = itself ? static_cast<uint16_t>(b) : next++;
    byte_of_[point] = static_cast<int16_t>(b);
    point_of_[static_cast<size_t>(b)] = point;
  }
}

bool ByteAlphabet::decode(std::string_view spelling, std::string& out) const {
  const size_t before = out.size();
  for (size_t i = 0; i < spelling.size();) {
    const auto c = static_cast<uint8_t>(spelling[i]);
    uint32_t point = c;
    size_t n = 1;
    if (c >= 0xc2 && c <= 0xc5 && i + 1 < spelling.size()) {
      point = (c & 0x1fu) << 6 | (static_cast<uint8_t>(spelling[i + 1]) & 0x3fu);
      n = 2;
    }
    const bool known = (c < 0x80 || n == 2) && point < kEnd && byte_of_[point] >= 0;
    if (!known) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(byte_of_[point]);
    i += n;
  }
  return true;
}

std::string ByteAlphabet::encode(std::string_view bytes) const {
  std::string out;
  for (const char c : bytes) {
    const uint16_t point = point_of_[static_cast<uint8_t>(c)];
    if (point < 0x80) {
      out += static_cast<char>(point);
    } else {
      out += static_cast<char>(0xc0 | point >> 6);
      out += static_cast<char>(0x80 | (point & 0x3f));
    }
  }
  return out;
}

}  // namespace cambium::engine
