#include "lsp/cli/eval_cascade.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <ostream>

#include "lsp/cli/eval.h"
#include "lsp/eval/cascade.h"

namespace cambium::cli {
namespace {

using eval::CascadeCase;
using eval::CascadeFigures;
using nlohmann::json;

constexpr std::array kShown = {0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0};

json to_json(const CascadeFigures& f) {
  return {{"threshold", f.threshold},
          {"cases", f.cases},
          {"escalated", f.escalated_share()},
          {"exact_match", interval_json(eval::proportion(f.exact, f.cases))},
          {"small_exact_match", interval_json(eval::proportion(f.small_exact, f.cases))},
          {"larger_exact_match", interval_json(eval::proportion(f.larger_exact, f.cases))},
          {"gain", interval_json(f.gain)},
          {"time_saved", interval_json(f.saved)}};
}

void print_row(Run& run, const std::string& name, const CascadeFigures& f) {
  const auto percent = [&f](size_t n) {
    return f.cases == 0 ? 0.0 : 100 * static_cast<double>(n) / static_cast<double>(f.cases);
  };
  run.out << fmt::format("  {:<12}{:>6}{:>11.1f}{:>8.1f}{:>8.1f}{:>9.1f}  {:<24}{}\n", name,
                         f.cases, 100 * f.escalated_share(), percent(f.small_exact),
                         percent(f.larger_exact), percent(f.exact),
                         fmt::format("{:+.1f} [{:+.1f}, {:+.1f}]", 100 * f.gain.mean,
                                     100 * f.gain.low, 100 * f.gain.high),
                         fmt::format("{:.0f} % [{:.0f}, {:.0f}]", 100 * f.saved.mean,
                                     100 * f.saved.low, 100 * f.saved.high));
}

Result<void> write_table(const std::string& path, const std::vector<CascadeCase>& cases) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << "half\tkind\tconfidence\tsmall_shown\tsmall_exact\tlarger_shown\tlarger_exact\tsmall_ms\t"
         "larger_ms\n";
  for (const CascadeCase& c : cases) {
    out << fmt::format("{}\t{}\t{:.4f}\t{:d}\t{:d}\t{:d}\t{:d}\t{:.2f}\t{:.2f}\n",
                       c.calibrates ? "calibrate" : "report", eval::to_string(c.kind), c.confidence,
                       c.small.shown, c.small.exact, c.larger.shown, c.larger.exact, c.small_ms,
                       c.larger_ms);
  }
  if (out.flush()) return {};
  return cambium::fail(ErrorCode::io, path + ": cannot be written");
}

double mean_ms(const std::vector<CascadeCase>& cases, double CascadeCase::*ms) {
  double sum = 0;
  for (const CascadeCase& one : cases) sum += one.*ms;
  return cases.empty() ? 0 : sum / static_cast<double>(cases.size());
}

}  // namespace

void add_cascade_flags(CLI::App& verb, EvalCascadeFlags& flags) {
  verb.add_option("--cascade", flags.models,
                  "A small and a larger model: what asking the second only where the first is not "
                  "sure keeps and saves")
      ->expected(2);
  verb.add_option("--threshold", flags.threshold,
                  "With --cascade: the mean token probability to report; default: chosen on the "
                  "calibration half")
      ->check(CLI::Range(0.0, 1.0));
  verb.add_option("--table", flags.table, "With --cascade: write a line a case to this file");
}

int eval_cascade(Run& run, const EvalCascadeFlags& flags,
                 const std::vector<eval::ModelUnderTest>& models,
                 const std::vector<eval::Case>& cases, const std::string& data, bool as_json) {
  ProgressBar bar(run, "both models");
  const auto done =
      eval::run_cascade(models[0], models[1], cases, [&](size_t n, size_t all) { bar(n, all); });
  if (!done) return run.fail(done.error());
  if (!flags.table.empty()) {
    if (auto written = write_table(flags.table, done->cases); !written) {
      return run.fail(written.error());
    }
  }
  std::vector<CascadeCase> calibration, report;
  for (const CascadeCase& one : done->cases) (one.calibrates ? calibration : report).push_back(one);
  if (report.empty() || (calibration.empty() && flags.threshold < 0)) {
    return run.fail({ErrorCode::invalid_argument,
                     data + ": all cases are of one half of the projects; give sources of more "
                            "projects, or a --threshold"});
  }
  const bool chosen = flags.threshold < 0;
  const double threshold = chosen ? eval::choose_threshold(calibration) : flags.threshold;
  const CascadeFigures all = eval::figures_at(threshold, report);
  const auto of_kind = [&](eval::CaseKind kind) {
    std::vector<CascadeCase> some;
    std::copy_if(report.begin(), report.end(), std::back_inserter(some),
                 [kind](const CascadeCase& one) { return one.kind == kind; });
    return eval::figures_at(threshold, some);
  };
  const CascadeFigures lines = of_kind(eval::CaseKind::line),
                       blocks = of_kind(eval::CaseKind::block);
  if (as_json) {
    json curve = json::array();
    for (const double at : kShown) curve.push_back(to_json(eval::figures_at(at, report)));
    run.out << json{{"data", data},
                    {"small", done->small.description},
                    {"larger", done->larger.description},
                    {"small_ms", mean_ms(done->cases, &CascadeCase::small_ms)},
                    {"larger_ms", mean_ms(done->cases, &CascadeCase::larger_ms)},
                    {"threshold_by", chosen ? "calibration" : "flag"},
                    {"calibration", to_json(eval::figures_at(threshold, calibration))},
                    {"report", to_json(all)},
                    {"line", to_json(lines)},
                    {"block", to_json(blocks)},
                    {"curve", std::move(curve)}}
                   .dump(1)
            << '\n';
    return run.exit;
  }
  run.out << fmt::format("small:  {}, {} a case\nlarger: {}, {} a case\n", done->small.description,
                         milliseconds(mean_ms(done->cases, &CascadeCase::small_ms)),
                         done->larger.description,
                         milliseconds(mean_ms(done->cases, &CascadeCase::larger_ms)));
  run.out << fmt::format("  {:<12}{:>6}{:>11}{:>8}{:>8}{:>9}  {:<24}{}\n", "threshold", "cases",
                         "escalated", "small", "larger", "cascade", "minus larger", "time saved");
  for (const double at : kShown) {
    print_row(run, fmt::format("{:.2f}", at), eval::figures_at(at, report));
  }
  const std::string name = fmt::format("{:.2f} {}", threshold, chosen ? "chosen" : "given");
  print_row(run, name, all);
  print_row(run, "  line", lines);
  print_row(run, "  block", blocks);
  run.out << fmt::format(
      "exact match and escalated in %, with 95 % intervals; time against asking the larger model "
      "alone, at places new to both. Reported: {} cases of {}; the threshold is {}\n",
      report.size(), data,
      chosen ? fmt::format("the smallest from which on the cascade is exact no less often than the "
                           "larger model in {} cases of other projects",
                           calibration.size())
             : "the flag's");
  return run.exit;
}

}  // namespace cambium::cli
