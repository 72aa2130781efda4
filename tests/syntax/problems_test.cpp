#include "syntax/problems.h"

#include <doctest/doctest.h>

#include <string>

#include "syntax/closes.h"
#include "syntax/languages.h"
#include "tests/support/markers.h"

using namespace cambium;
using namespace cambium::syntax;

namespace {

Problems problems_of(const std::string& language, const std::string& text) {
  const Language* known = language_by_id(language);
  REQUIRE(known != nullptr);
  const auto tree = Parser(*known).parse(text);
  REQUIRE(tree);
  return find_problems(*tree, text);
}

std::string fixed(const Problem& problem, std::string text) {
  if (!problem.fix) return {};
  const auto [begin, end] = problem.fix->range;
  return text.replace(begin, end - begin, problem.fix->replacement);
}

}  // namespace

TEST_CASE("what does not parse is named, marked and where it is certain mended") {
  const struct {
    const char* language;
    const char* source;  ///< the underlined part in marks
    const char* kind;
    const char* message;
    const char* fixed;  ///< empty: no fix
  } cases[] = {
      {"lua", "local x = f(1, [[2]]\nlocal y = 3\n", "missing", "Expected ')' after '2'.",
       "local x = f(1, 2)\nlocal y = 3\n"},
      {"javascript", "const a = [1, [[2]];\nf();\n", "missing", "Expected ']' after '2'.",
       "const a = [1, 2];\nf();\n"},
      {"typescript", "function f() {\n  g([[1]];\n}\n", "missing", "Expected ')' after '1'.",
       "function f() {\n  g(1);\n}\n"},
      {"java", "class A { int f() { return [[1]] } }\n", "missing", "Expected ';' after '1'.",
       "class A { int f() { return 1; } }\n"},
      {"ruby", "def f\n  1\n[[)]]\nend\n", "unopened",
       "')' closes nothing: no bracket before it is open.", "def f\n  1\n\nend\n"},
      {"go", "package a\nfunc f() {\n\tx := 1 [[)]]\n}\n", "unopened",
       "')' closes nothing: no bracket before it is open.",
       "package a\nfunc f() {\n\tx := 1 \n}\n"},
      {"python", "def f():\n    return [[(]]1 +\n\nx = 1\n", "unclosed", "'(' is never closed.",
       ""},
      {"python", "def f(x):\n    print[[(]]g(x)  # it (\n    return x\n", "unclosed",
       "'(' is never closed.", "def f(x):\n    print(g(x))  # it (\n    return x\n"},
      {"python", "y = [g(1), [[(]]1, '('\nz = 1\n", "unclosed", "'(' is never closed.",
       "y = [g(1), (1, '(')]\nz = 1\n"},
      {"python", "def f[[(]]x:\n    return x\n", "unclosed", "'(' is never closed.",
       "def f(x):\n    return x\n"},
      {"python", "x = f[[(]]a,\n    b\ny = 2\n", "unclosed", "'(' is never closed.", ""},
      {"c", "int f(int x) {\n  return g(h[[(]]x;\n}\n", "unclosed", "'(' is never closed.",
       "int f(int x) {\n  return g(h(x));\n}\n"},
      {"java", "class A {\n  int f(int x) {\n    return k(l[[(]]x;\n  }\n}\n", "unclosed",
       "'(' is never closed.", "class A {\n  int f(int x) {\n    return k(l(x));\n  }\n}\n"},
      {"javascript", "if (x) { g[[(]]x; }\n", "unclosed", "'(' is never closed.",
       "if (x) { g(x); }\n"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.source);
    const auto marked = test::parse_markers(one.source);
    const Problems problems = problems_of(one.language, marked.text);
    REQUIRE(problems.found.size() == 1);
    const Problem& problem = problems.found.front();
    CHECK(problem.kind == one.kind);
    CHECK(problem.message == one.message);
    CHECK(problem.range.begin == marked.ranges.at(0).first);
    CHECK(problem.range.end == marked.ranges.at(0).second);
    CHECK(fixed(problem, marked.text) == one.fixed);
  }
}

TEST_CASE("a message never cuts a character, wherever its quotation ends") {
  const auto is_utf8 = [](std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
      if (lead >= 0x80 && lead < 0xC2) return false;
      for (size_t k = 1; k < size; ++k)
        if (i + k >= text.size() || (static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80)
          return false;
      i += size;
    }
    return true;
  };
  int told = 0;
  for (const char* id : {"c", "python", "javascript", "json", "html", "yaml"}) {
    for (const std::string character : {"é", "€", "😀"}) {
      for (size_t shift = 0; shift < 5; ++shift) {
        std::string word(shift, 'x');
        for (int i = 0; i < 20; ++i) word += character;
        for (const std::string& text : {"f(" + word + " " + word, "\\" + word,
                                        "<a " + word + "=\n[" + word + "}", word + ") ]"}) {
          CAPTURE(id);
          CAPTURE(text);
          for (const Problem& problem : problems_of(id, text).found) {
            ++told;
            CAPTURE(problem.message);
            CHECK(is_utf8(problem.message));
            CHECK(
                is_utf8(text.substr(problem.range.begin, problem.range.end - problem.range.begin)));
            if (problem.fix) CHECK(is_utf8(fixed(problem, text)));
          }
        }
      }
    }
  }
  CHECK(told > 100);
}

