// Causality (design 3): a label follows from prefix, suffix and the middle so far. Nothing else.
#include "syntax/middle_labeler.h"

#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

struct Hole {
  std::string_view prefix, middle, suffix;
};

Hole random_hole(std::mt19937& random, std::string_view text) {
  const size_t begin = random() % (text.size() + 1);
  const size_t length = std::min<size_t>(random() % 300, text.size() - begin);
  return {text.substr(0, begin), text.substr(begin, length), text.substr(begin + length)};
}

std::vector<ScopeLabel> labels_of(const ScopeMap& map, uint32_t begin, uint32_t end) {
  std::vector<ScopeLabel> out;
  for (uint32_t i = begin; i < end; ++i) out.push_back(map.label_at(i));
  return out;
}

}  // namespace

TEST_CASE("cutting the middle anywhere leaves every earlier label unchanged") {
  std::mt19937 random(1);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    for (int round = 0; round < 12; ++round) {
      const Hole hole = random_hole(random, sample.text);
      MiddleLabeler whole(sample.language, hole.prefix, hole.suffix);
      std::vector<ScopeLabel> expected;
      whole.feed(hole.middle, expected);
      REQUIRE(expected.size() == hole.middle.size());
      // In pieces, and cut at every byte: what was said before the cut stands.
      MiddleLabeler pieces(sample.language, hole.prefix, hole.suffix);
      std::vector<ScopeLabel> labels;
      for (size_t at = 0; at < hole.middle.size();) {
        const size_t size = 1 + random() % 7;
        const std::string_view piece = hole.middle.substr(at, size);
        MiddleLabeler fork = pieces;
        REQUIRE(fork.feed(piece) == expected[at]);
        pieces.feed(piece, labels);
        at += piece.size();
      }
      REQUIRE(labels == expected);
    }
  }
}

TEST_CASE("what follows a cut does not matter, not even a text of another kind") {
  std::mt19937 random(2);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    for (int round = 0; round < 8; ++round) {
      const Hole hole = random_hole(random, sample.text);
      const size_t cut = random() % (hole.middle.size() + 1);
      std::vector<ScopeLabel> a, b;
      MiddleLabeler first(sample.language, hole.prefix, hole.suffix);
      MiddleLabeler second = first;
      first.feed(hole.middle, a);
      second.feed(std::string(hole.middle.substr(0, cut)) + "\n}} end \" ' ) */\nx", b);
      for (size_t i = 0; i < cut; ++i) REQUIRE(a[i] == b[i]);
    }
  }
}

TEST_CASE("relations among prefix tokens do not depend on the suffix") {
  std::mt19937 random(3);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const Hole hole = random_hole(random, sample.text);
    const MiddleLabeler with(sample.language, hole.prefix, hole.suffix);
    const MiddleLabeler without(sample.language, hole.prefix, "");
    const uint32_t size = static_cast<uint32_t>(hole.prefix.size());
    const auto a = labels_of(with.map(), 0, size), b = labels_of(without.map(), 0, size);
    for (int i = 0; i < 2000 && size > 0; ++i) {
      uint32_t query = random() % size, key = random() % size;
      if (key > query) std::swap(key, query);
      REQUIRE(relation(a[query], a[key]) == relation(b[query], b[key]));
    }
  }
}

TEST_CASE("prefix and middle are related as in the whole text read left to right") {
  std::mt19937 random(4);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const ScopeMap document = read_scopes(sample.language, sample.text);
    CHECK(defect(document) == "");
    for (int round = 0; round < 6; ++round) {
      const Hole hole = random_hole(random, sample.text);
      MiddleLabeler labeler(sample.language, hole.prefix, hole.suffix);
      CHECK(defect(labeler.map()) == "");
      const uint32_t before = static_cast<uint32_t>(hole.prefix.size());
      auto labels = labels_of(labeler.map(), 0, before);
      labeler.feed(hole.middle, labels);
      for (int i = 0; i < 2000 && !labels.empty(); ++i) {
        uint32_t query = random() % labels.size(), key = random() % labels.size();
        if (key > query) std::swap(key, query);
        REQUIRE(relation(labels[query], labels[key]) ==
                relation(document.label_at(query), document.label_at(key)));
      }
    }
  }
}

