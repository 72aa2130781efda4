// Copying: a small model's choices mixed with what followed the last time the text stood here.
//
// Of all earlier places of a prompt the one is taken whose tokens before it agree longest with the end of
// the text; what follows there is the guess, and how long the match is says how far to trust it. With
// probabilities p of the model and a share s of the guess, the mixture (1 - s)·p + s·[guess] (a cache
// language model: Grave et al. 2017, Merity et al. 2017) has the guess as its most likely token where
//
//     p(best) - p(guess) < s / (1 - s)
//
// A model that is sure (p(best) = 1) is never overruled: the odds s / (1 - s) stay below 1. Nor is one
// that would end.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/request.h"

namespace cambium::engine {

struct CopyGuess {
  TokenId token = 0;
  int32_t match = 0;  ///< tokens that agree, at most kLongestMatch
};

/// One sequence's text, in document order as far as the prompt has it. Used from one thread.
class CopyContext {
 public:
  static constexpr int32_t kLongestMatch = 64;

  /// `prompt` as fed; the generated text follows its first `text_end` tokens (-1: all of them).
  /// Tokens of `breaks` (special ones) match nothing.
  CopyContext(std::span<const TokenId> prompt, int32_t text_end, std::vector<TokenId> breaks);
  void append(TokenId token);
  /// Of equal matches the latest; nothing if the last token stood nowhere before, or if what follows
  /// it there is no text. Time: tokens, times the match for those that are like the last.
  std::optional<CopyGuess> guess() const;

 private:
  std::vector<TokenId> text_;  // -1 for what matches nothing
  std::vector<TokenId> breaks_;
  size_t written_ = 0;  // text_ from here on was generated
};

/// The odds s / (1 - s) of a guess, in [0, 1). Short matches count nothing: what follows them is right
/// often enough, but the model sees as much.
float copy_odds(int32_t match);

/// True if the mixture's most likely token is the guess. `logits` [n_vocab]; `allowed`, if not empty,
/// are the ids that may be chosen at all (ascending): probabilities are then among them.
bool prefers_copy(std::span<const float> logits, std::span<const TokenId> allowed,
                  const CopyGuess& guess, float weight);

}  // namespace cambium::engine
