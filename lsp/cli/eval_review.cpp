#include "lsp/cli/eval_review.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <ostream>
#include <random>

#include "lsp/eval/review_eval.h"

namespace cambium::cli {
namespace {

using eval::Judged;
using eval::ReviewFigures;
using eval::ReviewRun;

double product_score(const Judged& judged) { return assist::score_of(judged.suspicion); }

nlohmann::json to_json(const ReviewFigures& figures) {
  return {{"slips", figures.slips},
          {"found", figures.found},
          {"reported", figures.reported},
          {"hits", figures.hits},
          {"precision", figures.precision()},
          {"recall", figures.recall()},
          {"falsePer1000Lines", figures.false_per_1000()},
          {"fixesRestoring", figures.restoring()}};
}

void print_row(std::ostream& out, const std::string& name, const ReviewFigures& figures) {
  out << fmt::format("{:<24}{:>7}{:>9}{:>11.2f}{:>9.2f}{:>14.2f}{:>12.0f} %\n", name, figures.slips,
                     figures.reported, figures.precision(), figures.recall(),
                     figures.false_per_1000(), 100 * figures.restoring());
}

/// The same number of reports, chosen by another score.
ReviewFigures baseline(const ReviewRun& run, size_t reports, const std::vector<double>& scores) {
  std::vector<size_t> order(run.judged.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  std::vector<char> chosen(order.size(), 0);
  for (size_t i = 0; i < std::min(reports, order.size()); ++i) chosen[order[i]] = 1;
  return eval::figures_of(run, "", [&](const Judged& judged) {
    return chosen[static_cast<size_t>(&judged - run.judged.data())] != 0;
  });
}

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  if (out.flush()) return {};
  return cambium::fail(ErrorCode::io, path + ": cannot be written");
}

std::string table_of(const ReviewRun& run) {
  std::string text =
      "case\tlanguage\tproject\tbug\tkind\thit\trestores\tleft\tboth\tconfidence\twritten_"
      "logp\twritten\talternative\n";
  for (const Judged& judged : run.judged) {
    const auto& one = run.cases[judged.of_case];
    const auto& s = judged.suspicion;
    const auto plain = [](std::string value) {
      std::replace_if(
          value.begin(), value.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
      return value;
    };
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{:d}\t{:d}\t{:.3f}\t{:.3f}\t{:.3f}\t{:.3f}\t{}\t{}\n",
                        judged.of_case, one.language->name, one.project,
                        one.bug.empty() ? "-" : one.bug, syntax::to_string(s.kind), judged.hit,
                        judged.restores, s.left, s.both, s.confidence, s.written,
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
  verb.add_option("--plot", flags.plot,
                  "With --review: write precision over recall to this SVG file");
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
  options.half = flags.half == "report" ? 1 : 0;
  auto cases = eval::review_cases(*files, options);
  const size_t total = cases.size();
  auto done = eval::run_review_cases(**generator, std::move(cases), [&](size_t n) {
    if (n % 50 == 0) run.err << "\r" << n << " of " << total << " functions" << std::flush;
    return true;
  });
  run.err << "\r\x1b[K" << std::flush;
  if (!done) return run.fail(done.error());
  if (!flags.cases.empty()) {
    if (auto written = write_file(flags.cases, table_of(*done)); !written)
      return run.fail(written.error());
  }

  const auto reported = [&](const Judged& judged) { return eval::is_reported(*done, judged); };
  const ReviewFigures all = eval::figures_of(*done, "", reported);
  std::vector<double> shuffled, lengths;
  for (const Judged& judged : done->judged) {
    shuffled.push_back(product_score(judged));
    lengths.push_back(static_cast<double>(judged.written.size()));
  }
  std::mt19937_64 random(seed);
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random() % i]);
  const ReviewFigures by_chance = baseline(*done, all.reported, shuffled);
  const ReviewFigures by_length = baseline(*done, all.reported, lengths);

  if (!flags.plot.empty()) {
    std::map<std::string, std::vector<eval::CurvePoint>> curves;
    curves["all"] = eval::curve_of(*done, "", product_score);
    curves["name"] = eval::curve_of(*done, "name", product_score);
    curves["shuffled"] = eval::curve_of(*done, "", [&](const Judged& judged) {
      return shuffled[static_cast<size_t>(&judged - done->judged.data())];
    });
    curves["length only"] = eval::curve_of(*done, "", [&](const Judged& judged) {
      return static_cast<double>(judged.written.size());
    });
    if (auto written = write_file(flags.plot, eval::plot_curves(curves)); !written)
      return run.fail(written.error());
  }

  std::map<std::string, ReviewFigures> rows;
  for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
    const std::string name = syntax::to_string(static_cast<syntax::SiteKind>(kind));
    rows[name] = eval::figures_of(*done, name, reported);
  }
  if (json) {
    nlohmann::json report = {{"half", flags.half},
                             {"functions", total},
                             {"msPerFunction", total == 0 ? 0 : done->ms / double(total)},
                             {"all", to_json(all)},
                             {"shuffled", to_json(by_chance)},
                             {"lengthOnly", to_json(by_length)}};
    for (const auto& [name, figures] : rows) report["kinds"][name] = to_json(figures);
    run.out << report.dump(2) << '\n';
    return run.exit;
  }
  run.out << fmt::format("{} functions, half of them with a slip; {:.0f} ms each\n\n", total,
                         total == 0 ? 0 : done->ms / double(total));
  run.out << fmt::format("{:<24}{:>7}{:>9}{:>11}{:>9}{:>14}{:>14}\n", "", "slips", "reported",
                         "precision", "recall", "false/1,000", "fix restores");
  for (const auto& [name, figures] : rows) print_row(run.out, name, figures);
  print_row(run.out, "all", all);
  print_row(run.out, "shuffled scores", by_chance);
  print_row(run.out, "by length only", by_length);
  return run.exit;
}

}  // namespace cambium::cli
