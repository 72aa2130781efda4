// What a cascade of two models (lsp/assist/cascade.h) is worth: both answer every case, one after the
// other, so that any threshold can be judged by the same answers and times.
#pragma once

#include <span>
#include <vector>

#include "engine/generator.h"
#include "engine/result.h"
#include "lsp/eval/cases.h"
#include "lsp/eval/evaluate.h"
#include "lsp/eval/statistics.h"

namespace cambium::eval {

/// What the two models made of a case.
struct CascadeCase {
  CaseKind kind = CaseKind::line;
  bool calibrates = false;  ///< its project is for choosing the threshold, not for the report
  Judgement small, larger;
  double confidence = -1;  ///< the small one's mean token probability; negative: not known
  double small_ms = 0, larger_ms = 0;
};

struct CascadeRun {
  engine::Capabilities small, larger;
  std::vector<CascadeCase> cases;
};

/// Every case is a place the models have not seen: nothing of its prompt is in a cache. Each model has
/// the threads and the device of its options, and both are loaded the whole time. Errors as evaluate().
Result<CascadeRun> run_cascade(const ModelUnderTest& small, const ModelUnderTest& larger,
                               const std::vector<Case>& cases, const OnProgress& on_progress);

/// The cascade at one threshold beside the larger model alone.
struct CascadeFigures {
  double threshold = 0;
  size_t cases = 0, escalated = 0;
  size_t exact = 0, small_exact = 0, larger_exact = 0;
  Interval gain;   ///< exact match of the cascade minus the larger one's, paired
  Interval saved;  ///< share of the larger one's time that the cascade does not take
  double escalated_share() const {
    return cases == 0 ? 0 : static_cast<double>(escalated) / static_cast<double>(cases);
  }
};
CascadeFigures figures_at(double threshold, std::span<const CascadeCase> cases);

/// The threshold, in steps of 0.01: the smallest from which on, at every larger one too, the cascade is
/// exact in no fewer of the cases than the larger model alone. 1 where there is none.
double choose_threshold(std::span<const CascadeCase> cases);

}  // namespace cambium::eval
