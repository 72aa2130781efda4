// The review by likelihood with a model whose opinions the test writes down.
#include "lsp/assist/review_likelihood.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>

#include "engine/score_branches.h"
#include "lsp/assist/likelihood_findings.h"
#include "lsp/assist/reviewer.h"
#include "syntax/languages.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/tiny_model.h"
#include "tests/support/fake_generator.h"

using namespace cambium;
using namespace cambium::assist;

namespace {

/// A model that only scores; derived classes say how.
class ScoresOnly : public engine::Generator {
 public:
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
    engine::score_one_by_one(
        std::move(request),
        [this](engine::ScoreRequest one, const engine::OnScored& done) {
          score_text(std::move(one), done);
        },
        std::move(on_done));
  }

  bool score_known = true;

 protected:
  /// A request without branches.
  virtual void score_text(engine::ScoreRequest request, engine::OnScored on_done) = 0;

  test::FakeGenerator layout_{[](const std::string&) { return std::string(); }, false};
};

/// Every token has log P -2, but where the text so far ends as a rule says.
class Opinionated final : public ScoresOnly {
 public:
  struct Opinion {
    std::string ending;  ///< of the text so far
    std::string piece;
    float logprob;
  };

  void score_text(engine::ScoreRequest request, engine::OnScored on_done) override {
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
  int asked = 0, cancel_at = -1;
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

namespace {

/// Knows how a file should read: what continues it so is likely, all else is not.
class Knowing final : public ScoresOnly {
 public:
  explicit Knowing(std::string right, int32_t context = 4096) : right_(std::move(right)) {
    layout_.context = context;
  }

  void score_text(engine::ScoreRequest request, engine::OnScored on_done) override {
    ++asked;
    longest = std::max(longest, static_cast<int32_t>(request.tokens.size()));
    engine::Scored out;
    for (auto i = static_cast<size_t>(request.first); i < request.tokens.size(); ++i) {
      const std::string prompt = layout_.as_text(
          {request.tokens.begin(), request.tokens.begin() + static_cast<std::ptrdiff_t>(i)});
      const std::string rest = rest_of(prompt);
      const std::string piece(tokenizer()->piece(request.tokens[i]));
      const bool expected = piece.empty() ? rest.empty() : rest.starts_with(piece);
      out.logprobs.push_back(expected ? -0.1f : -9);
      std::vector<engine::Scored::Alternative> best{{request.tokens[i], out.logprobs.back()}};
      if (!expected && !rest.empty()) best = {{tokenizer()->encode(rest)[0], -0.1f}, best[0]};
      out.alternatives.push_back(std::move(best));
    }
    on_done(std::move(out));
  }

  int asked = 0;
  int32_t longest = 0;  ///< tokens of a request

 private:
  /// What should follow; something that nothing begins with where the prompt has gone astray.
  std::string rest_of(const std::string& prompt) const {
    const size_t prefix = prompt.find("<PRE>") + 5, suffix = prompt.find("<SUF>");
    const std::string before = prompt.substr(prefix, suffix - prefix);
    // A window may begin anywhere; lines of the tests are all different.
    const size_t begins = right_.find(before);
    std::string rest = begins != right_.npos ? right_.substr(begins + before.size()) : "\x01";
    if (suffix == prompt.npos) return rest;
    const size_t middle = prompt.find("<MID>");
    const std::string after = prompt.substr(suffix + 5, middle - suffix - 5);
    const std::string filled = prompt.substr(middle + 5);
    const size_t end = rest.rfind(after);
    if (end == rest.npos || !rest.substr(0, end).starts_with(filled)) return "\x01";
    return rest.substr(filled.size(), end - filled.size());
  }

  std::string right_;
};

/// Reports whatever the model is sure of at all.
ReviewCalibration everything() {
  ReviewCalibration calibration;
  for (KindCalibration& kind : calibration.kinds) {
    kind.level = 0;
    kind.weights.fill(1);
  }
  return calibration;
}

std::vector<Suspicion> suspicions_in(engine::Generator& model, const syntax::Language& language,
                                     const std::string& text, const LikelihoodLimits& limits = {}) {
  const auto tree = syntax::Parser(language).parse(text);
  REQUIRE(tree);
  std::vector<Suspicion> all;
  for (const auto& function :
       syntax::review_sites(*tree, text, {{0, static_cast<uint32_t>(text.size())}})) {
    auto found = suspicions(model, &language, "file", text, function, limits, nullptr);
    REQUIRE(found);
    all.insert(all.end(), found->begin(), found->end());
  }
  return all;
}

}  // namespace

TEST_CASE("a slip of each kind leads to a finding that says so, and its fix restores the code") {
  const struct {
    const char* language;
    std::string right, wrong, kind, message, fix;
  } cases[] = {
      {"python", "def f(aa, bb):\n    cc = aa\n    return g(cc, aa)\n",
       "def f(aa, bb):\n    cc = aa\n    return g(bb, aa)\n", "name", "wrong variable",
       "Replace 'bb' by 'cc'"},
      {"javascript", "function f(aa, bb) {\n  while (aa < bb) aa = g(aa);\n  return aa;\n}\n",
       "function f(aa, bb) {\n  while (aa <= bb) aa = g(aa);\n  return aa;\n}\n", "compare",
       "one too far", "Replace '<=' by '<'"},
      {"go", "package p\nfunc f(aa int, bb int) bool {\n\treturn aa >= bb\n}\n",
       "package p\nfunc f(aa int, bb int) bool {\n\treturn aa > bb\n}\n", "compare",
       "one too early", "Replace '>' by '>='"},
      {"c", "int f(int aa, int bb) {\n  return aa < bb ? aa : bb;\n}\n",
       "int f(int aa, int bb) {\n  return aa > bb ? aa : bb;\n}\n", "compare", "wrong way round",
       "Replace '>' by '<'"},
      {"cpp", "int f(int aa, int bb) {\n  int cc = aa - bb;\n  return cc;\n}\n",
       "int f(int aa, int bb) {\n  int cc = aa + bb;\n  return cc;\n}\n", "arithmetic",
       "wrong operator", "Replace '+' by '-'"},
      {"rust", "fn f(aa: bool, bb: bool) -> bool {\n    let cc = aa || bb;\n    g(cc)\n}\n",
       "fn f(aa: bool, bb: bool) -> bool {\n    let cc = aa && bb;\n    g(cc)\n}\n", "logic",
       "joined the wrong way", "Replace '&&' by '||'"},
      {"java", "class C { int f(int aa) { int bb = aa[0]; return bb; } }\n",
       "class C { int f(int aa) { int bb = aa[1]; return bb; } }\n", "number", "off by one",
       "Replace '1' by '0'"},
      {"typescript", "function f(aa: number) {\n  g(aa, true);\n  return aa;\n}\n",
       "function f(aa: number) {\n  g(aa, false);\n  return aa;\n}\n", "boolean", "wrong way round",
       "Replace 'false' by 'true'"},
      {"csharp", "class C { int F(int aa, int bb) { G(aa, bb); return aa; } }\n",
       "class C { int F(int aa, int bb) { G(bb, aa); return aa; } }\n", "arguments", "swapped",
       "Swap the arguments"},
      {"python", "def f(aa, bb):\n    if not aa:\n        g(bb)\n    return bb\n",
       "def f(aa, bb):\n    if aa:\n        g(bb)\n    return bb\n", "negation",
       "'not' may be missing", "Insert 'not'"},
      {"javascript", "function f(aa, bb) {\n  if (aa) g(bb);\n  return bb;\n}\n",
       "function f(aa, bb) {\n  if (!aa) g(bb);\n  return bb;\n}\n", "negation",
       "'!' may be one too many", "Remove '!'"},
      {"javascript", "async function f(aa, bb) {\n  await save(aa);\n  return bb;\n}\n",
       "async function f(aa, bb) {\n  save(aa);\n  return bb;\n}\n", "await",
       "'await' may be missing", "Insert 'await'"},
      {"python", "def f(aa, bb):\n    g(aa)\n    return h(bb)\n",
       "def f(aa, bb):\n    g(aa)\n    h(bb)\n", "return", "'return' may be missing",
       "Insert 'return'"},
      {"cpp", "void f(B aa, B bb) {\n  aa.left = bb.left;\n  aa.top = bb.top;\n}\n",
       "void f(B aa, B bb) {\n  aa.left = bb.left;\n  aa.top = bb.left;\n}\n", "leftover",
       "'left' was not changed along", "Replace 'left' by 'top'"},
  };
  std::set<std::string> kinds;
  for (const auto& one : cases) {
    CAPTURE(one.wrong);
    const syntax::Language& language = *syntax::language_by_id(one.language);
    Knowing model(one.right);
    const auto found = suspicions_in(model, language, one.wrong);
    const auto findings = likelihood_findings(found, language, one.wrong, everything());
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].code == "likelihood/" + one.kind);
    CAPTURE(findings[0].message);
    CHECK(findings[0].message.find(one.message) != std::string::npos);
    CHECK(findings[0].severity == Severity::information);
    REQUIRE(findings[0].fix);
    CHECK(findings[0].fix->title == one.fix);
    CHECK(with_changes(one.wrong, findings[0].fix->changes) == one.right);
    CHECK_FALSE(syntax::Parser(language).parse(one.right)->has_error());
    kinds.insert(one.kind);
    // A model that is content with what stands there is asked once and reports nothing.
    Knowing content(one.wrong);
    CHECK(suspicions_in(content, language, one.wrong).empty());
    CHECK(content.asked == 1);
  }
  CHECK(kinds.size() == syntax::kSiteKinds);
}

