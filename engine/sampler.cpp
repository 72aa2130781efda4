#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cambium::engine {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

float usable(float logit) { return std::isnan(logit) ? kNever : logit; }

/// log(sum(exp(logits))), in double: a sum over 150 k terms in float loses the third digit.
double log_sum_exp(std::span<const float> logits, float max) {
  double sum = 0;
  for (const float l : logits) sum += static_cast<double>(std::exp(usable(l) - max));
  return static_cast<double>(max) + std::log(sum);
}

}  // namespace

TokenId argmax(std::span<const float> logits) {
  float best = kNever;
  TokenId id = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best) {  // false for a NaN
      best = logits[i];
      id = static_cast<TokenId>(i);
    }
  }
  return id;
}

float log_probability(std::span<const float> logits, TokenId token) {
  const float max = usable(logits[static_cast<size_t>(argmax(logits))]);
  const float own = usable(logits[static_cast<size_t>(token)]);
  if (max == kNever || own == kNever) return kNever;
  return static_cast<float>(static_cast<double>(own) - log_sum_exp(logits, max));
}

std::vector<Scored::Alternative> top_alternatives(std::span<const float> logits, int32_t n) {
  std::vector<Scored::Alternative> all;
  if (n <= 0 || logits.empty()) return all;
  all.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    all.push_back({static_cast<TokenId>(i), usable(logits[i])});
  }
  const auto count = std::min(static_cast<size_t>(n), all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const auto& a, const auto& b) {
                      return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
                    });
  const double total = all[0].logprob == kNever ? 0 : log_sum_exp(logits, all[0].logprob);
  all.resize(count);
  for (auto& a : all) a.logprob = static_cast<float>(static_cast<double>(a.logprob) - total);
  return all;
}

Sampler::Sampler(const SamplingParams& params) : params_(params), random_(params.seed) {}

bool Sampler::better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

double Sampler::uniform() {
  // std::uniform_real_distribution differs between standard libraries; the engine itself does not.
  return static_cast<double>(random_() >> 11) * 0x1.0p-53;
}

void Sampler::gather(std::span<const float> logits, std::span<const TokenId> history,
                     std::span<const TokenId> allowed) {
  candidates_.clear();
  sorted_ = 0;
  const auto n = static_cast<TokenId>(logits.size());
  if (allowed.empty()) {
    candidates_.reserve(logits.size());
    for (TokenId id = 0; id < n; ++id) {
      candidates_.push_back({usable(logits[static_cast<size_t>(id)]), id});
    }
  } else {
    for (const TokenId id : allowed) {
      if (id >= 0 && id < n) candidates_.push_back({usable(logits[static_cast<size_t>(id)]), id});
    }
  }
  if (params_.repetition == 1.0f || params_.repetition_last <= 0) return;
  const size_t last = std::min(history.size(), static_cast<size_t>(params_.repetition_last));
  std::vector<TokenId> seen(history.end() - static_cast<std::ptrdiff_t>(last), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  // Both lists ascend by id.
  auto it = candidates_.begin();
  for (const TokenId id : seen) {
    it = std::lower_bound(it, candidates_.end(), id,
                          [](const Candidate& c, TokenId wanted) { return c.id < wanted; });
    if (it == candidates_.end()) break;
    if (it->id != id) continue;
    it->logit = it->logit > 0 ? it->logit / params_.repetition : it->logit * params_.repetition;
  }
}

void Sampler::sort_first(size_t n) {
  n = std::min(n, candidates_.size());
  if (n <= sorted_) return;
  const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(n);
  std::partial_sort(begin, middle, candidates_.end(), better);
  sorted_ = n;
}

/// Sorts as far as needed and returns how many of the best candidates top-k, top-p and min-p leave;
/// at least one.
size_t Sampler::cut() {
  size_t n = candidates_.size();
  if (params_.top_k > 0) n = std::min(n, static_cast<size_t>(params_.top_k));
  const bool top_p = params_.top_p<1.0f, min_p = params_.min_p> 0.0f;
  sort_first(params_.top_k > 0 ? n : 1);
  if (candidates_[0].logit == kNever) return 1;
  const float max = candidates_[0].logit;
  const auto weight = [max](const Candidate& c) {
    return std::exp(static_cast<double>(c.logit) - static_cast<double>(max));
  };
  if (top_p) {
    double total = 0;
    for (size_t i = 0; i < n; ++i) total += weight(candidates_[i]);
    const double wanted = static_cast<double>(params_.top_p) * total;
    double sum = 0;
    size_t kept = 0;
    while (kept < n && (kept == 0 || sum < wanted)) {
      if (kept == sorted_) sort_first(std::max<size_t>(64, sorted_ * 2));
      sum += weight(candidates_[kept++]);
    }
    n = kept;
  }
  if (min_p) {
    const double least = static_cast<double>(params_.min_p);
    size_t kept = 1;
    while (kept < n) {
      if (kept == sorted_) sort_first(std::max<size_t>(64, sorted_ * 2));
      if (weight(candidates_[kept]) < least) break;
      ++kept;
    }
    n = kept;
  }
  // -infinity is never drawn, also when nothing was cut.
  while (n > 1 && n <= sorted_ && candidates_[n - 1].logit == kNever) --n;
  return n;
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  if (greedy() && params_.repetition == 1.0f) return argmax(logits);
  const auto id = sample(logits, history, SampleConstraint{});
  return id ? *id : argmax(logits);
}

std::optional<TokenId> Sampler::sample(std::span<const float> logits,
                                       std::span<const TokenId> history,
                                       const SampleConstraint& constraint) {
  const auto accepted = [&](TokenId id) { return !constraint.accept || constraint.accept(id); };
  gather(logits, history, constraint.allowed);
  if (candidates_.empty()) return std::nullopt;
  if (!greedy()) {
    // Draw without replacement: a refused candidate's weight is set to zero.
    size_t n = cut();
    const double inverse = 1.0 / static_cast<double>(params_.temperature);
    const double max = static_cast<double>(candidates_[0].logit);
    std::vector<double> weights(n);
    double total = 0;
    for (size_t i = 0; i < n; ++i) {
      const double logit = static_cast<double>(candidates_[i].logit);
      weights[i] = std::isinf(logit) ? 0.0 : std::exp((logit - max) * inverse);
      total += weights[i];
    }
    while (total > 0) {
      double r = uniform() * total;
      size_t chosen = 0;
      for (size_t i = 0; i < n; ++i) {
        if (weights[i] <= 0) continue;
        chosen = i;  // the last one left, should rounding leave r above all
        r -= weights[i];
        if (r < 0) break;
      }
      if (accepted(candidates_[chosen].id)) return candidates_[chosen].id;
      candidates_[chosen].logit = kNever;
      weights[chosen] = 0;
      total = 0;
      for (const double w : weights) total += w;
    }
    // Past what the filters left, and what the temperature made too small to draw: in order.
    sorted_ = 0;
  }
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i == sorted_) sort_first(i == 0 ? 1 : std::max<size_t>(64, sorted_ * 2));
    if (candidates_[i].logit == kNever) break;
    if (accepted(candidates_[i].id)) return candidates_[i].id;
  }
  return std::nullopt;
}

}  // namespace cambium::engine
