// Continuations scored beside each other must say what requests of their own would.
#include "engine/score_branches.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <random>
#include <string>

#include "engine/prompt_format.h"
#include "engine/scheduler.h"
#include "engine/tokenizer.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

using test::TinyModel;

struct Structured {
  std::string name;
  std::vector<uint32_t> structure;  ///< a layer
  bool tree = false;
};
const Structured kStructures[] = {{"off", {}},          {"emphasis", {1, 1, 1}},
                                  {"prune", {2, 2, 2}}, {"own", {3, 3, 3}},
                                  {"mixed", {1, 2, 3}}, {"tree", {0, 0, 0}, true}};

/// Labels of nested bodies; a branch's go on from where it leaves.
TokenLabel random_label(std::mt19937& rng, int32_t place) {
  const auto body = static_cast<int32_t>(rng() % 4);
  if (body == 0) return {0, 100, place};
  const auto inner = static_cast<int32_t>(rng() % 2);
  return {20 * body + 5 * inner, inner == 0 ? 20 * body + 9 : 20 * body + 5, place};
}

std::vector<TokenId> random_tokens(std::mt19937& rng, size_t n) {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>(rng() % 256));
  return tokens;
}

TokenStructure random_labels(std::mt19937& rng, size_t n, int32_t first_place) {
  TokenStructure labels;
  TokenLabel label = random_label(rng, first_place);
  for (size_t i = 0; i < n; ++i) {
    if (rng() % 5 == 0) label = random_label(rng, 0);
    label.place = first_place + static_cast<int32_t>(i);
    labels.push_back(label);
  }
  return labels;
}

ScoreBranch random_branch(std::mt19937& rng, const ScoreRequest& request, int32_t leaves,
                          int32_t at, size_t n) {
  ScoreBranch branch;
  branch.at = at;
  branch.leaves = leaves;
  branch.tokens = random_tokens(rng, n);
  if (!request.structure.empty()) branch.structure = random_labels(rng, n, at);
  branch.first = static_cast<int32_t>(rng() % n);
  return branch;
}

/// Branches of all kinds: early and late, of one token and of many, and some that leave others.
ScoreRequest random_request(std::mt19937& rng, bool labels) {
  ScoreRequest request;
  const size_t n = 20 + rng() % 60;
  request.tokens = random_tokens(rng, n);
  if (labels) request.structure = random_labels(rng, n, 0);
  request.first = rng() % 2 == 0 ? static_cast<int32_t>(n) : 1 + static_cast<int32_t>(rng() % n);
  request.top = static_cast<int32_t>(rng() % 4);
  const size_t roots = 1 + rng() % 5;
  for (size_t i = 0; i < roots; ++i) {
    const auto at = 3 + static_cast<int32_t>(rng() % (n - 2));
    const size_t own = 1 + rng() % 30;
    const auto root = static_cast<int32_t>(request.branches.size());
    request.branches.push_back(random_branch(rng, request, -1, at, own));
    for (size_t child = rng() % 3; child > 0; --child) {
      const auto child_at = at + 1 + static_cast<int32_t>(rng() % own);
      request.branches.push_back(random_branch(rng, request, root, child_at, 1 + rng() % 12));
      request.branches[static_cast<size_t>(root)].first = static_cast<int32_t>(own);
    }
  }
  return request;
}

/// Sums over cells come in another order, no more; activations rounded to int8 make that larger.
constexpr double kApart = 1e-4, kApartQuantized = 1e-2;

void check_alike(const std::vector<float>& got,
                 const std::vector<std::vector<Scored::Alternative>>& got_best,
                 const std::vector<float>& want,
                 const std::vector<std::vector<Scored::Alternative>>& want_best,
                 double apart = kApart) {
  REQUIRE(got.size() == want.size());
  REQUIRE(got_best.size() == want_best.size());
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(got[i] == doctest::Approx(want[i]).epsilon(apart));
    REQUIRE(got_best[i].size() == want_best[i].size());
    for (size_t k = 0; k < want_best[i].size(); ++k)
      CHECK(got_best[i][k].logprob == doctest::Approx(want_best[i][k].logprob).epsilon(apart));
  }
}

