#include "lsp/cli/eval_review.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <ostream>
#include <random>

#include "lsp/cli/eval.h"
#include "lsp/cli/eval_reasoning.h"
#include "lsp/cli/review_table.h"
#include "lsp/eval/cases.h"
#include "lsp/eval/review_calibration.h"
#include "lsp/eval/review_eval.h"

namespace cambium::cli {
namespace {

using eval::Judged;
using eval::ReviewFigures;
using eval::ReviewRun;

nlohmann::json to_json(const std::vector<eval::CurvePoint>& curve) {
  nlohmann::json points = nlohmann::json::array();
  for (const eval::CurvePoint& point : curve) {
    points.push_back({{"level", point.threshold},
                      {"precision", point.precision},
                      {"recall", point.recall},
                      {"falsePer1000Lines", point.false_per_1000}});
  }
  return points;
}

/// What is reported by another score, in the same number.
class Baseline {
 public:
  Baseline(const ReviewRun& run, std::vector<double> scores)
      : run_(run), scores_(std::move(scores)) {}

  double score_of(const Judged& judged) const { return scores_[index_of(judged)]; }
  ReviewFigures figures(size_t reports) const {
    std::vector<size_t> order(scores_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores_[a] > scores_[b]; });
    std::vector<char> chosen(order.size(), 0);
    for (size_t i = 0; i < std::min(reports, order.size()); ++i) chosen[order[i]] = 1;
    return eval::figures_of(run_, {},
                            [&](const Judged& judged) { return chosen[index_of(judged)] != 0; });
  }
  nlohmann::json curve() const {
    return to_json(
        eval::curve_of(run_, {}, [&](const Judged& judged) { return score_of(judged); }));
  }

 private:
  size_t index_of(const Judged& judged) const {
    return static_cast<size_t>(&judged - run_.judged.data());
  }
  const ReviewRun& run_;
  std::vector<double> scores_;
};

/// The product's scores, dealt out to other suspicions.
Baseline shuffled_scores(const ReviewRun& run, uint64_t seed) {
  std::vector<double> scores;
  for (const Judged& judged : run.judged) scores.push_back(judged.score);
  std::mt19937_64 random(seed);
  for (size_t i = scores.size(); i > 1; --i) std::swap(scores[i - 1], scores[random() % i]);
  return {run, std::move(scores)};
}

/// What is written, by its length: the longest first or the shortest, whichever is better.
Baseline by_length(const ReviewRun& run, size_t reports) {
  std::vector<double> scores;
  for (const Judged& judged : run.judged)
    scores.push_back(static_cast<double>(judged.written.size()));
  const Baseline longest(run, scores);
  for (double& score : scores) score = -score;
  const Baseline shortest(run, scores);
  return longest.figures(reports).hits > shortest.figures(reports).hits ? longest : shortest;
}

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  if (out.flush()) return {};
  return cambium::fail(ErrorCode::io, path + ": cannot be written");
}

std::string table_of(const ReviewRun& run, const char* half, bool heading) {
  std::string text;
  if (heading)
    text =
        "half\tcase\tlanguage\tproject\tpath\tbegin\tbug\tweight\tkind\thit\trestores\treported"
        "\tscore\tleft\tchosen\tahead\tafter\tbeyond\tboth\tconfidence"
        "\trivals\talternatives\tuses\talternative_uses"
        "\twritten_elsewhere\talternative_elsewhere\twritten\talternative\n";
  const auto plain = [](std::string value) {
    std::replace_if(
        value.begin(), value.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
    return value;
  };
  for (const Judged& judged : run.judged) {
    const auto& one = run.cases[judged.of_case];
    const auto& s = judged.suspicion;
    text += fmt::format(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.4f}\t{}\t{:d}\t{:d}\t{:d}"
        "\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}"
        "\t{}\t{}\t{}\t{}"
        "\t{:d}\t{:d}\t{}\t{}\n",
        half, judged.of_case, one.language->name, one.project, one.path, s.range.begin,
        one.bug.empty() ? "-" : one.bug, one.weight, syntax::to_string(s.kind), judged.hit,
        judged.restores, judged.reported, judged.score, s.left, s.chosen, s.ahead, s.after,
        s.beyond, s.both, s.confidence, s.rivals, s.alternatives, s.uses, s.alternative_uses,
        s.written_elsewhere, s.alternative_elsewhere, plain(judged.written), plain(s.alternative));
  }
  return text;
}

}  // namespace