TEST_CASE(
    "a suspicion says what the alternative is worth, what follows says, and what lies beyond") {
  const syntax::Language& language = *syntax::language_by_id("python");
  const std::string text = "def f(aa, bb):\n    cc = aa\n    return g(bb, one, two, three)\n";
  Opinionated model;
  model.opinions = {{"cc = aa\n    return g(", "cc", -0.5f},
                    {"cc = aa\n    return g(", "bb", -6},
                    {"<MID>", "cc", -1},
                    {"<MID>", "bb", -3},
                    {"g(cc, one", ",", -1},
                    {"g(cc, one, two", ",", -0.25f}};
  LikelihoodLimits limits;
  const auto tokens = [&](const std::string& part) {
    return static_cast<int32_t>(model.tokenizer()->encode(part).size());
  };
  limits.ahead_tokens = tokens(", one,");
  const auto found = suspicions_in(model, language, text, limits);
  REQUIRE(found.size() == 1);
  CHECK(found[0].alternative == "cc");
  CHECK(found[0].left == doctest::Approx(5.5));
  CHECK(found[0].chosen == doctest::Approx(-0.5));
  CHECK(found[0].ahead == doctest::Approx(6.5));
  CHECK(found[0].after == doctest::Approx(1));
  CHECK(found[0].beyond == doctest::Approx(1.75));
  CHECK(found[0].rivals == 1);
  limits.beyond_tokens = tokens(" two");
  CHECK(suspicions_in(model, language, text, limits).at(0).beyond == doctest::Approx(0));
  limits.ahead_tokens += limits.beyond_tokens + 1;
  CHECK(suspicions_in(model, language, text, limits).at(0).after == doctest::Approx(2.75));

  // Where it wants another thing too, each has a rival.
  model.opinions.push_back({"    cc =", " bb", -0.5f});
  model.opinions.push_back({"    cc =", " aa", -3});
  CHECK(suspicions_in(model, language, text, limits).at(0).rivals == 2);
}

