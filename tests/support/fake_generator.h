// A model that says what a test tells it to, with a tokenizer of words: enough to test everything
// around a model without one.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/generator.h"
#include "engine/prompt_format.h"
#include "engine/tokenizer.h"

namespace cambium::test {

/// Tokens are words with the blank before them, runs of white space, and single other bytes. Words of
/// more than four letters are split, so that a cursor can stand inside a word and between tokens. A
/// token depends only on the text up to its end and one byte more, as in real byte-level BPE.
class FakeTokenizer final : public engine::Tokenizer {
 public:
  enum : engine::TokenId { kBos, kEos, kPrefix, kSuffix, kMiddle, kFile, kSpecials };

  std::vector<engine::TokenId> encode(std::string_view text) const override {
    std::vector<uint32_t> offsets;
    return encode(text, offsets);
  }
  std::vector<engine::TokenId> encode(std::string_view text,
                                      std::vector<uint32_t>& offsets) const override {
    std::vector<engine::TokenId> ids;
    offsets.clear();
    for (size_t at = 0; at < text.size();) {
      const size_t n = length(text.substr(at));
      offsets.push_back(static_cast<uint32_t>(at));
      ids.push_back(id_of(text.substr(at, n)));
      at += n;
    }
    return ids;
  }
  std::string_view piece(engine::TokenId id) const override {
    const std::lock_guard lock(mutex_);
    return id < kSpecials ? std::string_view{}
                          : std::string_view(*pieces_[static_cast<size_t>(id - kSpecials)]);
  }
  std::string decode(std::span<const engine::TokenId> ids) const override {
    std::string text;
    for (const engine::TokenId id : ids) text += piece(id);
    return text;
  }
  int32_t size() const override { return 1 << 20; }
  std::optional<engine::TokenId> special(std::string_view) const override { return std::nullopt; }
  bool is_control(engine::TokenId id) const override { return id < kSpecials; }
  std::vector<engine::TokenId> compatible_with(std::string_view) const override { return {}; }

 private:
  static bool word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
  }
  static size_t length(std::string_view text) {
    const auto white = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
    size_t i = 0;
    if (white(text[0])) {
      while (i < text.size() && white(text[i])) ++i;
      // The last blank belongs to the word that follows.
      const bool joins = i < text.size() && word(text[i]) && text[i - 1] == ' ';
      if (joins && i > 1) return i - 1;
      if (!joins) return i;
    }
    size_t n = i;
    while (n < text.size() && n < i + 4 && word(text[n])) ++n;
    return std::max<size_t>(n, 1);
  }
  engine::TokenId id_of(std::string_view piece) const {
    const std::lock_guard lock(mutex_);
    const auto [it, fresh] = ids_.try_emplace(
        std::string(piece), static_cast<engine::TokenId>(pieces_.size()) + kSpecials);
    if (fresh) pieces_.push_back(&it->first);
    return it->second;
  }
  mutable std::mutex mutex_;
  mutable std::map<std::string, engine::TokenId, std::less<>> ids_;
  mutable std::vector<const std::string*> pieces_;
};

class FakeGenerator final : public engine::Generator {
 public:
  /// Told the prompt as text with <PRE>, <SUF>, <MID> in it; returns what to write.
  using Script = std::function<std::string(const std::string& prompt)>;

  explicit FakeGenerator(Script script, bool spm = true) : script_(std::move(script)) {
    engine::FimTokens fim;
    fim.prefix = FakeTokenizer::kPrefix;
    fim.suffix = FakeTokenizer::kSuffix;
    fim.middle = FakeTokenizer::kMiddle;
    fim.spm = spm;
    format_.fim = fim;
    format_.bos = FakeTokenizer::kBos;
    format_.file = FakeTokenizer::kFile;
    format_.end = {FakeTokenizer::kEos};
  }

  engine::Capabilities capabilities() const override {
    engine::Capabilities can;
    can.model = "fake";
    can.context = context;
    can.fill_in_middle = format_.fim.has_value();
    can.step_control = can.structure = can.token_prompts = true;
    can.score = likelihood != nullptr;
    return can;
  }
  const engine::Tokenizer* tokenizer() const override { return &tokenizer_; }
  const engine::PromptFormat* prompt_format() const override { return &format_; }

