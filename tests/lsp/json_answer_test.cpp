// JSON found in what a model says, whole and cut.
#include "lsp/assist/json_answer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "lsp/training/random.h"

using namespace cambium;
using namespace cambium::assist;
using nlohmann::json;

namespace {

/// Of what makes strings hard to read, and other characters.
std::string random_text(training::Random& random) {
  static const std::string kParts[] = {"{",    "}",    "[",  "]",  "\"",
                                       "\\",   ",",    ":",  "\n", "`",
                                       " ",    "a",    "é",  "😀",  "{\"findings\": [",
                                       "null", "\x01", "```"};
  std::string text;
  for (uint32_t n = random.below(6); n > 0; --n) text += kParts[random.below(std::size(kParts))];
  return text;
}

}  // namespace

TEST_CASE("the first whole object is found in whatever a model says") {
  CHECK(first_object(R"({"a": 1})") == R"({"a": 1})");
  CHECK(first_object("Sure!\n```json\n{\"a\": {\"b\": \"}\"}}\n```\nDone {x}") ==
        R"({"a": {"b": "}"}})");
  CHECK(first_object("if (x) { y } {\"a\": []}") == R"({"a": []})");
  CHECK(first_object(R"({"a": [1, )").empty());
  CHECK(first_object("nothing").empty());
}

TEST_CASE("half a document is told from a whole one and from none, with its whole items") {
  const struct {
    const char* answer;
    int items;  ///< -1: it is no half document
  } cases[] = {
      {R"({"findings": [{"a": 1}, {"a": 2)", 1},
      {R"({"findings": [{"a": 1}, {"a": 2}, )", 2},
      {R"({"findings": [{"a": 1}, {"a": 2})", 2},
      {R"({"findings": [{"a": 1}])", 1},
      {R"({"findings": [)", 0},
      {"Well:\n```json\n{\"findings\": [{\"a\": 1},\n```\n", 1},
      {"if (x) { y\n{ \"findings\" : [ {\"a\": {\"b\": []}} ,", 1},
      {R"(I answer with {"findings": [...]}. {"findings": [{"a": 1}, {)", 1},
      {R"({"findings": [{"a": 1}]})", -1},
      {R"({"findings": [{"a": 1,}, {"a": 2}, {"a)", -1},
      {R"({"findings": [{"a": 1} {"a": 2)", -1},
      {R"({"findings": ["text", {"a)", -1},
      {R"({"findings": {"a": 1)", -1},
      {R"({"other": [{"a": 1}, {"a)", -1},
      {R"({"findings")", -1},
      {"prose", -1},
      {"", -1},
  };
  for (const auto& one : cases) {
    CAPTURE(one.answer);
    const auto half = half_document(one.answer, "findings");
    CHECK(half.has_value() == (one.items >= 0));
    if (half) CHECK(static_cast<int>(half->items.size()) == one.items);
  }
}

TEST_CASE("however a document is cut, its whole items are the first of its list") {
  training::Random random(3);
  for (int i = 0; i < 60; ++i) {
    json list = json::array();
    for (uint32_t n = random.below(4); n > 0; --n) {
      list.push_back({{"line", random.below(100)},
                      {"quote", random_text(random)},
                      {"replacement", random.chance(0.3) ? json() : json(random_text(random))},
                      {random_text(random), json::array({random_text(random), {{"x", true}}})}});
    }
    const std::string before = random.chance(0.5) ? "" : "Look: if (x) { y }\n";
    const std::string text =
        before + json({{"findings", list}})
                     .dump(static_cast<int>(random.below(4)) - 1, ' ', random.chance(0.5));
    CAPTURE(text);
    CHECK(json::parse(first_object(text.substr(before.size())))["findings"] == list);
    CHECK_FALSE(half_document(text, "findings"));
    size_t had = 0;
    for (size_t end = 0; end < text.size(); ++end) {
      const auto half = half_document(std::string_view(text).substr(0, end), "findings");
      if (!half) {
        CHECK(had == 0);
        continue;
      }
      // Never fewer than before the cut moved on, and all of them once the list ends.
      REQUIRE(half->items.size() >= had);
      REQUIRE(half->items.size() <= had + 1);
      had = half->items.size();
      for (size_t item = 0; item < had; ++item)
        REQUIRE(json::parse(half->items[item]) == list[item]);
    }
    CHECK(had == list.size());
  }
}
