#include "lsp/assist/code_writing.h"

#include <doctest/doctest.h>

#include <string>

#include "syntax/languages.h"

using namespace cambium;
using namespace cambium::assist;

namespace {

const std::string kPython =
    "import os\n"
    "\n"
    "def take(items, n):\n"
    "    return items[n]\n"
    "\n"
    "def give(a):\n"
    "    return a\n";

WritingTask task_of(Writing kind, const std::string& text = kPython, size_t begin = 15,
                    size_t end = 15, const std::string& language = "python") {
  WritingTask task;
  task.kind = kind;
  task.text = std::make_shared<const std::string>(text);
  task.language = syntax::language_by_id(language);
  task.path = "/work/items.py";
  task.range = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  task.request = "Check the bounds.";
  return task;
}

Answer saying(const std::string& text) {
  Answer answer;
  answer.text = text;
  return answer;
}

/// The text after what was written; or "! " and why not.
std::string after(const WritingTask& task, const std::string& said) {
  const auto out = written(task, saying(said));
  if (!out) return "! " + out.error().message;
  return *with_changes(*task.text, out->changes);
}

}  // namespace

TEST_CASE("a question shows the code, what is around it, and asks for one form of answer") {
  const auto comment = writing_question(task_of(Writing::comment));
  REQUIRE(comment);
  const std::string& asked = comment->messages.back().content;
  CHECK(asked.find("def take(items, n):\n    return items[n]\n") != std::string::npos);
  CHECK(asked.find("def give(a)") != std::string::npos);
  CHECK(asked.find("return a\n") == std::string::npos);
  CHECK(comment->form != nullptr);
  CHECK(comment->intent == Intent::explain);

  const auto change = writing_question(task_of(Writing::change));
  REQUIRE(change);
  CHECK(change->messages.back().content.find("Check the bounds.") != std::string::npos);
  CHECK(change->intent == Intent::fix);
  CHECK(change->form == nullptr);
  REQUIRE(writing_question(task_of(Writing::tests)));

  auto empty = task_of(Writing::change);
  empty.request = " \n";
  CHECK(writing_question(empty).error().message == "say what is to be changed");
  CHECK(writing_question(task_of(Writing::tests, kPython, 0, 0))
            .error()
            .message.find("is in no function") != std::string::npos);
  auto unknown = task_of(Writing::comment);
  unknown.language = nullptr;
  CHECK_FALSE(writing_question(unknown));
  const std::string has = "def f():\n    'x'\n";
  CHECK(writing_question(task_of(Writing::comment, has, 5, 5))
            .error()
            .message.find("has a comment") != std::string::npos);
}

TEST_CASE("a comment is taken from its form only") {
  const auto task = task_of(Writing::comment);
  CHECK(after(task, R"({"comment": "Takes one item."})")
            .find("def take(items, n):\n    \"\"\"Takes one item.\"\"\"\n") != std::string::npos);
  CHECK(after(task, "Sure!\n```json\n{\"comment\": \"Takes.\"}\n```").find("\"\"\"Takes.\"\"\"") !=
        std::string::npos);
  for (const char* said : {"Takes one item.", R"({"comment": "Takes one)", R"({"comment": 7})",
                           R"({"text": "x"})", "[]", "", R"({"comment": "  "})"}) {
    CAPTURE(said);
    CHECK(after(task, said).starts_with("! "));
  }
  CHECK(after(task, R"({"comment": ")" + std::string(1500, 'x') + R"("})")
            .find("longer than its limit") != std::string::npos);
}

TEST_CASE("a change takes the place of its code where the file still parses") {
  const auto task = task_of(Writing::change);
  CHECK(after(task, "```python\ndef take(items, n):\n    return items[:n]\n```\n") ==
        "import os\n\ndef take(items, n):\n    return items[:n]\n\ndef give(a):\n    return a\n");
  for (const char* said :
       {"It is fine as it is.", "```python\ndef take(items, n):\n    return items[:n]\n",
        "```python\ndef take(items, n:\n    return (\n```\n", "``` \n\n```",
        "```python\ndef take(items, n):\n    return items[n]\n```\n"}) {
    CAPTURE(said);
    const std::string out = after(task, said);
    CAPTURE(out);
    CHECK(out.starts_with("! "));
    CHECK(out.ends_with("nothing was changed"));
  }
  Answer cut = saying("```python\ndef take(items, n):\n    return items[:n]\n```\n");
  cut.stop = engine::StopReason::max_tokens;
  CHECK(written(task, cut).error().message.find("cut off") != std::string::npos);
}

TEST_CASE("tests go to a file of their own, if they parse") {
  const auto task = task_of(Writing::tests);
  const auto out =
      written(task, saying("Here:\n```python\ndef test_take():\n    assert True\n```\n"));
  REQUIRE(out);
  CHECK(out->new_file == "test_items.py");
  CHECK(out->content == "def test_take():\n    assert True\n");
  CHECK(out->changes.empty());
  CHECK(after(task, "```python\ndef test_take(:\n```\n").find("do not parse") != std::string::npos);
  CHECK(after(task, "no code").starts_with("! "));

  const auto rust = task_of(Writing::tests, "fn f() -> i32 {\n    1\n}\n", 3, 3, "rust");
  CHECK(
      after(rust, "```rust\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n}\n```") ==
      "fn f() -> i32 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n}\n");
}

TEST_CASE("files of tests are named as people of the language name them") {
  const auto name = [](const char* language, const char* path, int n = 1) {
    return test_file_name(*syntax::language_by_id(language), path, n);
  };
  CHECK(name("python", "/a/b.py") == "test_b.py");
  CHECK(name("python", "/a/b.py", 3) == "test_b3.py");
  CHECK(name("go", "b.go") == "b_test.go");
  CHECK(name("typescript", "/a/b.ts") == "b.test.ts");
  CHECK(name("java", "/a/B.java") == "BTest.java");
  CHECK(name("csharp", "/a/B.cs", 2) == "BTests2.cs");
  CHECK(name("cpp", "/a.x/b.cpp") == "b_test.cpp");
  CHECK(name("lua", "b.lua") == "b_spec.lua");
  CHECK(name("rust", "b.rs").empty());
}

TEST_CASE("fenced code: the longest whole block") {
  CHECK(fenced_code("a\n```\nx\n```\nb\n````py\ny = 1\n```\nz\n````\n") == "y = 1\n```\nz\n");
  CHECK(fenced_code("```\r\nx\r\n```\r\n") == "x\r\n");
  CHECK_FALSE(fenced_code("```\nx\n"));
  CHECK_FALSE(fenced_code("``` \n \n```"));
  CHECK_FALSE(fenced_code("x `y` z"));
}