  void generate(engine::Request request, engine::OnText, engine::OnDone on_done) override {
    if (before_generate) before_generate(request);
    on_done(run(request));
  }
  /// Branches only: each is a text and the end, and has the log-probability `likelihood` says.
  void score(engine::ScoreRequest request, engine::OnScored on_done) override {
    if (before_score) before_score(request);
    if (!likelihood) return on_done(fail(ErrorCode::unsupported, "the fake model scores nothing"));
    if (request.cancel && request.cancel->load())
      return on_done(fail(ErrorCode::cancelled, "cancelled"));
    engine::Scored out;
    out.timings.prefill_ms = 1;
    for (const engine::ScoreBranch& branch : request.branches) {
      out.branches.emplace_back().logprobs.assign(branch.tokens.size(), 0.0f);
      out.branches.back().logprobs[0] = likelihood(as_text(branch.tokens));
    }
    scored.push_back(std::move(request));
    on_done(std::move(out));
  }

  std::string as_text(const std::vector<engine::TokenId>& ids) const {
    static constexpr const char* kNames[] = {"<BOS>", "<EOS>", "<PRE>", "<SUF>", "<MID>", "<FILE>"};
    std::string text;
    for (const engine::TokenId id : ids) {
      if (id < FakeTokenizer::kSpecials)
        text += kNames[id];
      else
        text += tokenizer_.piece(id);
    }
    return text;
  }

  engine::PromptFormat format_;
  FakeTokenizer tokenizer_;
  int32_t context = 4096;
  std::function<void(const engine::Request&)> before_generate;
  std::function<void(const engine::ScoreRequest&)> before_score;
  std::function<float(const std::string& text)> likelihood;  ///< null: it cannot score
  std::vector<engine::ScoreRequest> scored;                  ///< all that were, in order
  std::vector<engine::Request> requests;                     ///< all that were run, in order
  std::vector<engine::TokenLabel> labels;  ///< of the middle tokens of the last one

 private:
  Result<engine::Generated> run(engine::Request& request) {
    engine::Generated out;
    // As a KV cache of one slot counts it.
    size_t reused = 0;
    if (!requests.empty()) {
      const auto& old = requests.back().prompt;
      while (reused < std::min(old.size(), request.prompt.size()) &&
             old[reused] == request.prompt[reused]) {
        ++reused;
      }
    }
    out.timings.prompt_tokens = static_cast<int32_t>(request.prompt.size());
    out.timings.reused_tokens = static_cast<int32_t>(reused);
    requests.push_back(request);
    labels.clear();
    if (request.cancel && request.cancel->load()) {
      out.stop = engine::StopReason::cancelled;
      return out;
    }
    std::string text = script_(as_text(request.prompt));
    if (request.controller) text.insert(0, request.controller->required_prefix());
    out.stop = engine::StopReason::end_of_text;
    for (const engine::TokenId id : tokenizer_.encode(text)) {
      if (static_cast<int32_t>(out.tokens.size()) == request.max_tokens) {
        out.stop = engine::StopReason::max_tokens;
        break;
      }
      std::string_view piece = tokenizer_.piece(id);
      if (request.controller) {
        using Verdict = engine::StepDecision::Verdict;
        const auto decision = request.controller->on_token({id, piece, out.text, -0.1f});
        if (decision.label) labels.push_back(*decision.label);
        if (decision.verdict != Verdict::accept) {
          out.stop = engine::StopReason::controller;
          if (decision.verdict == Verdict::stop_after) {
            out.text += piece.substr(0, decision.keep_bytes);
          }
          break;
        }
      }
      out.tokens.push_back(id);
      out.logprobs.push_back(-0.1f);
      out.text += piece;
    }
    out.timings.generated_tokens = static_cast<int32_t>(out.tokens.size());
    return out;
  }

  Script script_;
};

}  // namespace cambium::test