void add_review_flags(CLI::App& verb, EvalReviewFlags& flags) {
  CLI::Option* review = verb.add_flag(
      "--review", flags.review, "Judge the review: functions with a slip put in, and without");
  CLI::Option* reasoning =
      verb.add_flag("--reasoning", flags.reasoning,
                    "With --review: judge the model that models.json gives the role 'reasoning', "
                    "in place of the likelihoods of --model")
          ->needs(review);
  verb.add_option("--per-language", flags.per_language, "With --review: functions a language");
  verb.add_option("--half", flags.half,
                  "With --review: the projects to 'calibrate' on or to 'report' on")
      ->check(CLI::IsMember({"calibrate", "report"}));
  verb.add_option("--suspicions", flags.cases, "With --review: write every suspicion to this file")
      ->excludes(reasoning);
  verb.add_option("--calibrate", flags.table,
                  "With --review: fit what the model's suspicions are worth on the projects to "
                  "calibrate on, write it to this file (lsp/assist/review_calibration_table.h for "
                  "the model that ships), and report with it on the others")
      ->excludes(reasoning);
}

namespace {

/// One half of the projects, judged; nothing is reported yet.
struct Half {
  const char* name;
  int number;
};
constexpr Half kCalibrate{"calibrate", 0}, kReport{"report", 1};

/// Those whose few slips among the pairs tell too little: all but the misused variables, which every other
/// slip is, and what is never reported.
std::vector<syntax::SiteKind> kinds_with_more() {
  const std::vector<syntax::SiteKind> muted = eval::LevelRule{}.muted;
  std::vector<syntax::SiteKind> kinds;
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
    const auto one = static_cast<syntax::SiteKind>(kind);
    if (one != syntax::SiteKind::name && std::find(muted.begin(), muted.end(), one) == muted.end())
      kinds.push_back(one);
  }
  return kinds;
}

/// The same cases of a language, whichever languages are left out.
std::vector<eval::ReviewCase> cases_of(const std::vector<training::SourceFile>& files,
                                       const eval::Halves& halves, const Half& half,
                                       const EvalReviewFlags& flags, const EvalReviewInput& input) {
  eval::ReviewCaseOptions options;
  options.per_language = flags.per_language;
  options.seed = input.seed;
  options.half = half.number;
  auto cases = eval::review_cases(files, halves, options);
  const auto& wanted = input.languages;
  if (!wanted.empty()) {
    std::erase_if(cases, [&](const eval::ReviewCase& one) {
      return std::find(wanted.begin(), wanted.end(), one.language->name) == wanted.end();
    });
  }
  return cases;
}

Result<ReviewRun> run_half(Run& run, engine::Generator& generator, const Half& half,
                           std::vector<eval::ReviewCase> cases) {
  const size_t total = cases.size();
  ProgressBar bar(run, std::string("half to ") + half.name);
  return eval::run_review_cases(generator, std::move(cases), [&](size_t n) {
    bar(n, total);
    return true;
  });
}

/// Languages of which one half has nothing, in a line; empty if there are none.
std::string undivided_of(const eval::Halves& halves) {
  if (halves.undivided().empty()) return "";
  return fmt::format("only one half of the projects has {}: too few projects to share it out\n",
                     fmt::join(halves.undivided(), ", "));
}

/// What is printed of a half.
class Report {
 public:
  Report(const ReviewRun& run, const Half& half, std::string scored_by, uint64_t seed)
      : run_(run),
        half_(half),
        scored_by_(std::move(scored_by)),
        all_(eval::figures_of(run, {}, &reported)),
        shuffled_(shuffled_scores(run, seed)),
        length_(by_length(run, all_.reported)) {
    for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
      const std::string name = syntax::to_string(static_cast<syntax::SiteKind>(kind));
      rows_.push_back(row(name, {.kind = name}));
    }
    rows_.push_back(row("all", {}));
    for (const std::string_view language : assist::kReviewLanguages)
      languages_.push_back(row(std::string(language), {.language = std::string(language)}));
  }

  nlohmann::json to_json() const {
    nlohmann::json out = {{"half", half_.name},
                          {"scoredBy", scored_by_},
                          {"functions", run_.cases.size()},
                          {"msPerFunction", ms_each()},
                          {"shuffled", review_json(shuffled_.figures(all_.reported), nullptr)},
                          {"lengthOnly", review_json(length_.figures(all_.reported), nullptr)}};
    const auto score = [](const Judged& judged) { return judged.score; };
    for (const Row& row : rows_) {
      nlohmann::json figures = review_json(row.figures, &row.intervals);
      if (row.name == "all")
        out["all"] = std::move(figures);
      else
        out["kinds"][row.name] = std::move(figures);
      const std::string kind = row.name == "all" ? "" : row.name;
      out["curves"][row.name] = cli::to_json(eval::curve_of(run_, {.kind = kind}, score));
    }
    for (const Row& row : languages_)
      out["languages"][row.name] = review_json(row.figures, &row.intervals);
    out["curves"]["shuffled"] = shuffled_.curve();
    out["curves"]["length only"] = length_.curve();
    return out;
  }

  void print(std::ostream& out) const {
    out << fmt::format(
        "half to {}: {} functions, half of them with a slip; {:.0f} ms each; scored by {}\n"
        "95 % intervals over projects drawn anew\n\n",
        half_.name, run_.cases.size(), ms_each(), scored_by_);
    print_review_heading(out);
    for (const Row& row : rows_) print_review_row(out, row.name, row.figures, &row.intervals);
    print_review_row(out, "shuffled scores", shuffled_.figures(all_.reported), nullptr);
    print_review_row(out, "by length only", length_.figures(all_.reported), nullptr);
    out << '\n';
    for (const Row& row : languages_) print_review_row(out, row.name, row.figures, &row.intervals);
    out << '\n';
  }

 private:
  struct Row {
    std::string name;
    ReviewFigures figures;
    eval::ReviewIntervals intervals;
  };
  static bool reported(const Judged& judged) { return judged.reported; }
  Row row(std::string name, const eval::ReviewPart& part) const {
    return {std::move(name), eval::figures_of(run_, part, &reported),
            eval::intervals_of(run_, part)};
  }
  double ms_each() const {
    return run_.cases.empty() ? 0 : run_.ms / static_cast<double>(run_.cases.size());
  }

  const ReviewRun& run_;
  const Half& half_;
  std::string scored_by_;
  ReviewFigures all_;
  Baseline shuffled_, length_;
  std::vector<Row> rows_, languages_;  ///< by kind, and all; by language
};

}  // namespace

