// Chooses what of a document the model sees around the cursor, and turns it into labelled tokens.
//
// What makes typing cheap is that the window is *anchored*: it begins at a line start that stays put
// while the cursor moves on, until the prefix outgrows its budget; then it moves by a quarter of the
// budget at once. The suffix begins at the cursor, so typing does not change it. With models trained in
// suffix-prefix-middle order a keystroke then appends a token or two to the sequence, and all other
// cells of the KV cache are used again.
//
// Pure but for the anchor, which the caller keeps for each document. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/prompt_format.h"
#include "engine/result.h"
#include "engine/tokenizer.h"
#include "lsp/assist/token_structure.h"
#include "syntax/scopes.h"

namespace cambium::assist {

/// Where a document's window began last time, and what stood there.
struct WindowAnchor {
  bool set = false;
  size_t begin = 0;
  std::string head;  ///< text from `begin` on, to find the place again after edits above it
};

struct PromptInput {
  std::string_view text;  ///< the whole document; "\r\n" is shown to the model as "\n"
  size_t cursor = 0;      ///< byte, on a character boundary, not inside "\r\n"
  std::string_view path;  ///< its last part may be shown to the model; may be empty
  const syntax::ScopeMap* scopes = nullptr;  ///< labels of `text`'s tokens; not null
  syntax::ScopeLabel at_cursor;              ///< the scope that is open at the cursor
  int32_t tokens = 1536;                     ///< budget for prefix and suffix together
  double prefix_share = 0.67;  ///< of it, for the prefix; what the suffix leaves over is added
};

struct Prompt {
  AlignedSequence sequence;
  engine::FimOrder order = engine::FimOrder::psm;
  /// Bytes before the cursor that are not in the prompt: the generated text must begin with them
  /// (token healing). The unfinished word's; trailing spaces too in prefix-suffix-middle order.
  std::string required;
  size_t begin = 0, end = 0;  ///< the window, document bytes
  size_t prefix_tokens = 0, suffix_tokens = 0;
};

/// Errors: unsupported (the model has no fill-in-the-middle tokens), invalid_argument (a budget too
/// small to show anything).
Result<Prompt> build_prompt(const engine::Tokenizer& tokenizer, const engine::PromptFormat& format,
                            const PromptInput& input, WindowAnchor& anchor);

/// What a model writes where a middle is done: <|fim_end|>, or where the vocabulary has none, the
/// token that ends a text. Unset: it has neither.
std::optional<engine::TokenId> end_of_middle(const engine::Tokenizer& tokenizer,
                                             const engine::PromptFormat& format);

/// Tokens of text [begin, end) with "\r\n" as "\n"; offsets are bytes of the whole `text`.
TokenSpan encode_span(const engine::Tokenizer& tokenizer, std::string_view text, size_t begin,
                      size_t end);

}  // namespace cambium::assist
