#include "syntax/tree_changes.h"

#include "syntax/bench.h"
#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

/// A tree before and after an edit, and where they differ.
struct Edited {
  Edited(const std::string& before, const Edit& edit) {
    Parser parser(*language_by_id("cpp"));
    const auto tree = parser.parse(before);
    REQUIRE(tree);
    Tree old = *tree;
    old.edit(input_edit(before, edit));
    const auto fresh = parser.parse(applied(before, edit), &old);
    REQUIRE(fresh);
    places = changed_places(old, *fresh);
  }
  uint32_t bytes() const {
    uint32_t sum = 0;
    for (const ByteRange& place : places) sum += place.end - place.begin;
    return sum;
  }
  bool hold(uint32_t byte) const {
    return std::any_of(places.begin(), places.end(),
                       [&](ByteRange place) { return place.begin <= byte && byte <= place.end; });
  }
  std::vector<ByteRange> places;
};

}  // namespace

TEST_CASE("an identifier that changes changes no place but perhaps its own") {
  const std::string text = generated_source(2000);
  const uint32_t at = static_cast<uint32_t>(text.find("limit_;", text.size() / 2));
  const Edited edited(text, {at, at, "x"});
  CHECK(edited.places.size() <= 1);
  CHECK(edited.bytes() <= 64);
}

TEST_CASE("behind a broken keyword only what became other nodes is a changed place") {
  const std::string text = generated_source(2000);
  for (const char* keyword : {"else {", "if (value", "class Item"}) {
    CAPTURE(keyword);
    const uint32_t at = static_cast<uint32_t>(text.find(keyword, text.size() / 2));
    const Edited edited(text, {at, at, "x"});
    CHECK(edited.hold(at));
    CHECK(edited.places.size() <= 12);
    CHECK(edited.bytes() < 4096);
    CHECK(std::is_sorted(edited.places.begin(), edited.places.end(),
                         [](ByteRange a, ByteRange b) { return a.begin < b.begin; }));
  }
}

TEST_CASE("what begins elsewhere begins with another range or kind is a changed place") {
  std::string text = "int kept() { return 1; }\n";
  while (text.size() < 1000) text += "// so that the change is not narrow\n";
  const uint32_t at = static_cast<uint32_t>(text.size());
  text += "struct A {\n";
  for (int i = 0; i < 10; ++i)
    text += "  // so that the method is not near the struct's beginning\n";
  text += "  int first() { return 1; }\n";
  for (int i = 0; i < 10; ++i) text += "  // nor near its end\n";
  text += "};\n";
  for (int i = 0; i < 20; ++i) text += "int later" + std::to_string(i) + "() { return 0; }\n";
  // The class's end goes: everything behind it is inside it now.
  const uint32_t end = static_cast<uint32_t>(text.find("};\n", at));
  const Edited edited(text, {end, end + 2, {}});
  CHECK(edited.hold(at));
  CHECK_FALSE(edited.hold(static_cast<uint32_t>(text.find("return 1", at))));
}
