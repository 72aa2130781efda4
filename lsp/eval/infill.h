// The public format of infilling benchmarks: a JSON object a line with `prompt`, `suffix` and
// `canonical_solution`, and `task_id` where there is one. Only generates; nothing generated is run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "lsp/eval/engines.h"
#include "lsp/eval/evaluate.h"

namespace cambium::eval {

struct InfillTask {
  std::string id, prompt, suffix, solution;
};
/// bad_format names the line that is no such object.
Result<std::vector<InfillTask>> parse_infill_tasks(std::string_view jsonl);

struct InfillAnswer {
  std::string completion;  ///< as generated
  bool exact = false;
  double similarity = 0;
};
/// White space at both ends apart; of a completion for a single line its first line with text counts.
InfillAnswer judge_infill(const InfillTask& task, std::string completion);

/// What the model writes between prompt and suffix until it ends the middle itself, at most
/// settings.max_tokens tokens: no plan, no stop and no polish of the completer, which serve a person
/// at a cursor. Errors as evaluate(). Blocks.
Result<std::vector<InfillAnswer>> infill(const ModelUnderTest& model,
                                         const std::vector<InfillTask>& tasks, int threads,
                                         const OnProgress& on_progress);

}  // namespace cambium::eval
