#include "lsp/assist/completion_request.h"

#include <algorithm>
#include <utility>

#include "lsp/assist/text_window.h"

namespace cambium::assist {
namespace {

constexpr int32_t kLineTokens = 48;  ///< a completion of one line is never longer
constexpr int32_t kReserve = 8;      ///< cells left free behind a generation

}  // namespace

Result<PreparedCompletion> prepare_completion(const engine::Generator& generator,
                                              const CompletionInput& input, std::string_view text,
                                              size_t cursor, const CompletionPlan& plan,
                                              const SyntaxView& syntax, WindowAnchor& anchor) {
  const engine::Capabilities can = generator.capabilities();
  const engine::Tokenizer* tokenizer = generator.tokenizer();
  const engine::PromptFormat* format = generator.prompt_format();
  const bool as_text = !can.token_prompts;  // an endpoint
  if (!can.fill_in_middle || (!as_text && (tokenizer == nullptr || format == nullptr))) {
    return fail(
        ErrorCode::unsupported,
        "the model " + can.model +
            " has no fill-in-the-middle tokens, so it cannot complete at a cursor; use one "
            "that has them, for example deepseek-coder-1.3b-base or the model that ships "
            "with Cambium" +
            (can.remote ? "; if it has them, \"fim\" of the role in models.json says how" : ""));
  }
  PreparedCompletion prepared;
  engine::Request& request = prepared.request;
  request.max_tokens = std::max(1, input.settings.max_tokens);
  if (plan.extent == Extent::line) request.max_tokens = std::min(request.max_tokens, kLineTokens);

  request.sampling.temperature = input.settings.temperature;
  if (as_text) {
    int32_t tokens = input.settings.prompt_tokens;
    if (can.context > 0) tokens = std::min(tokens, can.context - request.max_tokens - kReserve);
    const TextWindow window = text_window(text, cursor, tokens, input.settings.prefix_share);
    request.text = engine::FimPrompt{std::string(text.substr(window.begin, cursor - window.begin)),
                                     std::string(text.substr(cursor, window.end - cursor))};
    return prepared;
  }

  PromptInput prompt_input;
  prompt_input.text = text;
  prompt_input.cursor = cursor;
  prompt_input.path = input.path;
  prompt_input.scopes = &syntax.label_map();
  prompt_input.at_cursor = syntax.at_cursor();
  prompt_input.prefix_share = input.settings.prefix_share;
  prompt_input.tokens = input.settings.prompt_tokens;
  if (can.context > 0) {
    // What stands before the prefix: special tokens and the file's name.
    const auto lead =
        static_cast<int32_t>(input.path.size() -
                             std::min(input.path.size(), input.path.find_last_of("/\\") + 1)) +
        6;
    prompt_input.tokens =
        std::min(prompt_input.tokens, can.context - request.max_tokens - lead - kReserve);
  }
  auto prompt = build_prompt(*tokenizer, *format, prompt_input, anchor);
  if (!prompt) return tl::unexpected(prompt.error());

  if (can.structure) {
    prepared.labels = syntax.middle_labels(prompt->sequence.middle.place);
    request.structure = std::move(prompt->sequence.structure);
  }
  prepared.required = std::move(prompt->required);
  request.text_end = prompt->sequence.prefix_end;
  request.copying = input.settings.copying;
  request.prompt = std::move(prompt->sequence.tokens);
  return prepared;
}

engine::ScoreRequest compare_texts(const engine::Generator& generator,
                                   const engine::Request& prompt, const MiddleLabels& labels,
                                   std::span<const std::string> texts) {
  const engine::Tokenizer& tokenizer = *generator.tokenizer();
  const auto end = end_of_middle(tokenizer, *generator.prompt_format());
  engine::ScoreRequest request;
  request.tokens = prompt.prompt;
  request.structure = prompt.structure;
  request.first = static_cast<int32_t>(request.tokens.size());
  request.priority = prompt.priority;
  request.slot_key = prompt.slot_key;
  for (const std::string& text : texts) {
    engine::ScoreBranch branch;
    branch.at = request.first;
    branch.tokens = tokenizer.encode(text);
    MiddleLabels label = labels;  // they count along
    if (label) {
      for (const engine::TokenId id : branch.tokens)
        branch.structure.push_back(label(tokenizer.piece(id)));
    }
    if (end) {
      branch.tokens.push_back(*end);
      if (label) branch.structure.push_back(label({}));
    }
    request.branches.push_back(std::move(branch));
  }
  return request;
}

}  // namespace cambium::assist
