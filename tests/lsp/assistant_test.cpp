#include "lsp/assist/assistant.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/chat_defaults.h"
#include "lsp/assist/thinking.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::assist;
using cambium::test::ScriptedGenerator;
using engine::ChatMessage;
using Role_ = ChatMessage::Role;

namespace {

struct Asked {
  int answers = 0;
  Result<Answer> answer = fail(ErrorCode::io, "not answered");
  std::string thinking, text;  ///< as streamed
};

Asked ask(const Assistant& assistant, Question question) {
  Asked out;
  assistant.ask(
      std::move(question),
      [&](AnswerPiece piece) {
        (piece.kind == AnswerPiece::Kind::thinking ? out.thinking : out.text) += piece.text;
      },
      [&](Result<Answer> answer) {
        ++out.answers;
        out.answer = std::move(answer);
      });
  return out;
}

Question saying(const std::string& text, Intent intent = Intent::explain) {
  Question question;
  question.intent = intent;
  question.messages = {{Role_::user, text}};
  return question;
}

std::shared_ptr<ScriptedGenerator> scripted(const std::string& name, const std::string& answer) {
  return std::make_shared<ScriptedGenerator>(
      name, [answer](const engine::Request&) -> Result<std::string> { return answer; });
}

}  // namespace

TEST_CASE("R1: thinking folded away, its sampling, no system prompt") {
  auto r1 = scripted("DeepSeek-R1-Distill-Qwen-7B", "<think>\nhmm, 6*7\n</think>\n\n42");
  r1->can.chat_defaults = engine::chat_defaults_for(r1->can.model);
  auto models = std::make_shared<FixedModels>();
  models->set(Role::reasoning, r1);
  Question question = saying("what is it?", Intent::why);
  question.messages.insert(question.messages.begin(), {Role_::system, "Be brief."});
  for (const size_t piece : {1, 2, 5, 100}) {
    r1->piece_bytes = piece;
    const Asked asked = ask(Assistant(models), question);
    REQUIRE(asked.answers == 1);
    REQUIRE(asked.answer);
    CHECK(asked.answer->text == "42");
    CHECK(asked.answer->thinking == "hmm, 6*7\n");
    CHECK(asked.text == asked.answer->text);
    CHECK(asked.thinking == asked.answer->thinking);
    CHECK(asked.answer->route.role == Role::reasoning);
    CHECK(asked.answer->route.reason == "why wants reasoning");
  }
  const engine::Request& sent = r1->requests[0];
  CHECK(sent.sampling.temperature == doctest::Approx(0.6));
  CHECK(sent.sampling.top_p == doctest::Approx(0.95));
  REQUIRE(r1->messages(0).size() == 1);
  CHECK(r1->messages(0)[0].role == Role_::user);
  CHECK(r1->messages(0)[0].content == "Be brief.\n\nwhat is it?");

  question.exact = true;
  ask(Assistant(models), question);
  CHECK(r1->requests.back().sampling.temperature == doctest::Approx(0.3));
}

TEST_CASE("defaults by family") {
  CHECK(engine::chat_defaults_for("deepseek-r1:14b").thinks);
  CHECK_FALSE(engine::chat_defaults_for("deepseek-r1:14b").system_prompt);
  CHECK(engine::chat_defaults_for("DeepSeek R1 0528 Qwen3 8B").system_prompt);
  CHECK(engine::chat_defaults_for("DeepSeek_R1_Distill_Llama_8B").sampling.top_p ==
        doctest::Approx(0.95));
  CHECK(engine::chat_defaults_for("DeepSeek-V2-Lite-Chat").sampling.temperature == 0);
  CHECK_FALSE(engine::chat_defaults_for("DeepSeek-V2-Lite-Chat").thinks);
  CHECK(engine::chat_defaults_for("QwQ", true).thinks);
}

