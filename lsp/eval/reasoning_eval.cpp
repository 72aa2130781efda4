#include "lsp/eval/reasoning_eval.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace cambium::eval {
namespace {

using Clock = std::chrono::steady_clock;

/// The whole lines that the function stands on, as what is reviewed.
syntax::ByteRange lines_of(const ReviewCase& one) {
  const size_t before =
      one.function.begin == 0 ? std::string::npos : one.text.rfind('\n', one.function.begin - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  const size_t end = std::min(one.text.find('\n', one.function.end), one.text.size());
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
}

Result<assist::ReasoningReview> review(const assist::Assistant& assistant, const ReviewCase& one) {
  const auto tree = syntax::Parser(*one.language).parse(one.text);
  if (!tree) return fail(ErrorCode::bad_format, one.path + ": cannot be parsed");
  assist::ReasoningInput input;
  input.text = one.text;
  input.path = one.path;
  input.tree = &*tree;
  input.changed = {lines_of(one)};
  return assist::reasoning_review(assistant, input);
}

/// Sums of one project.
struct Cost {
  double answered = 0, ms = 0, prompt_tokens = 0, generated_tokens = 0;
};

}  // namespace

Result<ReasoningRun> run_reasoning_cases(const assist::Assistant& assistant,
                                         std::vector<ReviewCase> cases,
                                         const std::function<void(size_t)>& progress) {
  ReasoningRun run;
  run.cases = std::move(cases);
  size_t answered = 0, failed_in_a_row = 0;
  Error last;
  for (const ReviewCase& one : run.cases) {
    ReasoningAnswer& answer = run.answers.emplace_back();
    const auto start = Clock::now();
    auto reviewed = review(assistant, one);
    answer.ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    if (reviewed) {
      ++answered;
      failed_in_a_row = 0;
      answer.review = std::move(*reviewed);
      for (const assist::Finding& finding : answer.review.findings) {
        answer.verdicts.push_back(
            verdict_on(one, finding.range,
                       finding.fix ? finding.fix->changes : std::vector<assist::TextChange>{}));
      }
    } else {
      last = std::move(reviewed.error());
      answer.error = last.message;
      if (last.code != ErrorCode::invalid_argument && ++failed_in_a_row == kMostFailedInARow) break;
    }
    progress(run.answers.size());
  }
  if (answered == 0 && !run.cases.empty()) return tl::unexpected(std::move(last));
  if (failed_in_a_row == kMostFailedInARow) {
    // Those after the last answer say nothing of the model.
    while (!run.answers.back().error.empty()) run.answers.pop_back();
    run.cases.resize(run.answers.size());
    run.ended = std::move(last);
  }
  return run;
}

std::vector<Counted> counted(const ReasoningRun& run) {
  std::vector<Counted> findings;
  for (size_t i = 0; i < run.answers.size(); ++i) {
    for (const Verdict& verdict : run.answers[i].verdicts)
      findings.push_back({i, run.cases[i].bug, verdict});
  }
  return findings;
}

AnswerFigures answers_of(const ReasoningRun& run, const std::string& language) {
  using assist::AnswerForm;
  AnswerFigures figures;
  std::map<std::string, Cost> of_project;
  for (size_t i = 0; i < run.answers.size(); ++i) {
    if (!language.empty() && run.cases[i].language->name != language) continue;
    const ReasoningAnswer& answer = run.answers[i];
    ++figures.cases;
    if (!answer.error.empty()) {
      ++figures.failed;
      continue;
    }
    const assist::ReasoningReview& review = answer.review;
    figures.prose += review.form == AnswerForm::prose ? 1 : 0;
    figures.cut += review.form == AnswerForm::cut ? 1 : 0;
    figures.in_part += review.form == AnswerForm::part ? 1 : 0;
    figures.refused += review.refused;
    figures.unconfirmed += review.unconfirmed;
    Cost& cost = of_project[run.cases[i].project];
    ++cost.answered;
    cost.ms += answer.ms;
    cost.prompt_tokens += static_cast<double>(review.prompt_tokens);
    cost.generated_tokens += static_cast<double>(review.generated_tokens);
  }
  std::vector<double> answered, ms, prompt, generated;
  for (const auto& [project, cost] : of_project) {
    answered.push_back(cost.answered);
    ms.push_back(cost.ms);
    prompt.push_back(cost.prompt_tokens);
    generated.push_back(cost.generated_tokens);
  }
  figures.ms = ratio(ms, answered);
  figures.prompt_tokens = ratio(prompt, answered);
  figures.generated_tokens = ratio(generated, answered);
  return figures;
}

}  // namespace cambium::eval
