#include "engine/scheduler.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <vector>

#include "engine/job.h"
#include "engine/kv_cache.h"

namespace cambium::engine {

namespace {

using Clock = Job::Clock;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

constexpr int kNobody = -1;

// A pass of this many tokens or fewer is a decode step: over before giving it up would pay.
constexpr size_t kShortPass = kMaxDraft + 1;

}  // namespace

struct Scheduler::State {
  State(std::unique_ptr<Model> loaded, std::shared_ptr<const Tokenizer> vocabulary,
        std::shared_ptr<const PromptFormat> prompt_format, const Options& given)
      : model(std::move(loaded)),
        tokenizer(std::move(vocabulary)),
        format(std::move(prompt_format)),
        options(given),
        cache(make_cache()) {
    shared.tokenizer = tokenizer.get();
    shared.format = format.get();
    shared.n_vocab = model->config().n_vocab;
    shared.context = options.context;
    const StructureConfig& structure = model->config().structure;
    shared.structure = structure.any();
    shared.branches = model->takes_branches();
    shared.sinks = structure.prunes() ? structure.rule.sinks : 0;
  }

  static Error unloaded() {
    return {ErrorCode::cancelled, "the model was unloaded before the request was done"};
  }

  // --- any thread
  // ---------------------------------------------------------------------------------

  void submit(std::unique_ptr<Job> job) {
    const int wanted = static_cast<int>(job->priority);
    {
      const std::lock_guard lock(mutex);
      if (!stopping) {
        incoming.push_back(std::move(job));
        if (wanted > waiting) waiting = wanted;
      }
    }
    wake.notify_one();
    if (job) job->answer(unloaded());  // from a callback of the last moments
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_one();
  }

  // Whether a pass can hold the request's branches, or it is to be told what is wrong with them.
  bool side_by_side(const ScoreRequest& request) const {
    if (request.branches.empty() || invalid_branches(request, shared.n_vocab, shared.context)) {
      return true;
    }
    if (!shared.branches) return false;
    const auto groups = branch_groups(request);
    return std::all_of(groups.begin(), groups.end(), [&](const BranchGroup& group) {
      return request.branches[group.members[0]].at > shared.sinks &&
             static_cast<int64_t>(request.tokens.size()) + group.cells <= shared.context;
    });
  }

  // --- engine thread
  // ------------------------------------------------------------------------------

  void run() {
    while (admit()) {
      drop_cancelled();
      if (Job* job = choose()) step(*job);
    }
    for (auto& job : jobs) {
      job->answer(unloaded());
    }
  }