TEST_CASE("thinking and text, whatever the pieces") {
  struct Case {
    bool thinks;
    const char *written, *thinking, *text;
  };
  const Case cases[] = {
      {true, "<think>a</think>b", "a", "b"},
      {true, "\n<think>\n\n</think>\n\nb\n", "", "b\n"},
      {true, "no tags at all", "", "no tags at all"},
      {true, "<think>never ends</thin", "never ends</thin", ""},
      {true, "a <think>x</think>", "a <think>x", ""},  // a lone end: the template had opened it
      {true, "went on\n</think>\nb", "went on\n", "b"},
      {true, "<thinker> is a word", "", "<thinker> is a word"},
      {false, "<think>a</think>b", "", "<think>a</think>b"},
      {true, "", "", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.written);
    for (const size_t piece : {1, 3, 100}) {
      ThinkingSplitter splitter(c.thinks);
      const std::string_view written = c.written;
      for (size_t at = 0; at < written.size(); at += piece) {
        splitter.append(written.substr(at, piece));
      }
      splitter.finish();
      CHECK(splitter.thinking() == c.thinking);
      CHECK(splitter.text() == c.text);
    }
  }
}

TEST_CASE("free text is classified, by rule or by the general model") {
  auto general = std::make_shared<ScriptedGenerator>(
      "v2", [](const engine::Request& request) -> Result<std::string> {
        return request.max_tokens == 8 ? "It is about reasoning." : "answered by v2";
      });
  auto models = std::make_shared<FixedModels>();
  models->set(Role::general, general);
  models->set(Role::reasoning, scripted("r1", "answered by r1"));
  const Question question = saying("Is a tomato a fruit?", Intent::chat);
  Asked by_rule = ask(Assistant(models), question);
  REQUIRE(by_rule.answer);
  CHECK(by_rule.answer->text == "answered by v2");
  CHECK(by_rule.answer->route.classify_ms < 50);
  AssistantOptions options;
  options.classify_by_model = true;
  Asked by_model = ask(Assistant(models, options), question);
  REQUIRE(by_model.answer);
  CHECK(by_model.answer->text == "answered by r1");
  CHECK(by_model.answer->route.reason.find("says the general model") != std::string::npos);
}

TEST_CASE("what can't be asked is told in a sentence, once") {
  auto models = std::make_shared<FixedModels>();
  Asked asked = ask(Assistant(models), saying("x"));
  CHECK(asked.answers == 1);
  CHECK_FALSE(asked.answer);

  auto base = scripted("base", "x");
  base->can.chat = false;
  models->set(Role::general, base);
  asked = ask(Assistant(models), saying("x"));
  REQUIRE_FALSE(asked.answer);
  CHECK(asked.answer.error().message.find("no chat template") != std::string::npos);

  asked = ask(Assistant(models), Question{});
  CHECK(asked.answer.error().code == ErrorCode::invalid_argument);

  auto broken =
      std::make_shared<ScriptedGenerator>("v2", [](const engine::Request&) -> Result<std::string> {
        return fail(ErrorCode::unavailable, "http://127.0.0.1:1 is down");
      });
  models->set(Role::general, broken);
  asked = ask(Assistant(models), saying("x"));
  CHECK(asked.answers == 1);
  CHECK(asked.answer.error().message == "http://127.0.0.1:1 is down");
}

TEST_CASE("a cancelled question is answered, as cancelled") {
  auto slow = scripted("v2", "text");
  slow->hold = true;
  auto models = std::make_shared<FixedModels>();
  models->set(Role::general, slow);
  Question question = saying("x");
  question.cancel = engine::make_cancel_flag();
  int answers = 0;
  engine::StopReason stop = engine::StopReason::end_of_text;
  Assistant(models).ask(question, nullptr, [&](Result<Answer> answer) {
    ++answers;
    stop = answer->stop;
  });
  question.cancel->store(true);
  REQUIRE(slow->held.size() == 1);
  slow->answer_held();
  CHECK(answers == 1);
  CHECK(stop == engine::StopReason::cancelled);
}

