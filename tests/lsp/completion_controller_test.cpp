#include "lsp/assist/completion_controller.h"

#include <doctest/doctest.h>

#include "tests/support/cursor.h"

using namespace cambium;
using assist::CompletionController;
using assist::Extent;

namespace {

assist::CompletionPlan plan_at(std::string_view language, std::string_view source,
                               bool multiline = true) {
  const test::Marked at = test::marked(source);
  return assist::plan_completion(at.text, at.cursor, syntax::language_by_id(language), multiline);
}

struct Written {
  std::string text, reason;
};

/// What is kept of `generated` when it comes in pieces of `size` bytes.
Written write(const assist::CompletionPlan& plan, std::string_view generated, size_t size,
              std::string required = {}) {
  using Verdict = engine::StepDecision::Verdict;
  CompletionController controller(plan, std::move(required), {});
  Written out;
  for (size_t at = 0; at < generated.size(); at += size) {
    const std::string_view piece = generated.substr(at, size);
    const auto decision = controller.on_token({0, piece, out.text, 0});
    if (decision.verdict == Verdict::accept) {
      out.text += piece;
      continue;
    }
    if (decision.verdict == Verdict::stop_after) out.text += piece.substr(0, decision.keep_bytes);
    break;
  }
  out.reason = controller.reason();
  return out;
}

struct Case {
  const char* what;
  const char* language;
  const char* source;
  const char* generated;
  const char* kept;  ///< without white space at its end
  const char* reason;
};

}  // namespace

TEST_CASE("how far a completion goes") {
  struct {
    const char* language;
    const char* source;
    Extent extent;
  } cases[] = {
      {"python", "x = f(<|>, 1)\n", Extent::line},
      {"python", "x = f(<|>)\n", Extent::line},
      {"python", "x = <|>\ny = 1\n", Extent::statement},
      {"python", "def f(a):\n    <|>\n", Extent::body},
      {"python", "def f(a):<|>\n", Extent::body},
      {"python", "def f(a):\n    \"\"\"Says what f does.\"\"\"\n    <|>\n", Extent::body},
      {"python", "def f(a):\n    \"\"\"Says\n\n    more.\n    \"\"\"\n    # now\n    <|>\n",
       Extent::body},
      {"python", "def f(a):\n    <|>\n    return a\n", Extent::statement},
      {"python", "def f(a):<|>\n    return a\n", Extent::line},
      {"python", "def f(a):\n    x = 1\n    <|>\n", Extent::statement},
      {"python", "x = 1  # a comment <|>\n", Extent::line},
      {"python", "x = 'text <|>\n", Extent::line},
      {"python", "d = {'a': 1,<|>\n", Extent::statement},
      {"cpp", "void f() {\n  <|>\n}\n", Extent::body},
      {"cpp", "void f() {<|>\n}\n", Extent::body},
      {"cpp", "void f() {\n  <|>\n  g();\n}\n", Extent::statement},
      {"cpp", "int x = <|>\n", Extent::statement},
      {"cpp", "// void f() {\n<|>\n", Extent::statement},
      {"ruby", "def f(a)\n  <|>\nend\n", Extent::body},
      {"lua", "if a then\n  <|>\nend\n", Extent::body},
      {"yaml", "a:\n  <|>\nb: 1\n", Extent::body},
      {"yaml", "- a: |-\n    <|>\n", Extent::body},
      {"yaml", "a: b | c\n<|>\n", Extent::statement},
      {"yaml", "a: <|>\n", Extent::body},
      {"yaml", "- a:\n  <|>\n", Extent::statement},
      {"markdown", "It's a <|>\n", Extent::statement},
      {"", "anything {\n  <|>\n", Extent::body},
      {"", "anything\n<|>\n", Extent::statement},
  };
  for (const auto& c : cases) {
    CAPTURE(c.source);
    CHECK(to_string(plan_at(c.language, c.source).extent) == std::string(to_string(c.extent)));
    CHECK(plan_at(c.language, c.source, false).extent == Extent::line);
  }
}

