#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "lsp/cli/cli.h"
#include "lsp/eval/review_eval.h"
#include "tests/support/review_folder.h"

using namespace cambium;
using nlohmann::json;

namespace {

struct Ran {
  int exit = 0;
  std::string out, err;
};
Ran ran(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"cambium", "review", "--no-model"});
  std::ostringstream out, err;
  Ran result;
  result.exit = cli::run_cli(static_cast<int>(arguments.size()), arguments.data(), out, err);
  result.out = out.str();
  result.err = err.str();
  return result;
}

}  // namespace

TEST_CASE("review prints findings for people, programs and CI, and exits by severity") {
  test::ReviewFolder folder;
  folder.write("a.lua", "local é, x = 1, f(1\nlocal y = 2\n");
  const std::string file = folder.path("a.lua");
  const Ran text = ran({file.c_str()});
  CHECK(text.exit == cli::kFailed);
  CHECK(text.out.find("a.lua:1:19: error: Expected ')' after '1'. [syntax/missing]") !=
        std::string::npos);
  CHECK(text.out.find("1 error, 0 warnings") != std::string::npos);
  CHECK(ran({file.c_str(), "--fail-on", "never"}).exit == cli::kOk);

  const json findings = json::parse(ran({file.c_str(), "--format", "json"}).out)["findings"];
  REQUIRE(findings.size() == 1);
  CHECK(findings[0]["fix"]["changes"][0]["text"] == ")");
  CHECK(findings[0]["startColumn"] == 19);

  const json sarif = json::parse(ran({file.c_str(), "--format", "sarif"}).out);
  CHECK(sarif["version"] == "2.1.0");
  const json& result = sarif["runs"][0]["results"][0];
  CHECK(result["ruleId"] == "syntax/missing");
  CHECK(result["level"] == "error");
  CHECK(result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1);
  CHECK(result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"] ==
        ")");
  CHECK(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"] == "syntax/missing");
}

TEST_CASE("review against a base looks at changed lines only") {
  test::ReviewFolder folder;
  folder.write("a.lua", "local x = f(1\nlocal y = 2\n");
  folder.commit();
  const std::string file = folder.path("a.lua");
  CHECK(ran({file.c_str(), "--diff", "HEAD"}).exit == cli::kOk);
  folder.write("a.lua", "local x = f(2\nlocal y = 2\n");
  CHECK(ran({file.c_str(), "--diff", "HEAD"}).exit == cli::kFailed);
}

TEST_CASE("review says in one line what it can't do") {
  test::ReviewFolder folder;
  folder.write(".env", "A=1\n");
  const std::string missing = folder.path("no.lua"), secret = folder.path(".env");
  CHECK(ran({}).exit == cli::kBadInput);
  CHECK(ran({missing.c_str()}).exit == cli::kBadInput);
  CHECK(ran({"--diff", "--help-me"}).exit == cli::kBadInput);
  CHECK(ran({"--diff", "no-such-revision"}).exit == cli::kBadInput);
  const Ran kept = ran({secret.c_str()});
  CHECK(kept.exit == cli::kOk);
  CHECK(kept.err.find("not reviewed") != std::string::npos);
}

TEST_CASE("cases of the evaluation have one slip each, and are the same for a seed") {
  std::string body;
  for (int i = 0; i < 6; ++i) {
    const std::string n = std::to_string(i);
    body += "def f" + n + "(first, second):\n    total = first + " + n +
            "\n    if total < second:\n        return g(total, second)\n    print(first)\n"
            "    return total\n\n";
  }
  std::vector<training::SourceFile> files;
  std::vector<std::string> paths;
  for (int project = 0; project < 8; ++project) {
    paths.push_back("python/p" + std::to_string(project) + "/a.py");
  }
  for (const std::string& path : paths) files.push_back({path, body});
  const eval::Halves halves = eval::review_halves(files);
  for (const int half : {0, 1}) {
    eval::ReviewCaseOptions options;
    options.half = half;
    const auto cases = eval::review_cases(files, halves, options);
    const auto again = eval::review_cases(files, halves, options);
    // Four of the projects, of each two functions, each with and without.
    CHECK(cases.size() == 4 * 4);
    REQUIRE(cases.size() == again.size());
    for (size_t i = 0; i < cases.size(); i += 2) {
      const auto& clean = cases[i];
      const auto& bug = cases[i + 1];
      CHECK(halves.of(clean.project) == half);
      CHECK(bug.text == again[i + 1].text);
      CHECK(clean.bug.empty());
      CHECK(clean.text == body);
      CHECK_FALSE(bug.bug.empty());
      std::string back = bug.text;
      back.replace(bug.slip.begin, bug.slip.end - bug.slip.begin, bug.original);
      CHECK(back == body);
    }
  }
}

TEST_CASE("cases to fit on are added behind the pairs, and shares stay what they were") {
  std::string body;
  for (int i = 0; i < 6; ++i) {
    const std::string n = std::to_string(i);
    body +=
        "def f" + n + "(first, second):\n    total = first + " + n +
        "\n    if total < second and first:\n        return g(total, second)\n    print(first)\n"
        "    return total\n\n";
  }
  body += "def short(first):\n    return first\n";
  std::vector<training::SourceFile> files;
  std::vector<std::string> paths;
  for (int project = 0; project < 8; ++project)
    paths.push_back("python/p" + std::to_string(project) + "/a.py");
  for (const std::string& path : paths) files.push_back({path, body});
  const auto pairs = eval::review_cases(files, eval::review_halves(files), {.half = 0});
  const auto shares = [](const std::vector<eval::ReviewCase>& cases) {
    std::map<std::string, double> weights;
    for (const eval::ReviewCase& one : cases) weights[one.bug] += one.weight;
    return weights;
  };
  REQUIRE(shares(pairs).contains("compare"));
  auto cases = pairs;
  using syntax::SiteKind;
  eval::add_cases(
      cases,
      {.kinds = {SiteKind::compare, SiteKind::logic, SiteKind::await}, .slips = 2, .untouched = 1});
  auto again = pairs;
  eval::add_cases(
      again,
      {.kinds = {SiteKind::compare, SiteKind::logic, SiteKind::await}, .slips = 2, .untouched = 1});
  REQUIRE(cases.size() == again.size());
  REQUIRE(cases.size() > pairs.size());
  std::set<std::pair<std::string, uint32_t>> untouched;
  for (size_t i = 0; i < cases.size(); ++i) {
    const eval::ReviewCase& one = cases[i];
    CHECK(one.text == again[i].text);
    if (i < pairs.size()) {
      CHECK(one.text == pairs[i].text);
      CHECK(one.bug == pairs[i].bug);
    }
    if (one.bug.empty()) {
      CHECK(one.text == body);
      CHECK(untouched.emplace(one.path, one.function.begin).second);  // no function twice
      CHECK(body.substr(one.function.begin, 9) != "def short");
      continue;
    }
    std::string back = one.text;
    back.replace(one.slip.begin, one.slip.end - one.slip.begin, one.original);
    CHECK(back == body);
    if (i >= pairs.size()) CHECK((one.bug == "compare" || one.bug == "logic"));
    CHECK((one.bug == "compare" || one.bug == "logic" ? one.weight < 1 : one.weight == 1));
  }
  // Every function has one comparison; those that had no slip of it get one.
  size_t compared = 0;
  for (const eval::ReviewCase& one : cases) compared += one.bug == "compare" ? 1 : 0;
  CHECK(compared == pairs.size() / 2);
  CHECK(untouched.size() == pairs.size());
  const auto before = shares(pairs), after = shares(cases);
  REQUIRE(before.size() == after.size());
  for (const auto& [kind, weight] : before) {
    CAPTURE(kind);
    CHECK(after.at(kind) == doctest::Approx(weight));
  }

  eval::ReviewRun run;
  run.cases = cases;
  run.judged.resize(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) run.judged[i].of_case = i;
  eval::keep_pairs(run, pairs.size());
  CHECK(run.cases.size() == pairs.size());
  CHECK(run.judged.size() == pairs.size());
  for (const eval::ReviewCase& one : run.cases) CHECK(one.weight == 1);
}

TEST_CASE("a project is in one half with all its languages, and each language in both") {
  const std::string python =
      "def f(first, second):\n    total = first\n    if total < second:\n        return g(total)\n"
      "    return total\n";
  const std::string c =
      "int f(int first, int second) {\n  int total = first;\n  if (total < second)\n"
      "    return g(total);\n  return total;\n}\n";
  std::vector<training::SourceFile> files;
  const std::string paths[] = {"python/a/1.py", "c/a/1.c", "python/b/1.py", "python/b/2.py",
                               "c/c/1.c",       "c/d/1.c", "cpp/d/1.cpp",   "lua/e/1.lua"};
  for (const std::string& path : paths) files.push_back({path, path[0] == 'p' ? python : c});
  const eval::Halves halves = eval::review_halves(files);
  CHECK(halves.of("a") != halves.of("b"));  // Python
  CHECK(halves.undivided() == std::vector<std::string>{"cpp"});
  std::map<std::string, std::map<std::string, std::set<int>>> seen;  // language, project: halves
  for (const int half : {0, 1}) {
    eval::ReviewCaseOptions options;
    options.half = half;
    for (const eval::ReviewCase& one : eval::review_cases(files, halves, options)) {
      seen[std::string(one.language->name)][one.project].insert(half);
    }
  }
  std::map<std::string, std::set<int>> of_project;
  for (const auto& [language, projects] : seen) {
    std::set<int> of_language;
    for (const auto& [project, in] : projects) {
      of_language.insert(in.begin(), in.end());
      of_project[project].insert(in.begin(), in.end());
    }
    CAPTURE(language);
    CHECK(of_language.size() == std::min<size_t>(projects.size(), 2));
  }
  CHECK(seen.size() == 3);
  for (const auto& [project, in] : of_project) {
    CAPTURE(project);
    CHECK(in.size() == 1);
  }
}

TEST_CASE("figures count what is reported, hit and restored") {
  eval::ReviewRun run;
  for (const char* bug : {"", "name", "name", "compare"}) {
    eval::ReviewCase one;
    one.text = "a\nb\nc\nd\n";
    one.function = {0, 8};
    one.bug = bug;
    run.cases.push_back(one);
  }
  const auto add = [&](size_t of_case, syntax::SiteKind kind, float both, bool hit, bool restores) {
    eval::Judged judged;
    judged.of_case = of_case;
    judged.suspicion.kind = kind;
    judged.suspicion.both = both;
    judged.hit = hit;
    judged.restores = restores;
    run.judged.push_back(judged);
  };
  add(0, syntax::SiteKind::name, 5, false, false);
  add(1, syntax::SiteKind::name, 9, true, true);
  add(2, syntax::SiteKind::name, 8, true, false);
  add(3, syntax::SiteKind::compare, 1, true, true);
  const auto over = [](double level) {
    return [level](const eval::Judged& judged) { return judged.suspicion.both >= level; };
  };
  const auto names = eval::figures_of(run, {.kind = "name"}, over(4));
  CHECK(names.precision() == doctest::Approx(2.0 / 3));
  CHECK(names.recall() == doctest::Approx(1));
  CHECK(names.restoring() == doctest::Approx(0.5));
  CHECK(names.false_per_1000() == doctest::Approx(1000.0 / 5));
  const auto all = eval::figures_of(run, {}, over(6));
  CHECK(all.precision() == doctest::Approx(1));
  CHECK(all.recall() == doctest::Approx(2.0 / 3));
  const auto curve = eval::curve_of(run, {}, [](const eval::Judged& judged) {
    return static_cast<double>(judged.suspicion.both);
  });
  CHECK(curve.size() == 4);
  // A slip is found whatever kind of finding lies on it; a finding counts for its own kind.
  add(3, syntax::SiteKind::logic, 7, true, false);
  const auto compared = eval::figures_of(run, {.kind = "compare"}, over(6));
  CHECK(compared.found == 1);
  CHECK(compared.reported == 0);

  // By language: those of another count neither as slips, nor as reports, nor as lines.
  for (eval::ReviewCase& one : run.cases) one.language = syntax::language_by_id("go");
  run.cases[1].language = syntax::language_by_id("c");
  const auto c = eval::figures_of(run, {.language = "c"}, over(4));
  CHECK(c.slips == 1);
  CHECK(c.reported == 1);
  CHECK(c.clean_lines == 0);
  CHECK(eval::figures_of(run, {.kind = "name", .language = "go"}, over(4)).reported == 2);
}
