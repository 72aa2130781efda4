#include "lsp/eval/infill.h"

#include <algorithm>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "lsp/assist/completion_plan.h"
#include "lsp/assist/completion_request.h"
#include "lsp/assist/syntax_view.h"
#include "lsp/eval/judge.h"

namespace cambium::eval {
namespace {

/// Gives every token its label and the first ones what token healing wants.
class Labels final : public engine::StepController {
 public:
  Labels(std::string required, assist::MiddleLabels labels)
      : required_(std::move(required)), labels_(std::move(labels)) {}
  engine::StepDecision on_token(const engine::Step& step) override {
    required_.erase(0, std::min(required_.size(), step.piece.size()));
    engine::StepDecision decision;
    if (labels_) decision.label = labels_(step.piece);
    return decision;
  }
  std::string_view required_prefix() const override { return required_; }

 private:
  std::string required_;
  assist::MiddleLabels labels_;
};

Result<std::string> write_middle(engine::Generator& model, const InfillTask& task, size_t number,
                                 const assist::CompletionSettings& settings) {
  assist::CompletionInput input;
  input.text = std::make_shared<const std::string>(task.prompt + task.suffix);
  input.cursor = task.prompt.size();
  input.path = std::to_string(number) + "/solution.py";
  input.settings = settings;
  assist::SyntaxRequest request;
  request.text = input.text;
  request.cursor = input.cursor;
  request.path = input.path;
  request.labels = model.capabilities().structure;
  const assist::SyntaxView syntax = assist::SyntaxView::make(request);
  assist::CompletionPlan plan;
  plan.extent = assist::Extent::body;  // as long as the model goes on
  assist::WindowAnchor anchor;
  auto prepared =
      assist::prepare_completion(model, input, *input.text, input.cursor, plan, syntax, anchor);
  if (!prepared) return tl::unexpected(prepared.error());
  const size_t given = prepared->required.size();
  prepared->request.controller =
      std::make_shared<Labels>(std::move(prepared->required), std::move(prepared->labels));
  const auto promise = std::make_shared<std::promise<Result<engine::Generated>>>();
  model.generate(
      std::move(prepared->request), nullptr,
      [promise](Result<engine::Generated> result) { promise->set_value(std::move(result)); });
  const auto generated = promise->get_future().get();
  if (!generated) return tl::unexpected(generated.error());
  return generated->text.substr(std::min(given, generated->text.size()));
}

}  // namespace

Result<std::vector<InfillTask>> parse_infill_tasks(std::string_view jsonl) {
  std::vector<InfillTask> tasks;
  for (size_t at = 0, line = 1; at < jsonl.size(); ++line) {
    const size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    const std::string_view text = assist::trim(jsonl.substr(at, end - at));
    at = end + 1;
    if (text.empty()) continue;
    const auto object = nlohmann::json::parse(text, nullptr, false);
    const auto has = [&](const char* key) {
      return object.is_object() && object.contains(key) && object[key].is_string();
    };
    if (!has("prompt") || !has("suffix") || !has("canonical_solution")) {
      return fail(ErrorCode::bad_format,
                  "line " + std::to_string(line) +
                      ": expected a JSON object with the texts prompt, suffix and "
                      "canonical_solution");
    }
    const auto text_of = [&](const char* key) { return object[key].get<std::string>(); };
    InfillTask task{has("task_id") ? text_of("task_id") : std::to_string(line), text_of("prompt"),
                    text_of("suffix"), text_of("canonical_solution")};
    tasks.push_back(std::move(task));
  }
  if (tasks.empty()) return fail(ErrorCode::bad_format, "no tasks");
  return tasks;
}

InfillAnswer judge_infill(const InfillTask& task, std::string completion) {
  const std::string_view wanted = assist::trim(task.solution);
  std::string_view got = assist::trim(completion);
  if (wanted.find('\n') == wanted.npos) got = assist::trim(got.substr(0, got.find('\n')));
  InfillAnswer answer;
  answer.exact = wanted == got;
  answer.similarity = edit_similarity(wanted, got);
  answer.completion = std::move(completion);
  return answer;
}

Result<std::vector<InfillAnswer>> infill(const ModelUnderTest& model,
                                         const std::vector<InfillTask>& tasks, int threads,
                                         const OnProgress& on_progress) {
  auto first = engine::load_model(model.path, one_thread(model.load));
  if (!first) return tl::unexpected(first.error());
  std::vector<InfillAnswer> answers(tasks.size());
  const auto make_work = [&](std::shared_ptr<engine::Generator> engine) -> Work {
    return [&, engine](size_t i) -> std::optional<Error> {
      auto text = write_middle(*engine, tasks[i], i, model.settings);
      if (!text) return Error{text.error().code, tasks[i].id + ": " + text.error().message};
      answers[i] = judge_infill(tasks[i], std::move(*text));
      return std::nullopt;
    };
  };
  auto done = run_on_engines(model.path, model.load, threads, std::move(*first), tasks.size(),
                             make_work, on_progress);
  if (!done) return tl::unexpected(done.error());
  return answers;
}

}  // namespace cambium::eval
