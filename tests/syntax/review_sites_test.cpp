#include "syntax/review_sites.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "syntax/closes.h"
#include "syntax/languages.h"

using namespace cambium::syntax;

namespace {

std::vector<FunctionSites> sites_of(const std::string& language, const std::string& text) {
  const Language* known = language_by_id(language);
  REQUIRE(known != nullptr);
  const auto tree = Parser(*known).parse(text);
  REQUIRE(tree);
  REQUIRE_FALSE(tree->has_error());
  return review_sites(*tree, text, {{0, static_cast<uint32_t>(text.size())}});
}

/// "name b: a c; compare <: <= >"
std::string told(const std::vector<FunctionSites>& functions, const std::string& text,
                 std::initializer_list<SiteKind> kinds) {
  std::string out;
  for (const FunctionSites& function : functions) {
    for (const Site& site : function.sites) {
      if (std::find(kinds.begin(), kinds.end(), site.kind) == kinds.end()) continue;
      out += (out.empty() ? "" : "; ") + std::string(to_string(site.kind)) + " " +
             text.substr(site.range.begin, site.range.end - site.range.begin) + ":";
      for (const std::string& other : site.alternatives) out += " " + other;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("a variable's alternatives are those visible there, and a definition has none") {
  const struct {
    const char* language;
    const char* text;
    const char* names;
  } cases[] = {
      {"python", "def f(a, b):\n    c = a\n    return c\n", "name a: b; name c: b a"},
      {"python", "def f(items, n):\n    for item in items:\n        use(item.size, key=n)\n",
       "name items: n; name item: n items; name n: item items"},
      {"javascript", "function f(a, b) {\n  { const c = a; g(c); }\n  return b;\n}\n",
       "name a: b; name c: b a; name b: a"},
      {"typescript", "function f(a: number, b: string): A {\n  return a;\n}\n", "name a: b"},
      {"java", "class C { int f(int a, int b) { int c = a; return c.size(b); } }\n",
       "name a: b; name c: b a; name b: c a"},
      {"go", "package p\nfunc f(a int, b int) int {\n\tc := a\n\treturn c + b\n}\n",
       "name a: b; name c: b a; name b: c a"},
      {"c", "int f(int a, char *b) { int c = a; return b[c]; }\n",
       "name a: b; name b: c a; name c: b a"},
      {"cpp", "int f(int a, std::string b) { for (auto c : b) { g(c); } return a; }\n",
       "name b: a; name c: b a; name a: b"},
      {"rust", "fn f(a: i32, b: i32) -> i32 {\n    let c = a;\n    c + b\n}\n",
       "name a: b; name c: b a; name b: c a"},
      {"csharp", "class C { int F(int a, int b) { var c = a; return c; } }\n",
       "name a: b; name c: b a"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.text);
    CHECK(told(sites_of(one.language, one.text), one.text, {SiteKind::name}) == one.names);
  }
}

TEST_CASE("operators, numbers, arguments, conditions and lost words are places too") {
  const std::string text =
      "async def f(a, b):\n"
      "    if a < 3 and b:\n"
      "        if not g(a, b):\n"
      "            h(a)\n"
      "    return True\n";
  CHECK(told(sites_of("python", text), text,
             {SiteKind::compare, SiteKind::logic, SiteKind::number, SiteKind::arguments,
              SiteKind::negation, SiteKind::boolean, SiteKind::await, SiteKind::return_}) ==
        "compare <: <= >; number 3: 4 2; logic and: or; negation not g: g; arguments a, b: b, a; "
        "await h: await h; return h: return h; boolean True: False");
}

TEST_CASE("each language's operators, numbers, arguments and conditions are places") {
  const std::initializer_list<SiteKind> kinds = {
      SiteKind::compare, SiteKind::arithmetic, SiteKind::logic,    SiteKind::number,
      SiteKind::boolean, SiteKind::arguments,  SiteKind::negation, SiteKind::await,
      SiteKind::return_, SiteKind::leftover};
  const std::string c_like =
      "compare <=: < >=; number 0: 1; logic &&: ||; arguments a, b: b, a; arithmetic +: -; "
      "negation !b: b; boolean true: false";
  const struct {
    const char* language;
    const char* text;
    std::string places;
  } cases[] = {
      {"c", "int f(int a, int b) { g(a <= 0 && b, h(a, b)); if (!b) return true; return a; }",
       "compare <=: < >=; number 0: 1; logic &&: ||; arguments a, b: b, a; negation !b: b; "
       "boolean true: false"},
      {"cpp", "bool f(int a, int b) { g(a <= 0 && b); h(a, b); b = a + b; if (!b) return true; }",
       c_like},
      {"java",
       "class C { boolean f(int a, int b) { g(a <= 0 && b); h(a, b); b = a + b; if (!b) return "
       "true; } }",
       c_like},
      {"csharp",
       "class C { bool F(int a, int b) { G(a <= 0 && b); H(a, b); b = a + b; if (!b) return true; "
       "} }",
       c_like},
      {"javascript",
       "function f(a, b) { g(a <= 0 && b); h(a, b); b = a + b; if (!b) return true; }", c_like},
      {"typescript",
       "function f(a: N, b: N) { g(a <= 0 && b); h(a, b); b = a + b; if (!b) return true; }",
       c_like},
      {"go",
       "package p\nfunc f(a int, b int) bool {\n\tg(a <= 0 && b)\n\th(a, b)\n\tb = a + b\n\tif !b "
       "{\n\t\treturn true\n\t}\n\treturn b\n}\n",
       c_like},
      {"rust",
       "fn f(a: N, b: N) -> bool { g(a <= 0 && b); h(a, b); b = a + b; if !b { return true; } b }",
       c_like},
      {"python",
       "def f(a, b):\n    g(a <= 0 and b)\n    h(a, b)\n    b = a + b\n    if not b:\n        "
       "return True\n    b\n",
       "compare <=: < >=; number 0: 1; logic and: or; arguments a, b: b, a; arithmetic +: -; "
       "negation not b: b; boolean True: False; return b: return b"},
      // What may have been lost: "not", "await", and the word that another line did change.
      {"javascript", "async function f(a, b) { if (a) h(a); const c = g(b); }",
       "negation a: !a; await h: await h; return h: return h; await g: await g"},
      {"cpp", "void f(B a, B b) { a.left = b.left; a.top = b.left; }", "leftover left: top"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.text);
    CHECK(told(sites_of(one.language, one.text), one.text, kinds) == one.places);
  }
}

TEST_CASE("a name comes with how often the function uses it and the others") {
  const std::string text = "def f(a, b):\n    c = a\n    return g(c, a, c)\n";
  std::string uses;
  const auto functions = sites_of("python", text);
  for (const Site& site : functions.at(0).sites) {
    if (site.kind != SiteKind::name) continue;
    uses += std::to_string(site.uses) + " of";
    for (const uint32_t other : site.alternative_uses) uses += " " + std::to_string(other);
    uses += "; ";
  }
  // a: b.  c: b, a.  a: c, b.  c: b, a, by where they are defined, the last one first.
  CHECK(uses == "1 of 0; 1 of 0 2; 1 of 2 0; 1 of 0 2; ");
}

TEST_CASE("every alternative parses") {
  const std::string text =
      "async function f(list, from, to) {\n"
      "  let sum = 0;\n"
      "  for (let i = from; i <= to && !list.done; i += 1) {\n"
      "    if (list[i]) sum = add(sum, list[i], from, to);\n"
      "  }\n"
      "  await save(sum);\n"
      "  return sum === 0 ? true : check(sum, to);\n"
      "}\n";
  size_t tried = 0;
  for (const FunctionSites& function : sites_of("javascript", text)) {
    for (const Site& site : function.sites) {
      for (const std::string& other : site.alternatives) {
        std::string changed = text;
        changed.replace(site.range.begin, site.range.end - site.range.begin, other);
        CAPTURE(changed);
        CHECK_FALSE(Parser(*language_by_id("javascript")).parse(changed)->has_error());
        ++tried;
      }
    }
  }
  CHECK(tried > 30);
}

TEST_CASE("only functions in the ranges asked for, and of languages that are known") {
  const std::string text = "def f(a, b):\n    return a\n\ndef g(a, b):\n    return b\n";
  const auto tree = Parser(*language_by_id("python")).parse(text);
  CHECK(review_sites(*tree, text, {{30, 31}}).size() == 1);
  CHECK(review_sites(*tree, text, {}).empty());
  const std::string shell = "f() {\n  echo $1\n}\n";
  const auto other = Parser(*language_by_id("shellscript")).parse(shell);
  CHECK(review_sites(*other, shell, {{0, 10}}).empty());
  // Deep nesting ends nothing but the look into it.
  std::string deep = "def f(a, b):\n    return ";
  for (int i = 0; i < 2000; ++i) deep += "(";
  deep += "a";
  for (int i = 0; i < 2000; ++i) deep += ")";
  deep += "\n";
  const auto nested = Parser(*language_by_id("python")).parse(deep);
  REQUIRE(nested);
  CHECK(review_sites(*nested, deep, {{0, 20}}).size() <= 1);
}
