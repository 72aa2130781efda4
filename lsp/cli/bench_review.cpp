// `cambium bench`: the review by likelihood of one function.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "engine/tokenizer.h"
#include "lsp/assist/review_likelihood.h"
#include "lsp/cli/bench.h"
#include "syntax/languages.h"

namespace cambium::cli {
namespace {

/// A function of 60 lines, about 600 tokens.
std::string sample_function() {
  std::string text =
      "int review_sample(const std::vector<int>& values, int lower, int upper, int step) {\n"
      "  int total = 0, skipped = 0;\n";
  for (int i = 0; i < 11; ++i) {
    text += fmt::format(
        "  for (int index = lower; index < upper; index += step) {{\n"
        "    const int value = values[index] + {};\n"
        "    if (value > upper) skipped += 1;\n"
        "    total += value * step;\n  }}\n",
        i);
  }
  return text + "  report(total, skipped);\n  return total;\n}\n";
}

/// Below, nothing that follows an alternative speaks for it.
constexpr float kNothing = -1e8f;

/// A model that is never content: of any weights it makes one that wants something else at every site,
/// and likes what comes of it at some, so that a review costs the same with all. Its own answers are
/// computed all the same.
class Discontent final : public engine::Generator {
 public:
  Discontent(engine::Generator& model, std::vector<engine::TokenId> wants, int32_t holes)
      : holes(holes), model_(model), wants_(std::move(wants)) {}

  engine::Capabilities capabilities() const override { return model_.capabilities(); }
  const engine::Tokenizer* tokenizer() const override { return model_.tokenizer(); }
  const engine::PromptFormat* prompt_format() const override { return model_.prompt_format(); }
  void generate(engine::Request request, engine::OnText on_text, engine::OnDone on_done) override {
    model_.generate(std::move(request), std::move(on_text), std::move(on_done));
  }
  void score(engine::ScoreRequest request, engine::OnScored on_done) override {
    const bool reads_on = request.top == 0;
    model_.score(std::move(request),
                 [this, reads_on, done = std::move(on_done)](Result<engine::Scored> scored) {
                   if (scored) {
                     computed += scored->timings.prompt_tokens - scored->timings.reused_tokens;
                     ++requests;
                     for (engine::Scored::Branch& branch : scored->branches) {
                       if (reads_on && holes-- <= 0) branch.logprobs[0] = 2 * kNothing;
                     }
                     for (size_t row = 0; row < scored->logprobs.size(); ++row) {
                       for (const engine::TokenId token : wants_)
                         scored->alternatives[row].push_back({token, scored->logprobs[row] + 4});
                     }
                   }
                   done(std::move(scored));
                 });
  }

  int32_t holes = 0;                   ///< still to be asked for
  int32_t computed = 0, requests = 0;  ///< read when the review is done

 private:
  engine::Generator& model_;
  std::vector<engine::TokenId> wants_;
};

}  // namespace

Result<ReviewTime> time_review(engine::Generator& model, int32_t sites, int32_t holes) {
  const std::string text = sample_function();
  const syntax::Language* language = syntax::language_by_id("cpp");
  const auto tree = syntax::Parser(*language).parse(text);
  const auto functions =
      syntax::review_sites(*tree, text, {{0, static_cast<uint32_t>(text.size())}});
  std::vector<engine::TokenId> wants;
  for (const syntax::Site& site : functions.at(0).sites) {
    for (const std::string& other : site.alternatives) {
      for (const std::string& as_written : {other, " " + other})
        wants.push_back(model.tokenizer()->encode(as_written).at(0));
    }
  }
  std::sort(wants.begin(), wants.end());
  wants.erase(std::unique(wants.begin(), wants.end()), wants.end());

  assist::LikelihoodLimits limits;
  limits.most_sites = sites;
  limits.least_left = limits.least_ahead = limits.least_both = kNothing;
  ReviewTime time;
  time.tokens = static_cast<int32_t>(model.tokenizer()->encode(text).size());
  Samples samples;
  for (int i = 0; i < 6; ++i) {
    // Another first line: nothing is in the cache from the last time.
    const std::string fresh = fmt::format("// {}\n", i) + text;
    const auto parsed = syntax::Parser(*language).parse(fresh);
    const auto reviewed =
        syntax::review_sites(*parsed, fresh, {{0, static_cast<uint32_t>(fresh.size())}});
    Discontent discontent(model, wants, holes);
    const Stopwatch watch;
    auto found = assist::suspicions(discontent, language, "sample.cpp", fresh, reviewed.at(0),
                                    limits, nullptr);
    if (!found) return tl::unexpected(found.error());
    if (i > 0) samples.add(watch.ms());  // the first warms up
    time.holes = static_cast<int32_t>(found->size());
    time.computed = discontent.computed;
    time.requests = discontent.requests;
  }
  time.median_ms = samples.median();
  return time;
}

Result<void> bench_review(engine::Generator& model, Figures& figures) {
  const auto add = [&](const char* what, int32_t sites, int32_t holes) -> Result<void> {
    auto time = time_review(model, sites, holes);
    if (!time) return tl::unexpected(time.error());
    figures.push_back({"review",
                       fmt::format("likelihoods of 60 lines, {} tokens; {}: {} sites, {} holes, {} "
                                   "tokens computed",
                                   time->tokens, what, sites, time->holes, time->computed),
                       time->median_ms, "ms", 700});
    return {};
  };
  if (auto usual = add("usual", kUsualSites, kUsualHoles); !usual) return usual;
  const int32_t most = assist::LikelihoodLimits{}.most_sites;
  return add("the most", most, most);
}

}  // namespace cambium::cli
