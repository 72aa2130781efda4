// How good a review by likelihood is, counted on cases with a known slip.
//
// Pure but for the generator. Any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/review_likelihood.h"
#include "lsp/eval/review_cases.h"

namespace cambium::eval {

/// One suspicion of one case, judged.
struct Judged {
  size_t of_case = 0;
  assist::Suspicion suspicion;
  std::string written;
  bool hit = false;       ///< it touches the slip
  bool restores = false;  ///< its fix gives the original text back
};

struct ReviewRun {
  std::vector<ReviewCase> cases;
  std::vector<Judged> judged;
  double ms = 0;
  size_t tokens = 0;  ///< of the functions, about: bytes / 4
};

/// `progress` is told how many cases are done; a false return ends the run.
Result<ReviewRun> run_review_cases(engine::Generator& generator, std::vector<ReviewCase> cases,
                                   const std::function<bool(size_t)>& progress);

/// What comes of reporting some of a run's suspicions.
struct ReviewFigures {
  size_t slips = 0, found = 0;  ///< cases with a slip; of these, with a finding on it
  size_t reported = 0, hits = 0, restored = 0;
  size_t clean_lines = 0, false_on_clean = 0;
  double precision() const { return reported == 0 ? 0 : double(hits) / double(reported); }
  double recall() const { return slips == 0 ? 0 : double(found) / double(slips); }
  double false_per_1000() const {
    return clean_lines == 0 ? 0 : 1000.0 * double(false_on_clean) / double(clean_lines);
  }
  double restoring() const { return hits == 0 ? 0 : double(restored) / double(hits); }
};

/// `kind` empty: all. A suspicion counts as reported where `reports` says so.
ReviewFigures figures_of(const ReviewRun& run, const std::string& kind,
                         const std::function<bool(const Judged&)>& reports);

/// Does the product report it?
bool is_reported(const ReviewRun& run, const Judged& judged);

struct CurvePoint {
  double threshold = 0, precision = 0, recall = 0, false_per_1000 = 0;
};
/// Precision and recall as the threshold on `score` falls, for one kind (empty: all).
std::vector<CurvePoint> curve_of(const ReviewRun& run, const std::string& kind,
                                 const std::function<double(const Judged&)>& score);

/// Curves in one plot, precision over recall, as SVG.
std::string plot_curves(const std::map<std::string, std::vector<CurvePoint>>& curves);

}  // namespace cambium::eval
