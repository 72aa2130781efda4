// One request on its way through a model: what it feeds next, and what it makes of the logits.
// Which request runs when, and in which slot, is the scheduler's business. Used from the engine
// thread only.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/copying.h"
#include "engine/draft.h"
#include "engine/generator.h"
#include "engine/kv_cache.h"
#include "engine/models/model.h"
#include "engine/prompt_format.h"
#include "engine/sampler.h"
#include "engine/score_branches.h"
#include "engine/text_stream.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

/// What all jobs of a model share.
struct JobContext {
  const Tokenizer* tokenizer = nullptr;
  const PromptFormat* format = nullptr;
  int32_t n_vocab = 0;
  int32_t context = 0;     ///< tokens a sequence may have
  bool structure = false;  ///< labels change what the model computes
  bool branches = false;   ///< the model takes passes with hidden cells
  int32_t sinks = 0;       ///< first cells that every token sees: no branch may begin among them
  DraftPolicy drafts;
};

/// Tokens for one pass, to be put in cells [cached, cached + tokens.size()).
struct Feed {
  std::vector<TokenId> tokens;
  std::vector<int32_t> logits_at;  ///< as in Pass
  bool decode = false;             ///< one new token and its draft, not prompt
  bool greedy = false;             ///< as in Pass
  std::vector<TokenId> ranked;     ///< as in Pass, with `top`
  int32_t top = 0;
  /// With branches, whose tokens come after `own` of the sequence: as in Pass, and the labels of all
  /// cells (empty without structure).
  std::vector<HiddenCells> hidden;
  TokenStructure labels;
  size_t own = 0;

  std::span<const TokenId> of_sequence() const {
    return std::span(tokens).first(hidden.empty() ? tokens.size() : own);
  }
};

/// What a pass answered with: logits, or choices of the backend whose logits can still be had.
class LogitRows {
 public:
  LogitRows(Model& model, const PassResult& result, int32_t n_vocab)
      : model_(model),
        best_(result.best),
        logprobs_(result.logprobs),
        logits_(result.logits),
        n_vocab_(static_cast<size_t>(n_vocab)) {}
  /// The backend's choice for a row of a greedy feed, or null.
  const BestToken* best(size_t row) const { return row < best_.size() ? &best_[row] : nullptr; }
  /// A row of a feed that wants rows ranked: by the backend, or by its logits.
  Ranked ranked(size_t row, const Feed& feed);
  /// [n_vocab]; empty after an error, which stays in error().
  std::span<const float> logits(size_t row);
  const std::optional<Error>& error() const { return error_; }

 private:
  Model& model_;
  std::span<const BestToken> best_;
  std::span<const float> logprobs_;
  std::span<const float> logits_;
  const size_t n_vocab_;
  std::optional<Error> error_;
};

class Job {
 public:
  using Clock = std::chrono::steady_clock;

  Job(JobContext& shared, std::vector<TokenId> tokens, TokenStructure labels, Priority priority,
      CancelFlag cancel, uint64_t slot_key);
  virtual ~Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Nothing to do with the request's sense: an error a user can act on, or nothing.
  virtual std::optional<Error> invalid() const;
  /// Cells that may be taken from a cache; the tokens after them must be fed.
  virtual int32_t max_reuse() const = 0;
  /// What to feed when the first `cached` tokens are in cells; `chunk` tokens, or up to longest_pass().
  /// May extend labels() to cover a draft.
  virtual Feed next(int32_t cached, int32_t chunk) = 0;
  /// Takes the answer to a feed; returns how many of its tokens, the first ones, belong to the sequence.
  /// After an error of `rows` it has taken nothing more.
  virtual int32_t take(const Feed& feed, LogitRows& rows) = 0;
  bool finished() const { return finished_; }
  /// Answers the caller, once: with what there is, or with the error.
  virtual void answer(std::optional<Error> error) = 0;
  /// The cancel flag was seen: ends the job.
  virtual void give_up() = 0;

  bool cancelled() const { return cancel_ && cancel_->load(std::memory_order_relaxed); }
  std::span<const TokenId> tokens() const { return tokens_; }
  const TokenStructure& labels() const { return labels_; }

  const Priority priority;
  const uint64_t slot_key;
  const Clock::time_point submitted = Clock::now();

  // The scheduler's notes.
  Slot* slot = nullptr;
  bool started = false;
  double used_ms = 0;  ///< compute time had, for fairness
  int64_t blocks = 0, skipped_blocks = 0;
  Timings timings;

 protected:
  Timings final_timings() const;

  JobContext& shared_;
  std::vector<TokenId> tokens_;
  TokenStructure labels_;  // empty, or one a token (and its draft)
  bool finished_ = false;

 private:
  CancelFlag cancel_;
};

class GenerateJob final : public Job {
 public:
  GenerateJob(JobContext& shared, Request request, OnText on_text, OnDone on_done);

  std::optional<Error> invalid() const override;
  int32_t max_reuse() const override { return static_cast<int32_t>(tokens_.size()) - 1; }
  Feed next(int32_t cached, int32_t chunk) override;
  int32_t take(const Feed& feed, LogitRows& rows) override;
  void answer(std::optional<Error> error) override;
  void give_up() override { finish(StopReason::cancelled); }

 private:
  /// Chooses the next token from a row and takes it in; false if nothing may follow it.
  bool choose(LogitRows& rows, size_t row);
  /// The token that copying puts before the model's choice, if there is one and nothing speaks
  /// against it.
  std::optional<TokenId> copied(LogitRows& rows, size_t row, std::span<const TokenId> allowed);
  void finish(StopReason reason);

  Request request_;  // prompt and structure are moved out into tokens_ and labels_
  OnDone on_done_;
  Sampler sampler_;
  TextStream stream_;
  PromptLookup lookup_;
  std::optional<CopyContext> copying_;
  DraftChance chance_;
  Generated result_;
};

class ScoreJob final : public Job {
 public:
  ScoreJob(JobContext& shared, ScoreRequest request, OnScored on_done);

  std::optional<Error> invalid() const override;
  int32_t max_reuse() const override { return own_done() ? size() : next_scored(); }
  Feed next(int32_t cached, int32_t chunk) override;
  int32_t take(const Feed& feed, LogitRows& rows) override;
  void answer(std::optional<Error> error) override;
  void give_up() override;

 private:
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  /// The cell whose logits are wanted next.
  int32_t next_scored() const {
    return request_.first - 1 + static_cast<int32_t>(result_.logprobs.size());
  }
  bool own_done() const { return next_scored() + 1 == size(); }
  /// Puts a group's branches behind what is fed.
  void add_group(const BranchGroup& group, int32_t cached, Feed& feed);

  const ScoreRequest request_;
  const std::vector<BranchGroup> groups_;
  const int32_t before_branches_;
  size_t next_group_ = 0;
  /// Of the feed under way: the groups in it, and whose each row is (a branch's index, or -1).
  size_t fed_groups_ = 0;
  std::vector<int32_t> row_of_;
  OnScored on_done_;
  Scored result_;
  bool cancelled_ = false;
};

}  // namespace cambium::engine
