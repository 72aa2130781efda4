// `cambium eval --review`: how good the review by likelihood is, or with --reasoning that by a model that
// reasons (eval_reasoning.h).
#pragma once

#include <string>
#include <vector>

#include "lsp/cli/verbs.h"

namespace cambium::cli {

struct EvalReviewFlags {
  bool review = false;        ///< asked for
  bool reasoning = false;     ///< by the model with that role
  size_t per_language = 100;  ///< functions, each untouched and with a slip
  std::string half = "report";
  std::string cases;  ///< file to write every suspicion to
  std::string table;  ///< file to write a new calibration to
};
void add_review_flags(CLI::App& verb, EvalReviewFlags& flags);

/// Of the flags that other modes of eval have too.
struct EvalReviewInput {
  /// As eval::read_sources() takes them: of projects that the model was never trained on.
  std::string data;
  std::vector<std::string> languages;  ///< empty: all that are reviewed
  uint64_t seed = 1;
  std::string details;  ///< of a model that reasons; empty: none
  bool json = false;
};
int eval_review(Run& run, const EvalReviewFlags& flags, const EvalReviewInput& input);

}  // namespace cambium::cli
