#include "lsp/assist/prompt.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "syntax/languages.h"
#include "tests/support/cursor.h"
#include "tests/support/fake_generator.h"

using namespace cambium;
using assist::Prompt;
using assist::PromptInput;
using assist::WindowAnchor;
using test::FakeGenerator;

namespace {

/// A file of functions; `lines` lines in each.
std::string source(int functions, int lines) {
  std::string text;
  for (int f = 0; f < functions; ++f) {
    text += "def function_" + std::string(1, static_cast<char>('a' + f % 26)) + "(value):\n";
    for (int i = 0; i < lines; ++i) text += "    value = other(value, " + std::to_string(i) + ")\n";
    text += "    return value\n\n";
  }
  return text;
}

struct Builder {
  explicit Builder(bool spm = true) : model({}, spm) {}

  Prompt build(const std::string& text, size_t cursor, int32_t tokens = 400) {
    const syntax::ScopeMap map = syntax::read_scopes(syntax::language_by_id("python"), text);
    PromptInput input;
    input.text = text;
    input.cursor = cursor;
    input.path = "a.py";
    input.scopes = &map;
    input.tokens = tokens;
    auto prompt = assist::build_prompt(model.tokenizer_, model.format_, input, anchor);
    REQUIRE(prompt.has_value());
    return *prompt;
  }
  std::string shown(const Prompt& prompt) { return model.as_text(prompt.sequence.tokens); }

  FakeGenerator model;
  WindowAnchor anchor;
};

size_t common(const Prompt& a, const Prompt& b) {
  const auto& x = a.sequence.tokens;
  const auto& y = b.sequence.tokens;
  return static_cast<size_t>(std::mismatch(x.begin(), x.end(), y.begin(), y.end()).first -
                             x.begin());
}

}  // namespace

TEST_CASE("a small file is shown whole") {
  Builder b;
  const test::Marked at = test::marked("def f(a):\n    return <|>\n\nprint(f(1))\n");
  const Prompt prompt = b.build(at.text, at.cursor);
  CHECK(b.shown(prompt) ==
        "<BOS><FILE>a.py\n<PRE><SUF>\n\nprint(f(1))\n<MID>def f(a):\n    return ");
  CHECK(prompt.begin == 0);
  CHECK(prompt.end == at.text.size());
}

TEST_CASE("an empty file, and the ends of a file") {
  Builder b;
  CHECK(b.shown(b.build("", 0)) == "<BOS><FILE>a.py\n<PRE><SUF><MID>");
  CHECK(b.shown(b.build("x\n", 0)) == "<BOS><FILE>a.py\n<PRE><SUF>x\n<MID>");
  CHECK(b.shown(b.build("x\n", 2)) == "<BOS><FILE>a.py\n<PRE><SUF><MID>x\n");
  CHECK(b.shown(b.build("\xEF\xBB\xBFx\n", 5)) == "<BOS><FILE>a.py\n<PRE><SUF><MID>x\n");
}

TEST_CASE("a window keeps to its budget and is cut at whole definitions") {
  const std::string text = source(60, 6);
  for (const size_t cursor : {text.size() / 3, text.size() / 2, text.size() - 1, text.size()}) {
    for (const int32_t tokens : {64, 200, 400, 1500}) {
      Builder b;
      const Prompt prompt = b.build(text, cursor, tokens);
      CAPTURE(tokens);
      CHECK(prompt.prefix_tokens + prompt.suffix_tokens <= static_cast<size_t>(tokens));
      CHECK(prompt.prefix_tokens >= static_cast<size_t>(tokens) / 3);
      if (prompt.begin > 0) CHECK(text[prompt.begin - 1] == '\n');
      if (prompt.end < text.size()) CHECK(text[prompt.end - 1] == '\n');
      if (prompt.begin > 0 && tokens >= 400) CHECK(text.substr(prompt.begin, 4) == "def ");
    }
  }
}

TEST_CASE("one long line is cut without a line start to cut at") {
  Builder b;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "word ";
  for (const size_t cursor : {size_t{0}, size_t{7502}, text.size()}) {
    b.anchor = {};
    const Prompt prompt = b.build(text, cursor);
    CHECK(prompt.prefix_tokens + prompt.suffix_tokens <= 400);
    CHECK(prompt.prefix_tokens + prompt.suffix_tokens >= 100);
  }
}

TEST_CASE("typing appends to the sequence: the rest stays, token for token") {
  Builder b;
  std::string text = source(60, 6);
  size_t cursor = text.find("return value", text.size() / 2);
  Prompt before = b.build(text, cursor, 1500);
  std::vector<size_t> evaluated;
  const std::string typed =
      "if value > some_limit and check(value):\n        value = value_of(limit)\n"
      "        log.warning(\"clamped\", value)\n    ";
  for (int round = 0; round < 3; ++round) {
    for (const char c : typed) {
      text.insert(cursor++, 1, c);
      const Prompt after = b.build(text, cursor, 1500);
      CHECK(after.begin == before.begin);
      evaluated.push_back(after.sequence.tokens.size() - common(before, after));
      before = after;
    }
  }
  std::sort(evaluated.begin(), evaluated.end());
  CHECK(evaluated[evaluated.size() / 2] <= 3);
  CHECK(evaluated.back() <= 6);
}

