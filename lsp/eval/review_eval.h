// How good a review is, counted on cases with a known slip: what figures are made of, whoever reviews, and
// the review by likelihood. That by a model that reasons: reasoning_eval.h.
//
// Pure but for the generator. Any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/finding.h"
#include "lsp/assist/review_calibration.h"
#include "lsp/assist/review_likelihood.h"
#include "lsp/eval/review_cases.h"
#include "lsp/eval/statistics.h"

namespace cambium::eval {

/// What a finding is to its case's slip.
struct Verdict {
  bool hit = false;       ///< its range overlaps the slip's by a byte or more
  bool restores = false;  ///< a hit, and its fix gives back the whole original text
};
/// `fix` may be empty: none.
Verdict verdict_on(const ReviewCase& one, syntax::ByteRange range,
                   const std::vector<assist::TextChange>& fix);

/// One suspicion of one case, judged.
struct Judged {
  size_t of_case = 0;
  assist::Suspicion suspicion;
  std::string written;
  bool hit = false;       ///< it touches the slip
  bool restores = false;  ///< its fix gives the original text back
  double score = 0;       ///< report_by
  bool reported = false;  ///< report_by
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

/// Leaves out all but the first cases, the pairs, and what was judged of others; every case counts once.
void keep_pairs(ReviewRun& run, size_t cases);

/// Says of each of a run's suspicions how sure `calibration` is, and whether the product reports it.
void report_by(ReviewRun& run, const assist::ReviewCalibration& calibration);

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
  ReviewFigures& operator+=(const ReviewFigures& other);
};

/// What of a run is counted; what is empty leaves nothing out.
struct ReviewPart {
  /// What is reported is of this kind, and so are the slips, whatever kind of finding lies on them.
  std::string kind = {};
  std::string language = {};  ///< a syntax::Language's name
};

/// A finding that is reported.
struct Counted {
  size_t of_case = 0;
  std::string_view kind;  ///< that it counts for, a SiteKind's name
  Verdict verdict;
};
ReviewFigures figures_of(const std::vector<ReviewCase>& cases, const std::vector<Counted>& reported,
                         const ReviewPart& part);

/// A suspicion counts as reported where `reports` says so.
ReviewFigures figures_of(const ReviewRun& run, const ReviewPart& part,
                         const std::function<bool(const Judged&)>& reports);

/// Of what is reported, with 95 % intervals over projects drawn anew: slips of one project are alike.
struct ReviewIntervals {
  Interval precision, recall, false_per_1000, restoring;
};
ReviewIntervals intervals_of(const std::vector<ReviewCase>& cases,
                             const std::vector<Counted>& reported, const ReviewPart& part);
ReviewIntervals intervals_of(const ReviewRun& run, const ReviewPart& part);

struct CurvePoint {
  double threshold = 0, precision = 0, recall = 0, false_per_1000 = 0;
};
/// Precision and recall as the threshold on `score` falls, for one part.
std::vector<CurvePoint> curve_of(const ReviewRun& run, const ReviewPart& part,
                                 const std::function<double(const Judged&)>& score);

}  // namespace cambium::eval
