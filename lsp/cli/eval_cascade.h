// `cambium eval --cascade SMALL LARGER`: what asking the larger model only where the small one is not
// sure keeps of its quality, and saves of its time.
#pragma once

#include <string>
#include <vector>

#include "lsp/cli/verbs.h"
#include "lsp/eval/cases.h"
#include "lsp/eval/evaluate.h"

namespace cambium::cli {

struct EvalCascadeFlags {
  std::vector<std::string> models;  ///< the small one, the larger one; empty: another mode
  double threshold = -1;            ///< negative: chosen from the calibration half
  std::string table;                ///< a line a case goes there; empty: nowhere
};
void add_cascade_flags(CLI::App& verb, EvalCascadeFlags& flags);

/// `models` has the two. The exit code.
int eval_cascade(Run& run, const EvalCascadeFlags& flags,
                 const std::vector<eval::ModelUnderTest>& models,
                 const std::vector<eval::Case>& cases, const std::string& data, bool json);

}  // namespace cambium::cli
