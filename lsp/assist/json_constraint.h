// Holds a local model to a JSON schema while it writes: a token is allowed iff all its bytes keep the
// document alive (json_automaton.h), the end only where the document is complete, and the text stops with
// the document's last byte. A model that thinks does so first, within <think>…</think> and within a budget
// that leaves room for the answer.
//
// Most choices of a model that was told the form are right and cost a few steps of the automaton. Only
// after a refused one are all allowed tokens wanted: found by a walk over the sorted vocabulary, where
// tokens that begin alike share their steps, and remembered by state.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/json_automaton.h"
#include "lsp/assist/json_schema.h"

namespace cambium::assist {

/// A tokenizer's tokens in the order of their bytes. The tokenizer must outlive it. Any thread; sorted when
/// first asked for, which takes tens of milliseconds: most answers never need it.
class SortedVocabulary {
 public:
  explicit SortedVocabulary(const engine::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  struct Token {
    std::string_view bytes;
    engine::TokenId id = 0;
    uint32_t shared = 0;  ///< bytes it has in common with the one before
  };
  struct Sorted {
    std::vector<Token> tokens;
    /// Where tokens that begin with a byte stand: [first[b], first[b + 1]).
    std::array<size_t, 257> first{};
    uint32_t longest = 0;  ///< bytes
  };
  const Sorted& sorted() const;

 private:
  const engine::Tokenizer& tokenizer_;
  mutable std::once_flag once_;
  mutable Sorted sorted_;
};

/// How far an answer is: what may be thought first, then the document.
class AnswerState {
 public:
  enum class Thinking : uint8_t {
    none,   ///< the document at once
    may,    ///< it may open with <think>
    begun,  ///< the model's template has opened it
  };
  AnswerState(const JsonSchema& schema, Thinking thinking);

  bool step(const JsonSchema& schema, uint8_t byte, AnswerState& next) const;
  bool thinking() const { return phase_ == Phase::thinking; }
  /// From here on only </think> leads out of thinking.
  void stop_thinking() { hurried_ = true; }
  bool complete() const { return phase_ == Phase::document && document_.complete(); }
  bool closed() const { return phase_ == Phase::document && document_.closed(); }
  std::string key(const JsonSchema& schema, uint32_t reach) const;

 private:
  enum class Phase : uint8_t { undecided, opening, thinking, document };
  Phase phase_ = Phase::document;
  uint8_t matched_ = 0;  ///< bytes of a tag; blanks while undecided
  bool hurried_ = false;
  JsonState document_;
};

/// The allowed tokens of a vocabulary under a schema, by state. Any thread.
class AllowedTokens {
 public:
  AllowedTokens(std::shared_ptr<const SortedVocabulary> vocabulary,
                std::shared_ptr<const JsonSchema> schema);
  /// Ascending.
  std::vector<engine::TokenId> at(const AnswerState& state);
  const JsonSchema& schema() const { return *schema_; }

 private:
  using Bits = std::vector<uint64_t>;
  std::shared_ptr<const Bits> find(const AnswerState& state) const;

  const std::shared_ptr<const SortedVocabulary> vocabulary_;
  const std::shared_ptr<const JsonSchema> schema_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Bits>> known_;
};

/// One answer's controller; engine thread.
class JsonConstraint final : public engine::StepController {
 public:
  /// `thinking_tokens`: how many the model may think before it is told to answer.
  JsonConstraint(std::shared_ptr<AllowedTokens> tokens, AnswerState::Thinking thinking,
                 int32_t thinking_tokens);
  engine::StepDecision on_token(const engine::Step& step) override;
  bool may_end() const override { return state_.complete(); }
  std::optional<std::vector<engine::TokenId>> allowed() override { return tokens_->at(state_); }

 private:
  const std::shared_ptr<AllowedTokens> tokens_;
  AnswerState state_, next_, other_;
  int32_t thinking_left_;
};

/// Makes requests keep to a schema, whatever engine they go to. Remembers what it found out of a model for
/// as long as that is loaded. Any thread.
class JsonConstraints {
 public:
  /// A local engine gets a controller, an endpoint the schema; one that can do neither is asked as it is.
  void apply(engine::Request& request, const std::shared_ptr<engine::Generator>& generator,
             const std::shared_ptr<const JsonSchema>& schema);

 private:
  struct Known {
    std::weak_ptr<engine::Generator> of;
    std::shared_ptr<const SortedVocabulary> vocabulary;
    std::vector<std::pair<std::string, std::shared_ptr<AllowedTokens>>> tokens;  ///< by schema
  };
  std::mutex mutex_;
  std::list<Known> known_;
};

}  // namespace cambium::assist
