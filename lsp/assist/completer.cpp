#include "lsp/assist/completer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

#include "lsp/assist/cascade.h"
#include "lsp/assist/completion_controller.h"
#include "lsp/assist/completion_plan.h"
#include "lsp/assist/completion_request.h"
#include "lsp/assist/copied_line.h"
#include "lsp/assist/postprocess.h"
#include "lsp/assist/suggestion_cache.h"
#include "lsp/assist/syntax_view.h"

namespace cambium::assist {
namespace {

using Clock = std::chrono::steady_clock;
using Done = std::function<void(Result<CompletionOutput>)>;

constexpr size_t kAnchors = 64;  ///< documents whose window is remembered
/// A text with at least this probability is shown without a look at others: one of them can then have
/// no more than what is left, which copied_line_prior() hardly outweighs.
constexpr double kSure = 0.8;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

bool raised(const engine::CancelFlag& flag) {
  return flag && flag->load(std::memory_order_relaxed);
}

tl::unexpected<Error> cancelled() {
  return fail(ErrorCode::cancelled, "the request was cancelled");
}

/// Everything of one request that outlives a step.
struct Job {
  CompletionInput input;
  Done done;
  std::shared_ptr<const std::string>
      text;  ///< the buffer, with the popup's text in it if there is one
  size_t cursor = 0;
  SyntaxView syntax;
  CompletionPlan plan;
  std::string required;
  std::shared_ptr<CompletionController> controller;
  engine::Request asked;  ///< prompt and structure, for what is scored in the same place
  MiddleLabels labels;
  Fitted fitted;  ///< of what was generated
  std::string copied;
  size_t copied_match = 0;
  uint64_t document = 0, kind = 0;
  CompletionOutput output;
};

uint64_t kind_of(const CompletionSettings& settings) {
  const auto temperature = static_cast<uint64_t>(std::max(settings.temperature, 0.0f) * 1000);
  return static_cast<uint64_t>(settings.max_tokens) << 32 | temperature << 1 |
         (settings.multiline ? 1 : 0);
}

void put_item(Job& job, std::string text) {
  CompletionItem item;
  item.replace_begin = item.replace_end = job.input.cursor;
  if (job.input.has_selected) {
    item.replace_begin = job.input.selected_begin;
    text.insert(0, job.input.selected_text);
  }
  item.text = std::move(text);
  job.output.items.push_back(std::move(item));
}

std::string stop_name(const engine::Generated& generated, const CompletionController& controller) {
  if (generated.stop == engine::StopReason::controller && !controller.reason().empty()) {
    return std::string(controller.reason());
  }
  return engine::to_string(generated.stop);
}

}  // namespace

/// Shared with the worker and with callbacks of the engine, which may outlive the Completer.
struct Completer::Impl : std::enable_shared_from_this<Completer::Impl> {
  explicit Impl(std::shared_ptr<engine::Generator> g) : generator(std::move(g)) {}

  void post(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex);
      tasks.push_back(std::move(task));
    }
    wake.notify_one();
  }

  /// Ends when it was told to and nothing is under way, so that every request gets its answer.
  void run() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return !tasks.empty() || (stopping && in_flight == 0); });
        if (tasks.empty()) return;
        task = std::move(tasks.front());
        tasks.pop_front();
      }
      task();
    }
  }

  void start(const std::shared_ptr<Job>& job);
  Result<engine::Request> prepare(Job& job);
  void finish(const std::shared_ptr<Job>& job, Result<engine::Generated> generated);
  bool may_copy(const Job& job) const;
  bool find_copy(Job& job, const engine::Generated& generated) const;
  void compare(const std::shared_ptr<Job>& job, std::string generated);
  void choose(Job& job, const Result<engine::Scored>& scored);
  void show(Job& job);
  using Flag = std::list<engine::CancelFlag>::iterator;
  /// Before the engine is asked: a null flag is set.
  Flag enter(engine::CancelFlag& cancel);
  /// On the engine's thread, which must not wait for a parse: `task` runs on the worker.
  void leave(Flag flag, std::function<void()> task);
  WindowAnchor& anchor_of(uint64_t document);

  std::shared_ptr<engine::Generator> generator;
  std::thread worker;

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> tasks;
  std::list<engine::CancelFlag> flags;  ///< of what the engine is working on
  size_t in_flight = 0;
  bool stopping = false;

  // The worker's own.
  SuggestionCache cache;
  std::list<std::pair<uint64_t, WindowAnchor>> anchors;  ///< newest first
};

WindowAnchor& Completer::Impl::anchor_of(uint64_t document) {
  const auto found = std::find_if(anchors.begin(), anchors.end(),
                                  [&](const auto& a) { return a.first == document; });
  if (found != anchors.end()) {
    anchors.splice(anchors.begin(), anchors, found);
  } else {
    anchors.emplace_front(document, WindowAnchor{});
    if (anchors.size() > kAnchors) anchors.pop_back();
  }
  return anchors.front().second;
}

