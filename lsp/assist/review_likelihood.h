// Review by the model's own likelihoods: where what is written is very unlikely, and the model prefers
// one other thing that parses and is in scope there, both when it is shown the text before and when it is
// shown both sides, something may be wrong.
//
// One prefill over a function gives the probability of each of its tokens (left to right). The few
// sites with the best alternatives are then read on from with the alternative in place: code after a
// slip goes on as if it were not there. Those that this speaks for are looked at once more, with a hole
// from the site to the end of its line in a fill-in-the-middle prompt. The first request is laid out as
// the beginning of that prompt: what follows every site are branches of it (engine/request.h) and one
// request, all holes another, so that a GPU reads its weights three times. With structure a hole is a
// request of its own, since its labels differ from the first token on; the two ways to fill it are
// branches. A site costs some 50 tokens and, as a hole, its suffix and the rest of its line twice: all
// else is in the KV cache already.
//
// Blocking; any thread but the engine's and the strand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"
#include "syntax/review_sites.h"

namespace cambium::assist {

/// One site that the model would have written otherwise, with the evidence. Natural logarithms.
struct Suspicion {
  syntax::SiteKind kind = syntax::SiteKind::name;
  syntax::ByteRange range;
  std::string alternative;
  float left = 0;    ///< log P(alternative) - log P(written) where they part, given the text before
  float chosen = 0;  ///< log P(alternative) there
  float ahead = 0;   ///< as left, of the whole and the tokens that follow, given the text before
  float after = 0;   ///< of these, what the tokens that follow say: as left
  float beyond = 0;  ///< as left, of the tokens that follow those
  float both = 0;    ///< as left, of the whole, given both sides
  float confidence = 0;       ///< log P(alternative), given both sides
  float written = 0;          ///< log P(written), given both sides
  uint32_t alternatives = 0;  ///< that the site had
  uint32_t rivals = 0;        ///< sites near it, itself too, where the model prefers another thing
  /// Whether the file has them elsewhere between the same two words or signs.
  bool alternative_elsewhere = false, written_elsewhere = false;
  /// Of names: how often the function uses them in other places.
  uint32_t uses = 0, alternative_uses = 0;
};

struct LikelihoodLimits {
  int32_t context_tokens = 256;  ///< shown before a function
  int32_t piece_tokens = 1000;   ///< a longer function is read in pieces
  int32_t suffix_tokens = 64;    ///< shown after a hole
  int32_t ahead_tokens = 24;     ///< read after an alternative
  int32_t beyond_tokens = 24;    ///< and after these: a condition's branch, the next statement
  int32_t most_sites = 8;        ///< of a piece, looked at again
  float least_left = 1.0f;       ///< below, a site is not looked at again
  float least_ahead = 2.0f;      ///< up to it, a site gets no hole
  float least_both = 0.0f;       ///< up to it, the two directions do not agree
};

/// The suspicions of one function that all ways of looking agree on, ascending by place. Errors:
/// unsupported (the model can't score, or was not trained to fill in with the prefix first), cancelled,
/// what the engine says.
Result<std::vector<Suspicion>> suspicions(engine::Generator& generator,
                                          const syntax::Language* language, std::string_view path,
                                          std::string_view text,
                                          const syntax::FunctionSites& function,
                                          const LikelihoodLimits& limits,
                                          const engine::CancelFlag& cancel);

}  // namespace cambium::assist