/// What requests of their own say, each from an empty cache.
Scored apart(Generator& generator, const ScoreRequest& request) {
  Scored out;
  const auto one = [&](const ScoreRequest& sequence) {
    auto scored = test::try_score(generator, sequence);
    REQUIRE_MESSAGE(scored.has_value(), scored.error().message);
    return std::move(*scored);
  };
  ScoreRequest own = request;
  own.branches.clear();
  if (own.first < static_cast<int32_t>(own.tokens.size())) out = one(own);
  for (size_t i = 0; i < request.branches.size(); ++i) {
    const ScoreBranch& branch = request.branches[i];
    out.branches.emplace_back();
    if (branch.first == static_cast<int32_t>(branch.tokens.size())) continue;
    Scored scored = one(sequence_of(request, i));
    out.branches.back() = {std::move(scored.logprobs), std::move(scored.alternatives)};
  }
  return out;
}

TEST_CASE("branches: scores are those of requests of their own, in every mode") {
  for (const Structured& structured : kStructures) {
    for (const bool quantized : {false, true}) {
      CAPTURE(structured.name);
      CAPTURE(quantized);
      TinyModel tiny;
      tiny.structure = structured.structure;
      tiny.tree = structured.tree;
      if (quantized) tiny.type = DType::q8_0;
      const auto file = test::write_tiny_model(tiny);
      LoadOptions options;
      options.engine.prefill_chunk = 48;  // branches of a request go into several passes
      const auto beside = test::load(file.path(), options), alone = test::load(file.path());
      const bool labels = beside->capabilities().structure;
      CHECK(labels == (structured.name != "off"));
      std::mt19937 rng(7);
      for (int round = 0; round < 8; ++round) {
        CAPTURE(round);
        const ScoreRequest request = random_request(rng, labels);
        const auto got = test::try_score(*beside, request);
        REQUIRE_MESSAGE(got.has_value(), got.error().message);
        const Scored want = apart(*alone, request);
        const double bound = quantized ? kApartQuantized : kApart;
        check_alike(got->logprobs, got->alternatives, want.logprobs, want.alternatives, bound);
        REQUIRE(got->branches.size() == want.branches.size());
        for (size_t i = 0; i < want.branches.size(); ++i) {
          CAPTURE(i);
          check_alike(got->branches[i].logprobs, got->branches[i].alternatives,
                      want.branches[i].logprobs, want.branches[i].alternatives, bound);
        }
      }
    }
  }
}

