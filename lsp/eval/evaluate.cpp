#include "lsp/eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <set>

#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/completion_plan.h"
#include "lsp/assist/completion_request.h"
#include "lsp/assist/syntax_view.h"
#include "lsp/training/examples.h"
#include "lsp/training/random.h"

namespace cambium::eval {
namespace {

using engine::TokenId;

constexpr uint32_t kExampleTokens = 2048;

/// One held-out example: a sequence and which of its tokens count.
struct TextSample {
  std::string language;
  std::vector<TokenId> tokens;
  std::vector<uint8_t> predicted;
  engine::TokenStructure structure;
};

template <class T, class Start>
T wait_for(Start start) {
  auto promise = std::make_shared<std::promise<T>>();
  start([promise](T result) { promise->set_value(std::move(result)); });
  return promise->get_future().get();
}

Result<engine::Scored> score(engine::Generator& model, engine::ScoreRequest request) {
  return wait_for<Result<engine::Scored>>(
      [&](auto done) { model.score(std::move(request), std::move(done)); });
}

/// Examples of each language in an order drawn from the seed, until they have enough tokens.
Result<std::vector<TextSample>> text_samples(std::shared_ptr<const engine::Tokenizer> tokenizer,
                                             std::shared_ptr<const engine::PromptFormat> format,
                                             const Sources& sources,
                                             const std::set<std::string>& languages,
                                             uint32_t context, const EvaluateOptions& options) {
  training::ExampleOptions example;
  example.seed = options.seed;
  example.max_tokens = std::min(kExampleTokens, context);
  example.labels = true;  // also of a model that uses none, so that the same tokens count
  if (!format->fim) example.fill_in_middle = 0;
  auto maker = training::ExampleMaker::create(tokenizer, format, example);
  if (!maker) return tl::unexpected(maker.error());

  std::map<std::string, std::vector<std::pair<uint64_t, const training::SourceFile*>>> groups;
  for (const training::SourceFile& file : sources.files) {
    const std::string language = language_name(file);
    if (languages.count(language) == 0) continue;
    groups[language].emplace_back(training::Random(~options.seed, file.path).next(), &file);
  }
  std::vector<TextSample> samples;
  for (auto& [language, files] : groups) {
    std::sort(files.begin(), files.end());
    size_t predicted = 0;
    for (const auto& [rank, file] : files) {
      if (predicted >= options.loss_tokens) break;
      training::Examples made;
      maker->make(*file, made);
      size_t at = 0;
      for (const uint32_t size : made.sizes) {
        TextSample sample;
        sample.language = language;
        for (size_t i = at; i < at + size; ++i) {
          sample.tokens.push_back(made.tokens[i]);
          sample.predicted.push_back(made.loss[i]);
          sample.structure.push_back(
              {made.labels[3 * i], made.labels[3 * i + 1], made.labels[3 * i + 2]});
        }
        at += size;
        if (size < 2 || predicted >= options.loss_tokens) continue;
        predicted += static_cast<size_t>(
            std::count(sample.predicted.begin() + 1, sample.predicted.end(), 1));
        samples.push_back(std::move(sample));
      }
    }
  }
  return samples;
}

Result<Loss> loss_of(engine::Generator& model, const TextSample& sample) {
  Loss loss;
  engine::ScoreRequest request;
  request.tokens = sample.tokens;
  request.structure = sample.structure;
  auto scored = score(model, std::move(request));
  if (!scored) return tl::unexpected(scored.error());
  for (size_t i = 1; i < sample.tokens.size(); ++i) {
    if (sample.predicted[i] == 0) continue;
    loss.nats -= static_cast<double>(scored->logprobs[i - 1]);
    loss.bytes += model.tokenizer()->piece(sample.tokens[i]).size();
    ++loss.tokens;
  }
  return loss;
}

/// One thread's engine.
class Worker {
 public:
  Worker(std::shared_ptr<engine::Generator> model, const assist::CompletionSettings& settings)
      : model_(std::move(model)), completer_(model_), settings_(settings) {}

  engine::Generator& model() { return *model_; }

  Result<Outcome> answer(const Case& asked, size_t number) {
    const assist::CompletionInput input = completion_input(asked, number, settings_);
    auto output = wait_for<Result<assist::CompletionOutput>>(
        [&](auto done) { completer_.complete(input, std::move(done)); });
    if (!output) return tl::unexpected(output.error());
    Outcome outcome;
    outcome.stop = output->stop;
    outcome.dropped = output->dropped;
    outcome.timings = output->timings;
    if (!output->items.empty()) outcome.answer = output->items.front().text;
    outcome.judgement = judge(asked, outcome.answer);
    if (auto scored = score_middle(asked, input, outcome); !scored)
      return tl::unexpected(scored.error());
    return outcome;
  }

