// A model for tests that answers text prompts as the test says, in the test's own thread.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/generator.h"

namespace cambium::test {

class ScriptedGenerator final : public engine::Generator {
 public:
  using Script = std::function<Result<std::string>(const engine::Request&)>;
  explicit ScriptedGenerator(const std::string& name, Script script = nullptr)
      : script_(std::move(script)) {
    can.model = name;
    can.chat = true;
    can.context = 4096;
  }

  engine::Capabilities capabilities() const override { return can; }
  const engine::Tokenizer* tokenizer() const override { return nullptr; }
  const engine::PromptFormat* prompt_format() const override { return nullptr; }
  /// Streams the script's text in pieces of `piece_bytes`.
  void generate(engine::Request request, engine::OnText on_text, engine::OnDone on_done) override {
    requests.push_back(request);
    if (hold) {
      held.push_back([this, request, on_text, on_done] { answer(request, on_text, on_done); });
    } else {
      answer(request, on_text, on_done);
    }
  }
  void score(engine::ScoreRequest, engine::OnScored on_done) override {
    on_done(fail(ErrorCode::unsupported, can.model + " scores nothing"));
  }

  /// The messages of the n-th request.
  const std::vector<engine::ChatMessage>& messages(size_t n) const {
    return std::get<engine::ChatPrompt>(requests.at(n).text).messages;
  }

  /// Answers the oldest request held. What it holds goes with it: a callback may keep this object alive.
  void answer_held() {
    const auto next = std::move(held.at(0));
    held.erase(held.begin());
    next();
  }

  engine::Capabilities can;
  size_t piece_bytes = 3;
  std::vector<float> logprobs;  ///< of every answer
  int32_t prompt_tokens = 0;    ///< the same
  engine::StopReason stop = engine::StopReason::end_of_text;
  bool hold = false;
  std::vector<std::function<void()>> held;  ///< requests not answered yet
  std::vector<engine::Request> requests;

 private:
  void answer(const engine::Request& request, const engine::OnText& on_text,
              const engine::OnDone& on_done) {
    engine::Generated out;
    if (request.cancel && request.cancel->load()) {
      out.stop = engine::StopReason::cancelled;
      return on_done(std::move(out));
    }
    auto text = script_ ? script_(request) : Result<std::string>("an answer");
    if (!text) return on_done(tl::unexpected(text.error()));
    for (size_t at = 0; on_text && at < text->size(); at += piece_bytes) {
      on_text(std::string_view(*text).substr(at, piece_bytes));
    }
    out.text = std::move(*text);
    out.logprobs = logprobs;
    out.stop = stop;
    out.timings.prompt_tokens = prompt_tokens;
    out.timings.generated_tokens = static_cast<int32_t>(out.text.size());
    on_done(std::move(out));
  }

  Script script_;
};

}  // namespace cambium::test
