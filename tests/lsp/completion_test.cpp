#include <doctest/doctest.h>

#include <string>

#include "tests/support/lsp/lsp_client.h"
#include "tests/support/markers.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

constexpr const char* kUri = "file:///work/a.py";

/// The popup's answer at the "^" when the model inserts `text`.
Json check(const char* source, const std::string& text) {
  LspServer server;
  LspClient client(server);
  client.initialize();
  const MarkedText marked = parse_markers(source);
  client.open(kUri, marked.text, "python");
  server.completion->respond = FakeCompletion::inserting(text);
  const lsp::LineIndex lines(marked.text);
  const auto at = lines.position(marked.text, marked.cursor(), lsp::PositionEncoding::utf16);
  const Json result = client.result_of("textDocument/completion",
                                       client.position_params(kUri, at.line, at.character));
  CHECK_FALSE(server.completion->inputs.at(0).settings.multiline);
  CHECK(result["isIncomplete"] == true);
  return result["items"];
}

}  // namespace

TEST_CASE("an entry replaces the word at the cursor by itself and the rest") {
  struct Case {
    const char* source;
    const char* text;
    const char* label;
    int begin, end;
  };
  const Case cases[] = {
      {"x = fo^", "o(1)", "foo(1)", 4, 6}, {"x = ^", "foo(1)", "foo(1)", 4, 4},
      {"self.^", "name", "name", 5, 5},    {"größe^", "_x", "größe_x", 0, 5},
      {"a\n  if ^", "x:", "x:", 5, 5},
  };
  for (const Case& c : cases) {
    CAPTURE(c.source);
    const Json items = check(c.source, c.text);
    REQUIRE(items.size() == 1);
    CHECK(items[0]["label"] == c.label);
    CHECK(items[0]["filterText"] == c.label);
    CHECK(items[0]["textEdit"]["newText"] == c.label);
    CHECK(items[0]["textEdit"]["range"]["start"]["character"] == c.begin);
    CHECK(items[0]["textEdit"]["range"]["end"]["character"] == c.end);
    CHECK(items[0]["command"]["command"] == "cambium.accepted");
  }
}

TEST_CASE("an entry is one line") {
  const Json items = check("def f():^", " return 1\r\n\nmore");
  REQUIRE(items.size() == 1);
  CHECK(items[0]["textEdit"]["newText"] == " return 1");
  CHECK(items[0]["label"] == "return 1");
  CHECK(check("x^", "\nmore").size() == 1);  // the word itself remains
  CHECK(check("x ^", "\nmore").empty());
}
