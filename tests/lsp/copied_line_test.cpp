#include "lsp/assist/copied_line.h"

#include <doctest/doctest.h>

#include "tests/support/cursor.h"

using namespace cambium;

namespace {

struct Copied {
  std::string text = "(nothing)";
  size_t match = 0;
};

Copied copied(std::string_view source, std::string_view rest = {}) {
  const test::Marked at = test::marked(source);
  const auto line = assist::copied_line(at.text, at.cursor, rest);
  return line ? Copied{line->text, line->match} : Copied{};
}

}  // namespace

TEST_CASE("the line that stands elsewhere behind the same text") {
  const struct {
    const char* what;
    const char* source;
    const char* rest;
    const char* text;
    size_t match;
  } cases[] = {
      {"above", "call(a, 1);\nx\ncall(<|>\n", "", "a, 1);", 5},
      {"below", "call(<|>\nx\ncall(a, 1);\n", "", "a, 1);", 5},
      {"the longest match", "if call(a)\nno call(b)\nif call(<|>\n", "", "a)", 8},
      {"of equals the nearest above", "1call(a)\n2call(b)\n3call(<|>\n4call(c)\n", "", "b)", 5},
      {"without what follows the cursor", "call(a, 1);\nx\ncall(<|>);\n", ");", "a, 1", 5},
      {"white space at the end", "call(a) \t\r\nx\ncall(<|>\n", "", "a)", 5},
      {"too little in common", "all(a)\nx\nball(<|>\n", "", "a)", 4},
      {"less than that", "fl(a)\nx\nball(<|>\n", "", "(nothing)", 0},
      {"an empty line", "call(\nx\ncall(<|>\n", "", "(nothing)", 0},
      {"nothing but what follows", "call()\nx\ncall(<|>)\n", ")", "(nothing)", 0},
      {"the cursor's own line", "call(call(<|>\n", "", "(nothing)", 0},
      {"a line that is cut off", "call(<|>\nx\ncall(a", "", "(nothing)", 0},
      {"an empty document", "<|>", "", "(nothing)", 0},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const Copied line = copied(c.source, c.rest);
    CHECK(line.text == c.text);
    CHECK(line.match == c.match);
  }
}

TEST_CASE("a longer match is trusted more, within bounds") {
  for (size_t match = 0; match < 5000; ++match)
    CHECK(assist::copied_line_prior(match) <= assist::copied_line_prior(match + 1));
  CHECK(assist::copied_line_prior(0) == -1.5);
  CHECK(assist::copied_line_prior(64) == 0);
  CHECK(assist::copied_line_prior(5000) == 1);
}

TEST_CASE("a long document of one line again and again costs no more than its neighbourhood") {
  std::string text;
  while (text.size() < (4u << 20)) text += "call(a, 1);\n";
  const size_t cursor = text.size() / 12 / 2 * 12 + 5;
  const auto line = assist::copied_line(text, cursor, "");
  REQUIRE(line.has_value());
  CHECK(line->text == "a, 1);");
}
