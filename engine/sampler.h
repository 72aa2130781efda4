// Logits to token: greedy or seeded sampling (SamplingParams says what is applied and in which
// order), choice under a constraint, and log-probabilities. Plain CPU arithmetic on one row of
// logits; deterministic for a given seed on every platform.
//
// A Sampler belongs to one sequence and is used from one thread.
#pragma once

#include <functional>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "engine/request.h"

namespace cambium::engine {

/// What the next token must satisfy.
struct SampleConstraint {
  /// If not empty, only these ids (ascending, e.g. Tokenizer::compatible_with) may be chosen.
  std::span<const TokenId> allowed;
  /// Asked for candidates in the order they would be chosen, until it says true; may be null.
  std::function<bool(TokenId)> accept;
};

class Sampler {
 public:
  explicit Sampler(const SamplingParams& params);

  bool greedy() const { return params_.temperature <= 0.0f; }
  /// Takes the largest logit as it is.
  bool plain() const { return greedy() && params_.repetition == 1.0f; }
  /// `logits` is [n_vocab]; `history` the tokens so far, oldest first (repetition looks at the last
  /// `repetition_last`). Ties go to the smaller id. A NaN counts as -infinity.
  TokenId sample(std::span<const float> logits, std::span<const TokenId> history);
  /// The same under a constraint: a refused token is taken out and the next choice is made among
  /// the others, past top-k, top-p and min-p in order of probability if those leave nothing.
  /// nullopt if no token satisfies it.
  std::optional<TokenId> sample(std::span<const float> logits, std::span<const TokenId> history,
                                const SampleConstraint& constraint);

 private:
  struct Candidate {
    float logit;
    TokenId id;
  };
  static bool better(const Candidate& a, const Candidate& b);
  void gather(std::span<const float> logits, std::span<const TokenId> history,
              std::span<const TokenId> allowed);
  void sort_first(size_t n);
  size_t cut();
  double uniform();

  SamplingParams params_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;  // kept between calls to save the allocation
  size_t sorted_ = 0;                  // candidates_[0, sorted_) are the best, best first
};

/// Index of the largest logit; the smallest such index on a tie, 0 if all are NaN or -infinity.
TokenId argmax(std::span<const float> logits);
/// Natural log of the softmax probability of `token` in the unmodified distribution.
float log_probability(std::span<const float> logits, TokenId token);
/// log_probability of a token, and the n most likely tokens with theirs, best first.
struct Ranked {
  float logprob = 0;
  std::vector<Scored::Alternative> best;
};
/// For the price of one sum over the vocabulary.
Ranked ranked(std::span<const float> logits, TokenId token, int32_t n);

}  // namespace cambium::engine
