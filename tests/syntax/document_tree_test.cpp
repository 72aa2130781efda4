#include "syntax/document_tree.h"

#include "syntax/closes.h"
#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

constexpr auto kLong = std::chrono::seconds(60);  // a bound on a hang, not a wait
// Some grammars never come back from some broken texts (Kotlin's, from a '$' in a string); the limit is
// what keeps a document alive then. Such texts have no tree and are only checked for that.
constexpr ParseLimits kParse = {.polls = 20'000};

Edit edit_of(ByteRange range, std::string_view piece) { return {range.begin, range.end, piece}; }

}  // namespace

TEST_CASE("an edited tree without errors is the fresh tree, and undo restores it") {
  std::mt19937 random(1);
  int compared = 0, hung = 0;
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    Parser parser(*sample.language);
    const auto original = parser.parse(sample.text);
    REQUIRE(original);
    for (int round = 0; round < 25; ++round) {
      const auto [range, piece] = random_edit(random, sample.text);
      const Edit edit = edit_of(range, piece);
      Tree old = *original;
      old.edit(input_edit(sample.text, edit));
      const std::string text = applied(sample.text, edit);
      const auto edited = parser.parse(text, &old, kParse);
      if (!edited) {
        ++hung;
        continue;
      }
      if (!edited->has_error()) {
        const auto fresh = parser.parse(text);
        REQUIRE(fresh);
        if (!fresh->has_error()) {
          CHECK(shape(*edited) == shape(*fresh));
          ++compared;
        }
      }
      const std::string removed = sample.text.substr(range.begin, range.end - range.begin);
      const Edit undo{range.begin, static_cast<uint32_t>(range.begin + piece.size()), removed};
      Tree back = *edited;
      back.edit(input_edit(text, undo));
      REQUIRE(applied(text, undo) == sample.text);
      const auto restored = parser.parse(sample.text, &back, kParse);
      REQUIRE(restored);
      CHECK(shape(*restored) == shape(*original));
    }
  }
  CHECK(compared > 100);
  CHECK(hung <= 5);
}

TEST_CASE(
    "scopes after edits are those of the text, and what the tree says of them is what a fresh one "
    "does") {
  std::mt19937 random(2);
  int hung = 0;
  const auto thread = std::make_shared<ParseThread>();
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    DocumentTree document(sample.language, sample.text, thread, {.parse = kParse});
    std::string text = sample.text;
    for (int round = 0; round < 12; ++round) {
      const int edits = 1 + static_cast<int>(random() % 3);
      for (int i = 0; i < edits; ++i) {
        const auto [range, piece] = random_edit(random, text);
        document.apply_edit(edit_of(range, piece));
        text.replace(range.begin, range.end - range.begin, piece);
        const SyntaxSnapshot now = document.snapshot();
        REQUIRE(defect(*now.scopes) == "");
        REQUIRE(now.scopes->size() == text.size());
      }
      REQUIRE(*document.text() == text);
      REQUIRE(document.wait(kLong));
      const SyntaxSnapshot snapshot = document.snapshot();
      REQUIRE(snapshot.exact);
      if (!snapshot.tree) {
        ++hung;
        document.set_text(sample.text);
        text = sample.text;
        continue;
      }
      ScopeMap expected = scopes_of(*snapshot.tree, text);
      CHECK(listing(*snapshot.scopes, text) == listing(expected, text));
      CHECK(*snapshot.scopes == expected);
      const auto items = outline(*snapshot.tree, text);
      REQUIRE(snapshot.outline);
      REQUIRE(snapshot.outline->size() == items.size());
      for (size_t i = 0; i < items.size(); ++i)
        CHECK((*snapshot.outline)[i].range == items[i].range);
      if (round % 4 == 3) {  // back to a whole text, or everything drowns in errors
        document.set_text(sample.text);
        text = sample.text;
      }
    }
  }
  CHECK(hung <= 5);
}

TEST_CASE("a caller has an answer before any parse, and edits in a row are not lost") {
  const auto thread = std::make_shared<ParseThread>();
  const Language* cpp = language_by_id("cpp");
  DocumentTree document(cpp, "int f() {\n  return 1;\n}\n", thread);
  CHECK(document.scopes()->scopes().size() == 2);
  std::string expected = *document.text();
  for (int i = 0; i < 200; ++i) {
    document.apply_edit({10, 10, "x"});
    expected.insert(10, 1, 'x');
    CHECK(document.scopes()->size() == expected.size());
  }
  CHECK(*document.text() == expected);
  REQUIRE(document.wait(kLong));
  CHECK(document.snapshot().revision == 201);
  CHECK(document.scopes()->describe(1) == "function f");
}

TEST_CASE("edits outside the text are clamped") {
  const auto thread = std::make_shared<ParseThread>();
  DocumentTree document(language_by_id("python"), "abc", thread);
  document.apply_edit({100, 200, "d"});
  CHECK(*document.text() == "abcd");
  document.apply_edit({2, 1, "x"});
  CHECK(*document.text() == "abxcd");
}

TEST_CASE(
    "a text that is too large, binary or of no language has the file as its only scope, and lives "
    "on") {
  const auto thread = std::make_shared<ParseThread>();
  DocumentTree none(nullptr, "int f() {\n}\n", thread);
  none.apply_edit({0, 0, "x"});
  CHECK(none.scopes()->scopes().size() == 1);
  CHECK(none.snapshot().exact);

  DocumentTree large(language_by_id("c"), std::string(kMaxText + 1, '{'), thread);
  CHECK(large.wait(kLong));
  CHECK(large.scopes()->scopes().size() == 1);
  large.apply_edit({0, static_cast<uint32_t>(kMaxText), "void f() {\n"});
  CHECK(large.wait(kLong));
  CHECK(large.scopes()->scopes().size() == 2);

  std::string bytes(100'000, ' ');
  std::mt19937 random(3);
  for (char& c : bytes) c = static_cast<char>(random());
  for (const Language& language : languages()) {
    DocumentTree binary(&language, bytes.substr(0, 2000), thread, {.parse = kParse});
    CAPTURE(language.name);
    CHECK(binary.wait(kLong));
    CHECK(defect(*binary.scopes()) == "");
  }
}

TEST_CASE("deep nesting neither overflows the stack nor stops the document") {
  const auto thread = std::make_shared<ParseThread>();
  for (const char* id : {"c", "python", "javascript", "json"}) {
    CAPTURE(id);
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "([{"[i % 3];
    DocumentTree document(language_by_id(id), text, thread, {.parse = kParse});
    REQUIRE(document.wait(kLong));
    CHECK(defect(*document.scopes()) == "");
    document.set_text("x");
    REQUIRE(document.wait(kLong));
    CHECK(document.snapshot().tree);
  }
}

TEST_CASE("a document that goes away takes its parse with it") {
  const auto thread = std::make_shared<ParseThread>();
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "f(\"";
  for (int i = 0; i < 20; ++i) DocumentTree(language_by_id("cpp"), text, thread);
  DocumentTree last(language_by_id("cpp"), "int f() {\n}\n", thread);
  CHECK(last.wait(kLong));
  CHECK(last.scopes()->describe(1) == "function f");
}
