#include "lsp/cli/eval_review.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <ostream>
#include <random>

#include "lsp/cli/eval.h"
#include "lsp/eval/review_calibration.h"
#include "lsp/eval/review_eval.h"

namespace cambium::cli {
namespace {

using eval::Judged;
using eval::ReviewFigures;
using eval::ReviewRun;

nlohmann::json to_json(const ReviewFigures& figures, const eval::ReviewIntervals* intervals) {
  nlohmann::json out = {{"slips", figures.slips},
                        {"found", figures.found},
                        {"reported", figures.reported},
                        {"hits", figures.hits},
                        {"cleanLines", figures.clean_lines},
                        {"precision", figures.precision()},
                        {"recall", figures.recall()},
                        {"falsePer1000Lines", figures.false_per_1000()},
                        {"fixesRestoring", figures.restoring()}};
  if (intervals != nullptr) {
    out["intervals"] = {{"precision", interval_json(intervals->precision)},
                        {"recall", interval_json(intervals->recall)},
                        {"falsePer1000Lines", interval_json(intervals->false_per_1000)},
                        {"fixesRestoring", interval_json(intervals->restoring)}};
  }
  return out;
}

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

void print_row(std::ostream& out, const std::string& name, const ReviewFigures& figures,
               const eval::ReviewIntervals* intervals) {
  const auto with_ends = [](double value, const eval::Interval* interval) {
    return interval == nullptr
               ? fmt::format("{:.2f}", value)
               : fmt::format("{:.2f} ({:.2f}-{:.2f})", value, interval->low, interval->high);
  };
  const auto part = [&](eval::Interval eval::ReviewIntervals::*which) {
    return intervals == nullptr ? nullptr : &(intervals->*which);
  };
  using eval::ReviewIntervals;
  out << fmt::format("{:<18}{:>6}{:>9}{:>19}{:>19}{:>19}{:>14.0f} %\n", name, figures.slips,
                     figures.reported,
                     with_ends(figures.precision(), part(&ReviewIntervals::precision)),
                     with_ends(figures.recall(), part(&ReviewIntervals::recall)),
                     with_ends(figures.false_per_1000(), part(&ReviewIntervals::false_per_1000)),
                     100 * figures.restoring());
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
    return eval::figures_of(run_, "",
                            [&](const Judged& judged) { return chosen[index_of(judged)] != 0; });
  }
  nlohmann::json curve() const {
    return to_json(
        eval::curve_of(run_, "", [&](const Judged& judged) { return score_of(judged); }));
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

std::string table_of(const ReviewRun& run) {
  std::string text =
      "case\tlanguage\tproject\tbug\tkind\thit\trestores\treported\tscore\tleft\tahead\tboth\t"
      "confidence\talternatives\tuses\talternative_uses\twritten\talternative\n";
  const auto plain = [](std::string value) {
    std::replace_if(
        value.begin(), value.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
    return value;
  };
  for (const Judged& judged : run.judged) {
    const auto& one = run.cases[judged.of_case];
    const auto& s = judged.suspicion;
    text += fmt::format(
        "{}\t{}\t{}\t{}\t{}\t{:d}\t{:d}\t{:d}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{}"
        "\t{}\t{}"
        "\t{}\t{}\n",
        judged.of_case, one.language->name, one.project, one.bug.empty() ? "-" : one.bug,
        syntax::to_string(s.kind), judged.hit, judged.restores, judged.reported, judged.score,
        s.left, s.ahead, s.both, s.confidence, s.alternatives, s.uses, s.alternative_uses,
        plain(judged.written), plain(s.alternative));
  }
  return text;
}

}  // namespace

void add_review_flags(CLI::App& verb, EvalReviewFlags& flags) {
  verb.add_flag("--review", flags.review,
                "Judge the review: functions with a slip put in, and without");
  verb.add_option("--per-language", flags.per_language, "With --review: functions a language");
  verb.add_option("--half", flags.half,
                  "With --review: the projects to 'calibrate' on or to 'report' on")
      ->check(CLI::IsMember({"calibrate", "report"}));
  verb.add_option("--suspicions", flags.cases, "With --review: write every suspicion to this file");
  verb.add_option("--calibrate", flags.table,
                  "With --review: fit what the model's suspicions are worth, on the projects to "
                  "calibrate on, and write it to this file, "
                  "lsp/assist/review_calibration_table.h for the model that ships");
}

int eval_review(Run& run, const EvalReviewFlags& flags, const std::string& data, uint64_t seed,
                bool json) {
  auto bytes = training::read_bytes(data);
  if (!bytes) return run.fail(bytes.error());
  auto files = training::read_container(*bytes);
  if (!files) return run.fail(files.error());
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  auto generator = load_generator(run, settings->config());
  if (!generator) return run.fail(generator.error());

  eval::ReviewCaseOptions options;
  options.per_language = flags.per_language;
  options.seed = seed;
  const bool calibrates = !flags.table.empty();
  options.half = flags.half == "calibrate" || calibrates ? 0 : 1;
  auto cases = eval::review_cases(*files, options);
  const size_t total = cases.size();
  auto done = eval::run_review_cases(**generator, std::move(cases), [&](size_t n) {
    if (n % 50 == 0) run.err << "\r" << n << " of " << total << " functions" << std::flush;
    return true;
  });
  run.err << "\r\x1b[K" << std::flush;
  if (!done) return run.fail(done.error());
  if (calibrates) {
    const eval::Calibrated fitted = eval::calibrate(*done, {});
    const std::string origin =
        fmt::format("{}, {} functions, seed {}", (*generator)->capabilities().model, total, seed);
    if (auto written = write_file(flags.table, eval::table_source(fitted.calibration, origin));
        !written)
      return run.fail(written.error());
    eval::report_by(*done, fitted.calibration);
    for (size_t i = 0; i < done->judged.size(); ++i) {
      Judged& judged = done->judged[i];
      judged.score = fitted.held_out_scores[i];
      judged.reported = judged.score >= fitted.calibration.level_of(judged.suspicion.kind);
    }
  } else {
    eval::report_by(*done, assist::bundled_calibration());
  }
  if (!flags.cases.empty()) {
    if (auto written = write_file(flags.cases, table_of(*done)); !written)
      return run.fail(written.error());
  }

  const auto reported = [](const Judged& judged) { return judged.reported; };
  const auto score = [](const Judged& judged) { return judged.score; };
  std::vector<std::pair<std::string, ReviewFigures>> rows;
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
    const std::string name = syntax::to_string(static_cast<syntax::SiteKind>(kind));
    rows.emplace_back(name, eval::figures_of(*done, name, reported));
  }
  const ReviewFigures all = eval::figures_of(*done, "", reported);
  const Baseline shuffled = shuffled_scores(*done, seed), length = by_length(*done, all.reported);
  const std::string scored_by = calibrates ? "fits without the project" : "the table built in";
  if (json) {
    const eval::ReviewIntervals of_all = eval::intervals_of(*done, "");
    nlohmann::json report = {{"half", options.half == 0 ? "calibrate" : "report"},
                             {"model", (*generator)->capabilities().description},
                             {"scoredBy", scored_by},
                             {"functions", total},
                             {"msPerFunction", total == 0 ? 0 : done->ms / double(total)},
                             {"all", to_json(all, &of_all)},
                             {"shuffled", to_json(shuffled.figures(all.reported), nullptr)},
                             {"lengthOnly", to_json(length.figures(all.reported), nullptr)}};
    for (const auto& [name, figures] : rows) {
      const eval::ReviewIntervals intervals = eval::intervals_of(*done, name);
      report["kinds"][name] = to_json(figures, &intervals);
      report["curves"][name] = to_json(eval::curve_of(*done, name, score));
    }
    report["curves"]["all"] = to_json(eval::curve_of(*done, "", score));
    report["curves"]["shuffled"] = shuffled.curve();
    report["curves"]["length only"] = length.curve();
    run.out << report.dump(1) << '\n';
    return run.exit;
  }
  run.out << fmt::format(
      "{} functions, half of them with a slip; {:.0f} ms each; scored by {}\n"
      "95 % intervals over projects drawn anew\n\n",
      total, total == 0 ? 0 : done->ms / double(total), scored_by);
  run.out << fmt::format("{:<18}{:>6}{:>9}{:>19}{:>19}{:>19}{:>16}\n", "", "slips", "reported",
                         "precision", "recall", "false/1,000 lines", "fix restores");
  for (const auto& [name, figures] : rows) {
    const eval::ReviewIntervals intervals = eval::intervals_of(*done, name);
    print_row(run.out, name, figures, &intervals);
  }
  const eval::ReviewIntervals of_all = eval::intervals_of(*done, "");
  print_row(run.out, "all", all, &of_all);
  print_row(run.out, "shuffled scores", shuffled.figures(all.reported), nullptr);
  print_row(run.out, "by length only", length.figures(all.reported), nullptr);
  return run.exit;
}

}  // namespace cambium::cli