int eval_review(Run& run, const EvalReviewFlags& flags, const EvalReviewInput& input) {
  for (const std::string& language : input.languages) {
    if (assist::review_language(language) < assist::kReviewLanguages.size()) continue;
    return run.fail({ErrorCode::invalid_argument,
                     fmt::format("functions in {} are not reviewed; those in {} are", language,
                                 fmt::join(assist::kReviewLanguages, ", "))});
  }
  const auto sources = eval::read_sources(input.data);
  if (!sources) return run.fail(sources.error());
  const auto& files = sources->files;
  const eval::Halves halves = eval::review_halves(files);
  if (const std::string only = undivided_of(halves); !only.empty()) run.err << only;
  const bool of_report = flags.half == "report" || !flags.table.empty();
  const Half& half = of_report ? kReport : kCalibrate;
  auto cases = cases_of(files, halves, half, flags, input);
  if (cases.empty()) {
    return run.fail({ErrorCode::invalid_argument,
                     fmt::format("{}: has no functions to judge a review by in its half to {}; "
                                 "give sources of more projects or languages",
                                 input.data, half.name)});
  }
  if (flags.reasoning)
    return eval_reasoning(run, {half.name, std::move(cases), input.details, input.json});

  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  auto generator = load_generator(run, settings->config());
  if (!generator) return run.fail(generator.error());
  const engine::Capabilities can = (*generator)->capabilities();

  std::string suspicions;
  nlohmann::json report = {{"model", can.description}};
  const auto add = [&](const ReviewRun& judged, const Half& of, std::string scored_by,
                       nlohmann::json& into) {
    const Report made(judged, of, std::move(scored_by), input.seed);
    if (input.json)
      into.update(made.to_json());
    else
      made.print(run.out);
  };
  assist::ReviewCalibration calibration = assist::bundled_calibration();
  if (!flags.table.empty()) {
    auto to_fit = cases_of(files, halves, kCalibrate, flags, input);
    const size_t pairs = to_fit.size();
    eval::add_cases(to_fit, {.kinds = kinds_with_more()});
    const size_t more = to_fit.size() - pairs;
    auto judged = run_half(run, **generator, kCalibrate, std::move(to_fit));
    if (!judged) return run.fail(judged.error());
    const eval::Calibrated fitted = eval::calibrate(*judged, {});
    calibration = fitted.calibration;
    const std::string origin = fmt::format("{}, {} functions and {} more to fit on, seed {}",
                                           can.model, pairs, more, input.seed);
    if (auto written = write_file(flags.table, eval::table_source(calibration, origin)); !written)
      return run.fail(written.error());
    eval::report_by(*judged, calibration);
    for (size_t i = 0; i < judged->judged.size(); ++i) {
      Judged& one = judged->judged[i];
      one.score = fitted.held_out_scores[i];
      one.reported = one.score >= calibration.level_of(one.suspicion.kind);
    }
    suspicions += table_of(*judged, kCalibrate.name, true);
    eval::keep_pairs(*judged, pairs);
    add(*judged, kCalibrate, "fits without the project", report["calibration"]);
  }
  auto judged = run_half(run, **generator, half, std::move(cases));
  if (!judged) return run.fail(judged.error());
  eval::report_by(*judged, calibration);
  suspicions += table_of(*judged, half.name, suspicions.empty());
  add(*judged, half, flags.table.empty() ? "the table built in" : flags.table, report);
  if (!flags.cases.empty()) {
    if (auto written = write_file(flags.cases, suspicions); !written)
      return run.fail(written.error());
  }
  if (input.json) run.out << report.dump(1) << '\n';
  return run.exit;
}

}  // namespace cambium::cli
