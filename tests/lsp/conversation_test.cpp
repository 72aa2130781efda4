#include "lsp/assist/conversation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::assist;
using cambium::test::ScriptedGenerator;
using engine::ChatMessage;
using Speaker = ChatMessage::Role;

namespace {

const std::string kParser =
    "```python\n"
    "def parse(text):\n"
    "    tokens = tokenize(text)\n"
    "    return Tree(tokens)\n"
    "```\n";

std::string words(const std::string& topic, int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += "So we went on about " + topic + " for a while. ";
  return text;
}

/// A conversation in which early turns state facts that the last one needs.
struct Scripted {
  const char* name;
  std::vector<ChatMessage> messages;
  std::vector<std::string> facts;  ///< must reach the model
};

std::vector<Scripted> conversations() {
  std::vector<Scripted> all;
  {
    Scripted s{"a port and a rule", {}, {"port 8443", "never log the token"}};
    s.messages = {{Speaker::system, "You help."},
                  {Speaker::user, "The service listens on port 8443. " + words("ports", 20)},
                  {Speaker::assistant, "Good. " + words("services", 20)},
                  {Speaker::user, "Remember: never log the token. " + words("logging", 20)},
                  {Speaker::assistant, "I will. " + words("tokens", 20)},
                  {Speaker::user, words("weather", 12)},
                  {Speaker::assistant, words("clouds", 12)},
                  {Speaker::user, "Write the start-up code now."}};
    all.push_back(std::move(s));
  }
  {
    Scripted s{"code named later", {}, {"return Tree(tokens)"}};
    s.messages = {{Speaker::user, "Here is my parser:\n" + kParser + words("parsing", 25)},
                  {Speaker::assistant, "It is short. " + words("trees", 25)},
                  {Speaker::user, words("lexing", 25)},
                  {Speaker::assistant, words("regular expressions", 25)},
                  {Speaker::user, "Now let parse report the line of an error."}};
    all.push_back(std::move(s));
  }
  {
    Scripted s{"a decision", {}, {"decided to keep SQLite"}};
    s.messages = {{Speaker::user, "Postgres or SQLite? " + words("databases", 30)},
                  {Speaker::assistant, "We decided to keep SQLite. " + words("files", 30)},
                  {Speaker::user, words("backups", 10)},
                  {Speaker::assistant, words("snapshots", 10)},
                  {Speaker::user, "Then write the migration."}};
    all.push_back(std::move(s));
  }
  return all;
}

std::string all_of(const std::vector<ChatMessage>& messages) {
  std::string text;
  for (const ChatMessage& message : messages) text += message.content + '\n';
  return text;
}

/// A general model that keeps what a person would.
Result<std::string> summarise(const engine::Request& request) {
  const std::string text = std::get<engine::ChatPrompt>(request.text).messages.back().content;
  if (!text.starts_with("Summarise")) return "done";
  std::string summary;
  for (const char* fact :
       {"port 8443", "never log the token", "[code 1", "decided to keep SQLite"}) {
    if (text.find(fact) != text.npos) summary.append(fact).append("\n");
  }
  return summary;
}

}  // namespace

TEST_CASE("a long conversation takes 40 % less, and later turns find their facts") {
  for (const bool by_model : {true, false}) {
    for (const Scripted& s : conversations()) {
      CAPTURE(s.name);
      CAPTURE(by_model);
      auto models = std::make_shared<FixedModels>();
      auto reasoning = std::make_shared<ScriptedGenerator>("r1");
      reasoning->can.kv_bytes_per_token = 1024;
      models->set(Role::reasoning, reasoning);
      if (by_model) {
        models->set(Role::general, std::make_shared<ScriptedGenerator>("v2", summarise));
      }
      AssistantOptions options;
      options.conversation_tokens = conversation_tokens(s.messages, estimated_tokens) * 2 / 3;
      Question question;
      question.messages = s.messages;
      question.role = Role::reasoning;
      bool answered = false;
      Assistant(models, options).ask(question, nullptr, [&](Result<Answer> answer) {
        answered = true;
        REQUIRE(answer);
        const Compaction& report = answer->compaction;
        CHECK(report.compacted);
        CHECK(report.summary_by == (by_model ? "v2" : "rule"));
        CHECK(report.kv_bytes_before == static_cast<uint64_t>(report.tokens_before) * 1024);
        CHECK(static_cast<double>(report.kv_bytes_after) <=
              0.6 * static_cast<double>(report.kv_bytes_before));
        CHECK(report.messages_after < report.messages_before);
      });
      REQUIRE(answered);
      const auto& sent = reasoning->messages(0);
      for (const std::string& fact : s.facts) {
        CAPTURE(fact);
        CHECK(all_of(sent).find(fact) != std::string::npos);
      }
      CHECK(sent.back().content.ends_with(s.messages.back().content));
      // Templates want turns to alternate, beginning with the user's.
      const size_t first = sent[0].role == Speaker::system ? 1 : 0;
      for (size_t i = first; i < sent.size(); ++i) {
        CHECK(sent[i].role == ((i - first) % 2 == 0 ? Speaker::user : Speaker::assistant));
      }
    }
  }
}

