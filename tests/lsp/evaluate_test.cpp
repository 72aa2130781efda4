#include "lsp/eval/evaluate.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "engine/gguf_writer.h"
#include "lsp/eval/summary.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using eval::CaseKind;

namespace {

/// A small model with random weights in a file of its own.
struct RandomModel {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("cambium-evaluate-test-" + std::to_string(getpid()) + ".gguf"))
                         .string();
  RandomModel() {
    engine::RandomModelOptions options;
    options.shape = *engine::model_shape("tiny");
    REQUIRE(engine::write_random_model(path, options).has_value());
  }
  ~RandomModel() { std::filesystem::remove(path); }
};

eval::ModelUnderTest under_test(const std::string& path) {
  eval::ModelUnderTest model;
  model.path = path;
  model.load.engine.context = 512;
  model.load.engine.device = "cpu";
  model.settings.prompt_tokens = 96;
  model.settings.max_tokens = 8;
  return model;
}

eval::Outcome outcome(bool exact, double similarity, double nats, bool at_end) {
  eval::Outcome o;
  o.judgement = {true, exact, similarity, false, true};
  o.middle = {nats, 10, 30};
  o.stops_at_end = at_end;
  o.stop = "end_of_text";
  return o;
}

}  // namespace

TEST_CASE("a model answers the same on one thread and on several") {
  const auto sources = eval::read_sources(test::source_dir() + "/tests/syntax/samples");
  REQUIRE(sources.has_value());
  eval::CaseOptions choice;
  choice.per_language = 2;
  choice.languages = {"python", "go"};
  const auto cases = eval::choose_cases(*sources, choice);
  REQUIRE(cases.has_value());
  REQUIRE(cases->size() == 4);

  const RandomModel model;
  eval::EvaluateOptions options;
  options.threads = 1;
  options.loss_tokens = 200;
  size_t steps = 0, all_steps = 0;
  const auto one = eval::evaluate(under_test(model.path), *cases, *sources, options,
                                  [&](size_t done, size_t all) {
                                    CHECK(done == ++steps);
                                    all_steps = all;
                                  });
  REQUIRE(one.has_value());
  CHECK(steps == all_steps);
  options.threads = 3;
  const auto three = eval::evaluate(under_test(model.path), *cases, *sources, options, nullptr);
  REQUIRE(three.has_value());
  REQUIRE(one->outcomes.size() == 4);
  for (size_t i = 0; i < one->outcomes.size(); ++i) {
    CAPTURE(i);
    const eval::Outcome &a = one->outcomes[i], &b = three->outcomes[i];
    CHECK(a.answer == b.answer);
    CHECK(a.stop == b.stop);
    CHECK(a.middle.nats == doctest::Approx(b.middle.nats).epsilon(1e-6));
    CHECK(a.middle.tokens == b.middle.tokens);
    CHECK(a.stops_at_end == b.stops_at_end);
    // Every byte of the hole was predicted; the vocabulary has a token a byte.
    CHECK(a.middle.bytes == (*cases)[i].middle.size());
    CHECK(a.middle.tokens == a.middle.bytes);
    CHECK(a.timings.prompt_tokens <= 96 + 32);
    CHECK_FALSE(a.truth_dropped);  // the samples parse
  }
  const double uniform = std::log(320.0);  // random weights know no better
  for (const auto& [language, loss] : one->text_loss) {
    CAPTURE(language);
    CHECK(loss.tokens >= 50);
    CHECK(loss.per_token() > 0.7 * uniform);
    CHECK(loss.nats == doctest::Approx(three->text_loss.at(language).nats).epsilon(1e-6));
  }
  CHECK(one->text_loss.size() == 2);
}

TEST_CASE("errors name the file") {
  const auto sources = eval::read_sources(test::source_dir() + "/tests/syntax/samples/sample.py");
  REQUIRE(sources.has_value());
  const auto cases = eval::choose_cases(*sources, {});
  REQUIRE(cases.has_value());
  const auto missing = eval::evaluate(under_test("/nowhere.gguf"), *cases, *sources, {}, nullptr);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().message.find("/nowhere.gguf") != std::string::npos);
}

TEST_CASE("outcomes are summed by language and kind") {
  std::vector<eval::Case> cases(4);
  for (size_t i = 0; i < cases.size(); ++i) {
    cases[i].language = i < 2 ? "go" : "python";
    cases[i].kind = i % 2 == 0 ? CaseKind::line : CaseKind::block;
  }
  const std::vector<eval::Outcome> a{outcome(true, 1.0, 5, true), outcome(false, 0.5, 10, false),
                                     outcome(false, 0.2, 20, false), outcome(true, 1.0, 5, true)};
  std::vector<eval::Outcome> b = a;
  b[2] = outcome(true, 1.0, 10, true);
  b[2].truth_dropped = true;
  CHECK(eval::summarize(cases, b, {}).at("").truth_dropped == 1);
  const auto figures = eval::summarize(cases, a, {{"go", {100, 50, 150}}});
  REQUIRE(figures.size() == 3);
  const eval::Figures &go = figures.at("go"), &all = figures.at("");
  CHECK(go.kinds[0].cases == 1);
  CHECK(go.kinds[0].exact == 1);
  CHECK(go.kinds[1].exact == 0);
  CHECK(go.text.per_token() == doctest::Approx(2.0));
  CHECK(go.text.per_byte() == doctest::Approx(2.0 / 3));
  CHECK(go.middle.per_token() == doctest::Approx(0.75));
  CHECK(all.cases == 4);
  CHECK(all.kinds[0].exact_match().mean == doctest::Approx(0.5));
  CHECK(all.stops_at_end == 2);
  CHECK(all.stops.at("end_of_text") == 4);
  CHECK(all.middle.tokens == 40);

  const eval::Comparison c = eval::compare(cases, a, b);
  CHECK(c.exact_match[0].n == 2);
  CHECK(c.exact_match[0].mean == doctest::Approx(0.5));
  CHECK(c.exact_match[1].mean == 0.0);
  CHECK(c.middle_loss.mean == doctest::Approx(-0.25));
  CHECK(c.stops_at_end.mean == doctest::Approx(0.25));
}