  // Takes in what was submitted, sleeping while there is nothing to do; false once stopped.
  bool admit() {
    std::vector<std::unique_ptr<Job>> fresh;
    bool stop_now;
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return stopping || !incoming.empty() || !jobs.empty(); });
      fresh.swap(incoming);
      waiting = kNobody;
      stop_now = stopping;
    }
    for (auto& job : fresh) {
      if (auto error = stop_now ? std::nullopt : job->invalid()) {
        job->answer(std::move(error));
        continue;
      }
      // A newcomer starts level with those at work, not with a credit for having been away.
      job->used_ms = least_used(job->priority);
      jobs.push_back(std::move(job));
    }
    return !stop_now;
  }

  double least_used(Priority priority) const {
    double least = -1;
    for (const auto& job : jobs) {
      if (job->priority == priority && (least < 0 || job->used_ms < least)) least = job->used_ms;
    }
    return std::max(least, 0.0);
  }

  void drop_cancelled() {
    for (size_t i = 0; i < jobs.size();) {
      if (jobs[i]->cancelled()) {
        jobs[i]->give_up();
        finish(*jobs[i], std::nullopt);
      } else {
        ++i;
      }
    }
  }

  // The job whose turn it is: it has a slot or can get one.
  Job* choose() {
    const bool free_slot = std::any_of(cache.slots().begin(), cache.slots().end(),
                                       [](const auto& slot) { return !slot->in_use; });
    Job* best = nullptr;
    for (const auto& job : jobs) {
      if (job->slot == nullptr && !free_slot && victim_for(*job) == nullptr) continue;
      if (best == nullptr || job->priority > best->priority ||
          (job->priority == best->priority && job->used_ms < best->used_ms)) {
        best = job.get();
      }
    }
    return best;
  }

  // Whose slot a job may take: the lowest priority below its own.
  Job* victim_for(const Job& job) const {
    Job* victim = nullptr;
    for (const auto& other : jobs) {
      if (other->slot == nullptr || other->priority >= job.priority) continue;
      if (victim == nullptr || other->priority < victim->priority) victim = other.get();
    }
    return victim;
  }

  Result<void> take_slot(Job& job) {
    const TokenStructure none;
    const TokenStructure& labels = shared.structure ? job.labels() : none;
    auto slot = cache.acquire(job.tokens(), labels, job.slot_key);
    if (slot && *slot == nullptr) {
      if (Job* victim = victim_for(job)) release(*victim);
      slot = cache.acquire(job.tokens(), labels, job.slot_key);
    }
    if (!slot) return tl::unexpected(slot.error());
    job.slot = *slot;
    job.slot->truncate(job.max_reuse());
    if (!job.started) {
      job.started = true;
      job.timings.reused_tokens = job.slot->size();
      job.timings.queue_ms = ms_between(job.submitted, Clock::now());
    }
    return {};
  }

  void release(Job& job) {
    if (job.slot != nullptr) cache.park(job.slot);
    job.slot = nullptr;
  }

  // One turn: a prefill chunk or a decode step.
  void step(Job& job) {
    std::optional<Error> error;
    try {
      if (job.slot == nullptr) {
        if (auto taken = take_slot(job); !taken) return finish(job, taken.error());
      }
      error = pass(job);
    } catch (const std::bad_alloc&) {
      error = Error{ErrorCode::out_of_memory,
                    "not enough memory for this request; use a smaller context or model"};
    }
    if (error && error->code == ErrorCode::device && replace_model(*error)) return;
    if (error || job.finished()) finish(job, std::move(error));
  }

  // The device is gone: its cells with it. Once only, since what comes then is the CPU.
  bool replace_model(const Error& why) {
    const auto replacement = std::exchange(options.replacement, nullptr);
    if (!replacement) return false;
    auto fresh = replacement(why);
    if (!fresh) return false;
    for (const auto& job : jobs) job->slot = nullptr;
    cache = make_cache();  // the cells go before the memory they are in
    model = std::move(*fresh);
    counted.clear();
    shared.drafts = {};
    return true;
  }

  std::optional<Error> pass(Job& job) {
    const auto start = Clock::now();
    Slot& slot = *job.slot;
    const int32_t cached = slot.size();
    const Feed feed = job.next(cached, options.prefill_chunk);
    const TokenStructure none;
    const TokenStructure& labels = shared.structure ? job.labels() : none;
    const TokenStructure& cells = shared.structure && !feed.labels.empty() ? feed.labels : labels;
    const bool may_yield = feed.tokens.size() > kShortPass;
    Pass wanted{feed.tokens, cached, slot.kv.get(), &cells, feed.logits_at, [&] {
                  return job.cancelled() || stopping.load(std::memory_order_relaxed) ||
                         (may_yield &&
                          waiting.load(std::memory_order_relaxed) > static_cast<int>(job.priority));
                }};
    wanted.greedy = feed.greedy;
    wanted.hidden = feed.hidden;
    wanted.ranked = feed.ranked;
    wanted.top = feed.top;
    const auto result = model->forward(wanted);
    const double pass_ms = ms_between(start, Clock::now());
    count_experts(job);
    if (result) {
      // Of branches the slot keeps nothing.
      slot.append(feed.of_sequence(), labels);
      if (feed.decode) {
        shared.drafts.measured(static_cast<int32_t>(feed.tokens.size()), pass_ms);
      }
      LogitRows rows(*model, *result, shared.n_vocab);
      slot.truncate(cached + job.take(feed, rows));
      if (rows.error()) return rows.error();
      job.blocks += result->blocks;
      job.skipped_blocks += result->skipped_blocks;
    }
    const double ms = ms_between(start, Clock::now());
    job.used_ms += ms;
    (feed.decode ? job.timings.decode_ms : job.timings.prefill_ms) += ms;
    // A pass that was given up has written nothing that counts; its turn comes again.
    if (result || result.error().code == ErrorCode::cancelled) return std::nullopt;
    return result.error();
  }

  // What the last pass added is the job's. Statistics alone are no reason to fail.
  void count_experts(Job& job) {
    auto loads = model->expert_loads();
    if (!loads || loads->empty()) return;
    ExpertLoads& own = job.timings.expert_loads;
    own.resize(loads->size());
    counted.resize(loads->size());
    for (size_t e = 0; e < own.size(); ++e) own[e] += (*loads)[e] - counted[e];
    counted = std::move(*loads);
  }

  void finish(Job& job, std::optional<Error> error) {
    release(job);
    const auto at = std::find_if(jobs.begin(), jobs.end(),
                                 [&](const auto& other) { return other.get() == &job; });
    const std::unique_ptr<Job> own = std::move(*at);
    jobs.erase(at);
    own->answer(std::move(error));
  }

  KvCache make_cache() {
    KvCache::Options cache_options;
    cache_options.slots = options.slots;
    const StructureConfig& structure = model->config().structure;
    if (structure.any()) cache_options.structure = structure.reuse_rule();
    cache_options.tree = structure.uses(StructureMode::tree);
    return {cache_options, [this] { return model->create_kv(options.context); }};
  }

  std::unique_ptr<Model> model;  // replaced by the engine thread alone
  const std::shared_ptr<const Tokenizer> tokenizer;
  const std::shared_ptr<const PromptFormat> format;
  Options options;
  JobContext shared;

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::unique_ptr<Job>> incoming;  // guarded by mutex
  // Written under the mutex, read without it between layers.
  std::atomic<int> waiting = kNobody;  // highest priority in `incoming`
  std::atomic<bool> stopping = false;

  KvCache cache;                           // engine thread
  std::vector<std::unique_ptr<Job>> jobs;  // engine thread
  ExpertLoads counted;                     // of the model, after the last pass
};