TEST_CASE(
    "a pass with hidden cells: logits of each branch are those of its own sequence, F16 and Q8_0") {
  TinyModel tiny;
  tiny.structure = {2, 3, 1};
  const auto file = test::write_tiny_model(tiny);
  std::mt19937 rng(29);
  for (const char* isa : {"scalar", ""}) {
    const auto model = test::open_model(file.path(), isa);
    for (const DType type : {DType::f16, DType::q8_0}) {
      KvShape shape = model->config().kv_shape(200);
      shape.type = type;
      const auto beside = model->backend().create_kv(shape),
                 alone = model->backend().create_kv(shape);
      REQUIRE(beside.has_value());
      REQUIRE(alone.has_value());
      // Base cells [0, 70), of which the branches see 40, 70 and 40; the third leaves the first after 9.
      struct Branch {
        int32_t base, n;
        HiddenCells hidden;
      };
      const Branch branches[] = {{40, 21, {{{40, 70}, {}}}},
                                 {70, 13, {{{70, 91}, {}}}},
                                 {40, 17, {{{40, 70}, {79, 104}}}}};
      std::vector<TokenId> base = random_tokens(rng, 70), fed;
      TokenStructure labels = random_labels(rng, 70, 0);
      std::vector<HiddenCells> hidden;
      std::vector<int32_t> last;
      for (const Branch& branch : branches) {
        const auto own = random_tokens(rng, static_cast<size_t>(branch.n));
        fed.insert(fed.end(), own.begin(), own.end());
        const TokenStructure own_labels =
            random_labels(rng, static_cast<size_t>(branch.n), branch.base);
        for (size_t i = 0; i < own.size(); ++i) labels.push_back(own_labels.at(i));
        hidden.resize(fed.size(), branch.hidden);
        last.push_back(static_cast<int32_t>(fed.size()) - 1);
      }
      REQUIRE(model->forward({base, 0, beside->get(), &labels, {}, nullptr}).has_value());
      Pass pass{fed, 70, beside->get(), &labels, last, nullptr};
      pass.hidden = hidden;
      const auto together = model->forward(pass);
      REQUIRE(together.has_value());
      const std::vector<float> got(together->logits.begin(), together->logits.end());
      for (size_t b = 0; b < 3; ++b) {
        // The same cells one after the other, without those it does not see.
        std::vector<TokenId> tokens;
        TokenStructure own_labels;
        for (int32_t cell = 0; cell <= 70 + last[b]; ++cell) {
          if (branches[b].hidden.has(cell)) continue;
          const auto i = static_cast<size_t>(cell);
          tokens.push_back(i < 70 ? base[i] : fed[i - 70]);
          own_labels.push_back(labels.at(i));
        }
        const auto end = static_cast<int32_t>(tokens.size()) - 1;
        const auto want =
            model->forward({tokens, 0, alone->get(), &own_labels, {&end, 1}, nullptr});
        REQUIRE(want.has_value());
        CAPTURE(isa);
        CAPTURE(b);
        double difference = 0, norm = 0;
        for (size_t i = 0; i < want->logits.size(); ++i) {
          const double x = static_cast<double>(got[b * want->logits.size() + i]),
                       y = static_cast<double>(want->logits[i]);
          difference += (x - y) * (x - y);
          norm += y * y;
        }
        CHECK(std::sqrt(difference / norm) <= 2e-3);
      }
    }
  }
}

TEST_CASE("branches: the cache keeps the request's own tokens and nothing of the branches") {
  const auto file = test::write_tiny_model({});
  LoadOptions options;
  options.engine.slots = 1;
  const auto generator = test::load(file.path(), options), fresh = test::load(file.path());
  std::mt19937 rng(11);
  ScoreRequest request;
  request.tokens = random_tokens(rng, 60);
  request.first = 60;
  for (const int32_t at : {20, 60, 41})
    request.branches.push_back(random_branch(rng, request, -1, at, 25));
  const auto first = test::try_score(*generator, request);
  REQUIRE(first.has_value());
  CHECK(first->timings.prompt_tokens == 60 + 3 * 25);
  CHECK(first->timings.reused_tokens == 0);

  // The same again finds what it needs: cells before the last branch's first token but one.
  const auto again = test::try_score(*generator, request);
  REQUIRE(again.has_value());
  CHECK(again->timings.reused_tokens == 59);
  for (size_t i = 0; i < 3; ++i) CHECK(again->branches[i].logprobs == first->branches[i].logprobs);

  // One of the branches as a sequence of its own: only what it shares with the request is reused.
  ScoreRequest own = sequence_of(request, 2);
  own.first = 59;
  const auto other = test::try_score(*generator, own);
  REQUIRE(other.has_value());
  CHECK(other->timings.reused_tokens == 41);
  CHECK(other->logprobs.back() ==
        doctest::Approx(first->branches[2].logprobs.back()).epsilon(1e-4));

  // And text that goes on from the request is what it is without all that.
  Request text;
  text.prompt = request.tokens;
  text.max_tokens = 12;
  const auto want = test::generate(*fresh, text), got = test::generate(*generator, text);
  CHECK(got.tokens == want.tokens);
}

