#include "lsp/assist/postprocess.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/cursor.h"

using namespace cambium;
using assist::Draft;
using assist::Fitted;

namespace {

Fitted fit(std::string_view language, std::string_view source, std::string_view generated,
           bool cut_off = false, const assist::FitsSyntax& fits = {}) {
  const test::Marked at = test::marked(source);
  const auto plan =
      assist::plan_completion(at.text, at.cursor, syntax::language_by_id(language), true);
  Draft draft;
  draft.text = generated;
  draft.cut_off = cut_off;
  return assist::postprocess(plan, draft, fits);
}

/// What is parsed, in turn, where nothing fits.
std::vector<std::string> tried(std::string_view language, std::string_view source,
                               std::string_view generated) {
  std::vector<std::string> all;
  const Fitted nothing = fit(language, source, generated, false, [&](std::string_view text) {
    all.emplace_back(text);
    return false;
  });
  CHECK(nothing.text.empty());
  return all;
}

struct Case {
  const char* what;
  const char* language;
  const char* source;
  const char* generated;
  const char* expected;
};

}  // namespace

TEST_CASE("a suggestion never repeats what follows the cursor") {
  const Case cases[] = {
      {"closing bracket that is there", "python", "x = foo(<|>)\n", "a, b)", "a, b"},
      {"a bracket of its own stays", "python", "x = foo(<|>)\n", "bar(a)", "bar(a)"},
      {"both", "python", "x = foo(<|>)\n", "bar(a))", "bar(a)"},
      {"bracket and semicolon", "cpp", "  f(<|>);\n", "x, y);", "x, y"},
      {"an inner bracket that is not there", "c", "print(a, (int<|>);\n", ") b, (int) c);",
       ") b, (int) c"},
      {"a bracket in a string is text", "python", "x = foo(<|>)\n", "\")\", 1)", "\")\", 1"},
      {"rest of the line", "cpp", "int n = <|> + offset;\n", "base + offset;", "base"},
      {"beginning of the rest", "python", "return <|>total / count\n", "total /", ""},
      {"a word is not cut", "python", "n = <|>t = 3\n", "count", "count"},
      {"the next line", "python", "def f(a):\n    <|>\n    return a\n", "return a", ""},
      {"the next line after new ones", "python", "def f(a):\n    <|>\n    return a\n",
       "a += 1\n    return a\n", "a += 1"},
      {"the cursor's line completed to the next", "cpp", "  foo.<|>\n  foo.bar();\n", "bar();", ""},
      {"a line twice", "python", "def f(a):\n    <|>\n", "a += 1\n    a += 1\n    a += 1",
       "a += 1"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    const Fitted fitted = fit(c.language, c.source, c.generated);
    CHECK(fitted.text == c.expected);
    CHECK(fitted.dropped.empty() == !fitted.text.empty());
  }
}

TEST_CASE("white space and emptiness") {
  const Case cases[] = {
      {"nothing", "python", "x = <|>\n", "", ""},
      {"only white space", "python", "x = <|>\n", "  \n\n", ""},
      {"trailing white space", "python", "def f():\n    <|>\n", "return 1   \n   ", "return 1"},
      {"a space that is there", "python", "return <|>\n", " x", "x"},
      {"indentation is not such a space", "python", "def f():\n    <|>\n", " x = 1", " x = 1"},
      {"one line where code follows", "python", "x = f(<|>, 2)\n", "1\ny = 2", "1"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(fit(c.language, c.source, c.generated).text == c.expected);
  }
}

TEST_CASE("indentation and line ends are the file's") {
  const Case cases[] = {
      {"tabs stay tabs", "go", "func f() {\n\tx := 1\n\tif x > 0 {<|>\n\t}\n}\n",
       "\n        return x\n", "\n\t\treturn x"},
      {"two spaces for a tab", "go", "func f() {\n\tif a {<|>\n\t}\n\treturn\n}\n",
       "\n    if b {\n      g()\n    }", "\n\t\tif b {\n\t\t\tg()\n\t\t}"},
      {"spaces stay spaces", "python", "def f():\n    if a:\n        b()\n\ndef g():<|>\n",
       "\n\tif c:\n\t\td()", "\n    if c:\n        d()"},
      {"two-space files", "typescript",
       "function f() {\n  if (a) {\n    b();\n  }\n}\nfunction g() {<|>\n}\n", "\n\tc();",
       "\n  c();"},
      {"CRLF is kept", "python", "def f():\r\n    <|>\r\n", "a = 1\n    return a",
       "a = 1\r\n    return a"},
      {"LF is kept", "python", "def f():\n    <|>\n", "a = 1\r\n    return a",
       "a = 1\n    return a"},
      {"alignment survives tabs", "cpp", "void f() {\n\ta();\n\tb();\n\t<|>\n}\n",
       "c(1,\n      2);", "c(1,\n\t  2);"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(fit(c.language, c.source, c.generated).text == c.expected);
  }
}

TEST_CASE("what was cut off ends at a whole line") {
  CHECK(fit("python", "def f():\n    <|>\n", "a = 1\n    b = a +", true).text == "a = 1");
  CHECK(fit("python", "def f():\n    <|>\n", "a = 1 + b", true).text == "a = 1 + b");
}

TEST_CASE("syntax is checked, and less is offered before nothing") {
  int asked = 0;
  const auto check = [&](std::string_view good) {
    return [&asked, good](std::string_view text) {
      ++asked;
      return text == good;
    };
  };
  const char* source = "def f():\n    <|>\n";
  CHECK(fit("python", source, "a = 1\n    b = (", false, check("a = 1")).text == "a = 1");
  CHECK(asked == 2);
  CHECK(fit("cpp", "void f() {\n  <|>\n}\n", "g(1); h(", false, check("g(1);")).text == "g(1);");
  const Fitted nothing = fit("python", source, "a = = 1", false, check("never"));
  CHECK(nothing.text.empty());
  CHECK(nothing.dropped.find("syntax") != std::string::npos);
}

TEST_CASE(
    "less ends where a line's brackets are closed or at a semicolon, the longest tried first") {
  CHECK(
      tried("cpp", "void f() {\n  <|>\n}\n", "a(b[c]).d(e) f; g") ==
      std::vector<std::string>{"a(b[c]).d(e) f; g", "a(b[c]).d(e) f;", "a(b[c]).d(e)", "a(b[c])"});
}

TEST_CASE("of lines behind an empty first one, too, less is tried until nothing is left") {
  CHECK(tried("python", "def f():<|>\n", "\n    a = = 1\n    b = = 2") ==
        std::vector<std::string>{"\n    a = = 1\n    b = = 2", "\n    a = = 1"});
}

TEST_CASE("token healing: what was backed off is taken away again") {
  const test::Marked at = test::marked("import os\nos.pa<|>\n");
  const auto plan =
      assist::plan_completion(at.text, at.cursor, syntax::language_by_id("python"), true);
  Draft draft;
  draft.text = "path.join(a)";
  draft.required = "pa";
  CHECK(assist::postprocess(plan, draft, {}).text == "th.join(a)");
  draft.text = "getcwd()";
  CHECK(assist::postprocess(plan, draft, {}).text.empty());
}
