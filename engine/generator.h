// The one interface to a model, local or remote.
//
// Threading: submit functions may be called from any thread and return at once; callbacks run on the
// engine's own thread and must not block. `on_done` is called exactly once a request, also after a
// cancel or when the generator shuts down.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

class Tokenizer;
class PromptFormat;

/// How a conversation with a model goes by default, as its makers say.
struct ChatDefaults {
  SamplingParams sampling;  ///< R1: temperature 0.6, top-p 0.95
  bool system_prompt =
      true;             ///< false: what a system message says goes into the first user message
  bool thinks = false;  ///< its text may begin with <think>…</think>, to be folded away
  /// Its template writes the <think> itself: what is generated begins inside.
  bool opens_thinking = false;
};

/// What a generator can do. A feature that needs something absent says so to the user.
struct Capabilities {
  std::string model;        ///< a name to show
  std::string description;  ///< "cambium 41M Q4_K · CPU, AVX-512 VNNI, 2 threads"
  int32_t context = 0;      ///< tokens, prompt and generated together
  bool fill_in_middle = false;
  bool chat = false;
  bool score = false;          ///< log-probabilities of a given text
  bool step_control = false;   ///< StepController is honoured per token
  bool json_schema = false;    ///< Request::json_schema is honoured
  bool structure = false;      ///< labels change what attention sees
  bool token_prompts = false;  ///< takes token ids (remote engines: text only)
  bool remote = false;         ///< prompts leave this process
  int32_t sparse_from = 0;     ///< LoadOptions::sparse_from where it is in effect
  ChatDefaults chat_defaults;
  uint64_t memory_bytes = 0;        ///< weights, and keys and values of full slots; 0: not ours
  uint64_t kv_bytes_per_token = 0;  ///< 0: not known (remote engines)
};

using OnText = std::function<void(std::string_view piece)>;  ///< streaming; may be null
using OnDone = std::function<void(Result<Generated>)>;
using OnScored = std::function<void(Result<Scored>)>;

class Generator {
 public:
  virtual ~Generator() = default;
  virtual Capabilities capabilities() const = 0;
  /// Null for a remote engine without token_prompts.
  virtual const Tokenizer* tokenizer() const = 0;
  virtual const PromptFormat* prompt_format() const = 0;
  virtual void generate(Request request, OnText on_text, OnDone on_done) = 0;
  /// Whoever can score takes branches too; score_one_by_one() (engine/score_branches.h) is a way that all
  /// have.
  virtual void score(ScoreRequest request, OnScored on_done) = 0;
};

}  // namespace cambium::engine