/// Counts the passes of a model.
class CountingModel final : public Model {
 public:
  explicit CountingModel(std::unique_ptr<Model> real) : real_(std::move(real)) {}
  const ModelConfig& config() const override { return real_->config(); }
  Backend& backend() override { return real_->backend(); }
  Result<std::unique_ptr<KvStore>> create_kv(int32_t n) override { return real_->create_kv(n); }
  bool takes_branches() const override { return real_->takes_branches(); }
  Result<PassResult> forward(const Pass& pass) override {
    passes.push_back(static_cast<int32_t>(pass.tokens.size()));
    return real_->forward(pass);
  }
  std::vector<int32_t> passes;  ///< tokens of each

 private:
  std::unique_ptr<Model> real_;
};

TEST_CASE("branches: what fits goes into one pass, and so do all rows that are scored") {
  const auto file = test::write_tiny_model({});
  const auto gguf = *GgufFile::open(file.path());
  std::mt19937 rng(5);
  ScoreRequest request;
  request.tokens = random_tokens(rng, 30);
  request.first = 30;
  for (int i = 0; i < 6; ++i) request.branches.push_back(random_branch(rng, request, -1, 30, 20));
  ScoreRequest text;
  text.tokens = random_tokens(rng, 375);
  std::vector<float> first;
  const struct {
    int32_t chunk;
    std::vector<int32_t> passes, again, text;
  } cases[] = {{400, {149}, {120}, {374}},
               {250, {149}, {120}, {374}},  // half as much more goes along
               {60, {89, 60}, {80, 40}, {60, 60, 60, 60, 60, 74}},
               {16, {16, 13, 20, 20, 20, 20, 20, 20}, {20, 20, 20, 20, 20, 20}, {}}};
  for (const auto& [chunk, passes, again, of_text] : cases) {
    CAPTURE(chunk);
    auto counting = std::make_unique<CountingModel>(test::open_model(file.path()));
    CountingModel& model = *counting;
    Scheduler scheduler(std::move(counting), *Tokenizer::from_gguf(*gguf),
                        *PromptFormat::from_gguf(*gguf, **Tokenizer::from_gguf(*gguf)),
                        {512, 1, chunk});
    const auto score = [&](const ScoreRequest& wanted) {
      std::promise<Result<Scored>> promise;
      model.passes.clear();
      scheduler.score(wanted, [&](Result<Scored> r) { promise.set_value(std::move(r)); });
      auto scored = promise.get_future().get();
      REQUIRE_MESSAGE(scored.has_value(), scored.error().message);
      std::vector<float> flat = scored->logprobs;
      for (const auto& branch : scored->branches)
        flat.insert(flat.end(), branch.logprobs.begin(), branch.logprobs.end());
      return flat;
    };
    const auto got = score(request);
    CHECK(model.passes == passes);
    score(request);
    CHECK(model.passes == again);
    if (first.empty()) first = got;
    REQUIRE(got.size() == first.size());
    for (size_t i = 0; i < got.size(); ++i)
      CHECK(got[i] == doctest::Approx(first[i]).epsilon(kApart));
    if (of_text.empty()) continue;
    CHECK(score(text).size() == 374);
    CHECK(model.passes == of_text);
  }
}

