#include "lsp/assist/cascade.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

namespace cambium::assist {
namespace {

using Clock = std::chrono::steady_clock;

std::string two_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

}  // namespace

double mean_probability(std::span<const float> logprobs) {
  if (logprobs.empty()) return -1;
  double sum = 0;
  for (const float logprob : logprobs) sum += std::exp(static_cast<double>(logprob));
  return sum / static_cast<double>(logprobs.size());
}

Doubt doubt_about(double confidence, bool useful, double threshold) {
  if (!useful) return {true, "the small model has nothing to show"};
  if (confidence < 0) return {true, "the small model does not say how sure it is"};
  const std::string mean = "its mean token probability " + two_digits(confidence);
  if (confidence < threshold) {
    return {true, "the small model is not sure: " + mean + " is below " + two_digits(threshold)};
  }
  return {false, "the small model is sure: " + mean + " is at least " + two_digits(threshold)};
}

/// One completion under way.
struct CascadeCompleter::Run : std::enable_shared_from_this<CascadeCompleter::Run> {
  std::shared_ptr<CompletionService> small, asked;  ///< kept while they work
  Larger larger;
  double threshold = 0;
  CompletionInput input;
  std::function<void(Result<CompletionOutput>)> done;
  Clock::time_point start;
  Result<CompletionOutput> first = fail(ErrorCode::unavailable, "not asked");
  Doubt doubt;
  double small_ms = 0;

  bool cancelled() const { return input.cancel && input.cancel->load(std::memory_order_relaxed); }

  void go_on_from_larger() {
    larger.get(false, [self = shared_from_this()](Result<std::shared_ptr<CompletionService>> got) {
      if (!got) return self->ask_small();
      CompletionInput input = self->input;
      input.cached_only = true;
      self->asked = *got;
      (*got)->complete(std::move(input), [self](Result<CompletionOutput> output) {
        if (!output || output->items.empty()) return self->ask_small();
        output->route.cascade = output->route.larger = true;
        output->route.reason = "typed along a suggestion of the larger model";
        self->finish(std::move(output));
      });
    });
  }

  void ask_small() {
    start = Clock::now();
    small->complete(input, [self = shared_from_this()](Result<CompletionOutput> output) {
      self->small_ms =
          std::chrono::duration<double, std::milli>(Clock::now() - self->start).count();
      self->first = std::move(output);
      self->judge();
    });
  }

  void judge() {
    if (cancelled() || (!first && first.error().code == ErrorCode::cancelled)) {
      return finish(fail(ErrorCode::cancelled, "the request was cancelled"));
    }
    doubt = first ? doubt_about(first->confidence, !first->items.empty(), threshold)
                  : Doubt{true, "the small model failed: " + first.error().message};
    if (!doubt.ask_larger) return finish_with_small("");
    larger.get(true, [self = shared_from_this()](Result<std::shared_ptr<CompletionService>> got) {
      if (!got) return self->finish_with_small(got.error().message);
      self->asked = *got;
      (*got)->complete(self->input, [self](Result<CompletionOutput> output) {
        if (self->cancelled()) return self->finish(std::move(output));
        if (!output) return self->finish_with_small(output.error().message);
        // Nothing is no better than a suggestion that is not sure.
        if (output->items.empty() && self->first && !self->first->items.empty()) {
          return self->finish_with_small("the larger model has nothing to show");
        }
        output->route.cascade = output->route.larger = true;
        output->route.reason = self->doubt.reason;
        output->route.confidence = self->first ? self->first->confidence : -1;
        output->route.small_ms = self->small_ms;
        self->finish(std::move(output));
      });
    });
  }

  /// `but`: why the larger model did not answer; empty: it was not needed.
  void finish_with_small(const std::string& but) {
    if (first) {
      first->route.reason = doubt.reason + (but.empty() ? "" : "; " + larger.name + ": " + but);
      first->route.cascade = true;
      first->route.confidence = first->confidence;
    }
    finish(std::move(first));
  }

  void finish(Result<CompletionOutput> output) {
    // Whoever waits may be the last to hold the models.
    small.reset();
    asked.reset();
    larger = {};
    const auto tell = std::move(done);
    tell(std::move(output));
  }
};

CascadeCompleter::CascadeCompleter(std::shared_ptr<CompletionService> small, Larger larger,
                                   double threshold)
    : small_(std::move(small)), larger_(std::move(larger)), threshold_(threshold) {}

void CascadeCompleter::complete(CompletionInput input,
                                std::function<void(Result<CompletionOutput>)> done) {
  auto run = std::make_shared<Run>();
  run->small = small_;
  run->larger = larger_;
  run->threshold = threshold_;
  run->input = std::move(input);
  run->done = std::move(done);
  run->go_on_from_larger();
}

}  // namespace cambium::assist
