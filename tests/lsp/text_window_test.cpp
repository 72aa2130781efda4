#include "lsp/assist/text_window.h"

#include <doctest/doctest.h>

#include <future>
#include <string>

#include "lsp/assist/completer.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::assist;

TEST_CASE("a model that takes text completes too") {
  auto remote = std::make_shared<test::ScriptedGenerator>(
      "remote", [](const engine::Request& request) -> Result<std::string> {
        const auto& fim = std::get<engine::FimPrompt>(request.text);
        CHECK(fim.prefix == "def add(a, b):\n    return ");
        CHECK(fim.suffix == "\n\nprint(add(1, 2))\n");
        return "a + b";
      });
  remote->can.fill_in_middle = true;
  Completer completer(remote);
  CompletionInput input;
  const std::string text = "def add(a, b):\n    return \n\nprint(add(1, 2))\n";
  input.text = std::make_shared<const std::string>(text);
  input.cursor = text.find("\n\n");
  input.path = "a.py";
  input.language_id = "python";
  std::promise<Result<CompletionOutput>> done;
  completer.complete(input,
                     [&](Result<CompletionOutput> output) { done.set_value(std::move(output)); });
  const auto output = done.get_future().get();
  REQUIRE(output.has_value());
  REQUIRE(output->items.size() == 1);
  CHECK(output->items[0].text == "a + b");
}

TEST_CASE("a window of text: within its budget, in whole lines, with a calm beginning") {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line number " + std::to_string(i) + "\n";
  size_t moved = 0, last = SIZE_MAX;
  for (size_t cursor = 0; cursor <= text.size(); cursor += 37) {
    const TextWindow window = text_window(text, cursor, 300, 0.67);
    REQUIRE(window.begin <= cursor);
    REQUIRE(window.end >= cursor);
    CHECK(window.end - window.begin <= 900);
    if (window.begin > 0) CHECK(text[window.begin - 1] == '\n');
    if (cursor > 700) CHECK(cursor - window.begin >= 400);
    moved += window.begin != last ? 1 : 0;
    last = window.begin;
  }
  CHECK(moved < text.size() / 37 / 3);  // most keystrokes keep the prompt's head
  const std::string line(5000, 'x');
  const TextWindow window = text_window(line, 4000, 300, 0.67);
  CHECK(window.begin > 0);
  CHECK(window.begin < 4000);
  const TextWindow small = text_window("ab", 1, 300, 0.67);
  CHECK(small.begin == 0);
  CHECK(small.end == 2);
}
