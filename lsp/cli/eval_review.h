// `cambium eval --review`: how good the review by likelihood is.
#pragma once

#include <string>

#include "lsp/cli/verbs.h"

namespace cambium::cli {

struct EvalReviewFlags {
  bool review = false;        ///< asked for
  size_t per_language = 100;  ///< functions, each untouched and with a slip
  std::string half = "report";
  std::string cases;  ///< file to write every suspicion to
  std::string table;  ///< file to write a new calibration to
};
void add_review_flags(CLI::App& verb, EvalReviewFlags& flags);

/// `data`: a container of source files (lsp/training/container.h) of projects never trained on.
int eval_review(Run& run, const EvalReviewFlags& flags, const std::string& data, uint64_t seed,
                bool json);

}  // namespace cambium::cli
