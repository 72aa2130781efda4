// From a model file to text: loading and its errors, what requests, controllers and scores mean.
#include "engine/engine.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "engine/prompt_format.h"
#include "engine/sampler.h"
#include "engine/text_stream.h"
#include "engine/tokenizer.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

using test::controller;
using test::generate;
using test::TinyModel;
using Verdict = StepDecision::Verdict;

std::vector<TokenId> bytes(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

Request request(std::string_view prompt, int32_t max_tokens = 24) {
  Request r;
  r.prompt = bytes(prompt);
  r.max_tokens = max_tokens;
  return r;
}

// Greedy tokens by whole passes over an ever longer sequence, nothing reused.
std::vector<TokenId> plain_greedy(Model& model, std::vector<TokenId> tokens, int n) {
  const size_t prompt = tokens.size();
  const auto kv = model.create_kv(256);
  for (int i = 0; i < n; ++i) {
    const auto last = static_cast<int32_t>(tokens.size()) - 1;
    const auto result = model.forward({tokens, 0, kv->get(), nullptr, {&last, 1}, nullptr});
    REQUIRE(result.has_value());
    tokens.push_back(argmax(result->logits));
  }
  return {tokens.begin() + static_cast<ptrdiff_t>(prompt), tokens.end()};
}

TEST_CASE("load: capabilities and progress") {
  const auto file = test::write_tiny_model({});
  LoadOptions options;
  std::vector<double> progress;
  options.on_progress = [&](double fraction) { progress.push_back(fraction); };
  options.engine.context = 100000;
  const auto generator = test::load(file.path(), options);
  const Capabilities can = generator->capabilities();
  CHECK(can.model == "tiny");
  CHECK(can.description.find("tiny ") == 0);
  CHECK(can.description.find("K F32 · CPU") != std::string::npos);
  CHECK(can.context == 512);  // what the model was made for
  CHECK(can.fill_in_middle);
  CHECK(can.score);
  CHECK(can.step_control);
  CHECK(can.token_prompts);
  CHECK_FALSE(can.structure);
  CHECK(generator->tokenizer()->size() == 320);
  CHECK(generator->prompt_format()->fim.has_value());
  REQUIRE_FALSE(progress.empty());
  CHECK(std::is_sorted(progress.begin(), progress.end()));
  CHECK(progress.back() == 1.0);
}

TEST_CASE("load: every failure is a value with a message") {
  const auto refused = [](const std::string& path, const LoadOptions& options = {}) {
    const auto generator = load_model(path, options);
    REQUIRE_FALSE(generator.has_value());
    return generator.error();
  };
  const auto holds = [](const Error& error, ErrorCode code,
                        std::initializer_list<const char*> words) {
    CHECK(error.code == code);
    for (const char* word : words) {
      CHECK_MESSAGE(error.message.find(word) != std::string::npos,
                    "\"" << error.message << "\" lacks " << word);
    }
  };
  holds(refused("/nowhere/model.gguf"), ErrorCode::not_found, {"/nowhere/model.gguf"});

  TinyModel tiny;
  tiny.shape.context = 1 << 30;
  const auto file = test::write_tiny_model(tiny);
  LoadOptions options;
  options.engine.context = 1 << 30;
  holds(refused(file.path(), options), ErrorCode::out_of_memory, {"GiB", "smaller context"});
  options = {};
  options.engine.device = "cuda:999";  // without a module, a driver or so many GPUs
  const Error no_gpu = refused(file.path(), options);
  CHECK((no_gpu.code == ErrorCode::unsupported || no_gpu.code == ErrorCode::not_found));
  CHECK(no_gpu.message.find("device \"cuda:999\": ") == 0);
  for (const char* name : {"cuda:", "cuda:-1", "cuda:1x", "cuda1", "cudax"}) {
    options.engine.device = name;
    holds(refused(file.path(), options), ErrorCode::invalid_argument, {name, "cuda:N"});
  }
  options.engine.device = "abacus";
  holds(refused(file.path(), options), ErrorCode::invalid_argument, {"abacus", "auto, cpu"});
  options = {};
  options.engine.slots = 0;
  holds(refused(file.path(), options), ErrorCode::invalid_argument, {"slots is 0"});
  options = {};
  options.structure = StructureMode::emphasis;
  holds(refused(file.path(), options), ErrorCode::unsupported, {"attn_structure_scale", "prune"});
  options.structure = StructureMode::tree;
  holds(refused(file.path(), options), ErrorCode::unsupported, {"attn_tree_bias", "prune"});
  options.structure = StructureMode::own;  // needs no tensors
  CHECK(test::load(file.path(), options)->capabilities().structure);

  auto contents = test::tiny_model_writer({}).bytes();
  contents.resize(contents.size() * 2 / 3);
  const auto cut = test::temp_file("cut.gguf");
  std::ofstream(cut.path(), std::ios::binary)
      .write(reinterpret_cast<const char*>(contents.data()),
             static_cast<std::streamsize>(contents.size()));
  holds(refused(cut.path()), ErrorCode::bad_format, {cut.path().c_str()});
}

TEST_CASE("generate: greedy text is what whole passes give, whatever is reused or drafted") {
  const auto file = test::write_tiny_model({});
  const auto model = test::open_model(file.path());
  LoadOptions options;
  options.engine.prefill_chunk = 16;
  const auto generator = test::load(file.path(), options);
  int32_t drafted = 0, reused = 0;
  for (const char* prompt :
       {"def f(x):", "def f(x): return x\ndef f(x): return x\ndef f(x", "a", "def f(y)"}) {
    CAPTURE(std::string(prompt));
    const auto want = plain_greedy(*model, bytes(prompt), 60);
    for (const bool speculate : {true, false, true}) {
      auto r = request(prompt, 60);
      r.speculate = speculate;
      const auto got = generate(*generator, r);
      CHECK(got.tokens == want);
      CHECK(got.logprobs.size() == got.tokens.size());
      CHECK(got.timings.prompt_tokens == static_cast<int32_t>(r.prompt.size()));
      CHECK(got.timings.generated_tokens == static_cast<int32_t>(want.size()));
      CHECK(got.timings.reused_tokens < got.timings.prompt_tokens);
      CHECK(got.timings.accepted_tokens <= got.timings.drafted_tokens);
      CHECK(got.timings.prefill_ms > 0);
      CHECK(got.timings.ttft_ms >= got.timings.queue_ms);
      if (!speculate) CHECK(got.timings.drafted_tokens == 0);
      drafted += got.timings.drafted_tokens;
      reused += got.timings.reused_tokens;
    }
  }
  CHECK(drafted > 0);
  CHECK(reused > 0);
}

TEST_CASE("generate: seeded sampling does not depend on drafts either") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  auto r = request("abcabcabcabcabc", 50);
  r.sampling = {.temperature = 0.3f, .top_k = 8, .top_p = 0.95f, .seed = 7};
  const auto with = generate(*generator, r);
  r.speculate = false;
  const auto without = generate(*generator, r);
  CHECK(with.tokens == without.tokens);
  r.sampling.seed = 8;
  CHECK(generate(*generator, r).tokens != without.tokens);
}