TEST_CASE("branches: a request of higher priority takes the slot, and the scores are the same") {
  const auto file = test::write_tiny_model({});
  LoadOptions options;
  options.engine.slots = 1;
  options.engine.prefill_chunk = 16;
  const auto generator = test::load(file.path(), options);
  std::mt19937 rng(17);
  ScoreRequest request;
  request.tokens = random_tokens(rng, 80);
  request.first = 50;
  for (int i = 0; i < 8; ++i)
    request.branches.push_back(random_branch(rng, request, -1, 20 + 7 * i, 15));
  const auto want = test::try_score(*generator, request);
  REQUIRE(want.has_value());
  std::promise<Result<Scored>> promise;
  generator->score(request, [&](Result<Scored> r) { promise.set_value(std::move(r)); });
  for (int i = 0; i < 4; ++i) {
    Request urgent;
    urgent.prompt = random_tokens(rng, 12);
    urgent.max_tokens = 3;
    test::generate(*generator, urgent);
  }
  const auto got = promise.get_future().get();
  REQUIRE(got.has_value());
  check_alike(got->logprobs, got->alternatives, want->logprobs, want->alternatives);
  for (size_t i = 0; i < 8; ++i) {
    check_alike(got->branches[i].logprobs, got->branches[i].alternatives,
                want->branches[i].logprobs, want->branches[i].alternatives);
  }
}

TEST_CASE("branches: where no pass can hold them they are asked one by one") {
  TinyModel tiny;
  tiny.shape.context = 64;
  tiny.structure = {2, 2, 2};
  tiny.rule = {.window = 6, .sinks = 9};
  const auto file = test::write_tiny_model(tiny);
  const auto generator = test::load(file.path());
  std::mt19937 rng(3);
  ScoreRequest request;
  request.tokens = random_tokens(rng, 50);
  request.structure = random_labels(rng, 50, 0);
  request.first = 50;
  // Beside 50 tokens there is room for 14; and some begin among the sinks.
  for (const auto& [at, n] : {std::pair{20, size_t{44}}, {3, size_t{13}}}) {
    request.branches.clear();
    for (size_t b = 0; b < 2; ++b) {
      request.branches.push_back(random_branch(rng, request, -1, at, n));
      request.branches[b].first = 0;
      // Each token in a scope of its own: what it sees of the branch is the window and the sinks.
      for (size_t i = 0; i < n; ++i) {
        const auto scope = 200 + static_cast<int32_t>(i);
        request.branches[b].structure.scope[i] = request.branches[b].structure.last[i] = scope;
      }
    }
    const auto got = test::try_score(*generator, request);
    REQUIRE_MESSAGE(got.has_value(), got.error().message);
    const Scored want = apart(*test::load(file.path()), request);
    for (size_t b = 0; b < 2; ++b) {
      check_alike(got->branches[b].logprobs, got->branches[b].alternatives,
                  want.branches[b].logprobs, want.branches[b].alternatives);
    }
  }
}

TEST_CASE("branches: what makes no sense is told") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  ScoreRequest good;
  good.tokens = {1, 2, 3, 4};
  good.first = 4;
  good.branches.push_back({.at = 4, .tokens = {5, 6}, .structure = {}});
  good.branches.push_back({.at = 5, .tokens = {7}, .structure = {}, .leaves = 0});
  REQUIRE(test::try_score(*generator, good).has_value());
  const auto refused = [&](auto&& change, const char* words) {
    ScoreRequest bad = good;
    change(bad);
    const auto scored = test::try_score(*generator, bad);
    REQUIRE_FALSE(scored.has_value());
    CHECK(scored.error().code == ErrorCode::invalid_argument);
    CHECK_MESSAGE(scored.error().message.find(words) != std::string::npos, scored.error().message);
  };
  refused([](ScoreRequest& r) { r.first = 5; }, "the first must be 1 to 4");
  refused([](ScoreRequest& r) { r.branches.clear(); }, "the first must be 1 to 3");
  refused([](ScoreRequest& r) { r.branches[0].tokens.clear(); }, "branch 0 has no tokens");
  refused([](ScoreRequest& r) { r.branches[0].at = 0; }, "it can after 1 to 4");
  refused([](ScoreRequest& r) { r.branches[0].at = 5; }, "it can after 1 to 4");
  refused([](ScoreRequest& r) { r.branches[1].at = 4; }, "it can after 5 to 6");
  refused([](ScoreRequest& r) { r.branches[1].at = 7; }, "it can after 5 to 6");
  refused([](ScoreRequest& r) { r.branches[1].leaves = 1; }, "branch 1 leaves branch 1");
  refused([](ScoreRequest& r) { r.branches[0].leaves = 1; }, "branch 0 leaves branch 1");
  refused(
      [](ScoreRequest& r) {
        r.branches.push_back({.at = 6, .tokens = {7}, .structure = {}, .leaves = 1});
      },
      "branch 2 leaves branch 1");
  refused([](ScoreRequest& r) { r.branches[0].first = 3; }, "from token 3 of its 2");
  refused([](ScoreRequest& r) { r.branches[1].tokens[0] = 320; }, "token 320");
  refused([](ScoreRequest& r) { r.branches[0].tokens.resize(509); }, "the context holds 512");
}

