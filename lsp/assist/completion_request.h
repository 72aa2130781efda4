// What a model is asked for a completion: prompt, labels and limits. The completer and the evaluation
// both call this, so that what is measured is what is served.
//
// Pure but for the anchor, which the caller keeps for each document. Any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engine/generator.h"
#include "lsp/assist/completer.h"
#include "lsp/assist/completion_controller.h"
#include "lsp/assist/completion_plan.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/syntax_view.h"

namespace cambium::assist {

struct PreparedCompletion {
  engine::Request request;  ///< without controller, cancel flag and slot key
  std::string required;     ///< as in Prompt: what the generated text must begin with
  MiddleLabels labels;      ///< of the tokens to come; empty unless the model uses structure
};

/// `text` and `cursor` are those of the buffer, with the popup's text in it where there is one.
/// Errors: unsupported (no fill-in-the-middle tokens), and those of build_prompt().
Result<PreparedCompletion> prepare_completion(const engine::Generator& generator,
                                              const CompletionInput& input, std::string_view text,
                                              size_t cursor, const CompletionPlan& plan,
                                              const SyntaxView& syntax, WindowAnchor& anchor);

/// Asks how likely the model finds each of `texts` as all that is written at the cursor: one branch a
/// text, its tokens and the end of the middle. The texts begin with what `prompt` requires.
engine::ScoreRequest compare_texts(const engine::Generator& generator,
                                   const engine::Request& prompt, const MiddleLabels& labels,
                                   std::span<const std::string> texts);

}  // namespace cambium::assist
