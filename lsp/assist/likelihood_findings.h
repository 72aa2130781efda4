// Suspicions as a person reads them: those that are sure enough, in words that claim no more than is known,
// each with a fix.
//
// Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "lsp/assist/finding.h"
#include "lsp/assist/review_calibration.h"
#include "lsp/assist/review_likelihood.h"
#include "syntax/languages.h"

namespace cambium::assist {

/// Codes likelihood/name, likelihood/compare and so on, each with the alternative as its fix. Of two that
/// lie over each other the surer one.
std::vector<Finding> likelihood_findings(
    const std::vector<Suspicion>& suspicions, const syntax::Language& language,
    std::string_view text, const ReviewCalibration& calibration = bundled_calibration());

}  // namespace cambium::assist
