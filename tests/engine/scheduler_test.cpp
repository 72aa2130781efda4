// Who runs when: priorities, turns, slots taken away, cancelling, the end. Controllers are called
// on the engine thread between two steps, which makes every moment below a certain one.
#include "engine/scheduler.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>

#include "engine/gguf.h"
#include "engine/prompt_format.h"
#include "engine/sampler.h"
#include "engine/tokenizer.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

using test::controller;
using test::generate;

Request request(const std::string& prompt, int32_t max_tokens, Priority priority) {
  Request r;
  for (const char c : prompt) r.prompt.push_back(static_cast<unsigned char>(c));
  r.max_tokens = max_tokens;
  r.priority = priority;
  r.speculate = false;  // one token a step
  return r;
}

struct Loaded {
  test::TempFile file = test::write_tiny_model({});
  std::shared_ptr<Generator> generator;
  explicit Loaded(int32_t slots, int32_t chunk = 256) {
    LoadOptions options;
    options.engine.slots = slots;
    options.engine.prefill_chunk = chunk;
    generator = test::load(file.path(), options);
  }
};

struct Outcome {
  std::promise<Result<Generated>> promise;
  OnDone on_done() {
    return [this](Result<Generated> result) { promise.set_value(std::move(result)); };
  }
  Generated wait() {
    auto result = promise.get_future().get();
    REQUIRE_MESSAGE(result.has_value(), result.error().message);
    return std::move(*result);
  }
};

TEST_CASE("priority: an interactive request cuts in, also where every slot is taken") {
  for (const int32_t slots : {1, 2}) {
    CAPTURE(slots);
    Loaded loaded(slots);
    const auto alone =
        generate(*loaded.generator, request("background work", 40, Priority::background));
    REQUIRE(alone.tokens.size() == 40);

    Outcome background, interactive;
    int steps = 0, steps_when_done = -1;
    auto r = request("background work", 40, Priority::background);
    r.controller = controller([&](const Step&) {
      if (++steps == 10) {
        loaded.generator->generate(request("urgent", 30, Priority::interactive), nullptr,
                                   [&](Result<Generated> result) {
                                     steps_when_done = steps;
                                     interactive.promise.set_value(std::move(result));
                                   });
      }
      return StepDecision{};
    });
    loaded.generator->generate(r, nullptr, background.on_done());
    CHECK(interactive.wait().tokens.size() > 0);
    // Not one step of the background request while the interactive one ran,
    CHECK(steps_when_done == 10);
    // and its text is what it would have been.
    CHECK(background.wait().tokens == alone.tokens);
  }
}

TEST_CASE("priority: a chunk of prefill in progress is given up") {
  Loaded loaded(2);
  // The long prompt of the background request is one pass; the interactive request comes in before
  // or during it. Whatever the moment, it does not wait for all of the long one.
  Outcome background, interactive;
  std::atomic<bool> background_done = false, was_done = true;
  loaded.generator->generate(request(std::string(250, 'x'), 200, Priority::background), nullptr,
                             [&](Result<Generated> result) {
                               background_done = true;
                               background.promise.set_value(std::move(result));
                             });
  loaded.generator->generate(request("now", 2, Priority::interactive), nullptr,
                             [&](Result<Generated> result) {
                               was_done = background_done.load();
                               interactive.promise.set_value(std::move(result));
                             });
  interactive.wait();
  CHECK_FALSE(was_done);
  background.wait();
}

TEST_CASE("turns: equals share the time") {
  Loaded loaded(2, 8);
  std::atomic<int> second_steps = 0;
  int when_first_ended = -1;
  Outcome first, second;
  auto b = request("second request", 100, Priority::interactive);
  b.controller = controller([&](const Step&) {
    ++second_steps;
    return StepDecision{};
  });
  auto a = request("first request", 100, Priority::interactive);
  int steps = 0;
  a.controller = controller([&](const Step&) {
    if (++steps == 1) loaded.generator->generate(b, nullptr, second.on_done());
    return StepDecision{};
  });
  loaded.generator->generate(a, nullptr, [&](Result<Generated> result) {
    when_first_ended = second_steps;
    first.promise.set_value(std::move(result));
  });
  const auto n = first.wait().tokens.size();
  second.wait();
  CHECK(when_first_ended >= static_cast<int>(n) / 4);
}

