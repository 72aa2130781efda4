// How good the review by a model that reasons is, counted on cases with a known slip. The model gets what
// the editor's review gives it (assist/review_reasoning.h) of a function whose lines are all marked as the
// change, with nothing to look things up in: a case is one file, not a workspace. What is left after the
// checks against the text and the second look counts as found.
//
// - A finding is a hit if the code it quotes overlaps the slip by a byte or more.
// - A finding in words has no kind: it counts for the kind of the slip in its function. So by kind there are
//   recall and fixes, and neither precision nor false findings, for which untouched functions are needed.
// - A case without an answer that can be read has no findings, and its slip, if any, is missed.
//
// Blocking; any thread but an engine's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/assist/review_reasoning.h"
#include "lsp/eval/review_eval.h"

namespace cambium::eval {

/// How one case went.
struct ReasoningAnswer {
  std::string error;               ///< why there is no answer at all; empty: there is one
  assist::ReasoningReview review;  ///< empty where there is an error
  std::vector<Verdict> verdicts;   ///< of each of its findings
  double ms = 0;
};

struct ReasoningRun {
  std::vector<ReviewCase> cases;
  std::vector<ReasoningAnswer> answers;  ///< one a case
  /// Why the cases that were left were not asked about; they are not in `cases`.
  std::optional<Error> ended;
};

/// So many cases in a row without an answer end a run: the endpoint is down, or refuses the key. Those that
/// are refused for what they are (invalid_argument: too long, say) do not count.
inline constexpr size_t kMostFailedInARow = 3;

/// `progress` is told how many cases are done. A case that fails (a time-out, say) is counted, and the run
/// goes on. Error: what the last case failed with, if none has an answer.
Result<ReasoningRun> run_reasoning_cases(const assist::Assistant& assistant,
                                         std::vector<ReviewCase> cases,
                                         const std::function<void(size_t)>& progress);

/// Every finding, for figures_of() and intervals_of(). Its kinds point into the run.
std::vector<Counted> counted(const ReasoningRun& run);

/// What the answers were, and what they cost.
struct AnswerFigures {
  size_t cases = 0;
  size_t failed = 0;                       ///< no answer
  size_t prose = 0, cut = 0, in_part = 0;  ///< assist::AnswerForm
  size_t refused = 0, unconfirmed = 0;     ///< findings, as in assist::ReasoningReview
  /// A case that has an answer, all that was asked for it together, with 95 % intervals over projects drawn
  /// anew. Tokens as engines tell them: 0 where they do not.
  Interval ms, prompt_tokens, generated_tokens;
};
/// `language`: a syntax::Language's name; empty: all.
AnswerFigures answers_of(const ReasoningRun& run, const std::string& language);

}  // namespace cambium::eval
