#include "lsp/serve/metrics.h"

#include <spdlog/fmt/fmt.h>

namespace cambium::lsp::serve {

void Metrics::generated(const engine::Timings& timings) {
  prompt_tokens_ += static_cast<uint64_t>(timings.prompt_tokens);
  reused_tokens_ += static_cast<uint64_t>(timings.reused_tokens);
  generated_tokens_ += static_cast<uint64_t>(timings.generated_tokens);
  prefill_seconds_ += timings.prefill_ms / 1000;
  decode_seconds_ += timings.decode_ms / 1000;
  const double first = timings.ttft_ms / 1000;
  first_token_seconds_ += first;
  size_t bucket = 0;
  while (bucket < kBuckets.size() && first > kBuckets[bucket]) ++bucket;
  ++first_token_[bucket];
}

std::string Metrics::text() const {
  std::string out;
  const auto head = [&](const char* name, const char* type, const char* help) {
    out += fmt::format("# HELP cambium_{} {}\n# TYPE cambium_{} {}\n", name, help, name, type);
  };
  const auto one = [&](const char* name, const char* type, const char* help, auto value) {
    head(name, type, help);
    out += fmt::format("cambium_{} {}\n", name, value);
  };
  head("http_requests_total", "counter", "Answered requests by path and status.");
  for (const auto& [key, count] : requests_) {
    out += fmt::format("cambium_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first,
                       key.second, count);
  }
  one("requests_running", "gauge", "Generations under way.", running_);
  one("requests_cancelled_total", "counter", "Generations whose client left.", cancelled_);
  head("cascade_answers_total", "counter", "Answers of two models, by which one they came from.");
  out += fmt::format("cambium_cascade_answers_total{{model=\"small\"}} {}\n", by_small_);
  out += fmt::format("cambium_cascade_answers_total{{model=\"larger\"}} {}\n", by_larger_);
  one("prompt_tokens_total", "counter", "Tokens of prompts.", prompt_tokens_);
  one("prompt_tokens_reused_total", "counter", "Of these, taken from the KV cache.",
      reused_tokens_);
  one("generated_tokens_total", "counter", "Tokens generated.", generated_tokens_);
  one("prefill_seconds_total", "counter", "Time spent on prompts.", prefill_seconds_);
  one("decode_seconds_total", "counter", "Time spent generating.", decode_seconds_);
  head("first_token_seconds", "histogram", "Time from a request to its first token.");
  uint64_t below = 0;
  for (size_t i = 0; i < kBuckets.size(); ++i) {
    below += first_token_[i];
    out += fmt::format("cambium_first_token_seconds_bucket{{le=\"{}\"}} {}\n", kBuckets[i], below);
  }
  below += first_token_.back();
  out += fmt::format("cambium_first_token_seconds_bucket{{le=\"+Inf\"}} {}\n", below);
  out += fmt::format("cambium_first_token_seconds_sum {}\n", first_token_seconds_);
  out += fmt::format("cambium_first_token_seconds_count {}\n", below);
  return out;
}

}  // namespace cambium::lsp::serve
