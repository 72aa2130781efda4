// THE ALIGNMENT: which scope of the syntax tree each token of a sequence stands in.
//
// One function, used by serving and by the tool that prepares training data, so that a model sees at
// run time what it was trained on. The tree is that of prefix + suffix with the hole empty; a middle
// token's label comes from the syntax layer's labeler, token by token, and needs only what stands
// before it.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/prompt_format.h"
#include "engine/request.h"
#include "engine/result.h"
#include "engine/tokenizer.h"
#include "syntax/scopes.h"

namespace cambium::assist {

/// Tokens of the text on one side of the hole, and where in the document each begins (bytes,
/// ascending). A token belongs to the scope that is open at its first byte.
struct TokenSpan {
  std::vector<engine::TokenId> ids;
  std::vector<uint32_t> bytes;

  size_t size() const { return ids.size(); }
};

/// Places of the suffix begin at a multiple of this, so that a word typed before it moves them seldom:
/// in suffix-prefix-middle order every cell of the prefix would otherwise be computed again for each
/// token typed, its distances to the suffix having changed.
inline constexpr int32_t kPlaceStep = 32;

/// First place of the suffix after `prefix_tokens` tokens of prefix.
constexpr int32_t suffix_place(size_t prefix_tokens) {
  const auto n = static_cast<int32_t>(prefix_tokens);
  return (n + kPlaceStep - 1) / kPlaceStep * kPlaceStep;
}

/// A whole fill-in-the-middle sequence up to where the middle begins.
struct AlignedSequence {
  std::vector<engine::TokenId> tokens;
  engine::TokenStructure structure;  ///< one label a token
  int32_t prefix_end = 0;  ///< tokens up to the end of the prefix: what the middle follows
  /// Label of a middle token that opens no scope: the cursor's scope, at the cursor's place.
  engine::TokenLabel middle;
};

/// Lays the two sides out as `layout` says (PromptFormat::fim_layout) and labels every token.
///
///   prefix token i      scope at its first byte, place i
///   suffix token j      scope at its first byte, place suffix_place(n_prefix) + j
///   middle token        place n_prefix
///   special tokens      the file's scope, so that every query has them on its path; place of what
///                       comes next, and 0 for the beginning of the sequence. Only a middle marker
///                       that directly precedes the middle has the cursor's label: the first middle
///                       token is predicted from it.
///
/// `scopes` is the map of the document with the hole empty, `at_cursor` the scope that is open there:
/// what the syntax layer's middle labeler begins with. O(tokens + scopes): one sweep.
AlignedSequence align(std::span<const engine::PromptFormat::Part> layout, const TokenSpan& prefix,
                      const TokenSpan& suffix, const syntax::ScopeMap& scopes,
                      syntax::ScopeLabel at_cursor);

/// FILE name "\n" as special parts; nothing where the model knows no such line or the path is empty.
/// Only the path's last part is shown to the model.
std::vector<engine::PromptFormat::Part> file_line(const engine::PromptFormat& format,
                                                  const engine::Tokenizer& tokenizer,
                                                  std::string_view path);

/// The layout with a line that names the file, where the model knows one:
/// [bos] FILE name "\n" and then as fim_layout says.
Result<std::vector<engine::PromptFormat::Part>> file_layout(const engine::PromptFormat& format,
                                                            const engine::Tokenizer& tokenizer,
                                                            engine::FimOrder order,
                                                            std::string_view path);

/// Label of the token at `place` standing in `scope`.
inline engine::TokenLabel token_label(syntax::ScopeLabel scope, int32_t place) {
  return {scope.scope, scope.last, place};
}

}  // namespace cambium::assist
