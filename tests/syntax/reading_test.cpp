#include "syntax/reading.h"

#include "syntax/bench.h"
#include "tests/syntax/support.h"

using namespace cambium::syntax;
using namespace cambium::syntax::test;

namespace {

/// Long enough for several states to be kept.
std::string long_text(const Sample& sample) {
  std::string text;
  while (text.size() < 24'000) text += sample.text;
  return text;
}

Replaced replace(std::string& text, ByteRange range, std::string_view piece) {
  text.replace(range.begin, range.end - range.begin, piece);
  return {range.begin, range.end, range.begin + static_cast<uint32_t>(piece.size())};
}

void edit(Reading& reading, std::string& text, ByteRange range, std::string_view piece) {
  const Replaced replaced = replace(text, range, piece);
  reading.edit(replaced, text);
}

}  // namespace

TEST_CASE("a text read again from its edits on has the scopes of a text read anew") {
  std::mt19937 random(1);
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    std::string text = long_text(sample);
    Reading reading(*sample.language, text);
    REQUIRE(reading.map() == read_scopes(sample.language, text));
    int met = 0;
    for (int round = 0; round < 150; ++round) {
      if (round % 25 == 24) {  // or everything drowns in what was left open
        const uint32_t size = static_cast<uint32_t>(text.size());
        edit(reading, text, {0, size}, long_text(sample));
      }
      const auto [range, piece] = random_edit(random, text);
      CAPTURE(round);
      CAPTURE(range.begin);
      CAPTURE(piece);
      edit(reading, text, range, piece);
      REQUIRE(reading.map() == read_scopes(sample.language, text));
      met += range.begin + 12'000 < text.size() && reading.bytes_read() < 12'000;
    }
    CHECK(met > 10);
  }
}

TEST_CASE("text put in at, and taken out from, the start of every line") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.file);
    const std::string original = long_text(sample);
    for (const std::string_view piece : {"x", " ", "\n", "  y\n", "}\n", "{"}) {
      std::string text = original;
      Reading reading(*sample.language, text);
      for (uint32_t at = 0; at < original.size(); at += 1 + at / 8) {
        at = static_cast<uint32_t>(std::min(original.find('\n', at), original.size() - 1)) + 1;
        CAPTURE(at);
        CAPTURE(piece);
        edit(reading, text, {at, at}, piece);
        REQUIRE(reading.map() == read_scopes(sample.language, text));
        edit(reading, text, {at, at + static_cast<uint32_t>(piece.size())}, "");
        REQUIRE(reading.map() == read_scopes(sample.language, text));
      }
    }
  }
}

TEST_CASE("typing in a long file reads the text around it only") {
  const Language& cpp = *language_by_id("cpp");
  std::string text = generated_source(10'000);
  Reading reading(cpp, text);
  CHECK(reading.bytes_read() == text.size());
  std::mt19937 random(2);
  for (int round = 0; round < 50; ++round) {
    uint32_t at = random() % static_cast<uint32_t>(text.size());
    while (!is_letter(text[at])) --at;
    edit(reading, text, {at, at}, "x");
    CHECK(reading.bytes_read() < 20'000);
  }
  // What opens a body in all that follows is read to the end, and forgotten when it is taken back.
  const uint32_t at = static_cast<uint32_t>(text.find("int total"));
  edit(reading, text, {at, at}, "{");
  CHECK(reading.bytes_read() > text.size() / 2);
  CHECK(reading.map() == read_scopes(&cpp, text));
  edit(reading, text, {at, at + 1}, "");
  CHECK(reading.map() == read_scopes(&cpp, text));
}

TEST_CASE("a text that grows too large has no bodies, and has them again when it shrinks") {
  const Language& c = *language_by_id("c");
  std::string text = "int f() {\n}\n";
  Reading reading(c, text);
  CHECK(reading.map().scopes().size() == 2);
  const uint32_t at = static_cast<uint32_t>(text.size());
  edit(reading, text, {at, at}, std::string(kMaxText, ' '));
  CHECK(reading.map() == ScopeMap::whole_file(static_cast<uint32_t>(text.size())));
  edit(reading, text, {at, static_cast<uint32_t>(text.size())}, "");
  CHECK(reading.map() == read_scopes(&c, text));
}

TEST_CASE("one replacement for several") {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::string old(40, '.');
    std::string text = old;
    Replaced all{10, 10, 10};
    for (int i = 0; i < 4; ++i) {
      const uint32_t size = static_cast<uint32_t>(text.size());
      const uint32_t begin = random() % (size + 1);
      const uint32_t end = begin + random() % (size - begin + 1);
      const Replaced next = replace(text, {begin, end}, std::string(random() % 9, 'x'));
      all = i == 0 ? next : all.then(next);
    }
    REQUIRE(all.begin <= all.old_end);
    REQUIRE(all.old_end <= old.size());
    REQUIRE(all.new_end <= text.size());
    // Outside of it both texts are the same.
    CHECK(text.substr(0, all.begin) == old.substr(0, all.begin));
    CHECK(text.substr(all.new_end) == old.substr(all.old_end));
  }
}