namespace {

/// A real model that would write any other byte rather than what stands there; `apart`: every continuation
/// is a request of its own.
class Restless final : public ScoresOnly {
 public:
  Restless(engine::Generator& model, bool apart) : model_(model), apart_(apart) {}
  engine::Capabilities capabilities() const override { return model_.capabilities(); }
  const engine::Tokenizer* tokenizer() const override { return model_.tokenizer(); }
  const engine::PromptFormat* prompt_format() const override { return model_.prompt_format(); }

  void score(engine::ScoreRequest request, engine::OnScored on_done) override {
    ++asked;
    auto restless = [done = std::move(on_done)](Result<engine::Scored> scored) {
      for (size_t row = 0; scored && row < scored->logprobs.size(); ++row) {
        for (engine::TokenId byte = 0; byte < 256; ++byte)
          scored->alternatives[row].push_back({byte, scored->logprobs[row] + 4});
      }
      done(std::move(scored));
    };
    if (apart_) return ScoresOnly::score(std::move(request), std::move(restless));
    model_.score(std::move(request), std::move(restless));
  }

  int asked = 0;

 private:
  void score_text(engine::ScoreRequest request, engine::OnScored on_done) override {
    model_.score(std::move(request), std::move(on_done));
  }
  engine::Generator& model_;
  const bool apart_;
};

}  // namespace

