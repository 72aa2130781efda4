// What goes into a Generator and what comes out; shared by local and remote engines.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/expert_loads.h"

namespace cambium::engine {

using TokenId = int32_t;

/// Raised by whoever loses interest; polled between decode steps and between prefill chunks.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;
inline CancelFlag make_cancel_flag() { return std::make_shared<std::atomic<bool>>(false); }

/// Applied in this order: repetition, top_k, top_p, min_p, temperature. temperature 0 is greedy.
struct SamplingParams {
  float temperature = 0.0f;
  int32_t top_k = 0;   ///< 0: off
  float top_p = 1.0f;  ///< 1: off
  float min_p = 0.0f;  ///< 0: off
  /// 1: off; divides positive and multiplies negative logits (Keskar 2019).
  float repetition = 1.0f;
  int32_t repetition_last = 64;  ///< tokens looked back at
  uint64_t seed = 0;
};

struct Timings {
  int32_t prompt_tokens = 0;  ///< length of the prompt
  int32_t reused_tokens = 0;  ///< of these, taken from the KV cache
  int32_t generated_tokens = 0;
  int32_t drafted_tokens = 0, accepted_tokens = 0;  ///< speculation
  double queue_ms = 0, prefill_ms = 0, decode_ms = 0, ttft_ms = 0;
  double skipped_blocks = 0;  ///< share of key blocks of all layers that the mask skipped, 0..1
  ExpertLoads expert_loads;   ///< of this request's own tokens; empty: a dense model
};

enum class StopReason : uint8_t {
  end_of_text,  ///< an end-of-generation token
  controller,   ///< the StepController stopped it (end of node, end of line, syntax)
  stop_string,
  max_tokens,
  context_full,
  cancelled,
};
const char* to_string(StopReason reason);

struct Generated {
  std::vector<TokenId> tokens;
  std::string text;             ///< bytes; a trailing partial UTF-8 sequence is held back
  std::vector<float> logprobs;  ///< natural log, one a token, of the unmodified distribution
  StopReason stop = StopReason::end_of_text;
  Timings timings;
};

/// What a StepController sees: the token just chosen, not yet in the result.
struct Step {
  TokenId token = 0;
  std::string_view piece;  ///< its bytes
  std::string_view text;   ///< all text generated before it
  float logprob = 0;
};

struct StepDecision {
  enum class Verdict : uint8_t {
    accept,
    stop_before,  ///< end here; the token is dropped
    stop_after,   ///< end here; the token (or its first `keep_bytes`) is kept
    reject,       ///< take the next best token instead (the controller is asked again)
  };
  Verdict verdict = Verdict::accept;
  size_t keep_bytes = SIZE_MAX;
  /// Label of this token; unset: the label of the token before it.
  std::optional<TokenLabel> label = std::nullopt;
};

/// Called on the engine thread once a chosen token, before it is fed back. Must not block; what it
/// costs is on the decode path.
class StepController {
 public:
  virtual ~StepController() = default;
  virtual StepDecision on_token(const Step& step) = 0;
  /// Bytes that the next tokens must begin with (token healing), or empty. Asked before each choice.
  virtual std::string_view required_prefix() const { return {}; }
  /// Whether the text may end here: an end-of-generation token is not shown to on_token.
  virtual bool may_end() const { return true; }
  /// The tokens that on_token would take next, ascending, ends apart; nothing: it can't say, and is
  /// asked for one after the other. Asked once a choice, after the first refusal, since most choices
  /// of a model that was told the form are right.
  virtual std::optional<std::vector<TokenId>> allowed() { return std::nullopt; }
};

enum class Priority : uint8_t { background, normal, interactive };

struct ChatMessage {
  enum class Role : uint8_t { system, user, assistant };
  Role role = Role::user;
  std::string content;  ///< UTF-8; a special token's spelling in it is text
};

/// Prompts as text, for callers that lay out no tokens themselves and for engines that take none. A
/// local engine encodes them with the model's own template, a remote one sends them as they are.
struct RawPrompt {
  std::string text;
  bool parse_special = false;  ///< spellings of special tokens become the tokens
};
struct FimPrompt {
  std::string prefix, suffix;
};
struct ChatPrompt {
  std::vector<ChatMessage> messages;
};
using TextPrompt = std::variant<std::monostate, RawPrompt, FimPrompt, ChatPrompt>;

struct Request {
  std::vector<TokenId> prompt;
  TextPrompt text;           ///< in place of `prompt`; one of the two is given
  TokenStructure structure;  ///< empty, or one label a prompt token
  SamplingParams sampling;
  int32_t max_tokens = 64;
  std::vector<std::string> stop;
  /// JSON Schema that the answer is to keep to, for an endpoint that can see to it; a local engine is
  /// held to a form by `controller`. Empty: any text.
  std::string json_schema;
  bool speculate = true;
  /// Generated::logprobs will be read: an endpoint that need not tell them in a chat is asked to.
  bool logprobs = false;
  /// Greedy choices take in what follows the longest earlier match of the text so far
  /// (engine/copying.h); 0: the model's choice alone, 1: as measured.
  float copying = 0;
  /// Tokens of `prompt` up to the place that the generated text follows in the document; -1: all.
  int32_t text_end = -1;
  Priority priority = Priority::interactive;
  std::shared_ptr<StepController> controller;  ///< may be null
  CancelFlag cancel;                           ///< may be null
  /// Affinity: requests of the same key prefer the same slot, so that two documents do not evict each
  /// other's cells. 0: none.
  uint64_t slot_key = 0;
};

/// What might follow a place of a ScoreRequest's tokens, or of another branch's, in place of what does.
struct ScoreBranch {
  /// Tokens before its own: of the sequence that it leaves, 1 to all; of a branch's sequence, counted with
  /// those before that one, and more than those.
  int32_t at = 1;
  std::vector<TokenId> tokens;  ///< its own, at least one
  TokenStructure structure;     ///< with the request's: one label a token
  int32_t first = 0;    ///< the first of its tokens whose probability is wanted; their number: none
  int32_t leaves = -1;  ///< an earlier branch that leaves no other; -1: the request's tokens
};

/// Log-probabilities of a text under the model.
struct ScoreRequest {
  std::vector<TokenId> tokens;
  TokenStructure structure;
  /// Position of the first token whose probability is wanted, >= 1; with branches also tokens.size(): none.
  int32_t first = 1;
  int32_t top = 0;  ///< also the `top` most likely tokens at each position
  /// Scored as if each were the end of a request of its own; a local engine computes as many as fit
  /// beside each other in one pass.
  std::vector<ScoreBranch> branches = {};
  Priority priority = Priority::background;
  CancelFlag cancel;
  uint64_t slot_key = 0;  ///< as a Request's: of what is scored in the place of one
};
struct Scored {
  struct Alternative {
    TokenId token;
    float logprob;
  };
  std::vector<float> logprobs;                         ///< [tokens.size() - first]
  std::vector<std::vector<Alternative>> alternatives;  ///< same length, `top` each, best first
  struct Branch {
    std::vector<float> logprobs;  ///< [tokens.size() - first] of the branch
    std::vector<std::vector<Alternative>> alternatives;
  };
  std::vector<Branch> branches;  ///< as the request's
  Timings timings;
};

}  // namespace cambium::engine