TEST_CASE("generate: log-probabilities are those of the whole distribution") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  auto r = request("log", 10);
  const auto got = generate(*generator, r);
  ScoreRequest s;
  s.tokens = r.prompt;
  s.tokens.insert(s.tokens.end(), got.tokens.begin(), got.tokens.end());
  s.first = 3;
  const auto scored = test::try_score(*generator, s);
  REQUIRE(scored.has_value());
  REQUIRE(scored->logprobs.size() == got.tokens.size());
  for (size_t i = 0; i < got.tokens.size(); ++i) {
    CHECK(got.logprobs[i] == doctest::Approx(scored->logprobs[i]).epsilon(1e-3));
  }
}

TEST_CASE("generate: the stream is the text, and stop strings end it") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  const auto whole = generate(*generator, request("stream", 40));
  std::string raw;
  for (const TokenId t : whole.tokens) raw += generator->tokenizer()->piece(t);
  CHECK(raw.starts_with(whole.text));
  REQUIRE(whole.text.size() > 12);

  std::string streamed;
  auto r = request("stream", 40);
  r.stop = {"never-there", whole.text.substr(8, 3)};
  const size_t end = whole.text.find(r.stop[1]);
  const auto stopped = generate(*generator, r, [&](std::string_view piece) { streamed += piece; });
  CHECK(stopped.stop == StopReason::stop_string);
  CHECK(stopped.text == whole.text.substr(0, end));
  CHECK(streamed == stopped.text);
}

