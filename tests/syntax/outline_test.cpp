#include "syntax/outline.h"

#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

std::string outline_of(std::string_view id, std::string_view text) {
  Parser parser(*language_by_id(id));
  std::string out;
  const auto items = outline(*parser.parse(text), text);
  for (const OutlineItem& item : items) {
    for (int32_t up = item.parent; up >= 0; up = items[static_cast<size_t>(up)].parent) out += "  ";
    out += std::string(item.kind) + (item.name.empty() ? "" : " " + item.name) + "\n";
  }
  return out;
}

const Sample& sample(std::string_view file) {
  const auto found = std::find_if(samples().begin(), samples().end(),
                                  [&](const Sample& s) { return s.file == file; });
  REQUIRE(found != samples().end());
  return *found;
}

}  // namespace

TEST_CASE("the outline holds imports, definitions and members, and not what functions hold") {
  CHECK(outline_of("python", sample("sample.py").text) ==
        "import\nimport\nclass Shape\n  method area\n  method name\nfunction main\n");
  CHECK(outline_of("cpp", sample("sample.cpp").text) ==
        "import\nimport\nimport\nnamespace shapes\n  enum Kind\n  class Box\n    method Box\n    "
        "method ~Box\n"
        "    method get\n  function Box<T>::~Box\n  function run\n  struct Config\n");
  CHECK(outline_of("typescript", sample("sample.ts").text) ==
        "import\ninterface Options\ninterface Pair\nenum Level\nnamespace Inner\n"
        "class Base\n  method constructor\n  method size\n  method all\nfunction parse\n");
  CHECK(outline_of("go", sample("sample.go").text) ==
        "import\nimport\ninterface Shape\nstruct Square\nvariable table\nmethod Area\nfunction "
        "main\n");
}

TEST_CASE("the outline of markup: headings, tables, the keys of the first level, ids") {
  CHECK(outline_of("markdown", "# A `b`\n\nx\n\n## C ##\n\n### D\n\n```\n# e\n```\n\n# F\n") ==
        "section A `b`\n  section C\n    section D\nsection F\n");
  CHECK(outline_of("toml", "a = 1\n\n[b.c]\nd = 2\n\n[[e]]\nf = 3\n") ==
        "key a\ntable b.c\ntable e\n");
  CHECK(outline_of("yaml", "a: 1\nb:\n  c:\n    d: 1\ne: [\n  1]\n") == "key a\nkey b\nkey e\n");
  CHECK(
      outline_of("html", "<body><h1>A</h1>\n<div class=b id=\"c\">\n<h2>\nD</h2></div></body>\n") ==
      "heading A\nelement div#c\n  heading D\n");
  const std::string text = "# A\n\nb\n\n## C ##\n\nd\n";
  Parser parser(*language_by_id("markdown"));
  CHECK(outline_text(outline(*parser.parse(text), text), text, 1000) == "# A\n  ## C ##\n");
}

TEST_CASE("every language with functions has them in its outline") {
  for (const Sample& s : samples()) {
    if (!s.language->programming) continue;
    CAPTURE(s.file);
    Parser parser(*s.language);
    const auto items = outline(*parser.parse(s.text), s.text);
    CHECK(std::any_of(items.begin(), items.end(), [](const OutlineItem& item) {
      return (item.kind == "function" || item.kind == "method") && !item.name.empty();
    }));
    for (const OutlineItem& item : items) {
      CHECK(item.range.end <= s.text.size());
      CHECK(item.signature.begin >= item.range.begin);
      CHECK(item.signature.end <= item.range.end);
      if (item.parent >= 0)
        CHECK(items[static_cast<size_t>(item.parent)].range.end >= item.range.end);
    }
  }
}

TEST_CASE("signatures are told one a line, within a budget, without what is skipped") {
  const std::string text =
      "#include <a.h>\nint f(int a,\n      int b) {\n  return a;\n}\nstruct S {\n  int g() {\n    "
      "return 1;\n  }\n};\n";
  Parser parser(*language_by_id("cpp"));
  const auto items = outline(*parser.parse(text), text);
  CHECK(outline_text(items, text, 1000) ==
        "#include <a.h>\nint f(int a, int b)\nstruct S\n  int g()\n");
  CHECK(outline_text(items, text, 40) == "#include <a.h>\nint f(int a, int b)\n");
  CHECK(outline_text(items, text, 1000, {15, 30}) == "#include <a.h>\nstruct S\n  int g()\n");
}
