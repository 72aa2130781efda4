// Outcomes gathered into the figures that are printed. Pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "lsp/eval/cases.h"
#include "lsp/eval/evaluate.h"
#include "lsp/eval/statistics.h"

namespace cambium::eval {

/// Of the cases of one kind. Shares are of all cases, those with nothing shown included.
struct KindFigures {
  size_t cases = 0, shown = 0, exact = 0, ends_node = 0, adds_errors = 0;
  double similarity = 0;  ///< sum
  Interval exact_match() const { return proportion(exact, cases); }
  double share(size_t n) const {
    return cases == 0 ? 0 : static_cast<double>(n) / static_cast<double>(cases);
  }
};

struct Figures {
  std::array<KindFigures, kCaseKinds> kinds;
  size_t cases = 0, stops_at_end = 0, stops_early = 0, truth_dropped = 0;
  Loss middle, text;
  std::map<std::string, size_t> stops, dropped;  ///< reasons, how often
  double skipped_blocks = 0;                     ///< sum over cases of the share skipped
  double ttft_ms = 0;                            ///< sum
  double decode_ms = 0;
  size_t prompt_tokens = 0, generated_tokens = 0;

  void add(const Case& asked, const Outcome& outcome);
  void add(const Figures& other);
};

/// Figures by language; the name "" holds the sum of all.
using FiguresByLanguage = std::map<std::string, Figures>;
FiguresByLanguage summarize(const std::vector<Case>& cases, const std::vector<Outcome>& outcomes,
                            const std::map<std::string, Loss>& text_loss);

/// B minus A over the same cases, each with its 95 % interval.
struct Comparison {
  std::array<Interval, kCaseKinds> exact_match, similarity;
  Interval
      middle_loss;  ///< nats a token, weighted by the case; only of equal tokenizers a fair one
  Interval stops_at_end;
};
Comparison compare(const std::vector<Case>& cases, const std::vector<Outcome>& a,
                   const std::vector<Outcome>& b);

}  // namespace cambium::eval
