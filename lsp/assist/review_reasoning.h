// Review by a model that reasons: it is shown the changed functions with what they stand in, may look
// things up in the workspace, and answers with findings as JSON. Nothing it says is taken on trust: the
// line and the quoted code must be there, on a changed line; a replacement must apply and leave no more
// syntax errors; and asked again about that one finding, the model must stand by it.
//
// Blocking; any thread but an engine's and the strand.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/assist/finding.h"
#include "lsp/assist/workspace_tools.h"
#include "syntax/tree.h"

namespace cambium::assist {

/// Bytes of a team's rules that the model is shown.
inline constexpr size_t kMostRules = 4'000;

struct ReasoningInput {
  std::string_view text, path;
  const syntax::Tree* tree = nullptr;      ///< of `text`; not null
  std::vector<syntax::ByteRange> changed;  ///< whole lines
  std::string rules;                       ///< the team's, of a trusted workspace; may be empty
  const WorkspaceTools* tools = nullptr;   ///< null: the model may look nothing up
  engine::CancelFlag cancel;               ///< may be null
};

/// What came of a model that was asked for findings, after it was asked once more if need be.
enum class AnswerForm : uint8_t {
  whole,  ///< the document asked for
  part,   ///< its end is missing; the findings that were whole count
  cut,    ///< its end is missing, and nothing of it is whole
  prose,  ///< something else
};

struct ReasoningReview {
  std::vector<Finding> findings;   ///< code "reasoning/finding"
  std::vector<std::string> notes;  ///< what was refused, for a person
  int tool_calls = 0;
  AnswerForm form = AnswerForm::whole;
  size_t refused = 0;      ///< findings that do not hold against the text
  size_t unconfirmed = 0;  ///< that held, and that the model did not stand by
  /// Of all that was asked, as engines tell them; of a cascade the model that answered. 0: not told.
  int64_t prompt_tokens = 0, generated_tokens = 0;
};

/// Errors: what the router or the engine says, cancelled. A model that answers with prose or half a
/// document is asked once more and then noted. Of half a document whole findings are checked as any other,
/// and that it was cut is noted: at once where it came to its limit, else if the second answer is no better.
Result<ReasoningReview> reasoning_review(const Assistant& assistant, const ReasoningInput& input);

}  // namespace cambium::assist
