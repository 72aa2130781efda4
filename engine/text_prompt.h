// Text prompts to tokens, by the model's own format.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/chat_template.h"
#include "engine/prompt_format.h"
#include "engine/request.h"
#include "engine/result.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

struct EncodedPrompt {
  std::vector<TokenId> tokens;
  /// What of the answer the template has written already ("<think>\n"): it belongs before the text
  /// that is generated.
  std::string opening;
};

/// Special tokens come from the format only, unless a RawPrompt asks for its spellings to be parsed.
/// `chat` is the model's template, if it has one that is known. Errors: invalid_argument (no prompt),
/// unsupported (no fill-in-the-middle tokens, no chat template, a template whose tokens the vocabulary
/// lacks).
Result<EncodedPrompt> encode_prompt(const TextPrompt& prompt, const Tokenizer& tokenizer,
                                    const PromptFormat& format,
                                    const std::optional<ChatTemplate>& chat);

}  // namespace cambium::engine
