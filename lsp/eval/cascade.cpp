#include "lsp/eval/cascade.h"

#include <chrono>
#include <future>
#include <memory>

#include "lsp/assist/cascade.h"

namespace cambium::eval {
namespace {

using Clock = std::chrono::steady_clock;

/// A model with how long its last answer took.
class Answering {
 public:
  Answering(std::shared_ptr<engine::Generator> model, const assist::CompletionSettings& settings)
      : completer_(std::move(model)), settings_(settings) {}

  Result<assist::CompletionOutput> answer(const Case& asked, size_t number) {
    const auto start = Clock::now();
    std::promise<Result<assist::CompletionOutput>> promise;
    completer_.complete(completion_input(asked, number, settings_),
                        [&promise](Result<assist::CompletionOutput> output) {
                          promise.set_value(std::move(output));
                        });
    auto output = promise.get_future().get();
    ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    return output;
  }

  double ms = 0;

 private:
  assist::Completer completer_;
  assist::CompletionSettings settings_;
};

Judgement judge_output(const Case& asked, const assist::CompletionOutput& output) {
  return judge(asked, output.items.empty() ? std::string() : output.items.front().text);
}

bool escalates(const CascadeCase& one, double threshold) {
  return assist::doubt_about(one.confidence, one.small.shown, threshold).ask_larger;
}

/// Half of the projects, the same ones whatever the cases are: by a hash of "<language>/<project>".
bool calibrates(std::string_view path) {
  const size_t project = path.find('/') + 1;
  return (stable_hash(path.substr(0, path.find('/', project))) >> 16 & 1) == 0;
}

/// As assist::CascadeCompleter answers.
const Judgement& cascade_answer(const CascadeCase& one, double threshold) {
  const bool larger = escalates(one, threshold) && (one.larger.shown || !one.small.shown);
  return larger ? one.larger : one.small;
}

}  // namespace

Result<CascadeRun> run_cascade(const ModelUnderTest& small, const ModelUnderTest& larger,
                               const std::vector<Case>& cases, const OnProgress& on_progress) {
  CascadeRun run;
  const auto open = [](const ModelUnderTest& model,
                       engine::Capabilities& can) -> Result<std::unique_ptr<Answering>> {
    engine::LoadOptions load = model.load;
    load.engine.slots = 1;
    auto generator = engine::load_model(model.path, load);
    if (!generator) return tl::unexpected(generator.error());
    can = (*generator)->capabilities();
    if (!can.fill_in_middle) {
      return fail(ErrorCode::unsupported,
                  model.path + ": has no fill-in-the-middle tokens, so it cannot complete");
    }
    return std::make_unique<Answering>(std::move(*generator), model.settings);
  };
  auto first = open(small, run.small);
  if (!first) return tl::unexpected(first.error());
  auto second = open(larger, run.larger);
  if (!second) return tl::unexpected(second.error());
  const auto answer = [](Answering& model, const Case& asked, size_t number) {
    auto output = model.answer(asked, number);
    if (!output) output.error().message.insert(0, asked.path + ": ");
    return output;
  };
  // Pages of the files and threads are there when time counts.
  if (!cases.empty()) {
    for (Answering* model : {first->get(), second->get()}) {
      if (auto output = answer(*model, cases.front(), cases.size()); !output) {
        return tl::unexpected(output.error());
      }
    }
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    auto of_small = answer(**first, cases[i], i);
    if (!of_small) return tl::unexpected(of_small.error());
    auto of_larger = answer(**second, cases[i], i);
    if (!of_larger) return tl::unexpected(of_larger.error());
    CascadeCase& one = run.cases.emplace_back();
    one.kind = cases[i].kind;
    one.calibrates = calibrates(cases[i].path);
    one.small = judge_output(cases[i], *of_small);
    one.larger = judge_output(cases[i], *of_larger);
    one.confidence = of_small->confidence;
    one.small_ms = (*first)->ms;
    one.larger_ms = (*second)->ms;
    if (on_progress) on_progress(i + 1, cases.size());
  }
  return run;
}

CascadeFigures figures_at(double threshold, std::span<const CascadeCase> cases) {
  CascadeFigures figures;
  figures.threshold = threshold;
  figures.cases = cases.size();
  std::vector<double> alone, cascade, alone_ms, cascade_ms;
  for (const CascadeCase& one : cases) {
    const bool more = escalates(one, threshold), exact = cascade_answer(one, threshold).exact;
    figures.escalated += more ? 1 : 0;
    figures.exact += exact ? 1 : 0;
    figures.small_exact += one.small.exact ? 1 : 0;
    figures.larger_exact += one.larger.exact ? 1 : 0;
    alone.push_back(one.larger.exact ? 1 : 0);
    cascade.push_back(exact ? 1 : 0);
    alone_ms.push_back(one.larger_ms);
    cascade_ms.push_back(one.small_ms + (more ? one.larger_ms : 0));
  }
  figures.gain = paired_difference(alone, cascade);
  figures.saved = share_saved(alone_ms, cascade_ms);
  return figures;
}

double choose_threshold(std::span<const CascadeCase> cases) {
  size_t alone = 0;
  for (const CascadeCase& one : cases) alone += one.larger.exact ? 1 : 0;
  constexpr int kSteps = 100;
  double chosen = 1;
  for (int step = kSteps; step >= 0; --step) {
    const double threshold = static_cast<double>(step) / kSteps;
    size_t exact = 0;
    for (const CascadeCase& one : cases) exact += cascade_answer(one, threshold).exact ? 1 : 0;
    if (exact < alone) break;
    chosen = threshold;
  }
  return chosen;
}

}  // namespace cambium::eval