Scheduler::Scheduler(std::unique_ptr<Model> model, std::shared_ptr<const Tokenizer> tokenizer,
                     std::shared_ptr<const PromptFormat> format, const Options& options)
    : state_(std::make_shared<State>(std::move(model), std::move(tokenizer), std::move(format),
                                     options)),
      thread_([state = state_] { state->run(); }) {}

Scheduler::~Scheduler() {
  state_->stop();
  if (std::this_thread::get_id() == thread_.get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void Scheduler::generate(Request request, OnText on_text, OnDone on_done) {
  if (!state_->shared.structure) request.structure = {};
  state_->submit(std::make_unique<GenerateJob>(state_->shared, std::move(request),
                                               std::move(on_text), std::move(on_done)));
}

void Scheduler::score(ScoreRequest request, OnScored on_done) {
  if (!state_->shared.structure) {
    request.structure = {};
    for (ScoreBranch& branch : request.branches) branch.structure = {};
  }
  const auto submit = [state = state_](ScoreRequest one, OnScored done) {
    state->submit(std::make_unique<ScoreJob>(state->shared, std::move(one), std::move(done)));
  };
  if (state_->side_by_side(request)) return submit(std::move(request), std::move(on_done));
  score_one_by_one(std::move(request), submit, std::move(on_done));
}

}  // namespace cambium::engine
