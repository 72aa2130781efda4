#include "engine/text_stream.h"

#include <doctest/doctest.h>

namespace cambium::engine {
namespace {

TEST_CASE("partial_character: bytes that wait for more") {
  struct {
    std::string_view text;
    size_t want;
  } const cases[] = {
      {"", 0},
      {"a", 0},
      {"\xC3", 1},
      {"\xC3\xA9", 0},
      {"a\xE2\x82", 2},
      {"\xE2", 1},
      {"\xE2\x82\xAC", 0},
      {"\xF0\x9F\x98", 3},
      {"\xF0\x9F", 2},
      {"\xF0", 1},
      {"\xF0\x9F\x98\x80", 0},
      {"\x80", 0},
      {"\x80\x80\x80\x80", 0},
      {"\xFF", 0},
      {"\xC0", 0},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text.size());
    CHECK(partial_character(c.text) == c.want);
  }
}

struct Streamed {
  std::string shown, text;
  size_t appended = 0;  // pieces taken before a stop string was complete
  bool stopped = false;
};

// Streams the pieces; checks that what is shown never breaks a character nor runs ahead of the
// text.
Streamed stream(const std::vector<std::string>& pieces, std::vector<std::string> stop) {
  Streamed out;
  TextStream text(std::move(stop), [&](std::string_view piece) {
    CHECK_FALSE(piece.empty());
    CHECK(partial_character(piece) == 0);
    out.shown += piece;
  });
  for (const auto& piece : pieces) {
    ++out.appended;
    if ((out.stopped = text.append(piece))) break;
    CHECK(text.text().starts_with(out.shown));
  }
  text.finish();
  out.text = text.text();
  return out;
}

TEST_CASE("stream: characters in pieces, stop strings across pieces") {
  struct {
    std::vector<std::string> pieces, stop;
    std::string want;
    bool stopped;
  } const cases[] = {
      {{"a", "b"}, {}, "ab", false},
      {{"\xE2", "\x82", "\xAC!"}, {}, "\xE2\x82\xAC!", false},
      {{"a\xF0\x9F"}, {}, "a", false},
      {{"one", "\n", "\ntwo"}, {"\n\n"}, "one", true},
      {{"one\n", "two\n", "\n"}, {"\n\n"}, "one\ntwo", true},
      {{"one\n"}, {"\n\n"}, "one\n", false},
      {{"abcab", "cd"}, {"abcd"}, "abc", true},
      {{"xENDyST", "OP"}, {"STOP", "END"}, "x", true},
      {{"a", "b", "c"}, {""}, "abc", false},
      // The beginning of a stop string may end inside a character.
      {{"caf\xC3", "\xA9", "s"}, {"\xC3\xA9t"}, "caf\xC3\xA9s", false},
  };
  for (const auto& c : cases) {
    const auto got = stream(c.pieces, c.stop);
    CHECK(got.shown == c.want);
    CHECK(got.text == c.want);
    CHECK(got.stopped == c.stopped);
  }
}

TEST_CASE("stream: text is shown as soon as it is certain") {
  std::string shown;
  TextStream text({"</s>"}, [&](std::string_view piece) { shown += piece; });
  text.append("hello <");
  CHECK(shown == "hello ");
  text.append("b>");
  CHECK(shown == "hello <b>");
}

}  // namespace
}  // namespace cambium::engine
