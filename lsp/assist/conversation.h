// Conversations that outgrow their budget: the oldest turns become a summary, their code a reference
// that is put back in full when a later turn names it, and the newest turns stay word for word. Pure
// functions; the summary itself is asked of a model by the Assistant.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace cambium::assist {

/// What was done to a conversation, for its timings.
struct Compaction {
  bool compacted = false;
  size_t messages_before = 0, messages_after = 0;
  int32_t tokens_before = 0, tokens_after = 0;
  /// Keys and values these tokens take in the model's cache, bytes; 0: a remote engine's, not known.
  uint64_t kv_bytes_before = 0, kv_bytes_after = 0;
  std::string summary_by;  ///< the model that wrote the summary; "rule" where none could
  double ms = 0;           ///< what summarising cost; 0 when an earlier summary still served
};

using CountTokens = std::function<int32_t(std::string_view)>;
/// For engines whose tokenizer is not here: 3.5 bytes a token, rounded up.
int32_t estimated_tokens(std::string_view text);

/// Of all contents, and what a template puts around a message (taken as 5 tokens).
int32_t conversation_tokens(const std::vector<engine::ChatMessage>& messages,
                            const CountTokens& count);

/// A fenced block of an old turn.
struct CodeReference {
  std::string label;  ///< "[code 2: python, 24 lines: parse, Parser]", as it stands in the summary
  std::string fence;  ///< the whole block, fences included
  std::vector<std::string> names;  ///< what it defines, by a rule of thumb
};

/// Which turns go, with their code taken out. Messages [first, end) are old; those before are the
/// system's.
struct CompactionPlan {
  size_t first = 0, end = 0;
  std::string transcript;  ///< the old turns as text, code by reference
  std::vector<CodeReference> code;
  int32_t summary_tokens = 0;  ///< what the summary may take
  bool needed() const { return end > first; }
};

/// A summary made before, of the messages [.., end).
struct EarlierSummary {
  size_t end = 0;
  std::string text;
};

/// Keeps the newest turns that fit half of `budget`, at least the last message; the rest is old.
/// Nothing is old when the conversation fits. The transcript begins with `earlier`, if given, in
/// place of the turns it covers.
CompactionPlan plan_compaction(const std::vector<engine::ChatMessage>& messages, int32_t budget,
                               const CountTokens& count, const EarlierSummary* earlier = nullptr);
/// The plan that `earlier` came from, for as long as it still serves.
CompactionPlan plan_again(const std::vector<engine::ChatMessage>& messages,
                          const EarlierSummary& earlier);

/// What a model is asked for the summary of a plan.
std::vector<engine::ChatMessage> summary_request(const CompactionPlan& plan);
/// The summary where no model can be asked: of every sentence that states something (a decision, a
/// number, a name, a rule), the newest that fit. Deterministic.
std::string summary_by_rule(const CompactionPlan& plan, const CountTokens& count);

/// The conversation to send: the system's messages, then the newest turns, the first of them led by
/// the summary and by the code that the last message names (by reference, or by what it defines).
std::vector<engine::ChatMessage> compacted(const std::vector<engine::ChatMessage>& messages,
                                           const CompactionPlan& plan, std::string_view summary);

}  // namespace cambium::assist
