// Fits what a review's suspicions are worth, on cases with a known slip, and says from which level on they
// are worth reporting.
//
// A case counts as often as it weighs (ReviewCase::weight), but all right suspicions tell what evidence is
// worth: that there are more of them than they weigh is taken back from the odds.
//
// Pure; any thread. The same run gives the same table.
#pragma once

#include <string>
#include <vector>

#include "lsp/assist/review_calibration.h"
#include "lsp/eval/review_eval.h"

namespace cambium::eval {

struct LevelRule {
  double precision = 0.8;        ///< of what a kind reports, so much is right
  double least_precision = 0.5;  ///< where no level has that: the best, if it has this
  /// And the 95 % interval of what is right begins here or higher: of many levels one is good by chance.
  double least_low = 0.4;
  /// In clean lines, all kinds together; those that have any there give way. The goal is 1: other projects
  /// bring more than those that a level was chosen on (0.5 on one half was 1.1 on the other).
  double false_per_1000 = 0.25;
  size_t fewest_reports = 8;  ///< fewer tell nothing of a kind
  /// Never reported, however right on slips put in, because of what was read by hand in code as it is: 17 of
  /// 26 findings in 61,034 lines were of operators, 3 of 9 in 41,915 (by another model) of true and false, all
  /// of them right as written.
  std::vector<syntax::SiteKind> muted = {syntax::SiteKind::arithmetic, syntax::SiteKind::boolean};
};

/// A logistic model by penalised maximum likelihood: weights of all kinds together, drawn towards zero a
/// little, and what each kind and language differs by, drawn strongly. A suspicion counts as right where
/// its fix restores the original. No levels: all kinds are at kNever.
assist::ReviewCalibration fit_calibration(const ReviewRun& run,
                                          const std::vector<const Judged*>& judged);

struct Calibrated {
  assist::ReviewCalibration calibration;
  /// Of each of the run's judged: the score by a fit without the suspicion's project, which the levels
  /// were chosen by.
  std::vector<double> held_out_scores;
};
/// Fit and levels.
Calibrated calibrate(const ReviewRun& run, const LevelRule& rule);

/// lsp/assist/review_calibration_table.h; `origin` says in one line what it was fitted on.
std::string table_source(const assist::ReviewCalibration& calibration, const std::string& origin);

}  // namespace cambium::eval