TEST_CASE("every fix that is offered leaves fewer errors") {
  // A bracket, a quote or a semicolon less: each place of a file in turn.
  const std::string whole =
      "function f(a, b) {\n  if (a[0] === b) {\n    g({ k: [1, 2] }, 'x');\n  }\n  return "
      "h(a)(b);\n}\n";
  int offered = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (std::string("()[]{}';").find(whole[i]) == std::string::npos) continue;
    std::string text = whole;
    text.erase(i, 1);
    CAPTURE(text);
    const auto count = [](const std::string& source) {
      return count_errors(*Parser(*language_by_id("javascript")).parse(source)).total();
    };
    for (const Problem& problem : problems_of("javascript", text).found) {
      CHECK(problem.range.end <= text.size());
      CHECK_FALSE(problem.message.empty());
      if (!problem.fix) continue;
      ++offered;
      CHECK(count(fixed(problem, text)) < count(text));
    }
  }
  CHECK(offered >= 5);
}

TEST_CASE("a bracket that was forgotten is put back where it was, or not far from it") {
  const struct {
    const char *language, *text;
    size_t offered, restored;  ///< at least, of the brackets that close
  } sources[] = {
      {"python",
       "def total(rows, key=(1, 2)):\n    names = [row[0] for row in rows]\n"
       "    if len(names) > max(1, key[0]):\n        print(f(names), sum(len(n) for n in names))\n"
       "    return sorted(names)[0]\n",
       12, 8},
      {"c",
       "int total(const int *rows, size_t n) {\n  int table[2] = {f(1), g(rows[0])};\n"
       "  for (size_t i = 0; i < min(n, size(rows)); ++i) {\n    if (is(rows[i])) {\n"
       "      add(&table[0], h(rows[i]));\n    }\n  }\n  return table[0];\n}\n",
       15, 14},
      {"go",
       "package p\n\nfunc total(rows []int) int {\n\tsum := g(len(rows))\n"
       "\tfor i := range f(rows) {\n\t\tif is(rows[i]) {\n\t\t\tsum += h(rows[i])\n\t\t}\n\t}\n"
       "\treturn sum\n}\n",
       7, 6},
      {"javascript",
       "function total(rows) {\n  const names = rows.map((r) => r[0]);\n"
       "  if (has(names, f(rows))) {\n    log({ a: [1, g(names)] });\n  }\n  return "
       "h(names[0]);\n}\n",
       11, 10},
  };
  for (const auto& source : sources) {
    CAPTURE(source.language);
    const std::string whole = source.text;
    size_t offered = 0, restored = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      if (whole[i] != ')' && whole[i] != ']') continue;
      std::string text = whole;
      text.erase(i, 1);
      CAPTURE(text);
      const auto problems = problems_of(source.language, text).found;
      if (problems.empty() || !problems.front().fix) continue;
      ++offered;
      const std::string mended = fixed(problems.front(), text);
      CHECK(mended.size() == whole.size());  // one bracket, wherever
      restored += mended == whole ? 1 : 0;
    }
    CHECK(offered >= source.offered);
    CHECK(restored >= source.restored);
  }
}

TEST_CASE("a line that ends in very many semicolons is not parsed for each of them") {
  const Problems problems = problems_of("python", "y = f(x" + std::string(50'000, ';') + "\n");
  REQUIRE(problems.found.size() == 1);
  CHECK_FALSE(problems.found.front().fix);
}

TEST_CASE("macros and conditional code are not reported") {
  for (const char* quiet : {
           "BEGIN_TABLE(x)\n  ENTRY(a, b\n)\nint y;\n",
           "int f(void) {\n#if X\n  if (a) {\n#else\n  if (b) {\n#endif\n    g();\n  }\n}\n",
       }) {
    CAPTURE(quiet);
    CHECK(problems_of("c", quiet).found.empty());
  }
  // The same kind of slip without any is.
  CHECK(problems_of("c", "int f(void) {\n  g(1;\n}\n").found.size() == 1);
}

TEST_CASE("a text that parses nowhere is bounded") {
  std::string noise;
  for (int i = 0; i < 400; ++i) noise += "x = 1 )\n";
  const Problems problems = problems_of("lua", noise);
  CHECK(problems.found.size() <= 20);
  CHECK(problems_of("python", "").found.empty());
  CHECK(problems_of("python", ")").found.size() == 1);
}