// The suffix is read with the hole empty, so it can only be as right as that allows: where the middle is
// whole statements, everything after it must be related to the middle as in the document.
TEST_CASE("a middle of whole lines is related to the suffix as in the whole text") {
  std::mt19937 random(5);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const std::string& text = sample.text;
    const ScopeMap document = read_scopes(sample.language, text);
    for (size_t i = 1; i < document.scopes().size(); ++i) {
      // The hole is all of a body but its last line, which holds the closer.
      const Scope& scope = document.scopes()[i];
      const size_t end = text.rfind('\n', scope.body.end - 1) + 1;
      if (end <= scope.body.begin || sample.language->bodies_end_by_themselves()) continue;
      // What the middle leaves open (an element without an end tag) the last line ends, too.
      if (document.index_at(static_cast<uint32_t>(end)) != i) continue;
      MiddleLabeler labeler(sample.language, std::string_view(text).substr(0, scope.body.begin),
                            std::string_view(text).substr(end));
      std::vector<ScopeLabel> middle;
      labeler.feed(std::string_view(text).substr(scope.body.begin, end - scope.body.begin), middle);
      for (int n = 0; n < 200; ++n) {
        const uint32_t query = random() % static_cast<uint32_t>(middle.size());
        const uint32_t after = static_cast<uint32_t>(random() % (text.size() - end));
        CAPTURE(scope.body.begin);
        CAPTURE(query);
        CAPTURE(end + after);
        REQUIRE(relation(middle[query], labeler.map().label_at(scope.body.begin + after)) ==
                relation(document.label_at(scope.body.begin + query),
                         document.label_at(static_cast<uint32_t>(end) + after)));
      }
    }
  }
}

TEST_CASE("a body opened before the hole and not closed after it is closed in the hole") {
  const Language* c = language_by_id("c");
  const std::string prefix = "int f() {\n  if (x) {\n    ";
  const std::string suffix = "\n  return 0;\n}\n\nint g() {\n  return 1;\n}\n";
  MiddleLabeler labeler(c, prefix, suffix);
  const ScopeMap& map = labeler.map();
  const auto at = [&](std::string_view what) {
    const std::string text = prefix + suffix;
    return map.label_at(static_cast<uint32_t>(text.find(what)));
  };
  const ScopeLabel inside = labeler.feed("y();");
  CHECK(relation(inside, at("if")) == Relation::ancestor);
  CHECK(relation(inside, at("return 0")) == Relation::ancestor);
  CHECK(at("return 0") == at("if"));
  CHECK(at("int g") == at("int f"));
  CHECK(relation(inside, at("return 1")) == Relation::other);
  CHECK(labeler.depth() == 0);
  CHECK(labeler.feed("\n  }") == inside);  // the closer belongs to the body
  CHECK(labeler.depth() == -1);
  CHECK(labeler.feed("\n  z();") == at("if"));
  // A body opened after that is no part of the closed one.
  labeler.feed("\n  while (a) {\n");
  const ScopeLabel loop = labeler.feed("b();");
  CHECK(relation(loop, inside) == Relation::other);
  CHECK(relation(loop, at("if")) == Relation::ancestor);
  CHECK(relation(at("return 1"), loop) == Relation::other);
}

TEST_CASE("a deeper or shallower line in Python does not relabel the bytes before it") {
  const Language* python = language_by_id("python");
  MiddleLabeler labeler(python, "def f(a):\n    x = 1\n    ", "\n\ndef g():\n    pass\n");
  const ScopeLabel body = labeler.feed("if a:");
  const ScopeLabel line_end = labeler.feed("\n");
  const ScopeLabel indent = labeler.feed("        ");
  const ScopeLabel inner = labeler.feed("y = 2");
  const ScopeLabel white = labeler.feed("\n\n    ");
  const ScopeLabel outer = labeler.feed("z = 3");
  CHECK(line_end == body);
  CHECK(indent == inner);
  CHECK(relation(inner, body) == Relation::ancestor);
  CHECK(white == inner);  // open before it; what follows cannot be known yet
  CHECK(outer == body);
  labeler.feed("\n");
  CHECK(labeler.feed("w = 4").scope == 0);
}

TEST_CASE("many bodies in one hole keep distinct numbers, and far too many share their parent's") {
  const Language* c = language_by_id("c");
  MiddleLabeler labeler(c, "void f() {\n", "\n}\n");
  std::vector<ScopeLabel> seen;
  for (int i = 0; i < 100; ++i) {
    labeler.feed("if (x) {\n");
    seen.push_back(labeler.feed("y;"));
    labeler.feed("\n}\n");
  }
  for (size_t i = 1; i < seen.size(); ++i)
    REQUIRE(relation(seen[i], seen[i - 1]) == Relation::other);
  ScopeLabel parent = labeler.feed("z;");
  for (int depth = 0; depth < 2000; ++depth) {
    labeler.feed("{\n");
    const ScopeLabel inner = labeler.feed("z;");
    REQUIRE(relation(inner, parent) != Relation::other);
    parent = inner;
  }
}

TEST_CASE("without a language everything lies in the file") {
  MiddleLabeler labeler(nullptr, "a {\n", "}\n");
  CHECK(labeler.feed("x {\n y") == ScopeLabel{});
  CHECK(labeler.map().label_at(2) == ScopeLabel{});
  CHECK(labeler.depth() == 0);
}
