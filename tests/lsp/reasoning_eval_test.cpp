#include "lsp/eval/reasoning_eval.h"

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "syntax/languages.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using assist::AnswerForm;
using engine::StopReason;
using eval::ReviewCase;
using test::ScriptedGenerator;

namespace {

/// Lines 4 to 8 are the function.
const std::string kPython =
    "LIMIT = 3\n"
    "\n"
    "class Shelf:\n"
    "    def take(self, items, n):\n"
    "        if n > LIMIT:\n"
    "            n = LIMIT\n"
    "        rest = items[n:]\n"
    "        return items[:n]\n";
/// The function is all of it.
const std::string kC = "int least(int a, int b) {\n  if (a < b) return a;\n  return b;\n}\n";

/// The function, its `original` replaced with `slip`; both empty: untouched. `path` names the case to
/// the script, and its project.
ReviewCase case_of(const std::string& path, const std::string& bug = "",
                   const std::string& original = "", const std::string& slip = "") {
  ReviewCase one;
  const bool python = path.ends_with(".py");
  one.language = syntax::language_by_id(python ? "python" : "c");
  one.path = path;
  one.project = path.substr(0, path.find('/'));
  one.text = python ? kPython : kC;
  one.bug = bug;
  one.original = original;
  const auto at = static_cast<uint32_t>(one.text.find(original));
  one.text.replace(at, original.size(), slip);
  one.slip = {at, at + static_cast<uint32_t>(slip.size())};
  const size_t begin = python ? one.text.find("def") : 0;
  one.function = {static_cast<uint32_t>(begin), static_cast<uint32_t>(one.text.size() - 1)};
  return one;
}

std::string finding(int line, const std::string& quote,
                    const nlohmann::json& replacement = nullptr) {
  return nlohmann::json{{"findings",
                         {{{"line", line},
                           {"quote", quote},
                           {"message", "It is wrong."},
                           {"severity", "error"},
                           {"replacement", replacement}}}}}
      .dump();
}

/// A model that answers by the case it is asked about.
struct Reviewer {
  using Answer = std::function<Result<std::string>()>;
  Reviewer() {
    generator = std::make_shared<ScriptedGenerator>("r1", [this](const engine::Request& request) {
      const auto& messages = std::get<engine::ChatPrompt>(request.text).messages;
      generator->stop = StopReason::end_of_text;
      const std::string& asked = messages[1].content;
      const std::string path = asked.substr(5, asked.find(',') - 5);
      shown[path] = asked;
      if (messages[0].content.starts_with("You check a claim"))
        return Result<std::string>(doubted == path ? R"({"confirmed": false})"
                                                   : R"({"confirmed": true})");
      return answers.at(path)();
    });
    generator->prompt_tokens = 100;
    generator->can.context = 65536;
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::reasoning, generator);
    assistant = std::make_unique<assist::Assistant>(std::move(models));
  }
  void says(const std::string& path, const std::string& text,
            StopReason stop = StopReason::end_of_text) {
    answers[path] = [this, text, stop] {
      generator->stop = stop;
      return Result<std::string>(text);
    };
  }
  void fails(const std::string& path, ErrorCode code, const std::string& why) {
    answers[path] = [code, why] { return Result<std::string>(fail(code, why)); };
  }
  Result<eval::ReasoningRun> run(std::vector<ReviewCase> cases) {
    done.clear();
    return eval::run_reasoning_cases(*assistant, std::move(cases),
                                     [this](size_t n) { done.push_back(n); });
  }

  std::map<std::string, Answer> answers;
  std::map<std::string, std::string> shown;  ///< by path: what the model was last shown
  std::string doubted;  ///< the model does not stand by what it says of this one
  std::vector<size_t> done;
  std::shared_ptr<ScriptedGenerator> generator;
  std::unique_ptr<assist::Assistant> assistant;
};

}  // namespace