TEST_CASE("generate: max_tokens, context, end token") {
  auto tiny = TinyModel();
  tiny.shape.context = 40;
  const auto file = test::write_tiny_model(tiny);
  const auto generator = test::load(file.path());
  CHECK(generate(*generator, request("abc", 5)).stop == StopReason::max_tokens);
  const auto none = generate(*generator, request("abcdef", 0));
  CHECK(none.tokens.empty());
  CHECK(none.stop == StopReason::max_tokens);
  // Its prompt is in the cache now.
  CHECK(generate(*generator, request("abcdef", 1)).timings.reused_tokens == 5);

  const auto full = generate(*generator, request("abc", 100));
  CHECK(full.stop == StopReason::context_full);
  CHECK(full.tokens.size() == 37);
  const std::string forty(40, 'x');
  CHECK(generate(*generator, request(forty)).stop == StopReason::context_full);

  // An end token that a controller forces ends the text and is not part of it.
  auto r = request("abc", 100);
  r.controller = controller([](const Step&) { return StepDecision{.verdict = Verdict::reject}; });
  const auto ended = generate(*generator, r);
  CHECK(ended.stop == StopReason::end_of_text);
  CHECK(ended.tokens.empty());
}

TEST_CASE("generate: a request that makes no sense is answered with an error") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  const auto refused = [&](Request r) {
    const auto result = test::try_generate(*generator, std::move(r));
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == ErrorCode::invalid_argument);
    return result.error().message;
  };
  CHECK(refused({}).find("empty") != std::string::npos);
  auto r = request("abc");
  r.prompt[1] = 320;
  CHECK(refused(r).find("token 1 is 320") != std::string::npos);
  r.prompt[1] = -1;
  CHECK(refused(r).find("token 1 is -1") != std::string::npos);
  r = request(std::string(513, 'x'));
  CHECK(refused(r).find("513 tokens; the context holds 512") != std::string::npos);
  r = request("abc", -1);
  CHECK(refused(r).find("max_tokens is -1") != std::string::npos);

  ScoreRequest s;
  s.tokens = bytes("abc");
  for (const int32_t first : {0, 3}) {
    s.first = first;
    CHECK_FALSE(test::try_score(*generator, s).has_value());
  }
}

TEST_CASE("controller: sees each token once, and what it says is done") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  const auto whole = generate(*generator, request("control", 20));
  REQUIRE(whole.tokens.size() == 20);
  const auto piece = [&](size_t i) {
    return std::string(generator->tokenizer()->piece(whole.tokens[i]));
  };

  SUBCASE("accept") {
    std::vector<TokenId> seen;
    std::string text;
    auto r = request("control", 20);
    r.controller = controller([&](const Step& step) {
      CHECK(step.text == text);
      CHECK(step.piece == generator->tokenizer()->piece(step.token));
      CHECK(step.logprob == doctest::Approx(whole.logprobs[seen.size()]).epsilon(1e-3));
      seen.push_back(step.token);
      text += step.piece;
      return StepDecision{};
    });
    CHECK(generate(*generator, r).tokens == whole.tokens);
    CHECK(seen == whole.tokens);
  }
  SUBCASE("stop before and after") {
    for (const auto verdict : {Verdict::stop_before, Verdict::stop_after}) {
      int n = 0;
      auto r = request("control", 20);
      r.controller = controller([&](const Step&) {
        return StepDecision{.verdict = ++n == 5 ? verdict : Verdict::accept};
      });
      const auto got = generate(*generator, r);
      CHECK(n == 5);
      CHECK(got.stop == StopReason::controller);
      CHECK(got.tokens.size() == (verdict == Verdict::stop_before ? 4 : 5));
    }
  }
  SUBCASE("keep some bytes of the last token") {
    int n = 0;
    auto r = request("control", 20);
    r.controller = controller([&](const Step&) {
      const bool last = ++n == 3;
      return StepDecision{.verdict = last ? Verdict::stop_after : Verdict::accept,
                          .keep_bytes = last ? 0 : SIZE_MAX};
    });
    const auto got = generate(*generator, r);
    CHECK(got.tokens.size() == 3);
    std::string two = piece(0) + piece(1);
    two.resize(two.size() - partial_character(two));
    CHECK(got.text == two);
  }
  SUBCASE("reject") {
    std::vector<TokenId> offered;
    auto r = request("control", 1);
    r.controller = controller([&](const Step& step) {
      offered.push_back(step.token);
      return StepDecision{.verdict = offered.size() < 4 ? Verdict::reject : Verdict::accept};
    });
    const auto got = generate(*generator, r);
    // The candidates come in the order of their probability.
    ScoreRequest s;
    s.tokens = bytes("control");
    s.tokens.push_back(0);
    s.first = 7;
    s.top = 4;
    const auto scored = test::try_score(*generator, s);
    REQUIRE(scored.has_value());
    std::vector<TokenId> best;
    for (const auto& alternative : scored->alternatives[0]) best.push_back(alternative.token);
    CHECK(offered == best);
    CHECK(got.tokens == std::vector<TokenId>{best[3]});
  }
}