Result<engine::Request> Completer::Impl::prepare(Job& job) {
  const auto prompting = Clock::now();
  auto prepared = prepare_completion(*generator, job.input, *job.text, job.cursor, job.plan,
                                     job.syntax, anchor_of(job.document));
  if (!prepared) return tl::unexpected(prepared.error());
  job.required = prepared->required;
  if (may_copy(job)) {
    job.asked.prompt = prepared->request.prompt;
    job.asked.structure = prepared->request.structure;
    job.asked.priority = prepared->request.priority;
    job.asked.slot_key = job.document;
    job.labels = prepared->labels;
  }
  job.controller = std::make_shared<CompletionController>(job.plan, std::move(prepared->required),
                                                          std::move(prepared->labels));
  engine::Request& request = prepared->request;
  request.controller = job.controller;
  request.cancel = job.input.cancel;
  request.slot_key = job.document;
  job.output.prompt_ms = ms_since(prompting);
  return std::move(request);
}

void Completer::Impl::start(const std::shared_ptr<Job>& job) {
  if (raised(job->input.cancel)) return job->done(cancelled());
  const CompletionInput& input = job->input;
  const size_t size = input.text ? input.text->size() : 0;
  if (!input.text || input.cursor > size || size >= UINT32_MAX ||
      (input.has_selected && input.selected_begin > input.cursor)) {
    return job->done(fail(ErrorCode::invalid_argument,
                          "the cursor (byte " + std::to_string(input.cursor) +
                              ") lies outside the text of " + std::to_string(size) + " bytes"));
  }
  const auto parsing = Clock::now();
  job->text = input.text;
  job->cursor = input.cursor;
  std::shared_ptr<const syntax::ScopeMap> scopes = input.scopes;
  if (input.has_selected) {
    auto text = std::make_shared<std::string>(*input.text);
    text->replace(input.selected_begin, input.cursor - input.selected_begin, input.selected_text);
    if (scopes) {
      scopes = std::make_shared<const syntax::ScopeMap>(
          scopes->shifted(static_cast<uint32_t>(input.selected_begin),
                          static_cast<uint32_t>(input.cursor), input.selected_text));
    }
    job->text = std::move(text);
    job->cursor = input.selected_begin + input.selected_text.size();
  }
  job->document = std::hash<std::string>{}(input.path) | 1;  // 0 means "no affinity"
  job->kind = kind_of(input.settings);
  job->output.route = completion_route(generator->capabilities().model);
  if (auto left = cache.find(job->document, job->kind, *job->text, job->cursor)) {
    job->output.stop = "cached";
    job->output.confidence = left->confidence;
    put_item(*job, std::move(left->rest));
    return job->done(std::move(job->output));
  }
  if (input.cached_only) {
    job->output.stop = "not cached";
    job->output.dropped = "no earlier suggestion goes on here";
    return job->done(std::move(job->output));
  }

  SyntaxRequest syntax;
  syntax.text = job->text;
  syntax.cursor = job->cursor;
  syntax.path = input.path;
  syntax.language_id = input.language_id;
  syntax.scopes = std::move(scopes);
  if (!input.has_selected) syntax.tree = input.tree;
  syntax.labels = generator->capabilities().structure;
  job->syntax = SyntaxView::make(syntax);
  job->plan =
      plan_completion(*job->text, job->cursor, job->syntax.language, input.settings.multiline);
  job->output.scope = job->syntax.scope_name;
  job->output.parse_ms = ms_since(parsing);

  auto request = prepare(*job);
  if (!request) return job->done(tl::unexpected(request.error()));
  const Flag flag = enter(request->cancel);
  generator->generate(
      std::move(*request), nullptr,
      [self = shared_from_this(), job, flag](Result<engine::Generated> generated) {
        auto result = std::make_shared<Result<engine::Generated>>(std::move(generated));
        self->leave(flag, [self, job, result] { self->finish(job, std::move(*result)); });
      });
}

Completer::Impl::Flag Completer::Impl::enter(engine::CancelFlag& cancel) {
  if (!cancel) cancel = engine::make_cancel_flag();
  const std::lock_guard lock(mutex);
  ++in_flight;
  flags.push_front(cancel);
  if (stopping) cancel->store(true);
  return flags.begin();
}

void Completer::Impl::leave(Flag flag, std::function<void()> task) {
  const std::lock_guard lock(mutex);
  flags.erase(flag);
  tasks.push_back([self = shared_from_this(), task = std::move(task)] {
    task();
    const std::lock_guard inner(self->mutex);
    --self->in_flight;
  });
  wake.notify_one();
}

bool Completer::Impl::may_copy(const Job& job) const {
  const CompletionSettings& settings = job.input.settings;
  const engine::Capabilities can = generator->capabilities();
  return settings.copied_lines && settings.temperature <= 0 && can.score && can.token_prompts;
}

