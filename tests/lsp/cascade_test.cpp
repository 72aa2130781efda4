// The small model where it is sure, else the larger one: decisions, completions, thresholds.
#include "lsp/assist/cascade.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "lsp/eval/cascade.h"
#include "tests/support/lsp/lsp_client.h"

using namespace cambium;
using assist::CascadeCompleter;
using assist::CompletionInput;
using assist::CompletionOutput;
using test::FakeCompletion;

namespace {

FakeCompletion::Respond saying(const std::string& text, double confidence) {
  return [=](const CompletionInput& input) -> Result<CompletionOutput> {
    CompletionOutput output;
    output.confidence = confidence;
    output.route.model = text.substr(0, text.find(' '));
    if (!text.empty()) output.items.push_back({text, input.cursor, input.cursor});
    return output;
  };
}

/// A cascade of two services; the larger one is there or says why not.
struct Two {
  std::shared_ptr<FakeCompletion> small = std::make_shared<FakeCompletion>();
  std::shared_ptr<FakeCompletion> larger = std::make_shared<FakeCompletion>();
  std::string missing;  ///< why the larger one cannot be asked
  bool loaded = true;
  CompletionInput input;
  int answers = 0;

  Two() {
    small->respond = saying("small text", 0.9);
    // Of its own it has nothing that goes on.
    larger->respond = [](const CompletionInput& asked) {
      return asked.cached_only ? CompletionOutput{} : *saying("larger text", 0.7)(asked);
    };
  }
  Result<CompletionOutput> complete(double threshold = 0.8) {
    CascadeCompleter::Larger asked;
    asked.name = "large.gguf";
    asked.get = [this](bool wanted, const CascadeCompleter::Larger::Use& use) {
      if (!missing.empty()) return use(fail(ErrorCode::unavailable, missing));
      if (!wanted && !loaded) return use(fail(ErrorCode::unavailable, "it is not loaded"));
      use(std::static_pointer_cast<assist::CompletionService>(larger));
    };
    CascadeCompleter cascade(small, asked, threshold);
    Result<CompletionOutput> result = fail(ErrorCode::io, "not answered");
    cascade.complete(input, [&](Result<CompletionOutput> output) {
      ++answers;
      result = std::move(output);
    });
    return result;
  }
  size_t generated() const {  // requests to the larger model that made it write
    size_t n = 0;
    for (const auto& asked : larger->inputs) n += asked.cached_only ? 0 : 1;
    return n;
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

eval::CascadeCase answered(double confidence, bool small_exact, bool larger_exact,
                           double small_ms = 1, double larger_ms = 4) {
  eval::CascadeCase one;
  one.small.shown = one.larger.shown = true;
  one.small.exact = small_exact;
  one.larger.exact = larger_exact;
  one.confidence = confidence;
  one.small_ms = small_ms;
  one.larger_ms = larger_ms;
  return one;
}

}  // namespace

TEST_CASE("mean token probability is of probabilities, not of their logarithms") {
  const std::vector<float> logs{std::log(0.5f), std::log(1.0f), std::log(0.3f)};
  CHECK(assist::mean_probability(logs) == doctest::Approx(0.6));
  CHECK(assist::mean_probability({}) < 0);
}

TEST_CASE("the small model answers where it is sure") {
  Two two;
  const auto output = two.complete();
  REQUIRE(output.has_value());
  CHECK(output->items.at(0).text == "small text");
  CHECK(output->route.cascade);
  CHECK_FALSE(output->route.larger);
  CHECK(output->route.model == "small");
  CHECK(output->route.confidence == 0.9);
  CHECK(output->route.small_ms == 0);
  CHECK(output->route.reason ==
        "the small model is sure: its mean token probability 0.90 is at least 0.80");
  CHECK(two.generated() == 0);
}

TEST_CASE("the larger model is asked where the small one is not sure, has nothing, or fails") {
  struct Case {
    FakeCompletion::Respond small;
    const char* reason;
  };
  const Case cases[] = {
      {saying("small text", 0.79),
       "the small model is not sure: its mean token probability 0.79 is below 0.80"},
      {saying("", 0.99), "the small model has nothing to show"},
      {saying("small text", -1), "the small model does not say how sure it is"},
      {[](const CompletionInput&) -> Result<CompletionOutput> {
         return fail(ErrorCode::unavailable, "no such host");
       },
       "the small model failed: no such host"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.reason);
    Two two;
    two.small->respond = c.small;
    const auto output = two.complete();
    REQUIRE(output.has_value());
    CHECK(output->items.at(0).text == "larger text");
    CHECK(output->route.model == "larger");
    CHECK(output->route.larger);
    CHECK(output->route.reason == c.reason);
    CHECK(output->route.small_ms > 0);
    CHECK(two.generated() == 1);
    CHECK(two.answers == 1);
  }
}

TEST_CASE("exactly at the threshold the small one's answer counts") {
  Two two;
  two.small->respond = saying("small text", 0.8);
  CHECK(two.complete(0.8)->items.at(0).text == "small text");
  CHECK(two.complete(0.81)->items.at(0).text == "larger text");
}

TEST_CASE("where the larger model cannot answer, the small one's text is shown") {
  Two two;
  two.small->respond = saying("small text", 0.3);
  two.missing = "it is being loaded";
  auto output = two.complete();
  REQUIRE(output.has_value());
  CHECK(output->items.at(0).text == "small text");
  CHECK(contains(output->route.reason, "0.30 is below 0.80; large.gguf: it is being loaded"));

  two.missing.clear();
  two.larger->respond = [](const CompletionInput&) -> Result<CompletionOutput> {
    return fail(ErrorCode::unavailable, "no such host");
  };
  output = two.complete();
  CHECK(output->items.at(0).text == "small text");
  CHECK(contains(output->route.reason, "large.gguf: no such host"));

  two.larger->respond = saying("", -1);
  output = two.complete();
  CHECK(output->items.at(0).text == "small text");
  CHECK(contains(output->route.reason, "the larger model has nothing to show"));

  // With neither there is the error of the role's own model.
  two.small->respond = [](const CompletionInput&) -> Result<CompletionOutput> {
    return fail(ErrorCode::unavailable, "the small one is down");
  };
  two.missing = "it is not there";
  output = two.complete();
  REQUIRE_FALSE(output.has_value());
  CHECK(output.error().message == "the small one is down");
}

TEST_CASE("typing along a suggestion of the larger model stays with it") {
  Two two;
  two.larger->respond = [](const CompletionInput& asked) {
    CHECK(asked.cached_only);
    return *saying("rest of it", -1)(asked);
  };
  const auto output = two.complete();
  REQUIRE(output.has_value());
  CHECK(output->items.at(0).text == "rest of it");
  CHECK(output->route.reason == "typed along a suggestion of the larger model");
  CHECK(two.small->inputs.empty());
  // One that is not loaded is not loaded for this.
  two.loaded = false;
  CHECK(two.complete()->items.at(0).text == "small text");
}

TEST_CASE("a cancelled request asks nobody else") {
  Two two;
  two.input.cancel = engine::make_cancel_flag();
  two.small->respond = [&](const CompletionInput& asked) -> Result<CompletionOutput> {
    asked.cancel->store(true);
    return *saying("small text", 0.1)(asked);
  };
  const auto output = two.complete();
  REQUIRE_FALSE(output.has_value());
  CHECK(output.error().code == ErrorCode::cancelled);
  CHECK(two.generated() == 0);
  CHECK(two.answers == 1);
}

TEST_CASE("figures of a cascade at a threshold") {
  const std::vector<eval::CascadeCase> cases = {
      answered(0.9, true, true), answered(0.85, false, true), answered(0.6, false, true),
      answered(0.5, true, false)};
  const auto at = eval::figures_at(0.8, cases);
  CHECK(at.cases == 4);
  CHECK(at.escalated == 2);
  CHECK(at.small_exact == 2);
  CHECK(at.larger_exact == 3);
  CHECK(at.exact == 2);  // right, wrong, asked and right, asked and wrong
  CHECK(at.gain.mean == doctest::Approx(-0.25));
  CHECK(at.saved.mean == doctest::Approx(1 - (4 * 1 + 2 * 4) / 16.0));
  CHECK(at.saved.low <= at.saved.mean);
  CHECK(at.saved.high >= at.saved.mean);
  // Where the larger one shows nothing, the small one's answer stands.
  std::vector<eval::CascadeCase> silent = {answered(0.1, true, false)};
  silent[0].larger.shown = false;
  CHECK(eval::figures_at(0.8, silent).exact == 1);
  silent[0].small.shown = false;
  CHECK(eval::figures_at(0.8, silent).exact == 0);
}

TEST_CASE("the threshold is the smallest from which on nothing is lost") {
  // Below 0.71 the second case is answered wrongly; at 0.31 a lucky case would make up for it.
  const std::vector<eval::CascadeCase> cases = {
      answered(0.9, true, true), answered(0.7, false, true), answered(0.3, true, false)};
  CHECK(eval::choose_threshold(cases) == doctest::Approx(0.71));
  // A small model that is right as often needs no other.
  CHECK(eval::choose_threshold(std::vector{answered(0.2, true, true)}) == 0.0);
  // One that is sure and wrong is of no use.
  CHECK(eval::choose_threshold(std::vector{answered(1.0, false, true)}) == 1.0);
}
