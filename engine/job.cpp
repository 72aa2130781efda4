#include "engine/job.h"

#include <algorithm>
#include <cassert>

namespace cambium::engine {

namespace {

double ms_since(Job::Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Job::Clock::now() - start).count();
}

}  // namespace

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::end_of_text:
      return "end_of_text";
    case StopReason::controller:
      return "controller";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::max_tokens:
      return "max_tokens";
    case StopReason::context_full:
      return "context_full";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::span<const float> LogitRows::logits(size_t row) {
  if (logits_.empty() && !error_) {
    auto rows = model_.logits();
    if (rows) {
      logits_ = *rows;
    } else {
      error_ = rows.error();
    }
  }
  return error_ ? std::span<const float>() : logits_.subspan(row * n_vocab_, n_vocab_);
}

Ranked LogitRows::ranked(size_t row, const Feed& feed) {
  if (logprobs_.empty()) {
    const auto values = logits(row);
    return error_ ? Ranked{} : engine::ranked(values, feed.ranked[row], feed.top);
  }
  Ranked out;
  out.logprob = logprobs_[row];
  const auto top = static_cast<size_t>(feed.top);
  for (const BestToken& best : best_.subspan(row * top, top))
    out.best.push_back({best.id, best.logprob});
  return out;
}

// --- every job ----------------------------------------------------------------------------------

Job::Job(JobContext& shared, std::vector<TokenId> tokens, TokenStructure labels, Priority priority_,
         CancelFlag cancel, uint64_t slot_key_)
    : priority(priority_),
      slot_key(slot_key_),
      shared_(shared),
      tokens_(std::move(tokens)),
      labels_(std::move(labels)),
      cancel_(std::move(cancel)) {
  timings.prompt_tokens = static_cast<int32_t>(tokens_.size());
}

std::optional<Error> Job::invalid() const {
  const auto error = [](std::string message) {
    return Error{ErrorCode::invalid_argument, std::move(message)};
  };
  if (tokens_.empty()) return error("the prompt is empty; at least one token is needed");
  if (static_cast<int64_t>(tokens_.size()) > shared_.context) {
    return error("the prompt has " + std::to_string(tokens_.size()) +
                 " tokens; the context holds " + std::to_string(shared_.context));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i] < 0 || tokens_[i] >= shared_.n_vocab) {
      return error("prompt token " + std::to_string(i) + " is " + std::to_string(tokens_[i]) +
                   "; the vocabulary has " + std::to_string(shared_.n_vocab));
    }
  }
  if (!labels_.empty() &&
      (labels_.scope.size() != tokens_.size() || labels_.last.size() != tokens_.size() ||
       labels_.place.size() != tokens_.size())) {
    return error("the prompt has " + std::to_string(tokens_.size()) + " tokens but " +
                 std::to_string(labels_.size()) + " structure labels");
  }
  return std::nullopt;
}

Timings Job::final_timings() const {
  Timings t = timings;
  if (blocks > 0) {
    t.skipped_blocks = static_cast<double>(skipped_blocks) / static_cast<double>(blocks);
  }
  return t;
}

// --- generate -----------------------------------------------------------------------------------

GenerateJob::GenerateJob(JobContext& shared, Request request, OnText on_text, OnDone on_done)
    : Job(shared, std::move(request.prompt), std::move(request.structure), request.priority,
          request.cancel, request.slot_key),
      request_(std::move(request)),
      on_done_(std::move(on_done)),
      sampler_(request_.sampling),
      stream_(std::move(request_.stop), std::move(on_text)) {
  if (request_.speculate) lookup_.append(tokens_);
  if (request_.copying > 0 && sampler_.plain()) {
    std::vector<TokenId> breaks = shared_.format->end;
    for (const auto& token : {shared_.format->bos, shared_.format->file}) {
      if (token) breaks.push_back(*token);
    }
    if (const auto& fim = shared_.format->fim) {
      breaks.insert(breaks.end(), {fim->prefix, fim->suffix, fim->middle});
    }
    copying_.emplace(tokens_, request_.text_end, std::move(breaks));
  }
}

std::optional<Error> GenerateJob::invalid() const {
  if (auto error = Job::invalid()) return error;
  if (request_.max_tokens < 0) {
    return Error{ErrorCode::invalid_argument,
                 "max_tokens is " + std::to_string(request_.max_tokens) + ", expected 0 or more"};
  }
  return std::nullopt;
}

