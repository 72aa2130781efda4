#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

// A pass over a vocabulary is compiled once more for wider registers, and the processor chooses. Without
// fused multiply-adds, which AVX2 alone has none of, the results are the same to the bit. Not under
// ThreadSanitizer, which is not there yet when the choice is made; Clang says it by no macro.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__)
#define CAMBIUM_ALSO_AVX2 __attribute__((target_clones("avx2", "default")))
#else
#define CAMBIUM_ALSO_AVX2
#endif

namespace cambium::engine {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

float usable(float logit) { return std::isnan(logit) ? kNever : logit; }

/// Where e^x ends being a normal number. e^-87 adds nothing to a sum with a 1 in it; a NaN is that
/// too.
float limited(float x) { return x > -87.0f ? x : -87.0f; }

/// e^x for -87 <= x <= 0, to a relative error of 2e-7. No branches and no calls, so that the
/// compiler makes vectors of it: the sum over a vocabulary is on the path of every token.
float exp_of_negative(float x) {
  constexpr float kRound =
      12582912.0f;  // 1.5·2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.9875691e-4f;  // minimax polynomial on |r| <= ln(2)/2 (Cephes, expf)
  p = p * r + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((std::bit_cast<int32_t>(shifted) << 23) + (127 << 23));
}

/// log(sum(exp(logits))) for the largest logit `max`.
CAMBIUM_ALSO_AVX2 double log_sum_exp(std::span<const float> logits, float max) {
  constexpr size_t kLanes = 64, kStretch = 16384;
  double sum = 0;
  size_t i = 0;
  while (i + kLanes <= logits.size()) {
    // A sum of many terms loses digits in float; so no lane adds more than 256.
    const size_t end = std::min(logits.size(), i + kStretch);
    float lane[kLanes] = {};
    for (; i + kLanes <= end; i += kLanes) {
      float x[kLanes];  // a loop of its own for the limit, or the compiler makes branches of it
      for (size_t j = 0; j < kLanes; ++j) x[j] = limited(logits[i + j] - max);
      for (size_t j = 0; j < kLanes; ++j) lane[j] += exp_of_negative(x[j]);
    }
    for (const float x : lane) sum += static_cast<double>(x);
  }
  for (; i < logits.size(); ++i)
    sum += static_cast<double>(exp_of_negative(limited(logits[i] - max)));
  return static_cast<double>(max) + std::log(sum);
}

/// The n largest logits as "log-probabilities" of their tokens, the largest first; the smaller id on a tie.
CAMBIUM_ALSO_AVX2
std::vector<Scored::Alternative> largest(std::span<const float> logits, size_t n) {
  std::vector<Scored::Alternative> best;  // a heap with the least of them on top
  const auto better = [](const Scored::Alternative& a, const Scored::Alternative& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  const size_t count = std::min(n, logits.size());
  if (count == 0) return best;
  const auto look_at = [&](size_t i) {
    const Scored::Alternative next{static_cast<TokenId>(i), usable(logits[i])};
    if (best.size() == count) {
      if (!better(next, best.front())) return;
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
    best.push_back(next);
    std::push_heap(best.begin(), best.end(), better);
  };
  size_t i = 0;
  for (; i < count; ++i) look_at(i);
  // Hardly any of the others is among them, which is told for a stretch at once.
  constexpr size_t kLanes = 64;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    const float least = best.front().logprob;
    int more = 0;
    for (size_t j = 0; j < kLanes; ++j) more |= logits[i + j] > least ? 1 : 0;  // 0 for a NaN
    for (size_t j = 0; j < kLanes && more != 0; ++j) look_at(i + j);
  }
  for (; i < logits.size(); ++i) look_at(i);
  std::sort_heap(best.begin(), best.end(), better);
  return best;
}

}  // namespace

CAMBIUM_ALSO_AVX2 TokenId argmax(std::span<const float> logits) {
  // The largest value first, in lanes, which the compiler can make vectors of; then its place.
  constexpr size_t kLanes = 64;
  float lane[kLanes];
  std::fill(lane, lane + kLanes, kNever);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lane[j] = logits[i + j] > lane[j] ? logits[i + j] : lane[j];
  }
  float best = *std::max_element(lane, lane + kLanes);
  for (; i < logits.size(); ++i) best = logits[i] > best ? logits[i] : best;  // false for a NaN
  const auto it = best == kNever ? logits.end() : std::find(logits.begin(), logits.end(), best);
  return it == logits.end() ? 0 : static_cast<TokenId>(it - logits.begin());
}

float log_probability(std::span<const float> logits, TokenId token) {
  return ranked(logits, token, 0).logprob;
}

Ranked ranked(std::span<const float> logits, TokenId token, int32_t n) {
  Ranked out;
  out.best = largest(logits, static_cast<size_t>(std::max(n, 0)));
  const float max = out.best.empty() ? usable(logits[static_cast<size_t>(argmax(logits))])
                                     : out.best.front().logprob;
  const float own = usable(logits[static_cast<size_t>(token)]);
  if (max == kNever) return out.logprob = kNever, out;
  const double total = log_sum_exp(logits, max);
  const auto log_of = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - total);
  };
  out.logprob = log_of(own);
  for (auto& one : out.best) one.logprob = log_of(one.logprob);
  return out;
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
  if (middle != candidates_.end()) std::nth_element(begin, middle, candidates_.end(), better);
  std::sort(begin, middle, better);
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
    return static_cast<double>(exp_of_negative(limited(c.logit - max)));
  };
  if (top_p) {
    double total = 0;
    for (size_t i = 0; i < n; ++i) total += weight(candidates_[i]);
    const double wanted = static_cast<double>(params_.top_p) * total;
    double sum = 0;
    size_t kept = 0;
    while (kept < n && (kept == 0 || sum < wanted)) {
      if (kept == sorted_) sort_first(std::max<size_t>(64, sorted_ * 4));
      sum += weight(candidates_[kept++]);
    }
    n = kept;
  }
  if (min_p) {
    const double least = static_cast<double>(params_.min_p);
    size_t kept = 1;
    while (kept < n) {
      if (kept == sorted_) sort_first(std::max<size_t>(64, sorted_ * 4));
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
  // Nearly always the likeliest token is taken; only when it is refused are the others looked at.
  std::optional<TokenId> refused;
  if (greedy() && params_.repetition == 1.0f && constraint.allowed.empty() && !logits.empty()) {
    const TokenId first = argmax(logits);
    const float logit = usable(logits[static_cast<size_t>(first)]);
    if (logit == kNever) return std::nullopt;
    if (accepted(first)) return first;
    refused = first;
  }
  gather(logits, history, constraint.allowed);
  if (candidates_.empty()) return std::nullopt;
  if (refused) candidates_[static_cast<size_t>(*refused)].logit = kNever;
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
    if (i == sorted_) sort_first(i == 0 ? 1 : std::max<size_t>(64, sorted_ * 4));
    if (candidates_[i].logit == kNever) break;
    if (accepted(candidates_[i].id)) return candidates_[i].id;
  }
  return std::nullopt;
}

}  // namespace cambium::engine