TEST_CASE("a completion ends where its node ends") {
  const Case cases[] = {
      {"a line", "python", "x = <|> + 1\n", "a\ny = 2", "a", "end_of_line"},
      {"a statement", "python", "x = <|>\n", "f(a)\ny = 2", "f(a)", "end_of_line"},
      {"a statement over lines", "python", "x = <|>\n", "f(a,\n      b)\ny = 2", "f(a,\n      b)",
       "end_of_line"},
      {"an open bracket before the cursor", "python", "x = f(<|>\n", "a,\n      b)\ny = 2",
       "a,\n      b)", "end_of_line"},
      {"a block that is opened", "python", "def f():\n    a()\n    <|>\n",
       "for x in y:\n        g(x)\n        h(x)\n    return 1\n",
       "for x in y:\n        g(x)\n        h(x)", "end_of_node"},
      {"a line that is finished", "python", "x = 1<|>\n", "\ny = 2", "", "end_of_line"},
      {"a body by indentation", "python", "def f(a):\n    <|>\n",
       "b = a\n\n    return b\n\n\ndef g():\n", "b = a\n\n    return b", "end_of_node"},
      {"a body on the header's line", "python", "class A:\n    def f(a):<|>\n",
       "\n        return a\n\n    def g(self):\n", "\n        return a", "end_of_node"},
      {"a body by brackets, closed below", "cpp", "void f() {\n  <|>\n}\n",
       "a();\n  b();\n}\n\nint x;", "a();\n  b();", "end_of_node"},
      {"a body by brackets, not closed", "cpp", "void f() {\n  <|>\n", "a();\n}\n\nint x;",
       "a();\n}", "end_of_node"},
      {"the bracket below closes something else", "cpp",
       "namespace n {\n  void f() {\n    <|>\n}\n", "a();\n  }\n  void g();", "a();\n  }",
       "end_of_node"},
      {"inner blocks belong to it", "cpp", "void f() {\n  <|>\n}\n",
       "if (a) {\n    b();\n  }\n  c();\n}\n", "if (a) {\n    b();\n  }\n  c();", "end_of_node"},
      {"a callback closes its call", "typescript", "xs.map((x) => {\n  <|>\n",
       "return x;\n});\nnext();", "return x;\n});", "end_of_node"},
      {"brackets in strings and comments", "cpp", "void f() {\n  <|>\n}\n",
       "g(\"}\");  // }\n  h('}');\n}\n", "g(\"}\");  // }\n  h('}');", "end_of_node"},
      {"a body by words", "ruby", "def f(a)\n  <|>\nend\n", "b = a\n  b + 1\nend\n\ndef g",
       "b = a\n  b + 1\nend", "repeats_suffix"},  // what was written twice is cut afterwards
      {"a body by words, not closed", "ruby", "def f(a)\n  <|>\n", "b = a\nend\ndef g",
       "b = a\nend", "end_of_node"},
      {"the block under a key", "yaml", "a:\n  <|>\n", "b: 1\n  c:\n    - d\ne: f\n",
       "b: 1\n  c:\n    - d", "end_of_node"},
      {"a block scalar", "yaml", "- a: |\n    <|>\n", "b:\n\n    don't\n  c: 1\n",
       "b:\n\n    don't", "end_of_node"},
      {"a key with a block", "yaml", "a: 1\n<|>\n", "b:\n  c: 1\nd: 1\n", "b:\n  c: 1",
       "end_of_node"},
      {"the bracket that is there", "python", "x = f(<|>)\n", "a, b)", "a, b", "repeats_suffix"},
      {"its own brackets", "python", "x = f(<|>)\n", "g(a))", "g(a)", "repeats_suffix"},
      {"an inner bracket that is not there", "c", "print(a, (int<|>);\n", ") b, (int) c);",
       ") b, (int) c", "repeats_suffix"},
      {"an inner bracket, and only text after the cursor", "go", "log(\"a\", (b<|>)\n", ").c())\n",
       ").c()", "repeats_suffix"},
      {"brackets of the line above one of its block", "go",
       "func f() {\n\tg(a, h{\"k\": err.E<|>\n}\n", "rror()})\n}\n", "rror()})", "end_of_line"},
      {"a bracket of the line above one of its list", "go", "type (\n\tf = func(a, b<|>\n)\n",
       ".C) bool\n)\n", ".C) bool", "end_of_line"},
      {"brackets of the line that are closed below", "typescript", "f({ a: <|>\n})\n", "1 })\n",
       "1", "end_of_node"},
      {"of which one is closed below", "typescript", "f(g(<|>\n)\n", "1))\n", "1)", "end_of_node"},
      {"the rest of the line", "cpp", "int x = <|> + offset;\n", "base + offset; // more",
       "base + offset;", "repeats_suffix"},
      {"the line below", "python", "def f(a):\n    <|>\n    return a\n",
       "if a:\n        b()\n    return a\n    x", "if a:\n        b()", "end_of_node"},
      {"a line twice", "python", "def f(a):\n    <|>\n", "a += 1\n    a += 1\n    a += 1\n",
       "a += 1\n    a += 1", "repeats_itself"},
      {"blank lines", "python", "def f(a):\n    <|>\n", "a += 1\n\n\n\n\n", "a += 1",
       "end_of_line"},
  };
  for (const Case& c : cases) {
    for (const size_t size : {1, 2, 3, 7, 100}) {
      CAPTURE(c.what);
      CAPTURE(size);
      const Written written = write(plan_at(c.language, c.source), c.generated, size);
      CHECK(assist::trim_right(written.text) == c.kept);
      CHECK(written.reason == c.reason);
    }
  }
}