TEST_CASE(
    "continuations scored beside each other lead to the suspicions of those scored one by one") {
  const std::string text =
      "int visible_count(const Row* rows, int first, int last, bool strict) {\n"
      "  int count = 0, skipped = 0;\n"
      "  for (int i = first; i < last; i += 1) {\n"
      "    if (!rows[i].shown && strict) {\n"
      "      skipped += 1;\n"
      "      continue;\n"
      "    }\n"
      "    count += rows[i].height - rows[first].height;\n"
      "  }\n"
      "  report(count, skipped);\n"
      "  return count > 0 ? count : skipped;\n"
      "}\n";
  const syntax::Language& language = *syntax::language_by_id("cpp");
  // Whatever the model thinks of a place, it is looked at from all sides.
  LikelihoodLimits limits;
  limits.least_left = limits.least_ahead = limits.least_both = -1e8f;
  const struct {
    std::vector<uint32_t> structure;
    int requests;
  } cases[] = {{{}, 3},           // all holes leave one sequence
               {{1, 2, 3}, 10}};  // each has labels of its own document
  for (const auto& [structure, requests] : cases) {
    test::TinyModel tiny;  // F32: nothing is rounded on the way
    tiny.shape.context = 2048;
    tiny.structure = structure;
    tiny.rule = {.window = 40, .sinks = 2};
    const auto file = test::write_tiny_model(tiny);
    const auto model = test::load(file.path());
    CHECK(model->capabilities().structure == !structure.empty());
    Restless apart(*model, true), beside(*model, false);
    const auto want = suspicions_in(apart, language, text, limits);
    const auto got = suspicions_in(beside, language, text, limits);
    CHECK(beside.asked == requests);
    CHECK(want.size() == 8);
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      CAPTURE(i);
      CHECK(got[i].kind == want[i].kind);
      CHECK(got[i].range.begin == want[i].range.begin);
      CHECK(got[i].alternative == want[i].alternative);
      CHECK(got[i].rivals == want[i].rivals);
      CHECK(got[i].left == want[i].left);
      CHECK(got[i].chosen == want[i].chosen);
      const auto alike = [](float a, float b) { return std::abs(a - b) <= 1e-2f; };  // of some -300
      CHECK_MESSAGE(alike(got[i].ahead, want[i].ahead), got[i].ahead << " " << want[i].ahead);
      CHECK_MESSAGE(alike(got[i].after, want[i].after), got[i].after << " " << want[i].after);
      CHECK_MESSAGE(alike(got[i].beyond, want[i].beyond), got[i].beyond << " " << want[i].beyond);
      CHECK_MESSAGE(alike(got[i].both, want[i].both), got[i].both << " " << want[i].both);
      CHECK_MESSAGE(alike(got[i].confidence, want[i].confidence),
                    got[i].confidence << " " << want[i].confidence);
    }
  }
}

TEST_CASE("what a file has elsewhere between the same two words is told apart from its likes") {
  const syntax::Language& language = *syntax::language_by_id("python");
  const struct {
    const char* beside;
    bool alternative, written;
  } cases[] = {
      {"h(aa < bb)\n", true, false},   {"h(aa <= bb)\n", false, true},
      {"h(aa < bbb)\n", false, false}, {"h(caa <= bb)\n", false, false},
      {"h(aa  < bb)\n", false, false}, {"h(aa < bb, aa <= bb)\n", true, true},
      {"h(aa, bb)\n", false, false},
  };
  for (const auto& one : cases) {
    CAPTURE(one.beside);
    const std::string right = one.beside + std::string("def f(aa, bb):\n    return aa < bb\n");
    const std::string wrong = one.beside + std::string("def f(aa, bb):\n    return aa <= bb\n");
    Knowing model(right);
    const auto found = suspicions_in(model, language, wrong);
    REQUIRE(found.size() == 1);
    CHECK(found[0].alternative == "<");
    CHECK(found[0].alternative_elsewhere == one.alternative);
    CHECK(found[0].written_elsewhere == one.written);
  }
}

