// Fitting what suspicions are worth, on runs of which the truth is known.
#include "lsp/eval/review_calibration.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "lsp/training/random.h"
#include "syntax/languages.h"

using namespace cambium;
using syntax::SiteKind;

namespace {

struct Rates {
  double right_when_strong = 0.95, right_when_weak = 0.05;
};

/// Projects with a suspicion a case: of `kind`, strong in half of the cases with a slip.
eval::ReviewRun run_of(SiteKind kind, Rates rates, const char* language = "python",
                       size_t projects = 30, int lines = 40) {
  eval::ReviewRun run;
  training::Random random(7);
  std::string text;
  for (int i = 1; i < lines; ++i) text += "x\n";
  for (size_t project = 0; project < projects; ++project) {
    for (int i = 0; i < 12; ++i) {
      eval::ReviewCase one;
      one.language = syntax::language_by_id(language);
      one.project = "python/" + std::to_string(project);
      one.text = text;
      one.function = {0, static_cast<uint32_t>(text.size())};
      const bool strong = i % 2 == 0;
      const bool right = random.chance(strong ? rates.right_when_strong : rates.right_when_weak);
      if (right) one.bug = syntax::to_string(kind);
      one.slip = {0, 1};
      eval::Judged judged;
      judged.of_case = run.cases.size();
      judged.suspicion.kind = kind;
      judged.suspicion.range = {0, 1};
      judged.suspicion.alternative = "y";
      judged.suspicion.ahead = strong ? 12.0f : 3.0f;
      judged.suspicion.left = static_cast<float>(random.below(6));
      judged.suspicion.alternative_uses = 3;
      judged.hit = judged.restores = right;
      run.cases.push_back(std::move(one));
      run.judged.push_back(std::move(judged));
    }
  }
  return run;
}

eval::ReviewFigures reported(eval::ReviewRun run, const assist::ReviewCalibration& calibration) {
  eval::report_by(run, calibration);
  return eval::figures_of(run, {}, [](const eval::Judged& judged) { return judged.reported; });
}

double level_of(const eval::Calibrated& fitted, SiteKind kind) {
  return fitted.calibration.level_of(kind);
}

}  // namespace

TEST_CASE("the score is the log-odds of being right") {
  const auto run = run_of(SiteKind::name, {0.9, 0.2});
  const auto fitted = eval::calibrate(run, {.false_per_1000 = 1000});
  double right[2] = {}, all[2] = {}, odds[2] = {};
  for (const eval::Judged& judged : run.judged) {
    const int strong = judged.suspicion.ahead > 5 ? 1 : 0;
    all[strong] += 1;
    right[strong] += judged.hit ? 1 : 0;
    odds[strong] += 1 / (1 + std::exp(-fitted.calibration.score_of(judged.suspicion, "python")));
  }
  for (const int strong : {0, 1})
    CHECK(odds[strong] / all[strong] == doctest::Approx(right[strong] / all[strong]).epsilon(0.06));
}

TEST_CASE("more slips of a kind tell more of it, and it counts as no less rare") {
  auto run = run_of(SiteKind::compare, {0.5, 0.1});
  const size_t had = run.judged.size();
  // Each right one five times, and half of the wrong ones twice.
  constexpr int kTimes = 5;
  for (size_t i = 0; i < had; ++i) {
    const int times = run.judged[i].hit ? kTimes : i % 2 == 0 ? 2 : 1;
    run.cases[i].weight = 1.0 / times;
    for (int n = 1; n < times; ++n) {
      eval::Judged again = run.judged[i];
      again.of_case = run.cases.size();
      run.cases.push_back(run.cases[i]);
      run.judged.push_back(again);
    }
  }
  const auto fitted = eval::calibrate(run, {.false_per_1000 = 1000});
  double right[2] = {}, all[2] = {}, odds[2] = {};
  for (const eval::Judged& judged : run.judged) {
    const int strong = judged.suspicion.ahead > 5 ? 1 : 0;
    const double weight = run.cases[judged.of_case].weight;
    all[strong] += weight;
    right[strong] += judged.hit ? weight : 0;
    odds[strong] +=
        weight / (1 + std::exp(-fitted.calibration.score_of(judged.suspicion, "python")));
  }
  for (const int strong : {0, 1})
    CHECK(odds[strong] / all[strong] == doctest::Approx(right[strong] / all[strong]).epsilon(0.1));
}