TEST_CASE("a completion does not end behind a header without its block") {
  struct {
    const char* language;
    const char* source;
    const char* generated;
    bool may_end;
  } cases[] = {
      {"python", "def f(self):\n    for x in <|>\n    return 1\n", "self.items:", false},
      {"python", "def f(self):\n    for x in <|>\n    return 1\n", "self.items:\n", false},
      {"python", "def f(self):\n    for x in <|>\n    return 1\n", "self.items:\n        ", false},
      {"python", "def f(self):\n    for x in <|>\n    return 1\n", "self.items:\n        go(x)",
       true},
      {"python", "def f(self):\n    for x in <|>\n    return 1\n", "self.items", true},
      {"python", "def f(self):\n    for x in <|>\n        go(x)\n", "self.items:", true},
      {"python", "    for x in <|>\n", "self.items:", false},
      {"python", "x = <|>\ny = 2\n", "1", true},
      {"python", "for x in <|>\ny = 2\n", "", true},
      {"cpp", "void f() {\n  if (<|>\n  g();\n}\n", "a) {", false},
      {"cpp", "void f() {\n  if (<|>\n  }\n}\n", "a) {", true},
      {"cpp", "void f() {\n  if (<|>\n    g();\n  }\n}\n", "a) {", true},
      {"cpp", "void f() {\n  if (<|>\n  g();\n}\n", "a) {\n    h();\n  }", true},
      {"lua", "function f()\n  if <|>\n  end\nend\n", "a then", true},
      {"lua", "function f()\n  if <|>\nend\n", "a then", false},
      {"yaml", "a:\n  <|>\nb: 1\n", "c:", true},
  };
  for (const auto& one : cases) {
    CAPTURE(one.language);
    CAPTURE(one.source);
    CAPTURE(one.generated);
    CompletionController controller(plan_at(one.language, one.source), "", {});
    for (const char* c = one.generated; *c != '\0'; ++c)
      controller.on_token({0, std::string_view(c, 1), "", 0});
    CHECK(controller.may_end() == one.may_end);
  }
  // Where a line is all that is wanted, its end is the end.
  CompletionController line(plan_at("python", "for x in <|>\ny = 2\n", false), "", {});
  line.on_token({0, "items:", "", 0});
  CHECK(line.may_end());
}

TEST_CASE("required bytes are neither counted nor asked for twice") {
  const auto plan = plan_at("python", "x = f(os.pa<|>)\n");
  CompletionController controller(plan, "pa", {});
  CHECK(controller.required_prefix() == "pa");
  controller.on_token({0, "p", "", 0});
  CHECK(controller.required_prefix() == "a");
  controller.on_token({0, "ath", "p", 0});
  CHECK(controller.required_prefix().empty());
  CHECK(write(plan, "path)", 3, "pa").text == "path");
}

TEST_CASE("every accepted token gets a label, in order") {
  std::vector<std::string> seen;
  CompletionController controller(plan_at("python", "x = <|>\n"), {}, [&](std::string_view piece) {
    seen.emplace_back(piece);
    return engine::TokenLabel{static_cast<int32_t>(seen.size()), 9, 4};
  });
  CHECK(controller.on_token({0, "a", "", 0}).label->scope == 1);
  CHECK(controller.on_token({0, " + b", "a", 0}).label->scope == 2);
  CHECK(!controller.on_token({0, "\n", "a + b", 0}).label);
  CHECK(seen == std::vector<std::string>{"a", " + b"});
}

TEST_CASE("after indentation the first token brings no space of its own") {
  using Verdict = engine::StepDecision::Verdict;
  struct {
    const char* source;
    const char* piece;
    Verdict verdict;
  } cases[] = {
      {"def f():\n    <|>\n", " return", Verdict::reject},
      {"def f():\n    <|>\n", "return", Verdict::accept},
      {"def f():\n    <|>\n", "    if", Verdict::accept},  // a level deeper is the model's choice
      {"def f():\n<|>\n", "    return", Verdict::accept},  // no indentation yet
      {"x =<|>\n", " 1", Verdict::accept},                 // a space between words
  };
  for (const auto& c : cases) {
    CAPTURE(c.source);
    CAPTURE(c.piece);
    CompletionController controller(plan_at("python", c.source), {}, {});
    CHECK(controller.on_token({0, c.piece, "", 0}).verdict == c.verdict);
  }
}
