// How sure a suspicion is, and from which level on it is worth a person's time.
//
// A suspicion's parts (what the text before says, what comes after, both sides, what the file has elsewhere) are
// weighed by a logistic model, by the kind of place, with an offset for the language; the score is its
// log-odds. `cambium eval --review --calibrate` fits it for a model file and writes the table that is built
// in, review_calibration_table.h. Plain values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <string_view>

#include "syntax/review_sites.h"

namespace cambium::assist {

struct Suspicion;

inline constexpr size_t kReviewFeatures = 15;
using ReviewFeatures = std::array<double, kReviewFeatures>;
/// About 1 large each; evidence beyond what a model can mean is cut off.
ReviewFeatures features_of(const Suspicion& suspicion);

/// The languages whose functions are read, by syntax::Language's name.
inline constexpr std::array<std::string_view, 10> kReviewLanguages = {
    "c", "c_sharp", "cpp", "go", "java", "javascript", "python", "rust", "tsx", "typescript"};
/// Index in kReviewLanguages; past its end for others.
size_t review_language(std::string_view name);

/// The level of a kind that is not reported.
inline constexpr double kNever = std::numeric_limits<double>::infinity();

struct KindCalibration {
  double level = kNever;  ///< the least score that is reported
  double bias = 0;
  ReviewFeatures weights = {};
};

struct ReviewCalibration {
  std::array<KindCalibration, syntax::kSiteKinds> kinds;
  std::array<double, kReviewLanguages.size()> languages = {};  ///< added to the bias

  /// The log-odds that `suspicion` is a slip.
  double score_of(const Suspicion& suspicion, std::string_view language) const;
  double level_of(syntax::SiteKind kind) const { return kinds[static_cast<size_t>(kind)].level; }
};

/// Of the model that ships.
const ReviewCalibration& bundled_calibration();

}  // namespace cambium::assist