TEST_CASE("controller: required bytes come first (token healing)") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  for (const bool speculate : {true, false}) {
    std::string left = "heal";
    auto r = request("prefix prefix prefix ", 12);
    r.speculate = speculate;
    r.controller = controller(
        [&](const Step& step) {
          left.erase(0, step.piece.size());
          return StepDecision{};
        },
        [&] { return std::string_view(left); });
    const auto got = generate(*generator, r);
    CHECK(got.text.starts_with("heal"));
    CHECK(got.tokens.size() > 4);
  }
}

TEST_CASE("a controller that can list what it takes is not asked for every token in turn") {
  /// Takes the digits, by their bytes' ids, and an end where it is told so.
  struct Digits final : StepController {
    StepDecision on_token(const Step& step) override {
      ++asked;
      const bool digit = step.piece.size() == 1 && step.piece[0] >= '0' && step.piece[0] <= '9';
      return {digit ? Verdict::accept : Verdict::reject};
    }
    bool may_end() const override { return ends; }
    std::optional<std::vector<TokenId>> allowed() override {
      ++listed;
      return list;
    }
    int asked = 0, listed = 0;
    bool ends = false;
    std::vector<TokenId> list;
  };
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  std::vector<TokenId> digits;
  for (TokenId id = 0; id < generator->tokenizer()->size(); ++id) {
    const std::string_view piece = generator->tokenizer()->piece(id);
    if (piece.size() == 1 && piece[0] >= '0' && piece[0] <= '9') digits.push_back(id);
  }
  REQUIRE(digits.size() == 10);
  for (const bool speculate : {true, false}) {
    for (const float temperature : {0.0f, 1.0f}) {
      const auto only = std::make_shared<Digits>();
      only->list = digits;
      auto r = request("abc abc abc", 16);
      r.speculate = speculate;
      r.sampling.temperature = temperature;
      r.controller = only;
      const auto got = generate(*generator, r);
      CHECK(got.text.size() == 16);
      CHECK(got.text.find_first_not_of("0123456789") == got.text.npos);
      CHECK(only->asked <= 32);
      CHECK(only->listed <= 16);
    }
  }
  // Nothing may follow: that is an end of the controller's, or of the text where it may end.
  const auto nothing = std::make_shared<Digits>();
  auto r = request("abc", 16);
  r.controller = nothing;
  CHECK(generate(*generator, r).stop == StopReason::controller);
  nothing->ends = true;
  CHECK(generate(*generator, r).stop == StopReason::end_of_text);
}

TEST_CASE("copying: what stood here before is written again, drafted or not") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  const std::string line = "the quick brown fox; ";
  auto r = request(line + line + "the qu", 12);
  const auto own = generate(*generator, r);
  r.copying = 1;
  const auto drafted = generate(*generator, r);
  CHECK(drafted.text == "ick brown fo");
  CHECK(own.text != drafted.text);
  r.speculate = false;
  const auto stepped = generate(*generator, r);
  CHECK(stepped.tokens == drafted.tokens);
  CHECK(stepped.logprobs.size() == stepped.tokens.size());
  // What follows the hole is text of the document too, but not what is gone on from.
  auto hole = request("the quick brown f" + line + line, 4);
  hole.copying = 1;
  hole.text_end = 17;
  CHECK(generate(*generator, hole).text == "ox; ");
  // A controller has the last word.
  r.controller = controller([](const Step& step) {
    StepDecision decision;
    if (step.piece == "i") decision.verdict = StepDecision::Verdict::reject;
    return decision;
  });
  CHECK(generate(*generator, r).text[0] != 'i');
}