TEST_CASE("more requests than slots: all are answered, each as if alone") {
  Loaded loaded(2);
  std::vector<std::string> prompts;
  for (int i = 0; i < 7; ++i) prompts.push_back("prompt number " + std::to_string(i));
  std::vector<Outcome> outcomes(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    loaded.generator->generate(request(prompts[i], 12, static_cast<Priority>(i % 3)), nullptr,
                               outcomes[i].on_done());
  }
  std::vector<std::vector<TokenId>> got;
  for (auto& outcome : outcomes) got.push_back(outcome.wait().tokens);
  Loaded other(1);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CHECK(generate(*other.generator, request(prompts[i], 12, Priority::normal)).tokens == got[i]);
  }
}

TEST_CASE("cancel: within one step, before the start, and the slot is free again") {
  Loaded loaded(1);
  auto r = request("to be cancelled", 200, Priority::interactive);
  r.cancel = make_cancel_flag();
  int steps = 0;
  r.controller = controller([&](const Step&) {
    if (++steps == 5) r.cancel->store(true);
    return StepDecision{};
  });
  const auto got = generate(*loaded.generator, r);
  CHECK(got.stop == StopReason::cancelled);
  CHECK(got.tokens.size() == 5);
  CHECK(steps == 5);

  const auto never = generate(*loaded.generator, r);
  CHECK(never.stop == StopReason::cancelled);
  CHECK(never.tokens.empty());
  CHECK(generate(*loaded.generator, request("next", 3, Priority::background)).tokens.size() > 0);
}

TEST_CASE("cancel: a request that waits its turn is answered while another runs") {
  Loaded loaded(1);
  Outcome waiting, running;
  const auto flag = make_cancel_flag();
  auto a = request("running", 60, Priority::interactive);
  bool answered_early = false;
  int steps = 0;
  std::atomic<bool> answered = false;
  a.controller = controller([&](const Step&) {
    ++steps;
    if (steps == 2) {
      auto b = request("waiting", 5, Priority::interactive);
      b.cancel = flag;
      loaded.generator->generate(b, nullptr, [&](Result<Generated> result) {
        answered = true;
        waiting.promise.set_value(std::move(result));
      });
    }
    if (steps == 5) flag->store(true);
    if (steps == 8) answered_early = answered;
    return StepDecision{};
  });
  loaded.generator->generate(a, nullptr, running.on_done());
  CHECK(waiting.wait().stop == StopReason::cancelled);
  running.wait();
  CHECK(answered_early);
}

TEST_CASE("the end: every request is answered exactly once") {
  std::atomic<int> answers = 0, errors = 0;
  std::promise<void> begun;
  {
    Loaded loaded(2);
    const auto count = [&](Result<Generated> result) {
      ++answers;
      if (!result && result.error().code == ErrorCode::cancelled) ++errors;
    };
    bool first = true;
    auto r = request("endless", 450, Priority::interactive);
    r.controller = controller([&](const Step&) {
      if (std::exchange(first, false)) begun.set_value();
      return StepDecision{};
    });
    for (int i = 0; i < 5; ++i) {
      loaded.generator->generate(r, nullptr, count);
      r.controller = nullptr;
    }
    loaded.generator->score({.tokens = r.prompt, .structure = {}, .cancel = nullptr},
                            [&](Result<Scored>) { ++answers; });
    begun.get_future().wait();
  }
  CHECK(answers == 6);
  CHECK(errors <= 5);
}

TEST_CASE("the end: a generator may be let go in its own callback") {
  std::promise<void> done;
  {
    Loaded loaded(1);
    auto keep = std::make_shared<std::shared_ptr<Generator>>(loaded.generator);
    Generator& generator = *loaded.generator;
    loaded.generator.reset();
    generator.generate(request("last", 3, Priority::interactive), nullptr,
                       [keep, &done](Result<Generated>) mutable {
                         keep->reset();
                         done.set_value();
                       });
    keep.reset();
    done.get_future().wait();
  }
}

