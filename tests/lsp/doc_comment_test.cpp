#include "lsp/assist/doc_comment.h"

#include <doctest/doctest.h>

#include <string>

#include "lsp/assist/code_writing.h"
#include "syntax/closes.h"
#include "syntax/languages.h"

using namespace cambium;
using namespace cambium::assist;

namespace {

/// The text with the comment put to its definition at '^', which is taken out; or "! " and why not.
std::string documented(const std::string& language, std::string text, const std::string& comment) {
  const size_t cursor = text.find('^');
  REQUIRE(cursor != text.npos);
  text.erase(cursor, 1);
  const auto* known = syntax::language_by_id(language);
  REQUIRE(known != nullptr);
  const auto tree = syntax::Parser(*known).parse(text);
  REQUIRE(tree);
  const auto items = syntax::outline(*tree, text);
  const auto at = static_cast<uint32_t>(cursor);
  const auto* item = definition_at(items, text, {at, at});
  REQUIRE(item != nullptr);
  const auto change = doc_comment(*tree, text, *item, comment);
  if (!change) return "! " + change.error().message;
  const auto out = with_changes(text, {*change});
  REQUIRE(out);
  const auto after = syntax::Parser(*known).parse(*out);
  CHECK(syntax::count_errors(*after).total() == syntax::count_errors(*tree).total());
  return *out;
}

}  // namespace

TEST_CASE("a comment stands where the language has it, in its marks and indentation") {
  const struct {
    const char *language, *text, *expected;
  } cases[] = {
      {"python", "def ^f(a):\n    return a\n", "def f(a):\n    \"\"\"Adds.\"\"\"\n    return a\n"},
      {"python",
       "class A:\n\n    def ^f(\n        self,\n        a,\n    ) -> int:\n\n        return a\n",
       "class A:\n\n    def f(\n        self,\n        a,\n    ) -> int:\n        "
       "\"\"\"Adds.\"\"\"\n\n        return a\n"},
      {"cpp", "template <class T>\nint ^f(T a) {\n  return a;\n}\n",
       "/**\n * Adds.\n */\ntemplate <class T>\nint f(T a) {\n  return a;\n}\n"},
      {"cpp", "/// Other.\nint g();\n\nint ^f(int a) { return a; }\n",
       "/// Other.\nint g();\n\n/// Adds.\nint f(int a) { return a; }\n"},
      {"java", "class A {\n  @Override\n  int ^f() {\n    return 1;\n  }\n}\n",
       "class A {\n  /**\n   * Adds.\n   */\n  @Override\n  int f() {\n    return 1;\n  }\n}\n"},
      {"go", "package a\n\nfunc ^F(a int) int {\n\treturn a\n}\n",
       "package a\n\n// Adds.\nfunc F(a int) int {\n\treturn a\n}\n"},
      {"rust", "#[inline]\npub fn ^f(a: i32) -> i32 {\n    a\n}\n",
       "/// Adds.\n#[inline]\npub fn f(a: i32) -> i32 {\n    a\n}\n"},
      {"csharp", "class A {\n    [Test]\n    int ^F() { return 1; }\n}\n",
       "class A {\n    /// <summary>\n    /// Adds.\n    /// </summary>\n    [Test]\n    int F() { "
       "return 1; }\n}\n"},
      {"typescript", "export function ^f(a: number): number {\n  return a;\n}\n",
       "/**\n * Adds.\n */\nexport function f(a: number): number {\n  return a;\n}\n"},
      {"ruby", "class A\n  def ^f(a)\n    a\n  end\nend\n",
       "class A\n  # Adds.\n  def f(a)\n    a\n  end\nend\n"},
      {"lua", "local function ^f(a)\n  return a\nend\n",
       "--- Adds.\nlocal function f(a)\n  return a\nend\n"},
      {"c", "int f(int a);\r\n\r\nint ^f(int a) {\r\n  return a;\r\n}\r\n",
       "int f(int a);\r\n\r\n/**\r\n * Adds.\r\n */\r\nint f(int a) {\r\n  return a;\r\n}\r\n"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.text);
    CHECK(documented(one.language, one.text, "Adds.") == one.expected);
    // Marks that a model puts there all the same are ours to put.
    CHECK(documented(one.language, one.text, "/**\n * Adds.\n */") == one.expected);
    CHECK(documented(one.language, one.text, "\"\"\"Adds.\"\"\"") == one.expected);
  }
}

TEST_CASE("what a model writes ends no comment and begins no code") {
  const std::string cpp = "int ^f(int a) { return a; }\n";
  CHECK(documented("cpp", cpp, "a */ int evil; /* b") ==
        "/**\n * a * / int evil; /* b\n */\nint f(int a) { return a; }\n");
  CHECK(documented("python", "def ^f():\n    pass\n", "a \"\"\" b") ==
        "def f():\n    \"\"\"a ''' b\"\"\"\n    pass\n");
  CHECK(documented("python", "def ^f():\n    pass\n", "a \\d and \"b\"") ==
        "def f():\n    r\"\"\"a \\d and \"b\"\n    \"\"\"\n    pass\n");
  CHECK(documented("go", "package a\n\nfunc ^F() {\n}\n", "ends \\") ==
        "package a\n\n// ends\nfunc F() {\n}\n");
  CHECK(
      documented("csharp", "class A {\n    int ^F() { return 1; }\n}\n", "x < y\xe2\x80\xa8 z & w")
          .find("/// x &lt; y z &amp; w\n") != std::string::npos);
  CHECK(documented("rust", "fn ^f() {\n}\n", std::string("a\x01\x07\0b", 5)) ==
        "/// ab\nfn f() {\n}\n");
}

TEST_CASE("long comments are wrapped, paragraphs kept") {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "word ";
  const std::string out = documented("cpp", "int ^f() { return 1; }\n", text + "\n\nMore.");
  for (size_t at = 0; at < out.size();) {
    const size_t end = out.find('\n', at);
    CHECK(end - at <= 88);
    at = end + 1;
  }
  CHECK(out.find("\n *\n * More.\n */\n") != std::string::npos);
}

TEST_CASE("where a comment is there already, or has no place, nothing is written") {
  CHECK(documented("python", "def ^f():\n    'Has one.'\n    pass\n", "x")
            .starts_with("! 'f' has a comment"));
  CHECK(
      documented("python", "def ^f(): pass\n", "x").starts_with("! 'f' has its body on the line"));
  CHECK(documented("cpp", "// Has one.\nint ^f() { return 1; }\n", "x")
            .starts_with("! 'f' has a comment"));
  CHECK(documented("rust", "/// Has one.\n#[inline]\nfn ^f() {\n}\n", "x")
            .starts_with("! 'f' has a comment"));
  CHECK(documented("cpp", "int ^f() { return 1; }\n", " \n\n ")
            .starts_with("! the model wrote an empty"));
}