TEST_CASE("a level counts what its reports weigh") {
  auto run = run_of(SiteKind::number, {0.9, 0});
  CHECK(level_of(eval::calibrate(run, {.false_per_1000 = 1000}), SiteKind::number) <
        assist::kNever);
  for (eval::ReviewCase& one : run.cases) {
    if (!one.bug.empty()) one.weight = 0.05;
  }
  CHECK(level_of(eval::calibrate(run, {.false_per_1000 = 1000}), SiteKind::number) ==
        assist::kNever);
}

TEST_CASE("each part of a suspicion is one of its features") {
  using assist::Suspicion;
  const auto parts = [](const std::function<void(Suspicion&)>& change) {
    Suspicion suspicion;
    suspicion.alternative_uses = 3;
    suspicion.uses = 3;
    const auto before = assist::features_of(suspicion);
    change(suspicion);
    const auto after = assist::features_of(suspicion);
    std::vector<size_t> changed;
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i] != after[i]) changed.push_back(i);
    }
    return changed;
  };
  using Changed = std::vector<size_t>;
  CHECK(parts([](Suspicion& one) { one.left = 3; }) == Changed{0});
  CHECK(parts([](Suspicion& one) { one.ahead = 3; }) == Changed{1, 12});
  CHECK(parts([](Suspicion& one) { one.ahead = -3; }) == Changed{1});
  CHECK(parts([](Suspicion& one) { one.both = 3; }) == Changed{2});
  CHECK(parts([](Suspicion& one) { one.confidence = -3; }) == Changed{3});
  CHECK(parts([](Suspicion& one) { one.alternatives = 3; }) == Changed{4});
  CHECK(parts([](Suspicion& one) { one.alternative_uses = 0; }) == Changed{5});
  CHECK(parts([](Suspicion& one) { one.alternative_uses = 1; }) == Changed{6});
  CHECK(parts([](Suspicion& one) { one.uses = 0; }) == Changed{7});
  CHECK(parts([](Suspicion& one) { one.rivals = 3; }) == Changed{8});
  CHECK(parts([](Suspicion& one) { one.chosen = -3; }) == Changed{9});
  CHECK(parts([](Suspicion& one) { one.after = -3; }) == Changed{10});
  CHECK(parts([](Suspicion& one) { one.after = 3; }).empty());  // that is in what is ahead
  CHECK(parts([](Suspicion& one) { one.beyond = 3; }) == Changed{11});
  CHECK(parts([](Suspicion& one) { one.alternative_elsewhere = true; }) == Changed{13});
  CHECK(parts([](Suspicion& one) { one.written_elsewhere = true; }) == Changed{14});
  CHECK(parts([](Suspicion& one) { one.alternative_elsewhere = one.written_elsewhere = true; }) ==
        Changed{14});
}

TEST_CASE("a kind is reported from the level on where enough of its reports are right") {
  const auto run = run_of(SiteKind::name, {});
  const auto fitted = eval::calibrate(run, {.false_per_1000 = 2});
  const auto figures = reported(run, fitted.calibration);
  CHECK(figures.precision() >= 0.8);
  CHECK(figures.recall() > 0.7);
  CHECK(fitted.held_out_scores.size() == run.judged.size());
  // Those that nothing was seen of are not.
  CHECK(level_of(fitted, SiteKind::compare) == assist::kNever);
}

TEST_CASE("a kind that is wrong more often than not is never reported") {
  const auto fitted = eval::calibrate(run_of(SiteKind::number, {0.4, 0.3}), {});
  CHECK(level_of(fitted, SiteKind::number) == assist::kNever);
  CHECK(level_of(eval::calibrate(run_of(SiteKind::number, {}), {}), SiteKind::number) <
        assist::kNever);
  // Nor is one that too little is known of.
  const auto few = run_of(SiteKind::number, {1, 0}, "python", 4);
  CHECK(level_of(eval::calibrate(few, {.least_low = 0.2, .fewest_reports = 49}),
                 SiteKind::number) == assist::kNever);
  CHECK(level_of(eval::calibrate(few, {.least_low = 0.2, .fewest_reports = 24}), SiteKind::number) <
        assist::kNever);
}