TEST_CASE("a function that is longer than the model's context is read in pieces") {
  std::string right = "def f(aa, bb):\n";
  for (int i = 100; i < 160; ++i) right += "    aa = g(" + std::to_string(i) + ", aa, bb)\n";
  right += "    cc = aa\n    return g(cc, aa)\n";
  std::string wrong = right;
  wrong.replace(wrong.rfind("cc"), 2, "bb");
  const syntax::Language& language = *syntax::language_by_id("python");
  Knowing model(right, 400);
  const auto found = suspicions_in(model, language, wrong);
  REQUIRE(found.size() == 1);
  CHECK(found[0].range.begin == wrong.rfind("bb"));
  CHECK(found[0].alternative == "cc");
  CHECK(model.longest > 100);
  CHECK(model.longest <= 400);

  // One that has no room for code says so.
  Knowing small(right, 200);
  const auto tree = syntax::Parser(language).parse(wrong);
  const auto function = syntax::review_sites(*tree, wrong, {{0, 10}}).at(0);
  const auto refused = suspicions(small, &language, "file", wrong, function, {}, nullptr);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::unsupported);
  CHECK(refused.error().message.find("too short to review by likelihood") != std::string::npos);
}

TEST_CASE("a finding needs the level of its kind") {
  const syntax::Language& language = *syntax::language_by_id("python");
  const std::string text = "def f(aa, bb):\n    cc = aa\n    return bb\n";
  Suspicion suspicion;
  suspicion.range = {static_cast<uint32_t>(text.rfind("bb")),
                     static_cast<uint32_t>(text.size() - 1)};
  suspicion.alternative = "cc";
  suspicion.left = 8;
  ReviewCalibration calibration;
  CHECK(likelihood_findings({suspicion}, language, text, calibration).empty());
  KindCalibration& names = calibration.kinds[static_cast<size_t>(syntax::SiteKind::name)];
  names.weights[0] = 1;
  names.bias = -1;
  const double score = calibration.score_of(suspicion, "python");
  names.level = score;
  CHECK(likelihood_findings({suspicion}, language, text, calibration).size() == 1);
  names.level = score + 1e-6;
  CHECK(likelihood_findings({suspicion}, language, text, calibration).empty());
  // A language's offset counts for that language alone.
  calibration.languages[review_language("python")] = 1;
  CHECK(likelihood_findings({suspicion}, language, text, calibration).size() == 1);
  CHECK(calibration.score_of(suspicion, "go") == doctest::Approx(score));
  suspicion.kind = syntax::SiteKind::number;
  CHECK(likelihood_findings({suspicion}, language, text, calibration).empty());
}

TEST_CASE("of two findings over each other the surer one is kept") {
  const syntax::Language& language = *syntax::language_by_id("python");
  const std::string text = "def f(aa, bb):\n    return g(bb, aa)\n";
  const auto begin = static_cast<uint32_t>(text.find("bb, aa"));
  Suspicion swapped, name;
  swapped.kind = syntax::SiteKind::arguments;
  swapped.range = {begin, begin + 6};
  swapped.alternative = "aa, bb";
  name.range = {begin, begin + 2};
  name.alternative = "aa";
  name.uses = name.alternative_uses = 2;
  for (const float of_name : {2.0f, 9.0f}) {
    name.left = of_name;
    swapped.left = 5;
    for (const auto& both : {std::vector{swapped, name}, std::vector{name, swapped}}) {
      const auto findings = likelihood_findings(both, language, text, everything());
      REQUIRE(findings.size() == 1);
      CHECK(findings[0].code == (of_name > 5 ? "likelihood/name" : "likelihood/arguments"));
    }
  }
}