TEST_CASE("a model that reasons is judged by what is left of its findings after the checks") {
  Reviewer model;
  std::vector<ReviewCase> cases;
  const auto add = [&](ReviewCase one, const std::string& answer,
                       StopReason stop = StopReason::end_of_text) {
    model.says(one.path, answer, stop);
    cases.push_back(std::move(one));
  };
  const auto name_slip = [](const std::string& path) {
    return case_of(path, "name", "items[:n]", "items[:LIMIT]");
  };
  // On the slip, with the right fix.
  add(name_slip("one/a.py"), finding(8, "return items[:LIMIT]", "return items[:n]"));
  // On the slip, with a fix that does not give the original back, and with none.
  add(name_slip("one/b.py"), finding(8, "LIMIT", "items"));
  add(name_slip("two/c.py"), finding(8, "LIMIT"));
  // In an untouched function; in one with a slip, up to the byte before it and from the one after.
  add(case_of("one/d.py"), finding(7, "items[n:]", "items[n + 1:]"));
  add(name_slip("two/e.py"), finding(8, "return ", "yield "));
  add(case_of("two/f.c", "compare", "a < b", "a > b"), finding(2, ") return a;", ") return b;"));
  // Nothing wrong, said of one that has a slip and of one that has none.
  add(case_of("two/g.c", "compare", "<", ">"), R"({"findings": []})");
  add(case_of("two/h.c"), R"({"findings": []})");
  // No answer that could be read; the first of two findings, the second is cut.
  add(case_of("two/i.c"), "It looks fine to me.");
  add(name_slip("one/j.py"), R"({"findings": [{"line": 8, "quo)", StopReason::max_tokens);
  const std::string whole = finding(2, "a > b", "a < b");
  add(case_of("two/k.c", "compare", "a < b", "a > b"),
      whole.substr(0, whole.size() - 2) + R"(, {"line)", StopReason::max_tokens);
  // Outside of the function; and one that the model does not stand by.
  add(case_of("one/l.py"), finding(1, "LIMIT = 3"));
  add(name_slip("one/m.py"), finding(8, "LIMIT", "n"));
  model.doubted = "one/m.py";
  // A time-out.
  cases.push_back(name_slip("three/n.py"));
  model.fails("three/n.py", ErrorCode::unavailable, "no answer within 120 s");

  const auto run = model.run(cases);
  REQUIRE_MESSAGE(run.has_value(), run.error().message);
  CHECK_FALSE(run->ended);
  REQUIRE(run->answers.size() == cases.size());
  CHECK(model.done.size() == cases.size());
  CHECK(model.done.back() == cases.size());
  CHECK(run->answers.back().error == "no answer within 120 s");
  // All lines of the function are the change, and no other.
  const std::string& shown = model.shown.at("one/d.py");
  CHECK(shown.find("+4     def take(self, items, n):\n") != shown.npos);
  CHECK(shown.find("+8         return items[:n]\n") != shown.npos);
  CHECK(shown.find("+3") == shown.npos);
  CHECK(shown.find("+9") == shown.npos);
  CHECK(model.generator->messages(0)[0].content.find("Tools:") == std::string::npos);

  const auto findings = eval::counted(*run);
  const auto all = eval::figures_of(run->cases, findings, {});
  CHECK(all.slips == 10);
  CHECK(all.found == 4);     // a, b, c, k
  CHECK(all.reported == 7);  // these, d, e, f
  CHECK(all.hits == 4);
  CHECK(all.restored == 2);  // a, k
  CHECK(all.false_on_clean == 1);
  CHECK(all.clean_lines == 5 + 5 + 4 + 4);
  CHECK(all.precision() == doctest::Approx(4.0 / 7));
  CHECK(all.recall() == doctest::Approx(0.4));
  CHECK(all.restoring() == doctest::Approx(0.5));
  CHECK(all.false_per_1000() == doctest::Approx(1000.0 / 18));

  const auto names = eval::figures_of(run->cases, findings, {.kind = "name"});
  CHECK(names.slips == 7);
  CHECK(names.found == 3);
  CHECK(names.hits == 3);
  CHECK(names.restored == 1);
  const auto compared = eval::figures_of(run->cases, findings, {.kind = "compare"});
  CHECK(compared.slips == 3);
  CHECK(compared.found == 1);
  CHECK(compared.restoring() == doctest::Approx(1));
  const auto in_c = eval::figures_of(run->cases, findings, {.language = "c"});
  CHECK(in_c.reported == 2);
  CHECK(in_c.precision() == doctest::Approx(0.5));

  const auto intervals = eval::intervals_of(run->cases, findings, {});
  CHECK(intervals.recall.mean == doctest::Approx(0.4));
  CHECK(intervals.recall.n == 3);  // projects
  CHECK(intervals.precision.low < intervals.precision.mean);

  const auto answers = eval::answers_of(*run, "");
  CHECK(answers.cases == cases.size());
  CHECK(answers.failed == 1);
  CHECK(answers.prose == 1);
  CHECK(answers.cut == 1);
  CHECK(answers.in_part == 1);
  CHECK(answers.refused == 1);
  CHECK(answers.unconfirmed == 1);
  // 13 answers; 8 findings were looked at again, and two unreadable answers were asked for again.
  CHECK(answers.prompt_tokens.mean == doctest::Approx(100.0 * (13 + 8 + 2) / 13));
  CHECK(answers.ms.n == 2);
  CHECK(answers.ms.mean > 0);
  const auto c_answers = eval::answers_of(*run, "c");
  CHECK(c_answers.cases == 5);
  CHECK(c_answers.failed == 0);
  CHECK(c_answers.prose == 1);
  CHECK(c_answers.cut == 0);
  // The scripted model counts bytes: f, g, h, i twice and k, and the verdicts on f and k.
  const size_t verdict = std::string(R"({"confirmed": true})").size();
  const size_t written = finding(2, ") return a;", ") return b;").size() + verdict + 2 * 16 +
                         2 * std::string("It looks fine to me.").size() + whole.size() - 2 + 8 +
                         verdict;
  CHECK(c_answers.generated_tokens.mean == doctest::Approx(static_cast<double>(written) / 5));
  CHECK(run->answers[10].review.form == AnswerForm::part);
}