TEST_CASE("a muted kind is not reported however right it is") {
  const auto run = run_of(SiteKind::arithmetic, {1, 0});
  CHECK(level_of(eval::calibrate(run, {}), SiteKind::arithmetic) == assist::kNever);
  CHECK(level_of(eval::calibrate(run, {.muted = {}}), SiteKind::arithmetic) < assist::kNever);
}

TEST_CASE("levels rise until clean lines have few enough false findings") {
  const auto run = run_of(SiteKind::name, {0.9, 0.6}, "python", 30, 20);
  const auto loose = eval::calibrate(run, {.false_per_1000 = 1000});
  const auto strict = eval::calibrate(run, {.false_per_1000 = 1});
  const auto many = reported(run, loose.calibration), few = reported(run, strict.calibration);
  CHECK(level_of(strict, SiteKind::name) > level_of(loose, SiteKind::name));
  CHECK(many.reported > few.reported);
  CHECK(many.false_per_1000() > 1);
  CHECK(few.false_per_1000() < many.false_per_1000());
}

TEST_CASE("a kind without false findings keeps its level when the others have too many") {
  auto run = run_of(SiteKind::name, {0.9, 0.6}, "python", 30, 20);
  auto quiet = run_of(SiteKind::await, {1, 0}, "python", 30, 20);
  std::erase_if(quiet.judged, [](const eval::Judged& judged) { return !judged.hit; });
  for (eval::Judged& judged : quiet.judged) judged.of_case += run.cases.size();
  run.cases.insert(run.cases.end(), quiet.cases.begin(), quiet.cases.end());
  run.judged.insert(run.judged.end(), quiet.judged.begin(), quiet.judged.end());
  const auto loose = eval::calibrate(run, {.false_per_1000 = 1000});
  const auto strict = eval::calibrate(run, {.false_per_1000 = 0.5});
  CHECK(level_of(strict, SiteKind::name) > level_of(loose, SiteKind::name));
  CHECK(level_of(strict, SiteKind::await) == level_of(loose, SiteKind::await));
}

TEST_CASE("the table is source that says what it was fitted on, the same for the same run") {
  const auto run = run_of(SiteKind::leftover, {}, "go");
  const auto fitted = eval::calibrate(run, {});
  const std::string table = eval::table_source(fitted.calibration, "some model, 360 functions");
  CHECK(table ==
        eval::table_source(eval::calibrate(run, {}).calibration, "some model, 360 functions"));
  CHECK(table.find("some model, 360 functions") != std::string::npos);
  CHECK(table.find("/* name */ {kNever, ") != std::string::npos);
  CHECK(table.find("/* leftover */ {kNever") == std::string::npos);
  CHECK(table.find("inf") == std::string::npos);
  CHECK(table.find("nan") == std::string::npos);
}

TEST_CASE("intervals are over projects") {
  auto run = run_of(SiteKind::name, {});
  for (eval::Judged& judged : run.judged) judged.reported = judged.suspicion.ahead > 5;
  const auto intervals = eval::intervals_of(run, {.kind = "name"});
  const auto figures = eval::figures_of(run, {.kind = "name"},
                                        [](const eval::Judged& judged) { return judged.reported; });
  CHECK(intervals.precision.n == 30);
  CHECK(intervals.precision.mean == doctest::Approx(figures.precision()));
  CHECK(intervals.precision.low < figures.precision());
  CHECK(intervals.precision.high > figures.precision());
  CHECK(intervals.recall.mean == doctest::Approx(figures.recall()));
  CHECK(intervals.false_per_1000.mean == doctest::Approx(figures.false_per_1000()));
  CHECK(intervals.restoring.mean == doctest::Approx(1));
}
