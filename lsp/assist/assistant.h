// Asks a model in words: the router chooses one, its template is kept to, long conversations are
// compacted, thinking is told apart from the answer. Where the model chosen has a larger one behind it
// (assist/cascade.h), its answer is shown once it counts, as a whole. What chat, explain and review
// stand on.
//
// Threading: ask() may be called from any thread and returns at once. The callbacks run on the
// engine's thread (or the caller's, where nothing can be asked) and must not block; `on_answer` is
// called exactly once, also after a cancel.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/conversation.h"
#include "lsp/assist/json_schema.h"
#include "lsp/assist/models.h"
#include "lsp/assist/router.h"

namespace cambium::assist {

struct Question {
  Intent intent = Intent::chat;
  /// Oldest first; the last one is the user's. A system message, if any, comes first.
  std::vector<engine::ChatMessage> messages;
  std::optional<Role> role;  ///< set: this one is asked, and the router only notes it
  int32_t max_tokens = 1024;
  /// Work with one right answer (mathematics, a checkable claim): a lower temperature where the
  /// model's default is not greedy.
  bool exact = false;
  std::shared_ptr<const JsonSchema> form;          ///< of the answer, kept to where the engine can
  std::optional<engine::SamplingParams> sampling;  ///< unset: the model's own defaults
  uint64_t slot_key = 0;                           ///< as Request::slot_key
  engine::Priority priority = engine::Priority::normal;
  engine::CancelFlag cancel;  ///< may be null
};

struct AnswerPiece {
  enum class Kind : uint8_t { thinking, text };
  Kind kind = Kind::text;
  std::string_view text;
};
using OnPiece = std::function<void(AnswerPiece)>;  ///< may be null

struct Answer {
  std::string text;      ///< without the thinking
  std::string thinking;  ///< empty where the model does not think, or did not
  engine::StopReason stop = engine::StopReason::end_of_text;
  engine::Timings timings;
  Route route;
  Compaction compaction;  ///< what was done to a conversation too long
};
using OnAnswer = std::function<void(Result<Answer>)>;

struct AssistantOptions {
  /// Tokens a conversation may have before it is compacted; 0: half of the model's context.
  int32_t conversation_tokens = 0;
  /// Asks the general model what a free question is about, in place of the rule.
  bool classify_by_model = false;
};

class Assistant {
 public:
  explicit Assistant(std::shared_ptr<Models> models, AssistantOptions options = {});
  void ask(Question question, OnPiece on_piece, OnAnswer on_answer) const;
  /// Whether the user gave this role a model. Any thread, cheap.
  bool has(Role role) const;
  /// Whether there is a model for this kind of work. Any thread, cheap.
  bool answers(Intent intent) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cambium::assist