TEST_CASE("an endpoint that is gone ends the run, and what was judged before is kept") {
  Reviewer model;
  model.says("p/fine.c", R"({"findings": []})");
  const std::string refused = "http://h: the key is refused (401)";
  model.fails("p/down.c", ErrorCode::unavailable, refused);
  model.fails("p/long.c", ErrorCode::invalid_argument, "the prompt has 9000 tokens");
  const ReviewCase fine = case_of("p/fine.c"), down = case_of("p/down.c"),
                   too_long = case_of("p/long.c");

  // Nothing was answered: the error says why, after three cases.
  const auto none = model.run({down, down, down, down, fine});
  REQUIRE_FALSE(none);
  CHECK(none.error().message == refused);
  CHECK(model.generator->requests.size() == 3);
  REQUIRE_FALSE(model.run({down}));

  // A few in a row are cases like others; one more ends the run, and none of the row counts.
  const auto some = model.run({fine, down, down, fine, down, down, fine});
  REQUIRE(some);
  CHECK_FALSE(some->ended);
  CHECK(eval::answers_of(*some, "").failed == 4);
  const auto ended = model.run({fine, fine, down, too_long, down, down, fine});
  REQUIRE(ended);
  REQUIRE(ended->ended);
  CHECK(ended->ended->message == refused);
  CHECK(ended->cases.size() == 2);
  CHECK(ended->answers.size() == 2);

  // What is refused for what it is says nothing of the endpoint.
  const auto longer = model.run({too_long, too_long, too_long, too_long, fine});
  REQUIRE(longer);
  CHECK_FALSE(longer->ended);
  CHECK(eval::answers_of(*longer, "").failed == 4);
  REQUIRE_FALSE(model.run({too_long, too_long}));
}
