#include "syntax/closes.h"

#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

/// `^` marks the cursor.
struct Marked {
  std::string text;
  size_t cursor;
};
Marked marked(std::string text) {
  const size_t cursor = text.find('^');
  REQUIRE(cursor != std::string::npos);
  text.erase(cursor, 1);
  return {std::move(text), cursor};
}

}  // namespace

TEST_CASE("errors are counted where they are") {
  const Language* c = language_by_id("c");
  Parser parser(*c);
  const std::string good = "int f() {\n  return 1;\n}\n",
                    bad = "int f() {\n  return 1\n}\nint g( {\n}\n";
  CHECK(count_errors(*parser.parse(good)).total() == 0);
  const Tree tree = *parser.parse(bad);
  const ErrorCount all = count_errors(tree);
  CHECK(all.total() >= 2);
  CHECK(all.missing >= 1);
  const uint32_t g = static_cast<uint32_t>(bad.find("int g"));
  CHECK(count_errors(tree, {0, g - 2}).total() < all.total());
  CHECK(count_errors(tree, {g, UINT32_MAX}).total() < all.total());
}

TEST_CASE("an insertion may leave no more errors than there were") {
  const struct {
    const char *language, *text, *insertion;
    bool adds;
  } cases[] = {
      {"c", "int f() {\n  ^\n}\n", "return 1;", false},
      {"c", "int f() {\n  ^\n}\n", "return 1", true},
      {"c", "int f() {\n  ^\n}\n", "if (x) {", true},
      {"c", "int f() {\n  ^\n}\n", "if (x) {\n    y();\n  }", false},
      {"c", "int f() {\n  return g(^\n}\n", "1);", false},
      {"c", "int f() {\n  return g(^\n}\n", "1", false},  // no worse than before
      {"python", "def f():\n    ^\n", "return [1,\n            2]", false},
      {"python", "def f():\n    ^\n", "return [1,", true},
      {"python", "x = ^\ny = 2\n", "(1, 2)", false},
      {"typescript", "const a = ^;\n", "{ b: 1 }", false},
      {"typescript", "const a = ^;\n", "{ b: 1 ", false},  // as broken as before
      {"typescript", "f(^);\n", "{ b: 1 ", true},
      {"rust", "fn f() -> i32 {\n    ^\n}\n", "match x {\n        _ => 1,\n    }", false},
      {"go", "func f() {\n\tx := ^\n}\n", "map[string]int{\"a\": 1}", false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.language);
    CAPTURE(std::string(c.insertion));
    const Marked m = marked(c.text);
    const Language* language = language_by_id(c.language);
    InsertionCheck check(language, m.text, m.cursor);
    CHECK(check.adds_errors(c.insertion) == c.adds);
    CHECK_FALSE(check.adds_errors(""));
    Parser parser(*language);
    const Tree tree = *parser.parse(m.text);
    InsertionCheck with_tree(language, m.text, m.cursor, &tree);
    CHECK(with_tree.adds_errors(c.insertion) == c.adds);
  }
}

TEST_CASE("an insertion that ends a large error may uncover small ones") {
  // Without the end of the call nothing of the function is read; with it, loops made by a macro lack
  // a semicolon, which is not the insertion's doing.
  const std::string loop = "    for_each(item, list)\n    {\n        use(item);\n    }\n";
  const Marked m = marked(
      "void f(void)\n{\n    for (;;)\n    {\n        if (b)\n        {\n            ok = g(a,^\n"
      "        }\n    }\n" +
      loop + loop + "}\n");
  InsertionCheck check(language_by_id("c"), m.text, m.cursor);
  CHECK(check.before().total() == 1);
  CHECK_FALSE(check.adds_errors(" 1);"));
  CHECK(check.ends_node(" 1);"));
  CHECK(check.adds_errors(" 1); } int g( { a b c; }"));
}

TEST_CASE("an insertion may replace what was typed") {
  const Marked m = marked("int f() {\n  retu^\n}\n");
  InsertionCheck check(language_by_id("c"), m.text, m.cursor);
  CHECK_FALSE(check.adds_errors("return 1;", 4));
  CHECK(check.adds_errors("return (1;\n}\nint g( {", 4));
  check.adds_errors("return 1;", 1000);  // more than there is: all of it
}

TEST_CASE("a completion ends where the node at the cursor ends") {
  // `|` in the insertion marks the end of the node.
  const struct {
    const char *language, *text, *insertion;
  } cases[] = {
      {"c", "int f() {\n  ^\n}\n", "x = 1;|\n  y = 2;"},
      {"c", "int f() {\n  if (x) ^\n  z();\n}\n", "{\n    y();\n  }|\n  w();"},
      {"c", "int f() {\n  x = ^\n  z();\n}\n", "g(1, 2);|"},
      {"python", "def f():\n    ^\n", "if a:\n        b()\n        c()|\n    d()"},
      {"python", "def f():\n    return ^\n", "a + b|\n    c()"},
      {"javascript", "^\n", "function a() {\n  return 1;\n}|\n\nfunction b() {\n}"},
      {"javascript", "const a = ^\n", "() => {\n  b();\n};|\nc();"},
      {"go", "package p\n\nfunc f() {\n\t^\n}\n", "for i := range x {\n\t\ty(i)\n\t}|\n\tz()"},
      {"yaml", "a:\n  ^\n", "b: 1|\n  c: 2"},
      {"yaml", "a:\n  ^\n", "b:\n    c: 1|\n  d: 2"},
      {"yaml", "a:\n  - ^\n", "b: 1\n    c: 2|\n  - d: 3"},
      {"toml", "[a]\n^\n", "b = [\n  1,\n]|\nc = 2"},
      {"html", "<div>\n  ^\n</div>\n", "<p>\n    a\n  </p>|\n  <p>b</p>"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.language);
    const Marked m = marked(c.text);
    std::string insertion = c.insertion;
    const size_t end = insertion.find('|');
    insertion.erase(end, 1);
    CAPTURE(insertion);
    InsertionCheck check(language_by_id(c.language), m.text, m.cursor);
    CHECK(check.node_end(insertion) == end);
    CHECK(check.is_complete_node(std::string_view(insertion).substr(0, end)));
    if (end < insertion.size()) CHECK_FALSE(check.is_complete_node(insertion));
  }
}

