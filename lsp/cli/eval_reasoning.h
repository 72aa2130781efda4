// `cambium eval --review --reasoning`: how good the review by the model with the role `reasoning` is, on
// this machine or elsewhere.
#pragma once

#include <string>
#include <vector>

#include "lsp/cli/verbs.h"
#include "lsp/eval/review_cases.h"

namespace cambium::cli {

struct EvalReasoningInput {
  std::string half;  ///< to show
  std::vector<eval::ReviewCase> cases;
  std::string details;  ///< file for a line of JSON a case; empty: none
  bool json = false;
};
/// The exit code. Where the endpoint goes away on the way, what was judged until then is reported too.
int eval_reasoning(Run& run, EvalReasoningInput input);

}  // namespace cambium::cli
