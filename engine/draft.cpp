#include "engine/draft.h"

#include <algorithm>

namespace cambium::engine {

PromptLookup::PromptLookup() : after_((kLongest - kShortest + 1) * kEntries) {}

size_t PromptLookup::entry(std::span<const TokenId> ngram) {
  uint64_t h = 0x9E3779B97F4A7C15ull;
  for (const TokenId t : ngram) {
    h = (h ^ static_cast<uint32_t>(t)) * 0xD6E8FEB86659FD93ull;
    h ^= h >> 32;
  }
  return (ngram.size() - kShortest) * kEntries + h % kEntries;
}

void PromptLookup::append(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    // The n-grams that ended here so far are now followed by something.
    const size_t end = tokens_.size();
    for (size_t n = kShortest; n <= std::min(kLongest, end); ++n) {
      after_[entry(std::span(tokens_).last(n))] = static_cast<uint32_t>(end);
    }
    tokens_.push_back(token);
  }
}

std::span<const TokenId> PromptLookup::propose(int32_t limit) const {
  const std::span<const TokenId> all(tokens_);
  for (size_t n = std::min(kLongest, all.size()); n >= kShortest && limit > 0; --n) {
    const size_t at = after_[entry(all.last(n))];
    if (at >= n && std::equal(all.end() - static_cast<ptrdiff_t>(n), all.end(),
                              all.begin() + static_cast<ptrdiff_t>(at - n))) {
      return all.subspan(at, std::min(static_cast<size_t>(limit), all.size() - at));
    }
  }
  return {};
}

void DraftPolicy::measured(int32_t columns, double ms) {
  if (columns < 1 || columns > kMaxDraft + 1 || ms <= 0) return;
  double& known = ms_[static_cast<size_t>(columns)];
  // One slow pass (another process had the core) must not decide for long.
  known = known == 0 ? ms : known + 0.1 * (std::min(ms, 3 * known) - known);
}

double DraftPolicy::cost(int32_t columns) const {
  const double one = ms_[1];
  if (one == 0 || columns == 1) return 1.0 + kGuess * (columns - 1);
  if (const double known = ms_[static_cast<size_t>(columns)]; known != 0) return known / one;
  // Not measured yet: on the line between its measured neighbours, or a hopeful guess past the
  // last.
  int32_t below = columns - 1, above = columns + 1;
  while (ms_[static_cast<size_t>(below)] == 0) --below;
  while (above <= kMaxDraft + 1 && ms_[static_cast<size_t>(above)] == 0) ++above;
  const double from = ms_[static_cast<size_t>(below)] / one;
  if (above > kMaxDraft + 1) return from + kGuess * (columns - below);
  const double to = ms_[static_cast<size_t>(above)] / one;
  return from + (to - from) * (columns - below) / (above - below);
}

int32_t DraftPolicy::length(double chance) const {
  int32_t best = 0;
  double best_rate = 1.0 / cost(1);
  double expected = 1, likely = 1;
  for (int32_t drafted = 1; drafted <= kMaxDraft; ++drafted) {
    likely *= chance;
    expected += likely;
    const double rate = expected / cost(drafted + 1);
    if (rate > best_rate * 1.02) {
      best_rate = rate;
      best = drafted;
    }
  }
  return best;
}

void DraftChance::observed(int32_t drafted, int32_t accepted) {
  // Each accepted token is a success, the first refused one a failure; those after it say nothing.
  for (int32_t i = 0; i < std::min(drafted, accepted + 1); ++i) {
    value_ += 0.15 * ((i < accepted ? 1.0 : 0.0) - value_);
  }
}

void DraftChance::passed_over() { value_ += 0.02 * (kInitial - value_); }

}  // namespace cambium::engine
