// What became of suggestions, counted for the whole process. Strand only.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "engine/request.h"
#include "lsp/assist/router.h"
#include "lsp/protocol/reader.h"

namespace cambium::lsp {

class Stats {
 public:
  /// A suggestion of `characters` (UTF-16 units, as clients count them) was sent; returns its id.
  std::string suggested(uint32_t characters);
  /// Each of these tolerates ids it does not know (older than the last 256, or another server's).
  void shown(const std::string& id);
  void partially_accepted(const std::string& id, uint32_t characters_so_far);
  void accepted(const std::string& id);

  void answered(double milliseconds, const engine::Timings& timings, const assist::Route& route);

  uint64_t requests = 0, empty = 0, superseded = 0, cancelled = 0, failed = 0;

  Json to_json() const;

 private:
  struct Suggestion {
    uint32_t characters = 0, taken = 0;
    bool shown = false, accepted = false;
  };
  Suggestion* find(const std::string& id);

  std::unordered_map<std::string, Suggestion> recent_;
  std::deque<std::string> order_;  ///< of recent_, oldest first
  std::deque<double> latencies_;   ///< of the last 512 answers with an item, milliseconds
  uint64_t next_ = 1;
  uint64_t suggested_ = 0, suggested_characters_ = 0, shown_ = 0, accepted_ = 0, partial_ = 0,
           accepted_characters_ = 0;
  uint64_t prompt_tokens_ = 0, reused_tokens_ = 0, generated_tokens_ = 0;
  uint64_t sure_ = 0, escalated_ = 0;  ///< of a cascade
};

}  // namespace cambium::lsp