 private:
  /// The hole's own text in the completion's prompt, whose cells are in the cache by now.
  Result<void> score_middle(const Case& asked, const assist::CompletionInput& input,
                            Outcome& outcome) {
    assist::SyntaxRequest request;
    request.text = input.text;
    request.cursor = input.cursor;
    request.path = input.path;
    request.labels = model_->capabilities().structure;
    const assist::SyntaxView syntax = assist::SyntaxView::make(request);
    outcome.truth_dropped = syntax.fits && !syntax.fits(asked.middle);
    const assist::CompletionPlan plan = assist::plan_completion(
        *input.text, input.cursor, syntax.language, input.settings.multiline);
    assist::WindowAnchor anchor;
    auto prepared =
        assist::prepare_completion(*model_, input, *input.text, input.cursor, plan, syntax, anchor);
    if (!prepared) return tl::unexpected(prepared.error());

    const engine::Tokenizer& tokenizer = *model_->tokenizer();
    const auto end = assist::end_of_middle(tokenizer, *model_->prompt_format());
    engine::ScoreRequest wanted;
    wanted.tokens = std::move(prepared->request.prompt);
    wanted.structure = std::move(prepared->request.structure);
    wanted.first = static_cast<int32_t>(wanted.tokens.size());
    wanted.top = 1;
    std::string middle = prepared->required + asked.middle;
    std::erase(middle, '\r');
    for (const TokenId id : tokenizer.encode(middle)) {
      wanted.tokens.push_back(id);
      if (prepared->labels) wanted.structure.push_back(prepared->labels(tokenizer.piece(id)));
    }
    if (end) {
      wanted.tokens.push_back(*end);
      if (prepared->labels) wanted.structure.push_back(prepared->labels({}));
    }
    const size_t first = static_cast<size_t>(wanted.first);
    const std::vector<TokenId> tokens = wanted.tokens;
    auto scored = score(*model_, std::move(wanted));
    if (!scored) return tl::unexpected(scored.error());
    const size_t count = scored->logprobs.size() - (end ? 1 : 0);
    for (size_t i = 0; i < count; ++i) {
      outcome.middle.nats -= static_cast<double>(scored->logprobs[i]);
      outcome.middle.bytes += tokenizer.piece(tokens[first + i]).size();
      ++outcome.middle.tokens;
      outcome.stops_early |= ends(scored->alternatives[i]);
    }
    outcome.stops_at_end = end && !outcome.stops_early && ends(scored->alternatives.back());
    return {};
  }

  bool ends(const std::vector<engine::Scored::Alternative>& best) const {
    return !best.empty() && model_->prompt_format()->is_end(best.front().token);
  }

  std::shared_ptr<engine::Generator> model_;
  assist::Completer completer_;
  assist::CompletionSettings settings_;
};

}  // namespace

assist::CompletionInput completion_input(const Case& asked, size_t number,
                                         const assist::CompletionSettings& settings) {
  assist::CompletionInput input;
  input.text = asked.text;
  input.cursor = asked.cursor;
  input.path = std::to_string(number) + "/" + asked.path;
  input.settings = settings;
  if (asked.kind == CaseKind::line) input.settings.multiline = false;
  return input;
}

Result<Evaluation> evaluate(const ModelUnderTest& model, const std::vector<Case>& cases,
                            const Sources& sources, const EvaluateOptions& options,
                            const OnProgress& on_progress) {
  const auto begin = std::chrono::steady_clock::now();
  auto first = engine::load_model(model.path, one_thread(model.load));
  if (!first) return tl::unexpected(first.error());

  Evaluation result;
  result.model = (*first)->capabilities();
  if (options.completions && !result.model.fill_in_middle) {
    return fail(ErrorCode::unsupported,
                model.path +
                    ": has no fill-in-the-middle tokens, so it cannot complete; its loss "
                    "alone can be taken");
  }
  std::set<std::string> languages;
  for (const Case& asked : cases) languages.insert(asked.language);
  std::vector<TextSample> samples;
  if (options.loss_tokens > 0) {
    // Not owned: the generator outlives the call.
    const std::shared_ptr<engine::Generator>& held = *first;
    auto made = text_samples({held, held->tokenizer()}, {held, held->prompt_format()}, sources,
                             languages, static_cast<uint32_t>(result.model.context), options);
    if (!made) return tl::unexpected(made.error());
    samples = std::move(*made);
  }
  if (options.completions) result.outcomes.resize(cases.size());

  const size_t n_cases = result.outcomes.size(), all = n_cases + samples.size();
  std::vector<Loss> losses(samples.size());
  const auto make_work = [&](std::shared_ptr<engine::Generator> engine) -> Work {
    auto worker = std::make_shared<Worker>(std::move(engine), model.settings);
    return [&, worker](size_t i) -> std::optional<Error> {
      if (i >= n_cases) {
        auto loss = loss_of(worker->model(), samples[i - n_cases]);
        if (!loss) return loss.error();
        losses[i - n_cases] = *loss;
        return std::nullopt;
      }
      auto outcome = worker->answer(cases[i], i);
      if (!outcome)
        return Error{outcome.error().code, cases[i].path + ": " + outcome.error().message};
      result.outcomes[i] = std::move(*outcome);
      return std::nullopt;
    };
  };
  auto done = run_on_engines(model.path, model.load, options.threads, std::move(*first), all,
                             make_work, on_progress);
  if (!done) return tl::unexpected(done.error());
  for (size_t i = 0; i < samples.size(); ++i) result.text_loss[samples[i].language].add(losses[i]);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

std::vector<Outcome> copy_baseline(const std::vector<Case>& cases) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(cases.size());
  for (const Case& asked : cases) {
    Outcome outcome;
    outcome.answer = copy_continuation(asked);
    outcome.judgement = judge(asked, outcome.answer);
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace cambium::eval