TEST_CASE("structure: labels change the text, and unchanged ones keep the cells") {
  TinyModel tiny;
  tiny.shape.architecture = "cambium";
  tiny.structure = {2, 1, 2};
  tiny.rule = {.window = 2, .sinks = 1};
  const auto file = test::write_tiny_model(tiny);
  const auto generator = test::load(file.path());
  CHECK(generator->capabilities().structure);
  auto r = request("f(a) { b } g(c) { d } h(e) { f } i(g) { h", 20);
  for (size_t i = 0; i < r.prompt.size(); ++i) {
    const auto scope = static_cast<int32_t>(i / 11 * 2 + 1);
    r.structure.push_back({scope, scope, static_cast<int32_t>(i)});
  }
  const auto structured = generate(*generator, r);
  CHECK(structured.timings.skipped_blocks >= 0);
  CHECK(structured.timings.skipped_blocks < 1);
  auto again = r;
  for (size_t i = 0; i < r.prompt.size(); ++i)
    again.structure.scope[i] += 6, again.structure.last[i] += 6;
  const auto renumbered = generate(*generator, again);
  CHECK(renumbered.timings.reused_tokens == renumbered.timings.prompt_tokens - 1);
  CHECK(renumbered.tokens == structured.tokens);

  auto plain = r;
  plain.structure = {};
  const auto without = generate(*generator, plain);
  CHECK(without.tokens != structured.tokens);
  CHECK(without.timings.reused_tokens <= 11);

  LoadOptions off;
  off.structure = StructureMode::off;
  const auto unstructured = test::load(file.path(), off);
  CHECK_FALSE(unstructured->capabilities().structure);
  CHECK(generate(*unstructured, r).tokens == generate(*unstructured, plain).tokens);

  auto wrong = r;
  wrong.structure.resize(5);
  CHECK_FALSE(test::try_generate(*generator, wrong).has_value());
}

TEST_CASE("structure: a controller's labels hold, with drafts and without") {
  TinyModel tiny;
  tiny.shape.architecture = "cambium";
  tiny.structure = {1, 2, 1};
  const auto file = test::write_tiny_model(tiny);
  const auto generator = test::load(file.path());
  auto r = request("ababababababababababab", 60);
  for (size_t i = 0; i < r.prompt.size(); ++i) {
    const auto scope = static_cast<int32_t>(i / 5 + 1);
    r.structure.push_back({scope, scope, static_cast<int32_t>(i)});
  }
  const auto run = [&](bool speculate, int every) {
    int n = 0;
    auto copy = r;
    copy.speculate = speculate;
    copy.slot_key = speculate ? 1 : 2;
    copy.controller = controller([&](const Step&) {
      StepDecision decision;
      if (every > 0 && ++n % every == 0) decision.label = TokenLabel{40 + n, 40 + n, 22};
      return decision;
    });
    return generate(*generator, copy);
  };
  const auto moved = run(true, 7);
  CHECK(moved.timings.drafted_tokens > 0);
  CHECK(moved.tokens == run(false, 7).tokens);
  CHECK(moved.tokens != run(true, 0).tokens);
}

TEST_CASE("score: log-probabilities and alternatives of each position") {
  const auto file = test::write_tiny_model({});
  LoadOptions options;
  options.engine.prefill_chunk = 50;
  const auto generator = test::load(file.path(), options);
  std::mt19937 random(6);
  ScoreRequest s;
  for (int i = 0; i < 150; ++i) s.tokens.push_back(static_cast<TokenId>(random() % 256));
  s.top = 3;
  const auto logits = test::naive_logits(**GgufFile::open(file.path()), s.tokens, {});
  for (const int32_t first : {1, 90, 149}) {
    CAPTURE(first);
    s.first = first;
    const auto scored = test::try_score(*generator, s);
    REQUIRE(scored.has_value());
    REQUIRE(scored->logprobs.size() == s.tokens.size() - static_cast<size_t>(first));
    REQUIRE(scored->alternatives.size() == scored->logprobs.size());
    CHECK(scored->timings.reused_tokens == (first == 1 ? 0 : first - 1));
    double worst = 0;
    for (size_t i = 0; i < scored->logprobs.size(); ++i) {
      const size_t at = static_cast<size_t>(first) + i;
      double sum = 0;
      for (const double l : logits[at - 1]) sum += std::exp(l);
      const double want = logits[at - 1][static_cast<size_t>(s.tokens[at])] - std::log(sum);
      worst = std::max(worst, std::abs(want - scored->logprobs[i]));
      const auto& best = scored->alternatives[i];
      REQUIRE(best.size() == 3);
      CHECK(best[0].logprob >= best[1].logprob);
      CHECK(best[0].logprob >= scored->logprobs[i]);
    }
    CHECK(worst < 0.03);
  }
  s.cancel = make_cancel_flag();
  s.cancel->store(true);
  const auto cancelled = test::try_score(*generator, s);
  REQUIRE_FALSE(cancelled.has_value());
  CHECK(cancelled.error().code == ErrorCode::cancelled);
}

}  // namespace
}  // namespace cambium::engine
