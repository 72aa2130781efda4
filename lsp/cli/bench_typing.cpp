#include <future>

#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/syntax_view.h"
#include "lsp/bench.h"
#include "lsp/cli/bench.h"
#include "lsp/cli/verbs.h"
#include "syntax/bench.h"

namespace cambium::cli {
namespace {

/// What is typed at the cursor, one character at a time.
constexpr std::string_view kTyped = "if (total > limit_of(values)) return clamp(total, 0, 255);";

struct Typing {
  std::string text;
  size_t cursor = 0;
};

/// In the middle of a file, before the end of a function.
Typing typing_place(uint32_t lines) {
  Typing typing{syntax::generated_source(lines), 0};
  typing.cursor = typing.text.find("return total", typing.text.size() / 2);
  return typing;
}

}  // namespace

Result<void> bench_lsp(const std::shared_ptr<engine::Generator>& model, Figures& figures) {
  const auto report = lsp::measure_overhead(model, 2000, 300);
  if (!report) return tl::unexpected(report.error());
  figures.push_back({"lsp", "a keystroke and its request at 2,000 lines, all but the model, p50",
                     report->p50_ms, "ms"});
  figures.push_back({"lsp", "a keystroke and its request at 2,000 lines, all but the model, p99",
                     report->p99_ms, "ms", 3});
  figures.push_back(
      {"lsp", "the part of it before the model is asked, p99", report->before_model_p99_ms, "ms"});
  return {};
}

Result<void> bench_typing(const std::shared_ptr<engine::Generator>& model, Figures& figures) {
  Typing typing = typing_place(2000);
  const engine::Capabilities can = model->capabilities();
  assist::WindowAnchor anchor;
  const auto ask = [&](engine::Timings& timings, double& ms) -> Result<void> {
    const Stopwatch watch;
    assist::SyntaxRequest syntax;
    syntax.text = std::make_shared<const std::string>(typing.text);
    syntax.cursor = typing.cursor;
    syntax.path = "sample.cpp";
    syntax.labels = can.structure;
    syntax.scopes = std::make_shared<const syntax::ScopeMap>(
        syntax::ScopeMap::whole_file(static_cast<uint32_t>(typing.text.size())));
    const assist::SyntaxView view = assist::SyntaxView::make(syntax);
    assist::PromptInput input;
    input.text = typing.text;
    input.cursor = typing.cursor;
    input.path = "sample.cpp";
    input.scopes = &view.label_map();
    input.at_cursor = view.at_cursor();
    // Room to type: about 1,500 tokens once the window is filled.
    input.tokens = 1750;
    auto prompt = assist::build_prompt(*model->tokenizer(), *model->prompt_format(), input, anchor);
    if (!prompt) return tl::unexpected(prompt.error());
    engine::Request request;
    if (can.structure) request.structure = std::move(prompt->sequence.structure);
    request.prompt = std::move(prompt->sequence.tokens);
    request.max_tokens = 16;
    request.slot_key = 1;
    std::promise<Result<engine::Generated>> promise;
    model->generate(std::move(request), nullptr, [&](Result<engine::Generated> result) {
      promise.set_value(std::move(result));
    });
    auto generated = promise.get_future().get();
    if (!generated) return tl::unexpected(generated.error());
    timings = generated->timings;
    ms = watch.ms();
    return {};
  };

  Samples evaluated, times, whole;
  engine::Timings timings;
  double ms = 0;
  if (auto cold = ask(timings, ms); !cold) return cold;
  figures.push_back(
      {"typing", "tokens of the prompt", static_cast<double>(timings.prompt_tokens), "tokens"});
  figures.push_back(
      {"typing", "first request at a place: up to the first token", timings.ttft_ms, "ms"});
  for (const char c : kTyped) {
    typing.text.insert(typing.cursor++, 1, c);
    if (auto next = ask(timings, ms); !next) return next;
    evaluated.add(timings.prompt_tokens - timings.reused_tokens);
    times.add(ms);
    if (timings.generated_tokens == 16) whole.add(ms);
  }
  figures.push_back({"typing", "later keystrokes: prompt tokens evaluated, median",
                     evaluated.median(), "tokens", 10});
  figures.push_back(
      {"typing", "later keystrokes: prompt tokens evaluated, p90", evaluated.at(0.9), "tokens"});
  figures.push_back(
      {"typing", "later keystrokes: time of a request, median", times.median(), "ms"});
  if (whole.size() > 0) {
    figures.push_back(
        {"typing", "later keystrokes: those of 16 tokens, median", whole.median(), "ms", 150});
  }
  figures.push_back(
      {"typing", "resident memory", static_cast<double>(resident_bytes()) / 1e6, "MB", 250});
  return {};
}

}  // namespace cambium::cli
