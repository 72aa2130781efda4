#include "lsp/assist/json_constraint.h"

#include <algorithm>
#include <bit>

#include "engine/tokenizer.h"

namespace cambium::assist {

namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";
constexpr uint8_t kMostBlanks = 24;     ///< before anything else
constexpr size_t kMostStates = 512;     ///< remembered of one schema: 8 MB at 128k tokens
constexpr size_t kMostSchemas = 8;      ///< remembered of one model
constexpr int32_t kLeastAnswer = 1024;  ///< tokens that thinking leaves, where there are as many

bool is_blank(uint8_t b) { return b == ' ' || b == '\n' || b == '\t' || b == '\r'; }

uint32_t shared_bytes(std::string_view a, std::string_view b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<uint32_t>(end.first - a.begin());
}

}  // namespace

// --- the vocabulary -----------------------------------------------------------------------------

const SortedVocabulary::Sorted& SortedVocabulary::sorted() const {
  std::call_once(once_, [this] {
    auto& tokens = sorted_.tokens;
    for (engine::TokenId id = 0; id < tokenizer_.size(); ++id) {
      const std::string_view bytes = tokenizer_.piece(id);
      if (bytes.empty()) continue;  // a control token says nothing, and would say it for ever
      tokens.push_back({bytes, id, 0});
      sorted_.longest = std::max(sorted_.longest, static_cast<uint32_t>(bytes.size()));
    }
    std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) {
      return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id;
    });
    for (size_t i = 1; i < tokens.size(); ++i) {
      tokens[i].shared = shared_bytes(tokens[i - 1].bytes, tokens[i].bytes);
    }
    size_t at = 0;
    for (size_t byte = 0; byte <= 256; ++byte) {
      while (at < tokens.size() && static_cast<uint8_t>(tokens[at].bytes.front()) < byte) ++at;
      sorted_.first[byte] = at;
    }
  });
  return sorted_;
}

// --- the answer ---------------------------------------------------------------------------------

AnswerState::AnswerState(const JsonSchema& schema, Thinking thinking) : document_(schema) {
  if (thinking == Thinking::may) phase_ = Phase::undecided;
  if (thinking == Thinking::begun) phase_ = Phase::thinking;
}

bool AnswerState::step(const JsonSchema& schema, uint8_t byte, AnswerState& next) const {
  next.hurried_ = hurried_;
  next.phase_ = phase_;
  const char c = static_cast<char>(byte);
  switch (phase_) {
    case Phase::document:
      return document_.step(schema, byte, next.document_);
    case Phase::undecided:
      if (c == '<') {
        next.phase_ = Phase::opening;
        next.matched_ = 1;
      } else if (is_blank(byte)) {
        if (matched_ == kMostBlanks) return false;
        next.matched_ = matched_ + 1;
      } else {
        next.phase_ = Phase::document;
        return document_.step(schema, byte, next.document_);
      }
      break;
    case Phase::opening:
      if (c != kOpen[matched_]) return false;
      next.matched_ = matched_ + 1;
      if (next.matched_ == kOpen.size()) {
        next.phase_ = Phase::thinking;
        next.matched_ = 0;
      }
      break;
    case Phase::thinking:
      if (c == kClose[matched_]) {
        next.matched_ = matched_ + 1;
        if (next.matched_ == kClose.size()) next.phase_ = Phase::document;
      } else if (hurried_) {
        return false;
      } else {
        next.matched_ = c == kClose.front() ? 1 : 0;
      }
      break;
  }
  next.document_ = document_;
  return true;
}

std::string AnswerState::key(const JsonSchema& schema, uint32_t reach) const {
  if (phase_ == Phase::document) return document_.key(schema, reach);
  return {'\xff', static_cast<char>(phase_), static_cast<char>(matched_), hurried_ ? '!' : '-'};
}

// --- the allowed tokens -------------------------------------------------------------------------

AllowedTokens::AllowedTokens(std::shared_ptr<const SortedVocabulary> vocabulary,
                             std::shared_ptr<const JsonSchema> schema)
    : vocabulary_(std::move(vocabulary)), schema_(std::move(schema)) {}

