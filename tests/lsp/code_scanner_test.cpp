#include "lsp/assist/code_scanner.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "syntax/languages.h"

namespace cambium::assist {
namespace {

const syntax::LexicalRules* rules_of(const char* id) { return syntax::language_by_id(id)->rules; }

CodeScanner read(const char* language, std::string_view text) {
  CodeScanner scanner(rules_of(language));
  scanner.feed(text);
  return scanner;
}

TEST_CASE("code scanner: brackets of strings and comments are none") {
  CHECK(read("cpp", "f(\"[{\", '(', /* { */ g[0]) // (\n").open().empty());
  CHECK(read("cpp", "f(\"\\\"(\", [").open() == "([");
  CHECK(read("python", "f('''(\n''', {  # [\n").open() == "({");
  CHECK(read("python", "x = \"(").in_string());
  CHECK(read("cpp", "x; // (").in_comment());
  CHECK(read("cpp", "a /* ( */ b").last_code() == 'b');
}

TEST_CASE("outer brackets: which of those before is closed") {
  OuterBrackets outer(read("cpp", "f(a["));
  std::vector<std::optional<size_t>> closed;
  for (const char c : std::string_view("b](c)\")\"))")) closed.push_back(outer.feed(c));
  const std::optional<size_t> no;
  CHECK(closed == std::vector<std::optional<size_t>>{no, 2, no, no, no, no, no, no, 1, 0});
  CHECK(outer.scanner().open().empty());
}

/// The same by a stack of where each bracket was opened.
TEST_CASE("outer brackets: as a stack tells, on random brackets") {
  std::mt19937 random(5);
  const std::string_view pairs = "()[]{}";
  for (int round = 0; round < 2000; ++round) {
    std::vector<char> stack;
    size_t outer_left = 0;
    CodeScanner before(nullptr);
    for (size_t n = random() % 6; n > 0; --n) {
      const char opener = pairs[random() % 3 * 2];
      before.feed(opener);
      stack.push_back(closer_of(opener));
    }
    outer_left = stack.size();
    OuterBrackets outer(before);
    for (size_t n = random() % 12; n > 0; --n) {
      const bool closes = random() % 2 == 0;
      std::optional<size_t> want;
      char c = 0;
      if (!closes) {
        c = pairs[random() % 3 * 2];
        stack.push_back(closer_of(c));
      } else if (stack.empty()) {
        c = ')';
        want = 0;
      } else {
        c = stack.back();
        if (stack.size() <= outer_left) want = stack.size();
        stack.pop_back();
        outer_left = std::min(outer_left, stack.size());
      }
      CHECK(outer.feed(c) == want);
    }
  }
}

}  // namespace
}  // namespace cambium::assist