TEST_CASE("code stays a reference until it is named") {
  Scripted s = conversations()[1];
  const int32_t budget = conversation_tokens(s.messages, estimated_tokens) / 2;
  const CompactionPlan plan = plan_compaction(s.messages, budget, estimated_tokens);
  REQUIRE(plan.code.size() == 1);
  CHECK(plan.code[0].label == "[code 1: python, 3 lines: parse]");
  CHECK(plan.transcript.find(plan.code[0].label) != std::string::npos);
  CHECK(plan.transcript.find("Tree(tokens)") == std::string::npos);

  const std::pair<const char*, bool> questions[] = {
      {"What about parse?", true},      {"Look at [code 1] again", true},
      {"In code 1, is it safe?", true}, {"Rewrite the parser.", false},
      {"What about parse_all?", false}, {"In code 12?", false},
  };
  for (const auto& [question, wanted] : questions) {
    CAPTURE(question);
    s.messages.back().content = question;
    const auto sent = compacted(s.messages, plan, "a summary");
    CHECK((all_of(sent).find("Tree(tokens)") != std::string::npos) == wanted);
  }
}

TEST_CASE("a conversation that fits is left alone") {
  for (const Scripted& s : conversations()) {
    const int32_t tokens = conversation_tokens(s.messages, estimated_tokens);
    CHECK_FALSE(plan_compaction(s.messages, tokens, estimated_tokens).needed());
    CHECK(plan_compaction(s.messages, tokens - 1, estimated_tokens).needed());
  }
}

TEST_CASE("a summary serves until the conversation has outgrown it too") {
  auto models = std::make_shared<FixedModels>();
  int summaries = 0;
  auto general = std::make_shared<ScriptedGenerator>(
      "v2", [&](const engine::Request& request) -> Result<std::string> {
        const auto& last = std::get<engine::ChatPrompt>(request.text).messages.back().content;
        if (!last.starts_with("Summarise")) return "answer";
        ++summaries;
        CHECK((last.find("summary 1") != last.npos) == (summaries == 2));
        return "summary " + std::to_string(summaries);
      });
  models->set(Role::general, general);
  AssistantOptions options;
  options.conversation_tokens = 600;
  const Assistant assistant(models, options);
  Question question;
  question.intent = Intent::explain;
  std::vector<int> after;  // summaries made up to each turn
  for (int turn = 0; turn < 12; ++turn) {
    question.messages.push_back({Speaker::user, words("turn " + std::to_string(turn), 8)});
    assistant.ask(question, nullptr, [&](Result<Answer> answer) {
      REQUIRE(answer);
      CHECK(answer->compaction.tokens_after <= 600);
    });
    question.messages.push_back({Speaker::assistant, "ok"});
    after.push_back(summaries);
    if (summaries == 2) break;
  }
  CHECK(after.front() == 0);
  CHECK(after.back() == 2);
  CHECK(std::count(after.begin(), after.end(), 1) >= 2);
}

TEST_CASE("a summary by rule keeps the newest facts that fit, in their order") {
  CompactionPlan plan;
  for (int i = 10; i < 30; ++i)
    plan.transcript += "The port of it is " + std::to_string(i) + ". So we went on.\n";
  plan.summary_tokens = 3 * (estimated_tokens("The port of it is 10.") + 1);
  CHECK(summary_by_rule(plan, estimated_tokens) ==
        "The port of it is 27.\nThe port of it is 28.\nThe port of it is 29.\n");
}

TEST_CASE("one message too long is sent as it is; the model says what it thinks of that") {
  std::vector<ChatMessage> messages = {{Speaker::user, words("everything", 100)}};
  CHECK_FALSE(plan_compaction(messages, 50, estimated_tokens).needed());
}