TEST_CASE("a cascade of two models that answer in words") {
  auto small = scripted("v2-lite", "a short answer");
  auto larger = scripted("r1", "<think>\nhm\n</think>\n\na long answer");
  larger->can.chat_defaults = engine::chat_defaults_for("DeepSeek-R1");
  auto models = std::make_shared<FixedModels>();
  models->set(Role::general, small);
  models->set_larger(Role::general, larger, 0.7);
  const Assistant assistant(models);

  // Sure: its answer is shown, as a whole.
  small->logprobs = {0.0f, -0.1f};
  Asked asked = ask(assistant, saying("explain"));
  REQUIRE(asked.answer);
  CHECK(asked.answers == 1);
  CHECK(asked.text == "a short answer");
  CHECK(asked.answer->route.model == "v2-lite");
  CHECK(asked.answer->route.cascade);
  CHECK_FALSE(asked.answer->route.larger);
  CHECK(small->requests.back().logprobs);
  CHECK(asked.answer->route.confidence == doctest::Approx(0.952).epsilon(0.01));
  CHECK(asked.answer->route.reason.find("at least 0.70") != std::string::npos);
  CHECK(larger->requests.empty());

  // Not sure: nothing of it is shown, and the larger model gets the conversation as it was.
  small->logprobs = {-1.0f, -2.0f};
  asked = ask(assistant, saying("explain"));
  REQUIRE(asked.answer);
  CHECK(asked.answers == 1);
  CHECK(asked.text == "a long answer");
  CHECK(asked.thinking == "hm\n");
  CHECK(asked.answer->text == "a long answer");
  CHECK(asked.answer->route.model == "r1");
  CHECK(asked.answer->route.larger);
  CHECK_FALSE(larger->requests.back().logprobs);
  CHECK(asked.answer->route.small_ms > 0);
  CHECK(asked.answer->route.reason.find("is below 0.70") != std::string::npos);
  REQUIRE(larger->requests.size() == 1);
  CHECK(larger->messages(0).at(0).content == "explain");

  // Who names a role gets that role's model.
  Question question = saying("explain");
  question.role = Role::general;
  asked = ask(assistant, question);
  CHECK(asked.answer->text == "a short answer");
  CHECK_FALSE(asked.answer->route.cascade);

  // A larger model that fails takes nothing away.
  models->set_larger(
      Role::general,
      std::make_shared<ScriptedGenerator>("r1",
                                          [](const engine::Request&) -> Result<std::string> {
                                            return fail(ErrorCode::unavailable, "no such host");
                                          }),
      0.7);
  asked = ask(assistant, saying("explain"));
  REQUIRE(asked.answer);
  CHECK(asked.answers == 1);
  CHECK(asked.text == "a short answer");
  CHECK(asked.answer->route.model == "v2-lite");
  CHECK(asked.answer->route.reason.find("does not answer: no such host") != std::string::npos);
  auto silent = scripted("coder-base", "");
  silent->can.chat = false;
  models->set_larger(Role::general, silent, 0.7);
  asked = ask(assistant, saying("explain"));
  REQUIRE(asked.answer);
  CHECK(asked.text == "a short answer");
  CHECK(asked.answer->route.reason.find("no chat template") != std::string::npos);

  // And it stands in for a small one that fails.
  models->set(Role::general, std::make_shared<ScriptedGenerator>(
                                 "v2-lite", [](const engine::Request&) -> Result<std::string> {
                                   return fail(ErrorCode::unavailable, "it is down");
                                 }));
  models->set_larger(Role::general, larger, 0.7);
  asked = ask(assistant, saying("explain"));
  REQUIRE(asked.answer);
  CHECK(asked.text == "a long answer");
  CHECK(asked.answer->route.reason.find("the small model failed: it is down") != std::string::npos);
  models->set_larger(Role::general, silent, 0.7);
  asked = ask(assistant, saying("explain"));
  CHECK_FALSE(asked.answer);
  CHECK(asked.answers == 1);
}