TEST_CASE("branches: a cancel ends them") {
  const auto file = test::write_tiny_model({});
  const auto generator = test::load(file.path());
  ScoreRequest request;
  request.tokens = {1, 2, 3, 4};
  request.first = 4;
  request.branches.push_back({.at = 4, .tokens = {5, 6}, .structure = {}});
  request.cancel = make_cancel_flag();
  request.cancel->store(true);
  const auto scored = test::try_score(*generator, request);
  REQUIRE_FALSE(scored.has_value());
  CHECK(scored.error().code == ErrorCode::cancelled);
}

TEST_CASE("one by one: in the order that leaves most in a cache, and an error ends it") {
  ScoreRequest request;
  request.tokens = {1, 2, 3, 4, 5};
  request.first = 2;
  request.branches.push_back({.at = 2, .tokens = {10}, .structure = {}});
  request.branches.push_back({.at = 5, .tokens = {20, 21}, .structure = {}, .first = 2});
  request.branches.push_back({.at = 6, .tokens = {30}, .structure = {}, .leaves = 1});
  request.branches.push_back({.at = 7, .tokens = {31}, .structure = {}, .leaves = 1});
  std::vector<std::vector<TokenId>> asked;
  size_t fail_at = SIZE_MAX;
  int answers = 0;
  const auto run = [&] {
    asked.clear();
    Result<Scored> answer = Scored{};
    score_one_by_one(
        request,
        [&](ScoreRequest one, const OnScored& done) {
          CHECK(one.branches.empty());
          asked.push_back(one.tokens);
          if (asked.size() == fail_at) return done(fail(ErrorCode::device, "gone"));
          Scored scored;
          for (auto i = static_cast<size_t>(one.first); i < one.tokens.size(); ++i)
            scored.logprobs.push_back(static_cast<float>(-one.tokens[i]));
          scored.timings.prompt_tokens = static_cast<int32_t>(one.tokens.size());
          done(std::move(scored));
        },
        [&](Result<Scored> scored) {
          ++answers;
          answer = std::move(scored);
        });
    return answer;
  };
  const auto all = run();
  REQUIRE(all.has_value());
  CHECK(asked ==
        std::vector<std::vector<TokenId>>{
            {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 20, 30}, {1, 2, 3, 4, 5, 20, 21, 31}, {1, 2, 10}});
  CHECK(all->logprobs == std::vector<float>{-3, -4, -5});
  CHECK(all->branches[0].logprobs == std::vector<float>{-10});
  CHECK(all->branches[1].logprobs.empty());
  CHECK(all->branches[2].logprobs == std::vector<float>{-30});
  CHECK(all->branches[3].logprobs == std::vector<float>{-31});
  CHECK(all->timings.prompt_tokens == 23);
  CHECK(answers == 1);
  fail_at = 3;
  const auto failed = run();
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().code == ErrorCode::device);
  CHECK(asked.size() == 3);
  CHECK(answers == 2);
}

}  // namespace
}  // namespace cambium::engine