std::shared_ptr<const AllowedTokens::Bits> AllowedTokens::find(const AnswerState& state) const {
  const SortedVocabulary::Sorted& vocabulary = vocabulary_->sorted();
  const auto& tokens = vocabulary.tokens;
  auto bits = std::make_shared<Bits>();
  // at[d]: after d bytes of the present token.
  std::vector<AnswerState> at(vocabulary.longest + 1, state);
  for (size_t byte = 0; byte < 256; ++byte) {
    const size_t end = vocabulary.first[byte + 1];
    size_t i = vocabulary.first[byte];
    if (i == end || !state.step(*schema_, static_cast<uint8_t>(byte), at[1])) continue;
    size_t alive = 1;  // bytes of the present token that led somewhere
    while (i < end) {
      const SortedVocabulary::Token& token = tokens[i];
      const size_t size = token.bytes.size();
      while (alive < size &&
             at[alive].step(*schema_, static_cast<uint8_t>(token.bytes[alive]), at[alive + 1])) {
        ++alive;
      }
      if (alive == size) {
        const auto id = static_cast<size_t>(token.id);
        if (bits->size() <= id / 64) bits->resize(id / 64 + 1);
        (*bits)[id / 64] |= uint64_t{1} << (id % 64);
        ++i;
      } else {
        // All that begin with these bytes and the one refused go with it.
        for (++i; i < end && tokens[i].shared > alive; ++i) {
        }
      }
      if (i < end) alive = std::min<size_t>(alive, tokens[i].shared);
    }
  }
  return bits;
}

std::vector<engine::TokenId> AllowedTokens::at(const AnswerState& state) {
  const std::string key = state.key(*schema_, vocabulary_->sorted().longest);
  std::shared_ptr<const Bits> bits;
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(key);
    if (found != known_.end()) bits = found->second;
  }
  if (!bits) {
    bits = find(state);
    const std::lock_guard lock(mutex_);
    if (known_.size() >= kMostStates) known_.clear();
    known_.emplace(key, bits);
  }
  std::vector<engine::TokenId> out;
  for (size_t i = 0; i < bits->size(); ++i) {
    for (uint64_t word = (*bits)[i]; word != 0; word &= word - 1) {
      out.push_back(static_cast<engine::TokenId>(i * 64) + std::countr_zero(word));
    }
  }
  return out;
}

// --- one answer ---------------------------------------------------------------------------------

JsonConstraint::JsonConstraint(std::shared_ptr<AllowedTokens> tokens,
                               AnswerState::Thinking thinking, int32_t thinking_tokens)
    : tokens_(std::move(tokens)),
      state_(tokens_->schema(), thinking),
      next_(state_),
      other_(state_),
      thinking_left_(thinking_tokens) {}

engine::StepDecision JsonConstraint::on_token(const engine::Step& step) {
  using Verdict = engine::StepDecision::Verdict;
  if (step.piece.empty()) return {Verdict::reject};
  next_ = state_;
  size_t keep = 0;
  for (size_t i = 0; i < step.piece.size(); ++i) {
    const auto byte = static_cast<uint8_t>(step.piece[i]);
    if (!next_.step(tokens_->schema(), byte, other_)) return {Verdict::reject};
    std::swap(next_, other_);
    if (!next_.closed() || !is_blank(byte)) keep = i + 1;
  }
  std::swap(state_, next_);
  if (state_.closed()) return {Verdict::stop_after, keep};
  if (state_.thinking() && --thinking_left_ <= 0) state_.stop_thinking();
  return {};
}

void JsonConstraints::apply(engine::Request& request,
                            const std::shared_ptr<engine::Generator>& generator,
                            const std::shared_ptr<const JsonSchema>& schema) {
  if (!schema) return;
  const engine::Capabilities can = generator->capabilities();
  if (can.json_schema) request.json_schema = schema->text();
  const engine::Tokenizer* tokenizer = generator->tokenizer();
  if (!can.step_control || tokenizer == nullptr) return;

  std::shared_ptr<AllowedTokens> tokens;
  {
    const std::lock_guard lock(mutex_);
    // A model that went may have another one's address.
    known_.remove_if([](const Known& each) { return each.of.expired(); });
    auto known = std::find_if(known_.begin(), known_.end(),
                              [&](const Known& each) { return each.of.lock() == generator; });
    if (known == known_.end()) {
      known = known_.insert(known_.end(),
                            {generator, std::make_shared<const SortedVocabulary>(*tokenizer), {}});
    }
    auto& all = known->tokens;
    auto own = std::find_if(all.begin(), all.end(),
                            [&](const auto& each) { return each.first == schema->text(); });
    if (own == all.end()) {
      if (all.size() == kMostSchemas) all.erase(all.begin());
      own = all.insert(
          all.end(), {schema->text(), std::make_shared<AllowedTokens>(known->vocabulary, schema)});
    }
    tokens = own->second;
  }
  using Thinking = AnswerState::Thinking;
  const Thinking thinking = can.chat_defaults.opens_thinking ? Thinking::begun
                            : can.chat_defaults.thinks       ? Thinking::may
                                                             : Thinking::none;
  const int32_t limit = request.max_tokens;
  request.controller =
      std::make_shared<JsonConstraint>(tokens, thinking, std::max(limit / 2, limit - kLeastAnswer));
}

}  // namespace cambium::assist