/// A model whose device chooses tokens itself, and may die after so many passes.
class DeviceModel final : public Model {
 public:
  DeviceModel(std::unique_ptr<Model> real, int lives) : real_(std::move(real)), lives_(lives) {}
  const ModelConfig& config() const override { return real_->config(); }
  Backend& backend() override { return real_->backend(); }
  Result<std::unique_ptr<KvStore>> create_kv(int32_t n) override { return real_->create_kv(n); }
  Result<PassResult> forward(const Pass& pass) override {
    if (lives_-- == 0) return fail(ErrorCode::device, "GPU: it fell off the bus");
    auto result = real_->forward(pass);
    if (!result || !pass.greedy) return result;
    logits_.assign(result->logits.begin(), result->logits.end());
    best_.clear();
    const auto n_vocab = static_cast<size_t>(config().n_vocab);
    for (size_t row = 0; row < pass.logits_at.size(); ++row) {
      const auto values = std::span<const float>(logits_).subspan(row * n_vocab, n_vocab);
      best_.push_back({argmax(values), log_probability(values, argmax(values))});
    }
    result->logits = {};
    result->best = best_;
    return result;
  }
  Result<std::span<const float>> logits() override {
    ++fetched;
    return std::span<const float>(logits_);
  }
  int fetched = 0;

 private:
  std::unique_ptr<Model> real_;
  int lives_;
  std::vector<float> logits_;
  std::vector<BestToken> best_;
};

struct OnDevice {
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const PromptFormat> format;
  DeviceModel* model = nullptr;
  std::unique_ptr<Scheduler> scheduler;

  std::unique_ptr<Model> open() const {
    auto config = ModelConfig::from_gguf(*file);
    REQUIRE(config.has_value());
    auto opened = load_model_weights(file, *config, make_cpu_backend(1), nullptr);
    REQUIRE(opened.has_value());
    return std::move(*opened);
  }
  OnDevice(const std::string& path, int lives, bool replaceable) {
    file = *GgufFile::open(path);
    tokenizer = *Tokenizer::from_gguf(*file);
    format = *PromptFormat::from_gguf(*file, *tokenizer);
    auto made = std::make_unique<DeviceModel>(open(), lives);
    model = made.get();
    Scheduler::Options options{128, 2, 256};
    if (replaceable) options.replacement = [this](const Error&) { return open(); };
    scheduler = std::make_unique<Scheduler>(std::move(made), tokenizer, format, options);
  }
  Result<Generated> generate(Request r) {
    Outcome outcome;
    scheduler->generate(std::move(r), nullptr, outcome.on_done());
    return outcome.promise.get_future().get();
  }
};

TEST_CASE("a device that chooses tokens: the same text, logits fetched only for a refusal") {
  Loaded loaded(2);
  const auto plain = generate(*loaded.generator, request("the same text", 24, Priority::normal));
  OnDevice device(loaded.file.path(), -1, false);
  const auto chosen = device.generate(request("the same text", 24, Priority::normal));
  REQUIRE(chosen.has_value());
  CHECK(chosen->tokens == plain.tokens);
  REQUIRE(chosen->logprobs.size() == plain.logprobs.size());
  for (size_t i = 0; i < plain.logprobs.size(); ++i)  // two ways of rounding
    CHECK(chosen->logprobs[i] == doctest::Approx(plain.logprobs[i]).epsilon(1e-4));
  CHECK(device.model->fetched == 0);

  // Every third proposal is refused, on both.
  const auto picky = [](Request r) {
    r.controller = controller([n = 0](const Step&) mutable {
      StepDecision decision;
      if (++n % 3 == 0) decision.verdict = StepDecision::Verdict::reject;
      return decision;
    });
    return r;
  };
  const auto want = generate(*loaded.generator, picky(request("refused", 24, Priority::normal)));
  const auto got = device.generate(picky(request("refused", 24, Priority::normal)));
  REQUIRE(got.has_value());
  CHECK(got->tokens == want.tokens);
  CHECK(device.model->fetched > 0);
}

TEST_CASE("a device that dies: requests go on elsewhere with what they have, or hear why") {
  Loaded loaded(2);
  const auto want = generate(*loaded.generator, request("to be continued", 24, Priority::normal));
  OnDevice replaced(loaded.file.path(), 9, true);
  const auto got = replaced.generate(request("to be continued", 24, Priority::normal));
  REQUIRE(got.has_value());
  CHECK(got->tokens == want.tokens);
  CHECK(replaced.generate(request("and again", 8, Priority::normal)).has_value());

  OnDevice alone(loaded.file.path(), 9, false);
  const auto error = alone.generate(request("to be continued", 24, Priority::normal));
  REQUIRE(!error.has_value());
  CHECK(error.error().code == ErrorCode::device);
  CHECK(error.error().message.find("bus") != std::string::npos);
}

}  // namespace
}  // namespace cambium::engine
