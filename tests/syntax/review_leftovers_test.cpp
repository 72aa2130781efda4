#include "syntax/review_leftovers.h"

#include <doctest/doctest.h>

#include <string>

#include "syntax/languages.h"

using namespace cambium::syntax;

namespace {

std::string told(const std::vector<Site>& sites, const std::string& text) {
  std::string out;
  for (const Site& site : sites) {
    CHECK(site.kind == SiteKind::leftover);
    REQUIRE(site.alternatives.size() == 1);
    out += (out.empty() ? "" : "; ") + std::to_string(site.range.begin) + " " +
           text.substr(site.range.begin, site.range.end - site.range.begin) + ": " +
           site.alternatives[0];
  }
  return out;
}

RepeatedStatements repeated(const std::string& language, const std::string& text) {
  const Language* known = language_by_id(language);
  REQUIRE(known != nullptr);
  const auto tree = Parser(*known).parse(text);
  REQUIRE(tree);
  REQUIRE_FALSE(tree->has_error());
  return repeated_statements(tree->root(), text);
}

/// The place of the n-th `word` in a text.
std::string at(const std::string& text, const std::string& word, int n) {
  size_t found = text.find(word);
  while (--n > 0) found = text.find(word, found + 1);
  return std::to_string(found);
}

}  // namespace

TEST_CASE("a word that a repeated statement changed in one place only is a leftover") {
  const struct {
    const char* language;
    std::string text, written;
    int occurrence;
    const char* instead;
  } cases[] = {
      {"python", "def f(a):\n    x = a.x\n    y = a.x\n", "x", 3, "y"},
      // Words of names, in the style that stands there.
      {"javascript", "const startX = box.getX();\nconst startY = box.getX();\n", "getX", 2, "getY"},
      {"go", "package p\nfunc f(s T) {\n\tlo := s.Lo\n\thi := s.Lo\n}\n", "Lo", 2, "Hi"},
      {"c", "void f(void) {\n  g(MAX_X, limit_x);\n  g(MAX_Y, limit_x);\n}\n", "limit_x", 2,
       "limit_y"},
      // Operands, arguments and branches are neighbours as statements are.
      {"java", "class C { boolean f(P p, P q) { return p.minX < q.minX && p.minY < q.minX; } }\n",
       "minX", 3, "minY"},
      {"cpp", "void f() { g(a.width - b.width, a.height - b.width); }\n", "width", 3, "height"},
      {"rust", "fn f() { match k { 1 => a.left(left), 2 => a.right(left), _ => {} } }\n", "left", 3,
       "right"},
      // Numbers change along as well, and a comment between is none of the two.
      {"typescript", "p.x0 = q[0];\n// and\np.x1 = q[0];\n", "0", 3, "1"},
      {"csharp", "class C { void F() { Width = r.Width; Height = r.Width; } }\n", "Width", 3,
       "Height"},
      // A name of another make is taken as a whole.
      {"python", "width = r.width\nmax_height = r.width\n", "width", 3, "max_height"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.text);
    CHECK(told(repeated(one.language, one.text).leftovers, one.text) ==
          at(one.text, one.written, one.occurrence) + " " + one.written + ": " + one.instead);
  }
}

TEST_CASE("what changed along, changed twice over or stayed more often than not is no leftover") {
  for (const std::string text : {
           "x = a.x\ny = a.y\n",              // changed along
           "x = f(x, x)\ny = f(x, x)\n",      // stayed twice, changed once
           "x = a.f(x, x)\ny = a.f(z, x)\n",  // became two things
           "x = a.x\ny = b.x[0]\n",           // not alike
           "x = a.x\ny = a.x + 1\n",          // not alike
           "x = 1\ny = 2\n",                  // too short to be a copy
           "f(a, b, c, d)\nf(b, a, c, d)\n",  // swapped
           "a1 = a + b1\na2 = a + b1 + c\n",  // another length
       }) {
    CAPTURE(text);
    CHECK(told(repeated("python", text).leftovers, text).empty());
  }
}

TEST_CASE("places that changed along are told with what stands in the first of the two") {
  const std::string text = "start_x = a.x\nstart_y = a.y\n";
  const auto found = repeated("python", text);
  CHECK(found.leftovers.empty());
  CHECK(told(found.consistent, text) == at(text, "y", 2) + " y: x");
  // Put in, it is a leftover that points back.
  std::string slipped = text;
  slipped.replace(found.consistent[0].range.begin, 1, found.consistent[0].alternatives[0]);
  CHECK(told(repeated("python", slipped).leftovers, slipped) == at(slipped, "x", 3) + " x: y");
}

TEST_CASE("long and deep code is left alone") {
  std::string deep = "x = ", wide = "x = [";
  for (int i = 0; i < 3000; ++i) deep += "a + ", wide += "f(a, b.a), ";
  for (const std::string& text : {deep + "a\n", wide + "]\n"}) {
    CHECK(repeated("python", text + text).leftovers.empty());
  }
}
