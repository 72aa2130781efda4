// Review by the model's own likelihoods: where what is written is very unlikely, and the model prefers
// one other thing that parses and is in scope there, both when it is shown the text before and when it is
// shown both sides, something may be wrong.
//
// One prefill over a function gives the probability of each of its tokens (left to right). The few
// sites with the best alternatives are then looked at again with the site as the hole of a
// fill-in-the-middle prompt. The first pass is laid out as the beginning of that prompt, and the holes
// are taken from the last to the first, so that each costs its suffix and a token or two: all else is in
// the KV cache already.
//
// Blocking; any thread but the engine's and the strand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/finding.h"
#include "syntax/review_sites.h"

namespace cambium::assist {

/// One site that the model would have written otherwise, with the evidence. Natural logarithms.
struct Suspicion {
  syntax::SiteKind kind = syntax::SiteKind::name;
  syntax::ByteRange range;
  std::string alternative;
  float left = 0;  ///< log P(alternative) - log P(written) where they part, given the text before
  float both = 0;  ///< the same of the whole, given both sides
  float confidence = 0;  ///< log P(alternative), given both sides
  float written = 0;     ///< log P(written), given both sides
};

struct LikelihoodLimits {
  int32_t context_tokens = 256;  ///< shown before a function
  int32_t piece_tokens = 1000;   ///< a longer function is read in pieces
  int32_t suffix_tokens = 64;    ///< shown after a hole
  int32_t most_holes = 8;        ///< a piece
  float least_left = 1.0f;       ///< below, a site gets no hole
};

/// All suspicions of one function, ascending by place. Errors: unsupported (the model can't score, or
/// was not trained to fill in with the prefix first), cancelled, what the engine says.
Result<std::vector<Suspicion>> suspicions(engine::Generator& generator,
                                          const syntax::Language* language, std::string_view path,
                                          std::string_view text,
                                          const syntax::FunctionSites& function,
                                          const LikelihoodLimits& limits,
                                          const engine::CancelFlag& cancel);

/// How sure a suspicion is: what the thresholds are for.
double score_of(const Suspicion& suspicion);
/// The least score that is worth a person's time, by the kind of place and the language; from
/// `cambium eval --review` on one half of the held-out projects.
double threshold_of(syntax::SiteKind kind, const syntax::Language& language);

/// Codes likelihood/name, likelihood/compare and so on, each with the alternative as its fix.
std::vector<Finding> likelihood_findings(const std::vector<Suspicion>& suspicions,
                                         const syntax::Language& language, std::string_view text);

}  // namespace cambium::assist
