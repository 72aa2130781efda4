#include "lsp/assist/router.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::assist;
using cambium::test::ScriptedGenerator;

namespace {

std::shared_ptr<engine::Generator> model(const std::string& name, bool chat) {
  auto generator = std::make_shared<ScriptedGenerator>(name);
  generator->can.chat = chat;
  return generator;
}

/// "c" a completion model, "C" one that chats, "r" reasoning, "g" general.
FixedModels models_of(const std::string& letters) {
  FixedModels models;
  for (const char letter : letters) {
    if (letter == 'c') models.set(Role::completion, model("coder", false));
    if (letter == 'C') models.set(Role::completion, model("coder-instruct", true));
    if (letter == 'r') models.set(Role::reasoning, model("r1", true));
    if (letter == 'g') models.set(Role::general, model("v2", true));
  }
  return models;
}

}  // namespace

TEST_CASE("intent first, then what is configured") {
  struct Case {
    Intent intent;
    const char* models;
    const char* chosen;  ///< nullptr: an error
  };
  const Case cases[] = {
      {Intent::completion, "crg", "coder"},
      {Intent::review, "crg", "r1"},
      {Intent::review, "cg", "v2"},
      {Intent::review, "Cg", "v2"},
      {Intent::review, "C", "coder-instruct"},
      {Intent::review, "c", nullptr},
      {Intent::fix, "rg", "r1"},
      {Intent::why, "g", "v2"},
      {Intent::explain, "Crg", "v2"},
      {Intent::explain, "Cr", "r1"},
      {Intent::explain, "C", "coder-instruct"},
      {Intent::commit_message, "crg", "v2"},
      {Intent::commit_message, "cr", "r1"},
      {Intent::chat, "crg", "v2"},
      {Intent::explain, "", nullptr},
  };
  for (const Case& c : cases) {
    const FixedModels models = models_of(c.models);
    const auto chosen = route(c.intent, std::nullopt, models);
    CAPTURE(to_string(c.intent));
    CAPTURE(c.models);
    if (c.chosen == nullptr) {
      REQUIRE_FALSE(chosen);
      CHECK(chosen.error().message.find("models.json") != std::string::npos);
    } else {
      REQUIRE(chosen);
      CHECK(chosen->model == c.chosen);
      CHECK_FALSE(chosen->reason.empty());
    }
  }
}

TEST_CASE("the reason names what was passed over") {
  const FixedModels models = models_of("cg");
  CHECK(route(Intent::review, std::nullopt, models)->reason ==
        "review wants reasoning, no reasoning model is configured");
}

TEST_CASE("free text goes by what it is about") {
  const FixedModels all = models_of("Crg");
  struct Case {
    const char* question;
    Topic topic;
    const char* model;
  };
  const Case cases[] = {
      {"Write a Python function that reverses a list", Topic::code, "coder-instruct"},
      {"What does `parse()` do?", Topic::code, "coder-instruct"},
      {"rename read_config_file to load_config", Topic::code, "coder-instruct"},
      {"Why is insertion into a hash table amortised O(1)? Prove it.", Topic::reasoning, "r1"},
      {"How many ways are there to make change, step by step?", Topic::reasoning, "r1"},
      {"Compare optimistic and pessimistic locking: which trade-offs matter?", Topic::reasoning,
       "r1"},
      {"Hello! Who are you?", Topic::general, "v2"},
      {"Translate this sentence to French", Topic::general, "v2"},
      {"", Topic::general, "v2"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.question);
    const Classified found = classify(c.question);
    CHECK(std::string(to_string(found.topic)) == to_string(c.topic));
    CHECK_FALSE(found.why.empty());
    const auto chosen = route(Intent::chat, found, all);
    REQUIRE(chosen);
    CHECK(chosen->model == c.model);
    CHECK(chosen->classify_ms == found.ms);
    CHECK(chosen->reason.find(found.why) != std::string::npos);
  }
}

TEST_CASE("a very long question is judged by its ends") {
  const std::string filler(1 << 20, 'x');
  CHECK(classify("Fix the compiler bug\n" + filler).topic == Topic::code);
  CHECK(classify(filler + "\nProve it step by step").topic == Topic::reasoning);
  CHECK(classify(filler + " prove the invariant " + filler).topic == Topic::general);
}