Feed GenerateJob::next(int32_t cached, int32_t chunk) {
  const auto size = static_cast<int32_t>(tokens_.size());
  assert(cached < size);
  // A draft of the pass before may have left labels behind.
  if (!labels_.empty()) labels_.resize(tokens_.size());
  Feed feed;
  feed.decode = cached + 1 == size && !result_.tokens.empty();
  const int32_t n = std::min(size - cached, chunk);
  feed.tokens.assign(tokens_.begin() + cached, tokens_.begin() + cached + n);
  if (cached + n < size) return feed;
  feed.logits_at.push_back(n - 1);
  feed.greedy =
      sampler_.plain() && (!request_.controller || request_.controller->required_prefix().empty());
  if (!feed.decode || !request_.speculate) return feed;

  const auto generated = static_cast<int32_t>(result_.tokens.size());
  const int32_t limit =
      std::min({kMaxDraft, request_.max_tokens - generated - 1, shared_.context - size - 1});
  const auto draft = lookup_.propose(limit);
  if (draft.empty()) return feed;
  const int32_t length =
      std::min(shared_.drafts.length(chance_.value()), static_cast<int32_t>(draft.size()));
  if (length == 0) chance_.passed_over();
  for (int32_t i = 0; i < length; ++i) {
    feed.logits_at.push_back(static_cast<int32_t>(feed.tokens.size()));
    feed.tokens.push_back(draft[static_cast<size_t>(i)]);
    // Until the controller says otherwise, a token belongs where the one before it does.
    if (!labels_.empty()) labels_.push_back(labels_.at(labels_.size() - 1));
  }
  return feed;
}

int32_t GenerateJob::take(const Feed& feed, LogitRows& rows) {
  const size_t n_rows = feed.logits_at.size();
  if (n_rows == 0) return static_cast<int32_t>(feed.tokens.size());
  const size_t n_drafted = n_rows - 1;
  TokenStructure assumed;  // labels of the draft
  for (size_t i = tokens_.size(); i < labels_.size(); ++i) assumed.push_back(labels_.at(i));
  if (!labels_.empty()) labels_.resize(tokens_.size());

  size_t accepted = 0;
  for (size_t row = 0; row < n_rows; ++row) {
    const size_t at = tokens_.size();
    if (!choose(rows, row)) break;
    if (row == n_drafted) break;
    // A drafted cell counts if it holds the token now chosen, under the label it now has.
    if (tokens_[at] != feed.tokens[static_cast<size_t>(feed.logits_at[row]) + 1]) break;
    if (!labels_.empty() && labels_.at(at) != assumed.at(row)) break;
    ++accepted;
  }
  if (n_drafted > 0) {
    // What a stop cut off was not a wrong guess.
    if (!finished_)
      chance_.observed(static_cast<int32_t>(n_drafted), static_cast<int32_t>(accepted));
    timings.drafted_tokens += static_cast<int32_t>(n_drafted);
    timings.accepted_tokens += static_cast<int32_t>(accepted);
  }
  return static_cast<int32_t>(feed.tokens.size() - n_drafted + accepted);
}

std::optional<TokenId> GenerateJob::copied(LogitRows& rows, size_t row,
                                           std::span<const TokenId> allowed) {
  if (!copying_) return std::nullopt;
  const auto guess = copying_->guess();
  if (!guess) return std::nullopt;
  const BestToken* best = allowed.empty() ? rows.best(row) : nullptr;
  if (best != nullptr && best->id == guess->token) return std::nullopt;  // chosen anyway
  const auto logits = rows.logits(row);
  if (rows.error()) return std::nullopt;
  if (allowed.empty() && shared_.format->is_end(best != nullptr ? best->id : argmax(logits)))
    return std::nullopt;
  if (!prefers_copy(logits, allowed, *guess, request_.copying)) return std::nullopt;
  return guess->token;
}

