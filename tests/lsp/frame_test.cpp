#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "lsp/transport.h"

using namespace cambium::lsp;
using Kind = Frame::Kind;

namespace {

std::string framed(const std::string& body) { return frame_header(body.size()) + body; }

/// What a stream gives when fed in pieces of at most `piece` bytes.
std::vector<Frame> read_all(const std::string& stream, size_t piece, size_t limit = 1000) {
  FrameReader reader(limit);
  std::vector<Frame> out;
  for (size_t i = 0; i < stream.size(); i += piece) {
    reader.feed(std::string_view(stream).substr(i, piece));
    while (auto frame = reader.next()) out.push_back(std::move(*frame));
  }
  return out;
}

/// "m:body" of a message, "o" of an oversized one, "x" of damage.
std::string summary(const std::vector<Frame>& frames) {
  std::string out;
  for (const Frame& frame : frames) {
    if (!out.empty()) out += "|";
    out += frame.kind == Kind::message     ? "m:" + frame.body
           : frame.kind == Kind::oversized ? "o"
                                           : "x";
  }
  return out;
}

}  // namespace

TEST_CASE("a stream is cut into messages, whatever pieces it comes in") {
  struct Case {
    const char* name;
    std::string stream;
    const char* expected;
  };
  const std::string big(2000, 'z');
  const Case cases[] = {
      {"two messages", framed("{}") + framed("[1]"), "m:{}|m:[1]"},
      {"an empty body", framed("") + framed("a"), "m:|m:a"},
      {"other headers, any case",
       "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length:  2 \r\nX-Y: "
       "z\r\n\r\n{}",
       "m:{}"},
      {"lone line feeds", "Content-Length: 2\n\n{}", "m:{}"},
      {"stray line ends between messages", framed("a") + "\r\n\r\n" + framed("b"), "m:a|m:b"},
      {"oversized, then a good one", framed(big) + framed("ok"), "o|m:ok"},
      {"no length", "Content-Type: text/plain\r\n\r\n" + framed("ok"), "x|m:ok"},
      {"length is no number", "Content-Length: ten\r\n\r\n" + framed("ok"), "x|m:ok"},
      {"negative length", "Content-Length: -5\r\n\r\n" + framed("ok"), "x|m:ok"},
      {"length past 64 bits", "Content-Length: 99999999999999999999999\r\n\r\n" + framed("ok"),
       "x|m:ok"},
      {"a line that is no header", "hello world\r\n" + framed("ok"), "x|m:ok"},
      {"an HTTP request", "POST / HTTP/1.1\r\nHost: x\r\n" + framed("ok"), "x|m:ok"},
      {"the wrong charset",
       "Content-Type: a; charset=latin1\r\nContent-Length: 2\r\n\r\n{}" + framed("ok"),
       "x|m:{}|m:ok"},
      {"too many headers", "X: " + std::string(9000, 'a') + "\r\n" + framed("ok"), "x|m:ok"},
      {"cut off in the header", framed("a") + "Content-Le", "m:a"},
      {"cut off in the body", framed("a") + "Content-Length: 5\r\n\r\nab", "m:a"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    for (const size_t piece :
         {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{64}, c.stream.size()}) {
      CAPTURE(piece);
      CHECK(summary(read_all(c.stream, piece)) == c.expected);
    }
  }
}

TEST_CASE("damage and excess are told in words") {
  CHECK(read_all(framed(std::string(2000, 'z')), 4096)[0].error ==
        "a message of 2000 bytes is over the limit of 1000 and was skipped");
  CHECK(read_all("Content-Length: ten\r\n\r\n", 4096)[0].error ==
        "Content-Length is not a whole number of bytes");
}

TEST_CASE("a huge declared length costs no memory and no later message") {
  FrameReader reader(1 << 20);
  reader.feed("Content-Length: 18446744073709551615\r\n\r\n");
  const auto frame = reader.next();
  REQUIRE(frame.has_value());
  CHECK(frame->kind == Kind::oversized);
  for (int i = 0; i < 100; ++i) reader.feed(std::string(65536, 'x'));
  CHECK_FALSE(reader.next().has_value());
}

TEST_CASE("random bytes never break the reader, and a good message after them is found") {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    static const char* kPieces[] = {"Content-Length: ", "3",        "\r\n", "\n", "abc", ":",
                                    "Content",          "\r\n\r\n", " "};
    std::string junk;
    for (size_t n = random() % 12; n > 0; --n) junk += kPieces[random() % std::size(kPieces)];
    // Whatever length the junk declares (at most 333…), the run of x is longer.
    const std::string stream = junk + std::string(5000, 'x') + "\n" + framed("{\"found\":1}");
    const auto frames = read_all(stream, 1 + random() % 50);
    CAPTURE(junk);
    REQUIRE_FALSE(frames.empty());
    CHECK(frames.back().body == "{\"found\":1}");
  }
}
