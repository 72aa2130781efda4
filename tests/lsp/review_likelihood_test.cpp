// The review by likelihood with a model whose opinions the test writes down.
#include "lsp/assist/review_likelihood.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "lsp/assist/reviewer.h"
#include "syntax/languages.h"
#include "tests/support/fake_generator.h"

using namespace cambium;
using namespace cambium::assist;

namespace {

/// Every token has log P -2, but where the text so far ends as a rule says.
class Opinionated final : public engine::Generator {
 public:
  struct Opinion {
    std::string ending;  ///< of the text so far
    std::string piece;
    float logprob;
  };

  engine::Capabilities capabilities() const override {
    engine::Capabilities can = layout_.capabilities();
    can.score = score_known;
    return can;
  }
  const engine::Tokenizer* tokenizer() const override { return layout_.tokenizer(); }
  const engine::PromptFormat* prompt_format() const override { return layout_.prompt_format(); }
  void generate(engine::Request, engine::OnText, engine::OnDone on_done) override {
    on_done(fail(ErrorCode::unsupported, "scores only"));
  }
  void score(engine::ScoreRequest request, engine::OnScored on_done) override {
    ++asked;
    engine::Scored out;
    for (auto i = static_cast<size_t>(request.first); i < request.tokens.size(); ++i) {
      const std::string before = layout_.as_text(
          {request.tokens.begin(), request.tokens.begin() + static_cast<std::ptrdiff_t>(i)});
      const std::string piece(tokenizer()->piece(request.tokens[i]));
      float logprob = -2;
      std::vector<engine::Scored::Alternative> alternatives;
      for (const Opinion& opinion : opinions) {
        if (!before.ends_with(opinion.ending)) continue;
        if (opinion.piece == piece) logprob = opinion.logprob;
        alternatives.push_back({tokenizer()->encode(opinion.piece).at(0), opinion.logprob});
      }
      std::sort(alternatives.begin(), alternatives.end(),
                [](const auto& a, const auto& b) { return a.logprob > b.logprob; });
      if (alternatives.empty()) alternatives.push_back({request.tokens[i], logprob});
      out.logprobs.push_back(logprob);
      out.alternatives.push_back(std::move(alternatives));
    }
    if (cancel_at == asked && request.cancel) request.cancel->store(true);
    if (request.cancel && request.cancel->load()) {
      return on_done(fail(ErrorCode::cancelled, "the scoring was cancelled"));
    }
    on_done(std::move(out));
  }

  std::vector<Opinion> opinions;
  bool score_known = true;
  int asked = 0, cancel_at = -1;

 private:
  test::FakeGenerator layout_{[](const std::string&) { return std::string(); }, false};
};

const std::string kText = "def f(aa, bb):\n    cc = aa\n    return bb\n";

ReviewInput input_of(const std::shared_ptr<Opinionated>& model) {
  ReviewInput input;
  input.text = std::make_shared<const std::string>(kText);
  input.language_id = "python";
  input.extent = ReviewExtent::whole;
  input.generator = model;
  return input;
}

/// Wants "cc" after "return", with and without sight of the rest.
std::shared_ptr<Opinionated> model_for(float left, float both) {
  auto model = std::make_shared<Opinionated>();
  model->opinions = {{"cc = aa\n    return", " cc", left},
                     {"cc = aa\n    return", " bb", -14},
                     {"<MID>", " cc", both},
                     {"<MID>", " bb", -14}};
  return model;
}

}  // namespace

TEST_CASE("where both directions agree on another name, it is reported with a fix") {
  const auto model = model_for(-0.1f, -0.1f);
  const auto output = review_now(input_of(model));
  REQUIRE(output);
  REQUIRE(output->findings.size() == 1);
  const Finding& finding = output->findings[0];
  CHECK(finding.source == FindingSource::likelihood);
  CHECK(finding.code == "likelihood/name");
  CHECK(kText.substr(finding.range.begin, finding.range.end - finding.range.begin) == "bb");
  CHECK(finding.range.begin == kText.rfind("bb"));
  REQUIRE(finding.fix);
  CHECK(with_changes(kText, finding.fix->changes) ==
        "def f(aa, bb):\n    cc = aa\n    return cc\n");
  CHECK(finding.fingerprint.size() == 16);
}

TEST_CASE("one direction alone reports nothing") {
  for (const auto& model : {model_for(-0.1f, -14), model_for(-14, -0.1f), model_for(-14, -14)}) {
    const auto output = review_now(input_of(model));
    REQUIRE(output);
    CHECK(output->findings.empty());
  }
}

TEST_CASE("only what is among the changed ranges is looked at") {
  const auto model = model_for(-0.1f, -0.1f);
  ReviewInput input = input_of(model);
  input.extent = ReviewExtent::range;
  input.range = {0, 20};
  CHECK(review_now(input)->findings.empty());
  input.range = {static_cast<uint32_t>(kText.find("return")), static_cast<uint32_t>(kText.size())};
  CHECK(review_now(input)->findings.size() == 1);
}

TEST_CASE("a model that can't score, a cancel and a failure are told") {
  const auto mute = model_for(-0.1f, -0.1f);
  mute->score_known = false;
  const auto output = review_now(input_of(mute));
  REQUIRE(output);
  CHECK(output->findings.empty());
  CHECK(output->notes.size() == 1);

  const auto stopped = model_for(-0.1f, -0.1f);
  stopped->cancel_at = 2;
  ReviewInput input = input_of(stopped);
  input.cancel = engine::make_cancel_flag();
  const auto cancelled = review_now(input);
  REQUIRE_FALSE(cancelled);
  CHECK(cancelled.error().code == ErrorCode::cancelled);
}

TEST_CASE("a reviewer answers every review once, also when it goes") {
  const auto model = model_for(-0.1f, -0.1f);
  std::atomic<int> answers = 0;
  {
    Reviewer reviewer;
    for (int i = 0; i < 20; ++i) {
      reviewer.review(input_of(model), [&](const Result<ReviewOutput>&) { ++answers; });
    }
  }
  CHECK(answers == 20);
}