bool GenerateJob::choose(LogitRows& rows, size_t row) {
  if (static_cast<int32_t>(result_.tokens.size()) >= request_.max_tokens) {
    return finish(StopReason::max_tokens), false;  // a request for nothing but the prompt's cells
  }
  if (static_cast<int32_t>(tokens_.size()) >= shared_.context) {
    return finish(StopReason::context_full), false;
  }
  StepController* controller = request_.controller.get();
  const std::string required(controller ? controller->required_prefix() : std::string_view{});
  std::vector<TokenId> allowed;
  if (!required.empty()) {
    allowed = shared_.tokenizer->compatible_with(required);
    if (allowed.empty()) return finish(StopReason::controller), false;
    if (!std::is_sorted(allowed.begin(), allowed.end())) std::sort(allowed.begin(), allowed.end());
  }

  const std::optional<TokenId> before = copied(rows, row, allowed);
  if (rows.error()) return false;
  StepDecision decision;
  const BestToken* best = sampler_.plain() && allowed.empty() ? rows.best(row) : nullptr;
  std::span<const float> logits;
  if (best == nullptr || before) {
    logits = rows.logits(row);
    if (rows.error()) return false;
  }
  std::optional<float> log_sum;  // of exp(logits); found with the first candidate
  const auto log_probability_of = [&](TokenId id) {
    if (best != nullptr && id == best->id) return best->logprob;
    const float logit = logits[static_cast<size_t>(id)];
    if (!log_sum) log_sum = logit - log_probability(logits, id);
    return logit - *log_sum;
  };
  const auto accept = [&](TokenId id) {
    if (controller == nullptr) return true;
    if (shared_.format->is_end(id)) return controller->may_end();
    decision = controller->on_token(
        {id, shared_.tokenizer->piece(id), stream_.text(), log_probability_of(id)});
    return decision.verdict != StepDecision::Verdict::reject;
  };
  // The model's own choice first; a refused one is followed by the next best that the controller takes.
  std::optional<TokenId> token, refused;
  const auto take = [&](TokenId id) {
    (accept(id) ? token : refused) = id;
    return token.has_value();
  };
  const bool copies = before && take(*before);
  if (!copies && controller != nullptr && !allowed.empty()) {
    token = sampler_.sample(logits, tokens_, {allowed, accept});
  } else if (!copies && !take(best != nullptr ? best->id : sampler_.sample(logits, tokens_))) {
    if (logits.empty()) logits = rows.logits(row);
    if (rows.error()) return false;
    if (auto listed = controller->allowed()) {
      allowed = std::move(*listed);
      if (controller->may_end()) {
        allowed.insert(allowed.end(), shared_.format->end.begin(), shared_.format->end.end());
        std::sort(allowed.begin(), allowed.end());
      }
      // Nothing may follow: an empty list would be no restriction.
      if (allowed.empty()) return finish(StopReason::controller), false;
    }
    token = sampler_.sample(logits, tokens_,
                            {allowed, [&](TokenId id) { return id != refused && accept(id); }});
  }
  if (timings.ttft_ms == 0) timings.ttft_ms = ms_since(submitted);
  if (!token) return finish(StopReason::controller), false;
  if (shared_.format->is_end(*token)) return finish(StopReason::end_of_text), false;
  if (decision.verdict == StepDecision::Verdict::stop_before) {
    return finish(StopReason::controller), false;
  }

  result_.tokens.push_back(*token);
  result_.logprobs.push_back(log_probability_of(*token));
  tokens_.push_back(*token);
  if (!labels_.empty()) {
    labels_.push_back(decision.label.value_or(labels_.at(labels_.size() - 1)));
  }
  if (request_.speculate) lookup_.append(*token);
  if (copying_) copying_->append(*token);

  const std::string_view piece = shared_.tokenizer->piece(*token);
  const bool stop_after = decision.verdict == StepDecision::Verdict::stop_after;
  if (stream_.append(stop_after ? piece.substr(0, decision.keep_bytes) : piece)) {
    return finish(StopReason::stop_string), false;
  }
  if (stop_after) return finish(StopReason::controller), false;
  if (static_cast<int32_t>(result_.tokens.size()) >= request_.max_tokens) {
    return finish(StopReason::max_tokens), false;
  }
  return true;
}

void GenerateJob::finish(StopReason reason) {
  finished_ = true;
  result_.stop = reason;
}

void GenerateJob::answer(std::optional<Error> error) {
  const OnDone done = std::exchange(on_done_, nullptr);
  if (!done) return;
  if (error) return done(tl::unexpected(std::move(*error)));
  stream_.finish();
  result_.text = stream_.text();
  timings.generated_tokens = static_cast<int32_t>(result_.tokens.size());
  result_.timings = final_timings();
  done(std::move(result_));
}

// --- score --------------------------------------------------------------------------------------

ScoreJob::ScoreJob(JobContext& shared, ScoreRequest request, OnScored on_done)
    : Job(shared, request.tokens, request.structure, request.priority, request.cancel,
          request.slot_key),
      request_(std::move(request)),
      groups_(branch_groups(request_)),
      before_branches_(cells_before_branches(request_)),
      on_done_(std::move(on_done)) {
  result_.branches.resize(request_.branches.size());
  for (const ScoreBranch& branch : request_.branches)
    timings.prompt_tokens += static_cast<int32_t>(branch.tokens.size());
}

