#include "lsp/assist/block_placement.h"

#include <doctest/doctest.h>

#include <fstream>
#include <random>
#include <string>

#include "tests/support/source_dir.h"

using namespace cambium;
using namespace cambium::assist;
using namespace cambium::test;

namespace {

/// The text with the block placed; a sentence in angle brackets where it can't be. `selected`: a part of
/// the text, as it stands there.
std::string placed(const char* language, const std::string& text, const std::string& block,
                   const std::string& selected = "") {
  std::optional<syntax::ByteRange> selection;
  if (!selected.empty()) {
    const size_t at = text.find(selected);
    REQUIRE(at != text.npos);
    selection =
        syntax::ByteRange{static_cast<uint32_t>(at), static_cast<uint32_t>(at + selected.size())};
  }
  const auto placement = place_block(syntax::language_by_id(language), text, block, selection);
  if (!placement) return "<" + placement.error().message + ">";
  return with_changes(text, placement->changes).value_or("<changes that overlap>");
}

const std::string kShop =
    "import os\n"
    "\n"
    "\n"
    "class Shop:\n"
    "    # All of it.\n"
    "    def total(self):\n"
    "        return 1\n"
    "\n"
    "    def name(self):\n"
    "        return 2\n"
    "\n"
    "\n"
    "def main():\n"
    "    x = 1\n"
    "    y = 2\n"
    "    return x\n";

/// kShop with one piece of it replaced.
std::string shop_with(const std::string& old, const std::string& fresh) {
  std::string text = kShop;
  const size_t at = text.find(old);
  REQUIRE(at != text.npos);
  return text.replace(at, old.size(), fresh);
}

}  // namespace

TEST_CASE("a definition takes the place of the one with its name") {
  const std::string fresh = "def main():\n    return 3\n";
  CHECK(placed("python", kShop, fresh) ==
        shop_with("def main():\n    x = 1\n    y = 2\n    return x\n", fresh));
  // A method that is shown without its class, under the class's indentation.
  CHECK(placed("python", kShop, "\n\ndef total(self):\n    if x:\n\n        return 5") ==
        shop_with("        return 1\n", "        if x:\n\n            return 5\n"));
  CHECK(placed("python", kShop, "  def total(self):\n    if x:\n\n      return 5") ==
        shop_with("        return 1\n", "      if x:\n\n        return 5\n"));
  // The same again changes nothing.
  CHECK(placed("python", kShop, "def name(self):\n    return 2") == kShop);
  // Inside a selection that says no more than it already does.
  CHECK(placed("python", kShop, fresh, "x = 1") ==
        shop_with("def main():\n    x = 1\n    y = 2\n    return x\n", fresh));
}

TEST_CASE(
    "comments and decorators right above go with their definition, and stay where none are shown") {
  CHECK(placed("python", kShop, "# Most of it.\n@cached\ndef total(self):\n    return 1\n") ==
        shop_with("    # All of it.\n", "    # Most of it.\n    @cached\n"));
  CHECK(placed("python", kShop, "def total(self):\n    return 7\n") ==
        shop_with("return 1", "return 7"));
}

TEST_CASE("a class that is shown in part keeps the members that are not shown") {
  const std::string block =
      "class Shop:\n"
      "    def total(self):\n"
      "        return 9\n"
      "\n"
      "    def owner(self):\n"
      "        return 4\n";
  CHECK(placed("python", kShop, block) ==
        shop_with("        return 1\n",
                  "        return 9\n\n    def owner(self):\n        return 4\n"));
}

TEST_CASE("what the file lacks is added: imports to imports, definitions after their neighbours") {
  CHECK(placed("python", kShop, "import os\nimport sys\n\ndef main():\n    return sys\n") ==
        shop_with("import os\n", "import os\nimport sys\n")
            .replace(shop_with("import os\n", "import os\nimport sys\n").find("    x = 1"),
                     std::string("    x = 1\n    y = 2\n    return x\n").size(),
                     "    return sys\n"));
  CHECK(placed("python", kShop, "def other():\n    return 3\n") ==
        kShop + "\n\ndef other():\n    return 3\n");
  const auto placement =
      place_block(syntax::language_by_id("python"), kShop,
                  "def other():\n    pass\n\ndef main():\n    pass\n\nprint(main())\nmain()\n", {});
  REQUIRE(placement);
  CHECK(placement->added == std::vector<std::string>{"other"});
  CHECK(placement->replaced == std::vector<std::string>{"main"});
  CHECK(placement->left_out == 2);
}

