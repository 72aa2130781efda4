#include "lsp/stats.h"

#include <algorithm>
#include <vector>

namespace cambium::lsp {

namespace {
constexpr size_t kRemembered = 256;
constexpr size_t kLatencies = 512;

double percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[rank];
}
}  // namespace

std::string Stats::suggested(uint32_t characters) {
  std::string id = "s" + std::to_string(next_++);
  recent_.emplace(id, Suggestion{characters, 0, false, false});
  order_.push_back(id);
  if (order_.size() > kRemembered) {
    recent_.erase(order_.front());
    order_.pop_front();
  }
  ++suggested_;
  suggested_characters_ += characters;
  return id;
}

Stats::Suggestion* Stats::find(const std::string& id) {
  const auto found = recent_.find(id);
  return found == recent_.end() ? nullptr : &found->second;
}

void Stats::shown(const std::string& id) {
  Suggestion* suggestion = find(id);
  if (suggestion == nullptr || suggestion->shown) return;
  suggestion->shown = true;
  ++shown_;
}

void Stats::partially_accepted(const std::string& id, uint32_t characters_so_far) {
  Suggestion* suggestion = find(id);
  if (suggestion == nullptr) return;
  // Cumulative and never more than there was: a client may send the same length twice.
  const uint32_t now = std::min(characters_so_far, suggestion->characters);
  if (now <= suggestion->taken) return;
  if (suggestion->taken == 0) ++partial_;
  accepted_characters_ += now - suggestion->taken;
  suggestion->taken = now;
}

void Stats::accepted(const std::string& id) {
  Suggestion* suggestion = find(id);
  if (suggestion == nullptr || suggestion->accepted) return;
  suggestion->accepted = true;
  ++accepted_;
  accepted_characters_ += suggestion->characters - suggestion->taken;
  suggestion->taken = suggestion->characters;
}

void Stats::answered(double milliseconds, const engine::Timings& timings,
                     const assist::Route& route) {
  if (route.cascade) ++(route.larger ? escalated_ : sure_);
  latencies_.push_back(milliseconds);
  if (latencies_.size() > kLatencies) latencies_.pop_front();
  prompt_tokens_ += static_cast<uint64_t>(std::max(timings.prompt_tokens, 0));
  reused_tokens_ += static_cast<uint64_t>(std::max(timings.reused_tokens, 0));
  generated_tokens_ += static_cast<uint64_t>(std::max(timings.generated_tokens, 0));
}

Json Stats::to_json() const {
  std::vector<double> sorted(latencies_.begin(), latencies_.end());
  std::sort(sorted.begin(), sorted.end());
  return {
      {"requests", requests},
      {"empty", empty},
      {"superseded", superseded},
      {"cancelled", cancelled},
      {"failed", failed},
      {"suggested", suggested_},
      {"suggestedCharacters", suggested_characters_},
      {"shown", shown_},
      {"accepted", accepted_},
      {"partiallyAccepted", partial_},
      {"acceptedCharacters", accepted_characters_},
      {"latencyMs", {{"p50", percentile(sorted, 0.5)}, {"p95", percentile(sorted, 0.95)}}},
      {"tokens",
       {{"prompt", prompt_tokens_}, {"reused", reused_tokens_}, {"generated", generated_tokens_}}},
      {"cascade", {{"small", sure_}, {"larger", escalated_}}}};
}

}  // namespace cambium::lsp
