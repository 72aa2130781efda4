#include "lsp/cli/review_table.h"

#include <spdlog/fmt/fmt.h>

#include <ostream>

#include "lsp/cli/eval.h"

namespace cambium::cli {

using eval::ReviewIntervals;

nlohmann::json review_json(const eval::ReviewFigures& figures, const ReviewIntervals* intervals,
                           ReviewColumns columns) {
  nlohmann::json out = {{"slips", figures.slips},
                        {"found", figures.found},
                        {"hits", figures.hits},
                        {"recall", figures.recall()},
                        {"fixesRestoring", figures.restoring()}};
  if (intervals != nullptr) {
    out["intervals"] = {{"recall", interval_json(intervals->recall)},
                        {"fixesRestoring", interval_json(intervals->restoring)}};
  }
  if (columns == ReviewColumns::of_slips) return out;
  out["reported"] = figures.reported;
  out["cleanLines"] = figures.clean_lines;
  out["precision"] = figures.precision();
  out["falsePer1000Lines"] = figures.false_per_1000();
  if (intervals != nullptr) {
    out["intervals"]["precision"] = interval_json(intervals->precision);
    out["intervals"]["falsePer1000Lines"] = interval_json(intervals->false_per_1000);
  }
  return out;
}

void print_review_heading(std::ostream& out) {
  out << fmt::format("{:<18}{:>6}{:>9}{:>19}{:>19}{:>21}{:>16}\n", "", "slips", "reported",
                     "precision", "recall", "false/1,000 lines", "fix restores");
}

void print_review_row(std::ostream& out, const std::string& name,
                      const eval::ReviewFigures& figures, const ReviewIntervals* intervals,
                      ReviewColumns columns) {
  const auto with_ends = [&](double value, eval::Interval ReviewIntervals::*which) {
    if (intervals == nullptr) return fmt::format("{:.2f}", value);
    const eval::Interval& interval = intervals->*which;
    return fmt::format("{:.2f} ({:.2f}-{:.2f})", value, interval.low, interval.high);
  };
  const bool all = columns == ReviewColumns::all;
  out << fmt::format(
      "{:<18}{:>6}{:>9}{:>19}{:>19}{:>21}{:>14.0f} %\n", name, figures.slips,
      all ? std::to_string(figures.reported) : "-",
      all ? with_ends(figures.precision(), &ReviewIntervals::precision) : "-",
      with_ends(figures.recall(), &ReviewIntervals::recall),
      all ? with_ends(figures.false_per_1000(), &ReviewIntervals::false_per_1000) : "-",
      100 * figures.restoring());
}

}  // namespace cambium::cli
