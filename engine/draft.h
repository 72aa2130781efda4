// Speculation without a draft model: the tokens that followed the last time these tokens stood here
// (prompt lookup; Saxena 2023, Yang et al. 2023) are verified in one pass. The output is what it
// would be without: each row of the pass chooses its token as a single step would, and a drafted
// token counts only if it is the one chosen.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace cambium::engine {

/// Columns of a verifying pass: the pending token and up to seven drafted ones.
inline constexpr int32_t kMaxDraft = 7;

/// Finds earlier places of a sequence that end in the same tokens. One a sequence.
class PromptLookup {
 public:
  PromptLookup();
  void append(std::span<const TokenId> tokens);
  void append(TokenId token) { append({&token, 1}); }
  /// Up to `limit` tokens that followed the latest earlier place with the same last `kLongest`
  /// tokens (or, failing that, `kShortest`); empty if there is none.
  std::span<const TokenId> propose(int32_t limit) const;

 private:
  static constexpr size_t kShortest = 2, kLongest = 4;
  // Entries of a table; a longer sequence, like a collision, costs a draft at most, for propose()
  // compares the tokens themselves.
  static constexpr size_t kEntries = 8192;
  static size_t entry(std::span<const TokenId> ngram);

  std::vector<TokenId> tokens_;
  // A table for each length of n-gram: index of the token after its latest place, 0 for none. The
  // n-gram the sequence ends in is not yet there: nothing follows it.
  std::vector<uint32_t> after_;
};

/// Decides how many tokens to draft: what a pass of n columns costs (measured) against how likely
/// drafts were accepted. Costs belong to a device and model, chances to a sequence.
class DraftPolicy {
 public:
  /// A pass of `columns` columns took `ms`.
  void measured(int32_t columns, double ms);
  /// Draft length, 0 to kMaxDraft, with the most tokens a millisecond, if the next drafted token is
  /// right with probability `chance`; 0 if plain decoding is as fast.
  int32_t length(double chance) const;

 private:
  static constexpr double kGuess = 0.1;  // of a step, for each column not measured yet
  double cost(int32_t columns) const;    // in single steps
  std::array<double, kMaxDraft + 2> ms_{};
};

/// Running estimate of how often a drafted token is right in one sequence.
class DraftChance {
 public:
  double value() const { return value_; }
  void observed(int32_t drafted, int32_t accepted);
  /// There was a draft that did not seem worth verifying: the estimate drifts back, so that it gets
  /// another try when the text has moved on.
  void passed_over();

 private:
  static constexpr double kInitial = 0.6;
  double value_ = kInitial;
};

}  // namespace cambium::engine