std::optional<Error> ScoreJob::invalid() const {
  if (auto error = Job::invalid()) return error;
  const int32_t first = request_.first, last = size() - (request_.branches.empty() ? 1 : 0);
  if (first < 1 || first > last || request_.top < 0) {
    return Error{ErrorCode::invalid_argument, "cannot score from token " + std::to_string(first) +
                                                  " (the " + std::to_string(request_.top) +
                                                  " best) of a text of " + std::to_string(size()) +
                                                  " tokens; the first must be 1 to " +
                                                  std::to_string(last)};
  }
  return invalid_branches(request_, shared_.n_vocab, shared_.context);
}

Feed ScoreJob::next(int32_t cached, int32_t chunk) {
  Feed feed;
  feed.top = std::min(request_.top, shared_.n_vocab);
  row_of_.clear();
  fed_groups_ = 0;
  // Nothing follows the last token, so it is not fed; the one before the first wanted is the first
  // whose logits matter.
  const int32_t end = own_done() ? before_branches_ : size() - 1;
  assert(own_done() || cached <= next_scored());
  const int32_t most = longest_pass(chunk), rest = std::max(end - cached, 0);
  const int32_t n_own = rest <= most ? rest : chunk, own_end = cached + n_own;
  feed.own = static_cast<size_t>(n_own);
  feed.tokens.assign(tokens_.begin() + cached, tokens_.begin() + own_end);
  for (int32_t cell = std::max(cached, next_scored()); !own_done() && cell < own_end; ++cell) {
    feed.logits_at.push_back(cell - cached);
    feed.ranked.push_back(tokens_[static_cast<size_t>(cell) + 1]);
    row_of_.push_back(-1);
  }
  if (own_end < end) return feed;
  // The branches stand behind it; the next pass writes over them.
  for (size_t i = next_group_; i < groups_.size(); ++i) {
    const int32_t n = static_cast<int32_t>(feed.tokens.size()) + groups_[i].cells;
    if (!feed.tokens.empty() && (n > most || cached + n > shared_.context)) break;
    add_group(groups_[i], cached, feed);
    ++fed_groups_;
  }
  return feed;
}

void ScoreJob::add_group(const BranchGroup& group, int32_t cached, Feed& feed) {
  if (feed.hidden.empty()) {
    feed.hidden.resize(feed.tokens.size());
    feed.labels = labels_;
    if (!labels_.empty()) feed.labels.resize(static_cast<size_t>(cached) + feed.own);
  }
  int32_t root_first = 0;
  for (const size_t member : group.members) {
    const ScoreBranch& branch = request_.branches[member];
    const auto begin = static_cast<int32_t>(feed.tokens.size());
    if (branch.leaves < 0) root_first = cached + begin;
    const BranchFeed own = branch_feed(request_, member);
    feed.tokens.insert(feed.tokens.end(), own.tokens.begin(), own.tokens.end());
    for (size_t i = 0; i < own.labels.size(); ++i) feed.labels.push_back(own.labels.at(i));
    feed.hidden.resize(feed.tokens.size(),
                       hidden_cells(request_, member, cached + begin, root_first));
    const auto n = static_cast<int32_t>(branch.tokens.size());
    for (int32_t i = branch.first; i < n; ++i) {
      feed.logits_at.push_back(begin + i);
      feed.ranked.push_back(branch.tokens[static_cast<size_t>(i)]);
      row_of_.push_back(static_cast<int32_t>(member));
    }
  }
}

int32_t ScoreJob::take(const Feed& feed, LogitRows& rows) {
  for (size_t row = 0; row < row_of_.size(); ++row) {
    Ranked ranks = rows.ranked(row, feed);
    if (rows.error()) break;
    const int32_t of = row_of_[row];
    auto& logprobs = of < 0 ? result_.logprobs : result_.branches[static_cast<size_t>(of)].logprobs;
    auto& alternatives =
        of < 0 ? result_.alternatives : result_.branches[static_cast<size_t>(of)].alternatives;
    logprobs.push_back(ranks.logprob);
    alternatives.push_back(std::move(ranks.best));
  }
  next_group_ += fed_groups_;
  finished_ = own_done() && next_group_ == groups_.size();
  if (finished_) timings.ttft_ms = ms_since(submitted);
  return static_cast<int32_t>(feed.own);
}

void ScoreJob::give_up() { finished_ = cancelled_ = true; }

void ScoreJob::answer(std::optional<Error> error) {
  const OnScored done = std::exchange(on_done_, nullptr);
  if (!done) return;
  if (!error && cancelled_) error = Error{ErrorCode::cancelled, "the scoring was cancelled"};
  if (error) return done(tl::unexpected(std::move(*error)));
  result_.timings = final_timings();
  done(std::move(result_));
}

}  // namespace cambium::engine