void Completer::Impl::finish(const std::shared_ptr<Job>& shared,
                             Result<engine::Generated> generated) {
  Job& job = *shared;
  if (!generated) return job.done(tl::unexpected(generated.error()));
  if (generated->stop == engine::StopReason::cancelled || raised(job.input.cancel)) {
    return job.done(cancelled());
  }
  const auto post = Clock::now();
  job.output.timings = generated->timings;
  job.output.confidence = mean_probability(generated->logprobs);
  job.output.stop = stop_name(*generated, *job.controller);
  Draft draft;
  draft.text = generated->text;
  draft.required = job.required;
  draft.cut_off = generated->stop == engine::StopReason::max_tokens ||
                  generated->stop == engine::StopReason::context_full;
  job.fitted = postprocess(job.plan, draft, job.syntax.fits);
  const bool asks = find_copy(job, *generated);
  job.output.post_ms = ms_since(post);
  if (asks) return compare(shared, generated->text);
  show(job);
}

/// Sets `copied` if there is a line worth comparing with what was generated.
bool Completer::Impl::find_copy(Job& job, const engine::Generated& generated) const {
  if (job.asked.prompt.empty() || generated.text.size() <= job.required.size()) return false;
  // A body is more than its first line, and of two texts the shorter is the likelier.
  if (job.plan.extent == Extent::body || generated.text.find('\n') != std::string::npos)
    return false;
  double sum = 0;
  for (const float logprob : generated.logprobs) sum += static_cast<double>(logprob);
  if (!job.fitted.text.empty() && sum > std::log(kSure)) return false;
  const auto copied = copied_line(*job.text, job.cursor, job.plan.rest_of_line);
  if (!copied || copied->text == job.fitted.text) return false;
  const std::string text = job.required + copied->text;
  Draft draft;
  draft.text = text;
  draft.required = job.required;
  job.copied = postprocess(job.plan, draft, {}).text;  // most lose: parsed is what wins
  job.copied_match = copied->match;
  return !job.copied.empty() && job.copied != job.fitted.text;
}

/// Asks the model which of the two lines it finds likelier, and shows that one.
void Completer::Impl::compare(const std::shared_ptr<Job>& job, std::string generated) {
  if (!job->fitted.text.empty()) generated = job->required + job->fitted.text;
  const std::array texts{std::move(generated), job->required + job->copied};
  engine::ScoreRequest request = compare_texts(*generator, job->asked, job->labels, texts);
  request.cancel = job->input.cancel;
  const Flag flag = enter(request.cancel);
  generator->score(std::move(request),
                   [self = shared_from_this(), job, flag](Result<engine::Scored> scored) {
                     auto result = std::make_shared<Result<engine::Scored>>(std::move(scored));
                     self->leave(flag, [self, job, result] { self->choose(*job, *result); });
                   });
}

void Completer::Impl::choose(Job& job, const Result<engine::Scored>& scored) {
  if (raised(job.input.cancel) || (!scored && scored.error().code == ErrorCode::cancelled)) {
    return job.done(cancelled());
  }
  // What was generated needs no second opinion to be shown.
  if (!scored || scored->branches.size() != 2) return show(job);
  const engine::Timings& t = scored->timings;
  job.output.compare_ms = t.queue_ms + t.prefill_ms + t.decode_ms;
  const auto sum = [](const std::vector<float>& logprobs) {
    return std::accumulate(logprobs.begin(), logprobs.end(), 0.0);
  };
  const auto post = Clock::now();
  const std::vector<float>& copy = scored->branches[1].logprobs;
  if (sum(copy) + copied_line_prior(job.copied_match) > sum(scored->branches[0].logprobs) &&
      (!job.syntax.fits || job.syntax.fits(job.copied))) {
    job.fitted = {std::move(job.copied), {}};
    job.output.stop = "copied_line";
    job.output.confidence = mean_probability(copy);
  }
  job.output.post_ms += ms_since(post);
  show(job);
}

void Completer::Impl::show(Job& job) {
  job.output.dropped = std::move(job.fitted.dropped);
  if (!job.fitted.text.empty()) {
    cache.put(job.document, job.kind, *job.text, job.cursor, job.fitted.text,
              job.output.confidence);
    put_item(job, std::move(job.fitted.text));
  }
  job.done(std::move(job.output));
}

Completer::Completer(std::shared_ptr<engine::Generator> generator)
    : impl_(std::make_shared<Impl>(std::move(generator))) {
  impl_->worker = std::thread([impl = impl_] { impl->run(); });
}

Completer::~Completer() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    for (const engine::CancelFlag& flag : impl_->flags) flag->store(true);
  }
  impl_->wake.notify_all();
  // A callback may drop the last reference: then the worker ends by itself.
  if (impl_->worker.get_id() == std::this_thread::get_id()) {
    impl_->worker.detach();
  } else {
    impl_->worker.join();
  }
}

void Completer::complete(CompletionInput input, Done done) {
  auto job = std::make_shared<Job>();
  job->input = std::move(input);
  job->done = std::move(done);
  impl_->post([impl = impl_.get(), job] { impl->start(job); });
}

}  // namespace cambium::assist