TEST_CASE("an insertion of several statements may end with a node, too") {
  const struct {
    const char *language, *text, *insertion;
    bool ends;
  } cases[] = {
      {"c", "int f() {\n  ^\n}\n", "x = 1;\n  y = 2;", true},
      {"c", "int f() {\n  ^\n}\n", "x = 1;\n  y = 2;\n", true},
      {"c", "int f() {\n  ^\n}\n", "if (a) {\n    y = 2;", false},
      {"c", "int f() {\n  return g(^\n}\n", "1, 2);", true},
      {"c", "int f() {\n  return g(1 ^);\n}\n", "+", false},
      {"python", "def f():\n    ^\n", "a()\n    b()", true},
      {"python", "def f():\n    ^\n", "a()\n    b(", false},
      {"python", "x = [^]\n", "1, 2,", true},
      {"python", "def f():\n    ^\n", "  ", false},
      {"go", "package p\n\nfunc f() {\n\t^\n}\n", "x := 1\n\ty(x)", true},
      {"rust", "fn f() {\n    ^\n}\n", "let x = 1;\n    g(x)", true},
      {"rust", "fn f() {\n    ^\n}\n", "let x = 1;\n    let", false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.language);
    CAPTURE(std::string(c.insertion));
    const Marked m = marked(c.text);
    InsertionCheck check(language_by_id(c.language), m.text, m.cursor);
    CHECK(check.ends_node(c.insertion) == c.ends);
  }
  InsertionCheck nothing(nullptr, "a", 1);
  CHECK_FALSE(nothing.ends_node("b"));
}

TEST_CASE("in a long text only what is near is parsed") {
  std::string text = "class A {\n";
  for (int i = 0; i < 2000; ++i)
    text += "  int f" + std::to_string(i) + "(int a) {\n    return a;\n  }\n";
  text += "};\n";
  const size_t cursor = text.find("return a;", text.size() / 2);
  InsertionCheck check(language_by_id("cpp"), text, cursor);
  CHECK_FALSE(check.adds_errors("if (a) {\n      a++;\n    }\n    "));
  CHECK(check.adds_errors("if (a) {\n"));
  InsertionCheck outside(language_by_id("cpp"), text, text.size());
  CHECK_FALSE(outside.adds_errors("int x;\n"));
}

TEST_CASE("without a language everything fits") {
  InsertionCheck check(nullptr, "a {", 3);
  CHECK_FALSE(check.adds_errors("}}}"));
  CHECK(check.node_end("abc") == 3);
  InsertionCheck huge(language_by_id("c"), std::string(kMaxText + 1, 'x'), 5);
  CHECK_FALSE(huge.adds_errors("}}}"));
}

TEST_CASE("a suggestion is taken node by node") {
  const struct {
    const char *language, *text;
    std::vector<std::string>
        parts;  ///< of the insertion at `^`, each the first node of what is left
  } cases[] = {
      {"python",
       "def f(self):\n    for item in ^\n    return 1\n",
       {"self.items", ":", "\n        total += item.total()"}},
      {"python", "def f(a):\n    ^\n", {"b = a + 1", "\n    return b"}},
      {"python", "def f(a):\n    return a^\n", {".items", ".get", "(name)"}},
      {"python", "def f(a):\n    ret^\n", {"urn a"}},
      {"c", "int f(int a) {\n  ^\n}\n", {"if (a) {\n    g();\n  }", "\n  return a;"}},
      {"typescript", "const a = ^;\n", {"{ b: 1, c: 2 }"}},
  };
  for (const auto& c : cases) {
    const auto [text, cursor] = marked(c.text);
    std::string rest;
    for (const std::string& part : c.parts) rest += part;
    std::string now = text;
    size_t at = cursor;
    for (const std::string& part : c.parts) {
      CAPTURE(c.text);
      CAPTURE(rest);
      const size_t taken = InsertionCheck(language_by_id(c.language), now, at).first_node(rest);
      CHECK(rest.substr(0, taken) == part);
      now.insert(at, part);
      at += part.size();
      rest.erase(0, part.size());
    }
  }
}

TEST_CASE(
    "the first node of anything is a part of it that is not empty, and white space is its own "
    "end") {
  const Language* language = language_by_id("python");
  const std::string text = "def f():\n    ";
  for (const char* insertion : {"", "   ", "\n", "(((", "\"open", "return [1,", "x\n\n\n"}) {
    CAPTURE(insertion);
    const size_t size = std::string_view(insertion).size();
    const size_t taken = InsertionCheck(language, text, text.size()).first_node(insertion);
    CHECK(taken <= size);
    CHECK((taken > 0 || size == 0));
  }
  CHECK(InsertionCheck(nullptr, text, text.size()).first_node("a b") == 3);
}
