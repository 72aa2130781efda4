// What /metrics tells, in Prometheus's text format. Strand only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "engine/request.h"

namespace cambium::lsp::serve {

class Metrics {
 public:
  void answered(const std::string& path, int status) { ++requests_[{path, status}]; }
  void generated(const engine::Timings& timings);
  void cancelled() { ++cancelled_; }
  void cascaded(bool larger) { ++(larger ? by_larger_ : by_small_); }
  void started() { ++running_; }
  void ended() { --running_; }
  int64_t running() const { return running_; }

  std::string text() const;

 private:
  static constexpr std::array kBuckets = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0};

  std::map<std::pair<std::string, int>, uint64_t> requests_;
  uint64_t prompt_tokens_ = 0, reused_tokens_ = 0, generated_tokens_ = 0, cancelled_ = 0;
  uint64_t by_small_ = 0, by_larger_ = 0;  ///< answers of a cascade
  double prefill_seconds_ = 0, decode_seconds_ = 0, first_token_seconds_ = 0;
  std::array<uint64_t, kBuckets.size() + 1> first_token_{};
  int64_t running_ = 0;
};

}  // namespace cambium::lsp::serve