TEST_CASE("an include above a function is an import, an attribute belongs to the function") {
  const std::string text = "#include <vector>\n\nint f() { return 1; }\n";
  CHECK(placed("cpp", text, "#include <string>\nint f() { return 2; }\n") ==
        "#include <vector>\n#include <string>\n\nint f() { return 2; }\n");
  CHECK(placed("cpp", text, "#include <vector>\nint f() { return 2; }\n") ==
        "#include <vector>\n\nint f() { return 2; }\n");
  CHECK(placed("rust", "#[test]\nfn f() {}\n", "#[inline]\nfn f() { g() }\n") ==
        "#[inline]\nfn f() { g() }\n");
}

TEST_CASE("whatever lines of a file are placed in it, the changes are apart and in order") {
  std::mt19937 random(11);
  for (const auto& [language, name] : {std::pair("python", "inventory.py"),
                                       {"cpp", "ring_buffer.cpp"},
                                       {"typescript", "event_bus.ts"}}) {
    std::ifstream in(source_dir() + "/lsp/cli/demo/" + name);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    REQUIRE(!text.empty());
    for (int round = 0; round < 60; ++round) {
      size_t begin = random() % text.size(), end = begin + random() % (text.size() - begin) + 1;
      const std::string block = text.substr(begin, end - begin);
      CAPTURE(block);
      std::optional<syntax::ByteRange> selection;
      if (round % 3 == 0)
        selection = syntax::ByteRange{0, static_cast<uint32_t>(random() % text.size())};
      const auto placement = place_block(syntax::language_by_id(language), text, block, selection);
      if (placement) CHECK(with_changes(text, placement->changes).has_value());
    }
    // The whole of it is there already.
    const auto whole = place_block(syntax::language_by_id(language), text, text, {});
    REQUIRE(whole);
    CAPTURE(name);
    for (const TextChange& change : whole->changes) {
      CHECK(text.substr(change.range.begin, change.range.end - change.range.begin) == change.text);
    }
  }
}

TEST_CASE("of two definitions with one name, the selected one is meant") {
  const std::string text =
      "struct A {\n  int f() { return 1; }\n};\nstruct B {\n  int f() { return 1; }\n};\n";
  const std::string block = "int f() { return 2; }\n";
  const std::string changed =
      "struct A {\n  int f() { return 1; }\n};\nstruct B {\n  int f() { return 2; }\n};\n";
  CHECK(placed("cpp", text, block, "struct B {\n  int f() { return 1; }") == changed);
  CHECK(placed("cpp", text, "struct B {\n  int f() { return 2; }\n};\n") == changed);
}

TEST_CASE("a block that defines nothing replaces the selected lines, or those between its ends") {
  CHECK(placed("python", kShop, "z = 5\nif z:\n    z = 6", "x = 1\n    y") ==
        shop_with("    x = 1\n    y = 2\n", "    z = 5\n    if z:\n        z = 6\n"));
  CHECK(placed("python", kShop, "x = 1\nz = 7\nreturn x\n") ==
        shop_with("    y = 2\n", "    z = 7\n"));
  // Without a grammar, too.
  CHECK(placed("nothing", "a\nb\nc", "B", "b") == "a\nB\nc");
  CHECK(placed("nothing", "a\nb\nc", "C\n", "c") == "a\nb\nC");
  for (const char* nowhere : {"z = 5\n", "x = 1\nz = 5\n", "return x\nx = 1\n"})
    CHECK(placed("python", kShop, nowhere).starts_with("<it is not clear where"));
  CHECK(placed("python", kShop, " \n") == "<the block is empty>");
}

TEST_CASE("line ends stay as the file has them") {
  CHECK(placed("nothing", "a\r\nb\r\nc\r\n", "x\ny", "b") == "a\r\nx\r\ny\r\nc\r\n");
  CHECK(placed("javascript", "function f() {\r\n  return 1;\r\n}\r\n",
               "function f() {\n  return 2;\n}\n") == "function f() {\r\n  return 2;\r\n}\r\n");
}