TEST_CASE("labels of reused cells do not change under typing within a line") {
  Builder b;
  std::string text = source(10, 6);
  size_t cursor = text.find("return value", text.size() / 2);
  Prompt before = b.build(text, cursor);
  size_t moved = 0;
  for (const char c : std::string("result_of_it = call(one, two)")) {
    text.insert(cursor++, 1, c);
    const Prompt after = b.build(text, cursor);
    const size_t same = common(before, after);
    for (size_t i = 0; i < same; ++i) {
      if (before.sequence.structure.at(i) == after.sequence.structure.at(i)) continue;
      ++moved;  // the suffix's places take a step
      break;
    }
    before = after;
  }
  CHECK(moved <= 1);
}

TEST_CASE("a long file: the window moves seldom, and far") {
  Builder b;
  std::string text = source(60, 6);
  size_t cursor = text.size() / 2;
  Prompt before = b.build(text, cursor);
  int moves = 0, keystrokes = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string line = "    value = typed(value, " + std::to_string(i) + ")\n";
    for (const char c : line) {
      text.insert(cursor++, 1, c);
      const Prompt after = b.build(text, cursor);
      CHECK(after.prefix_tokens + after.suffix_tokens <= 400);
      moves += after.begin != before.begin ? 1 : 0;
      ++keystrokes;
      before = after;
    }
  }
  CHECK(moves >= 5);
  CHECK(moves * 100 < keystrokes);
  // Deleting again does not make the window go back and forth.
  int back = 0;
  for (int i = 0; i < 200; ++i) {
    text.erase(--cursor, 1);
    const Prompt after = b.build(text, cursor);
    back += after.begin != before.begin ? 1 : 0;
    before = after;
  }
  CHECK(back <= 1);
}

TEST_CASE("an edit above the window moves it along") {
  Builder b;
  std::string text = source(60, 6);
  size_t cursor = text.size() / 2;
  const Prompt before = b.build(text, cursor);
  REQUIRE(before.begin > 0);
  const std::string line = "import something\n";
  text.insert(0, line);
  const Prompt after = b.build(text, cursor + line.size());
  CHECK(after.begin == before.begin + line.size());
  CHECK(after.sequence.tokens == before.sequence.tokens);
}

TEST_CASE("what the suffix leaves over goes to the prefix") {
  Builder b;
  const std::string text = source(60, 6);
  CHECK(b.build(text, text.size()).prefix_tokens > 0.6 * 400);
}

TEST_CASE("a word cut by the cursor is chosen anew, whole") {
  struct {
    const char* source;
    const char* prefix;
    const char* required;
  } cases[] = {
      {"x = some<|>\n", "x =", " some"},
      {"x = something<|>\n", "x =", " something"},
      {"x = f(<|>)\n", "x = f(", ""},
      {"x = <|>\n", "x =", " "},
      {"def f():\n    <|>\n", "def f():", "\n    "},
      {"def f():\r\n    <|>\r\n", "def f():", "\n    "},
      {"<|>\n", "", ""},
      {"x<|>\n", "x", ""},
  };
  for (const auto& c : cases) {
    CAPTURE(c.source);
    Builder psm(false);
    const test::Marked at = test::marked(c.source);
    const Prompt prompt = psm.build(at.text, at.cursor);
    CHECK(psm.shown(prompt).find("<PRE>" + std::string(c.prefix) + "<SUF>") != std::string::npos);
    CHECK(prompt.required == c.required);
    Builder spm(true);
    const bool in_word = std::string_view(c.required).find_first_not_of(" \n") != std::string::npos;
    CHECK(spm.build(at.text, at.cursor).required == (in_word ? c.required : ""));
  }
}

TEST_CASE("what cannot be done is said") {
  Builder b;
  const syntax::ScopeMap map = syntax::ScopeMap::whole_file(0);
  PromptInput input;
  input.scopes = &map;
  input.tokens = 8;
  auto prompt = assist::build_prompt(b.model.tokenizer_, b.model.format_, input, b.anchor);
  REQUIRE(!prompt);
  CHECK(prompt.error().code == ErrorCode::invalid_argument);
  b.model.format_.fim.reset();
  input.tokens = 100;
  prompt = assist::build_prompt(b.model.tokenizer_, b.model.format_, input, b.anchor);
  REQUIRE(!prompt);
  CHECK(prompt.error().code == ErrorCode::unsupported);
}
