#include "engine/copying.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace cambium::engine {

namespace {

constexpr TokenId kBreak = -1;

}  // namespace

CopyContext::CopyContext(std::span<const TokenId> prompt, int32_t text_end,
                         std::vector<TokenId> breaks)
    : breaks_(std::move(breaks)) {
  const size_t end =
      text_end < 0 ? prompt.size() : std::min(prompt.size(), static_cast<size_t>(text_end));
  text_.reserve(prompt.size() + 64);
  // What comes after that place in the prompt stands elsewhere in the document.
  for (const TokenId token : prompt.subspan(end)) append(token);
  text_.push_back(kBreak);
  for (const TokenId token : prompt.first(end)) append(token);
  written_ = text_.size();
}

void CopyContext::append(TokenId token) {
  const bool text = std::ranges::find(breaks_, token) == breaks_.end();
  text_.push_back(text ? token : kBreak);
}

std::optional<CopyGuess> CopyContext::guess() const {
  const size_t n = text_.size();
  CopyGuess best;
  if (n == 0 || text_.back() == kBreak) return std::nullopt;
  // What follows text_[at - 1] in the document: copies of what was just written would never end.
  for (size_t at = std::min(n, written_) - 1; at > 0; --at) {
    if (text_[at - 1] != text_.back() || text_[at] == kBreak) continue;
    int32_t match = 1;
    while (match < kLongestMatch && static_cast<size_t>(match) < at) {
      const auto back = static_cast<size_t>(match) + 1;
      if (text_[at - back] == kBreak || text_[at - back] != text_[n - back]) break;
      ++match;
    }
    if (match > best.match) best = {text_[at], match};
    if (match == kLongestMatch) break;
  }
  if (best.match == 0) return std::nullopt;
  return best;
}

float copy_odds(int32_t match) { return match >= 16 ? 0.9f : match >= 8 ? 0.3f : 0.0f; }

bool prefers_copy(std::span<const float> logits, std::span<const TokenId> allowed,
                  const CopyGuess& guess, float weight) {
  if (!allowed.empty() && !std::ranges::binary_search(allowed, guess.token)) return false;
  float top = -INFINITY;
  const auto each = [&](auto&& f) {
    if (allowed.empty()) {
      for (const float logit : logits) f(logit);
    } else {
      for (const TokenId id : allowed) f(logits[static_cast<size_t>(id)]);
    }
  };
  each([&](float logit) { top = std::max(top, logit); });
  const float own = logits[static_cast<size_t>(guess.token)];
  if (!std::isfinite(top) || !std::isfinite(own)) return false;
  double sum = 0;
  each([&](float logit) { sum += std::isnan(logit) ? 0.0 : std::exp(double{logit} - top); });
  const double lead = (1.0 - std::exp(double{own} - top)) / sum;
  return lead < std::min(0.99, double{weight} * copy_odds(guess.match));
}

}  // namespace cambium::engine
