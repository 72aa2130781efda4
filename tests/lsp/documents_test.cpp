#include "lsp/documents.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "tests/support/markers.h"

using namespace cambium::lsp;
using cambium::syntax::ParseThread;
using cambium::test::parse_markers;

namespace {

constexpr const char* kUri = "file:///tmp/a.cpp";

DidOpenParams opened(const std::string& text) {
  DidOpenParams params;
  params.uri = kUri;
  params.language_id = "cpp";
  params.version = 1;
  params.text = text;
  return params;
}

DidChangeParams edit(Range range, const std::string& text) {
  DidChangeParams params;
  params.uri = kUri;
  params.changes.push_back({range, text});
  return params;
}

/// The document after replacing the marked range by `text`.
std::string check_edit(const char* marked, const std::string& text, PositionEncoding encoding) {
  const auto source = parse_markers(marked);
  DocumentStore store(std::make_shared<ParseThread>());
  store.open(opened(source.text));
  const LineIndex lines(source.text);
  const Range range{lines.position(source.text, source.ranges.at(0).first, encoding),
                    lines.position(source.text, source.ranges.at(0).second, encoding)};
  const auto changed = store.change(edit(range, text), encoding);
  REQUIRE(changed.has_value());
  return *store.snapshot(kUri)->text;
}

}  // namespace

TEST_CASE("edits replace what they name and keep line ends") {
  for (const auto encoding :
       {PositionEncoding::utf8, PositionEncoding::utf16, PositionEncoding::utf32}) {
    CHECK(check_edit("ab[[]]cd", "X", encoding) == "abXcd");
    CHECK(check_edit("a[[b]]c\r\nd", "", encoding) == "ac\r\nd");
    CHECK(check_edit("é😀[[日]]x\nb", "😀", encoding) == "é😀😀x\nb");
    CHECK(check_edit("one[[\r\ntwo\r]]three\n", "-", encoding) == "one-three\n");
    CHECK(check_edit("[[a\nb]]", "\r\n", encoding) == "\r\n");
    CHECK(check_edit("[[]]", "new", encoding) == "new");
  }
}

TEST_CASE("any run of edits leaves what the client has") {
  static const char* kPieces[] = {"a", "bc", "\n", "\r\n", "\r", "é", "😀", "日本", " ", "x\ny"};
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    const auto encoding = static_cast<PositionEncoding>(random() % 3);
    std::string naive = "start\r\nmiddle 😀\nend";
    DocumentStore store(std::make_shared<ParseThread>());
    store.open(opened(naive));
    for (int version = 2; version < 40; ++version) {
      DidChangeParams params;
      params.uri = kUri;
      params.version = version;
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        const LineIndex lines(naive);
        // Ends on what a client can name: normalised through a position.
        const auto place = [&] {
          const Position p = lines.position(naive, random() % (naive.size() + 1), encoding);
          return std::pair(p, *lines.offset(naive, p, encoding));
        };
        auto [start, begin] = place();
        auto [end, stop] = place();
        if (stop < begin) {
          std::swap(start, end);
          std::swap(begin, stop);
        }
        std::string text;
        for (size_t k = random() % 4; k > 0; --k) text += kPieces[random() % std::size(kPieces)];
        naive.replace(begin, stop - begin, text);
        params.changes.push_back({Range{start, end}, text});
      }
      REQUIRE(store.change(params, encoding).has_value());
      if (random() % 3 != 0) continue;  // snapshots are made only when asked for
      const auto snapshot = store.snapshot(kUri);
      REQUIRE(snapshot);
      REQUIRE(*snapshot->text == naive);
      REQUIRE(snapshot->version == version);
      REQUIRE(snapshot->lines.line_count() == LineIndex(naive).line_count());
    }
  }
}

TEST_CASE("an edit outside the text puts the document out of step until its text comes whole") {
  const Range bad[] = {
      {{7, 0}, {7, 0}},  // no such line
      {{0, 0}, {9, 0}},
      {{1, 0}, {0, 0}},  // end before start
  };
  for (const Range& range : bad) {
    DocumentStore store(std::make_shared<ParseThread>());
    store.open(opened("one\ntwo"));
    const auto result = store.change(edit(range, "x"), PositionEncoding::utf16);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().message.find("close and open the file again") != std::string::npos);
    CHECK(store.snapshot(kUri) == nullptr);
    CHECK_FALSE(store.problem(kUri).empty());
    // Later edits mean nothing; none makes it worse.
    CHECK(store.change(edit({{0, 0}, {0, 0}}, "x"), PositionEncoding::utf16).has_value());
    CHECK(store.snapshot(kUri) == nullptr);
    DidChangeParams whole;
    whole.uri = kUri;
    whole.changes.push_back({std::nullopt, "fresh"});
    CHECK(store.change(whole, PositionEncoding::utf16).has_value());
    CHECK(*store.snapshot(kUri)->text == "fresh");
    CHECK(store.problem(kUri).empty());
  }
}

TEST_CASE("the line after the last means the end of the text") {
  DocumentStore store(std::make_shared<ParseThread>());
  store.open(opened("one\ntwo"));
  CHECK(store.change(edit({{0, 0}, {2, 0}}, "all"), PositionEncoding::utf16).has_value());
  CHECK(*store.snapshot(kUri)->text == "all");
}

TEST_CASE("snapshots stay as they were") {
  DocumentStore store(std::make_shared<ParseThread>());
  store.open(opened("one"));
  const auto before = store.snapshot(kUri);
  CHECK(before == store.snapshot(kUri));
  REQUIRE(store.change(edit({{0, 0}, {0, 1}}, "O"), PositionEncoding::utf16).has_value());
  CHECK(*before->text == "one");
  CHECK(*store.snapshot(kUri)->text == "One");
  store.close(kUri);
  CHECK(store.snapshot(kUri) == nullptr);
  CHECK(*before->text == "one");
}

TEST_CASE("what is no text, or too much of it, is not kept") {
  DocumentStore store(std::make_shared<ParseThread>(), 1000);
  SUBCASE("opened too large") {
    store.open(opened(std::string(1001, 'x')));
    CHECK(store.problem(kUri).find("larger than") != std::string::npos);
  }
  SUBCASE("grown too large") {
    store.open(opened(std::string(900, 'x')));
    CHECK(store.change(edit({{0, 0}, {0, 0}}, std::string(200, 'y')), PositionEncoding::utf8)
              .has_value());
    CHECK(store.problem(kUri).find("larger than") != std::string::npos);
  }
  SUBCASE("binary") {
    store.open(opened(std::string("ab\0c", 4)));
    CHECK(store.problem(kUri) == "this file is not text");
  }
  SUBCASE("binary pasted") {
    store.open(opened("ab"));
    CHECK(store.change(edit({{0, 0}, {0, 0}}, std::string(1, '\0')), PositionEncoding::utf8)
              .has_value());
    CHECK(store.problem(kUri) == "this file is not text");
  }
  SUBCASE("not open") {
    CHECK(store.problem(kUri) == "this file is not open");
    CHECK_FALSE(store.change(edit({{0, 0}, {0, 0}}, "x"), PositionEncoding::utf8).has_value());
  }
  CHECK(store.snapshot(kUri) == nullptr);
}
