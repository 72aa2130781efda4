#include "lsp/text.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using namespace cambium::lsp;

namespace {

/// The slow twin: one walk over the characters from the start, counting as LSP's text says.
struct Walk {
  size_t byte;
  Position position;
};
std::vector<Walk> walk(const std::string& text, PositionEncoding encoding) {
  std::vector<Walk> out;
  Position at;
  size_t i = 0;
  while (i < text.size()) {
    out.push_back({i, at});
    const auto lead = static_cast<unsigned char>(text[i]);
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
      i += 2;
      at = {at.line + 1, 0};
    } else if (text[i] == '\r' || text[i] == '\n') {
      i += 1;
      at = {at.line + 1, 0};
    } else {
      const size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      i += bytes;
      at.character += static_cast<uint32_t>(encoding == PositionEncoding::utf8    ? bytes
                                            : encoding == PositionEncoding::utf16 ? (bytes == 4) + 1
                                                                                  : 1);
    }
  }
  out.push_back({text.size(), at});
  return out;
}

std::string random_text(std::mt19937& random, size_t pieces) {
  static const char* kPieces[] = {"a", "b",  " ", "\n", "\r\n", "\r",
                                  "é", "日", "😀", "\t", "xyz",  "\n\n"};
  std::string out;
  for (size_t i = 0; i < pieces; ++i) out += kPieces[random() % std::size(kPieces)];
  return out;
}

constexpr PositionEncoding kEncodings[] = {PositionEncoding::utf8, PositionEncoding::utf16,
                                           PositionEncoding::utf32};

}  // namespace

TEST_CASE("positions of every character agree with a walk over the text") {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random_text(random, random() % 40);
    const LineIndex lines(text);
    for (const PositionEncoding encoding : kEncodings) {
      for (const Walk& step : walk(text, encoding)) {
        CAPTURE(text);
        CAPTURE(step.byte);
        REQUIRE(lines.position(text, step.byte, encoding) == step.position);
        REQUIRE(lines.offset(text, step.position, encoding) == step.byte);
      }
    }
  }
}

TEST_CASE("an edited line index equals a fresh one") {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    std::string text = random_text(random, random() % 30);
    LineIndex lines(text);
    for (int edit = 0; edit < 20; ++edit) {
      // Any bytes, also between "\r" and "\n": the index knows no characters.
      const size_t begin = random() % (text.size() + 1);
      const size_t end = begin + random() % (text.size() - begin + 1) / (1 + random() % 4);
      const std::string inserted = random_text(random, random() % 5);
      text.replace(begin, end - begin, inserted);
      lines.replaced(text, begin, end, inserted.size());
      const LineIndex fresh(text);
      CAPTURE(text);
      REQUIRE(lines.line_count() == fresh.line_count());
      for (uint32_t i = 0; i < fresh.line_count(); ++i) {
        REQUIRE(lines.line_start(i) == fresh.line_start(i));
      }
    }
  }
}

TEST_CASE("positions off the text") {
  const std::string text = "ab\r\n\xF0\x9F\x98\x80x\n";
  const LineIndex lines(text);
  CHECK(lines.line_count() == 3);
  CHECK(lines.line(text, 0) == "ab");
  CHECK(lines.line(text, 1) == "\xF0\x9F\x98\x80x");
  CHECK(lines.line(text, 2) == "");
  // Past a line's end: its end, before the line end's own bytes.
  CHECK(lines.offset(text, {0, 99}, PositionEncoding::utf16) == 2);
  CHECK(lines.offset(text, {2, 5}, PositionEncoding::utf16) == text.size());
  CHECK_FALSE(lines.offset(text, {3, 0}, PositionEncoding::utf16).has_value());
  // Inside a character: its start.
  CHECK(lines.offset(text, {1, 1}, PositionEncoding::utf16) == 4);
  CHECK(lines.offset(text, {1, 3}, PositionEncoding::utf8) == 4);
  CHECK(lines.position(text, 6, PositionEncoding::utf16) == Position{1, 0});
  // Between "\r" and "\n": the line's end.
  CHECK(lines.position(text, 3, PositionEncoding::utf16) == Position{0, 2});
  CHECK(LineIndex("").line_count() == 1);
  CHECK(LineIndex("").offset("", {0, 0}, PositionEncoding::utf8) == 0);
}

TEST_CASE("invalid UTF-8 is found where it begins") {
  struct Case {
    std::string text;
    std::optional<size_t> at;
  };
  const Case cases[] = {
      {"", std::nullopt},
      {"plain é 日 😀", std::nullopt},
      {"ab\xFF", 2},
      {"a\xC3", 1},             // cut short
      {"\xC0\xAF", 0},          // overlong "/"
      {"\xE0\x80\xAF", 0},      // overlong, three bytes
      {"x\xED\xA0\x80", 1},     // a surrogate
      {"\xF4\x90\x80\x80", 0},  // past U+10FFFF
      {"\x80", 0},              // a continuation alone
      {"\xF0\x9F\x98", 0},
      {"\xEF\xBF\xBF\xF4\x8F\xBF\xBF", std::nullopt},
      {"\xE6\x97\x41", 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(first_invalid_utf8(c.text) == c.at);
  }
}
