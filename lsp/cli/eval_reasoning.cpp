#include "lsp/cli/eval_reasoning.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <ostream>

#include "lsp/assist/review_calibration.h"
#include "lsp/cli/eval.h"
#include "lsp/cli/review_table.h"
#include "lsp/cli/roles.h"
#include "lsp/eval/reasoning_eval.h"

namespace cambium::cli {
namespace {

using assist::Role;
using eval::AnswerFigures;
using eval::ReasoningRun;
using nlohmann::json;

struct ReasoningModel {
  std::shared_ptr<const assist::Assistant> assistant;
  std::string description;
};

/// The model with the role, and the larger one behind it.
Result<ReasoningModel> load_reasoning(Run& run, const Config& config) {
  auto models = configured_models(run);
  if (!models) return tl::unexpected(models.error());
  if (!models->role(Role::reasoning)) {
    const std::string& named = run.flags.models;
    return cambium::fail(ErrorCode::not_found,
                         (named.empty() ? models_config_path().string() : named) +
                             ": no model has the role \"reasoning\"; give it a model that chats "
                             "with 'cambium models "
                             "use reasoning FILE' (or URL --name MODEL)");
  }
  const auto fixed = std::make_shared<assist::FixedModels>();
  ReasoningModel out;
  for (const lsp::PooledModel& one : pooled_models(run, config, *models)) {
    const bool own =
        std::find(one.roles.begin(), one.roles.end(), Role::reasoning) != one.roles.end();
    const auto larger = one.larger_of.find(Role::reasoning);
    if (!own && larger == one.larger_of.end()) continue;
    auto loaded = one.load(loading_line(run));
    if (!loaded) return tl::unexpected(loaded.error());
    if (!loaded->capabilities.chat) {
      return cambium::fail(
          ErrorCode::unsupported,
          "the model " + loaded->capabilities.model +
              " has no chat template that is known here, so it cannot answer in "
              "words; give the role \"reasoning\" an instruct model in models.json");
    }
    if (own) {
      fixed->set(Role::reasoning, loaded->generator);
      out.description.insert(0, loaded->capabilities.description);
    } else {
      fixed->set_larger(Role::reasoning, loaded->generator, larger->second);
      out.description +=
          fmt::format(", below {:.2f} {}", larger->second, loaded->capabilities.description);
    }
  }
  assist::AssistantOptions options;
  options.conversation_tokens = models->conversation_tokens;
  out.assistant = std::make_shared<const assist::Assistant>(fixed, options);
  return out;
}

json to_json(const AnswerFigures& answers) {
  return {{"cases", answers.cases},
          {"failed", answers.failed},
          {"prose", answers.prose},
          {"cut", answers.cut},
          {"inPart", answers.in_part},
          {"findingsRefused", answers.refused},
          {"findingsUnconfirmed", answers.unconfirmed},
          {"ms", interval_json(answers.ms)},
          {"promptTokens", interval_json(answers.prompt_tokens)},
          {"generatedTokens", interval_json(answers.generated_tokens)}};
}

json to_json(const eval::ReviewCase& one, const eval::ReasoningAnswer& answer) {
  json out = {{"path", one.path},       {"language", one.language->name},
              {"project", one.project}, {"begin", one.function.begin},
              {"bug", one.bug},         {"ms", answer.ms}};
  if (!one.bug.empty()) {
    out["slip"] = one.text.substr(one.slip.begin, one.slip.end - one.slip.begin);
    out["original"] = one.original;
  }
  if (!answer.error.empty()) {
    out["error"] = answer.error;
    return out;
  }
  out["findings"] = json::array();
  for (size_t i = 0; i < answer.verdicts.size(); ++i) {
    const assist::Finding& finding = answer.review.findings[i];
    json stated = {
        {"quote", one.text.substr(finding.range.begin, finding.range.end - finding.range.begin)},
        {"message", finding.message},
        {"hit", answer.verdicts[i].hit},
        {"restores", answer.verdicts[i].restores}};
    if (finding.fix) stated["replacement"] = finding.fix->changes[0].text;
    out["findings"].push_back(std::move(stated));
  }
  out["notes"] = answer.review.notes;
  out["promptTokens"] = answer.review.prompt_tokens;
  out["generatedTokens"] = answer.review.generated_tokens;
  return out;
}

void write_details(std::ostream& out, const ReasoningRun& judged) {
  for (size_t i = 0; i < judged.cases.size(); ++i) {
    out << to_json(judged.cases[i], judged.answers[i])
               .dump(-1, ' ', false, json::error_handler_t::replace)
        << '\n';
  }
}

/// What is printed of a run.
class Report {
 public:
  Report(const ReasoningRun& judged, std::string half, std::string model)
      : judged_(judged), half_(std::move(half)), model_(std::move(model)) {
    const auto reported = eval::counted(judged);
    const auto row = [&](std::string name, const eval::ReviewPart& part) {
      return Row{std::move(name), eval::figures_of(judged.cases, reported, part),
                 eval::intervals_of(judged.cases, reported, part),
                 eval::answers_of(judged, part.language)};
    };
    for (size_t kind = 0; kind < syntax::kSiteKinds; ++kind) {
      const std::string name = syntax::to_string(static_cast<syntax::SiteKind>(kind));
      kinds_.push_back(row(name, {.kind = name}));
    }
    for (const std::string_view language : assist::kReviewLanguages) {
      Row one = row(std::string(language), {.language = std::string(language)});
      if (one.answers.cases > 0) languages_.push_back(std::move(one));
    }
    languages_.push_back(row("all", {}));
  }

  json to_json() const {
    json out = {{"half", half_},
                {"model", model_},
                {"functions", judged_.cases.size()},
                {"kinds", json::object()},
                {"languages", json::object()}};
    for (const Row& kind : kinds_)
      out["kinds"][kind.name] = review_json(kind.figures, &kind.intervals, ReviewColumns::of_slips);
    for (const Row& language : languages_) {
      json figures = review_json(language.figures, &language.intervals);
      figures["answers"] = cli::to_json(language.answers);
      if (language.name == "all")
        out["all"] = std::move(figures);
      else
        out["languages"][language.name] = std::move(figures);
    }
    return out;
  }

  void print(std::ostream& out) const {
    const AnswerFigures& all = languages_.back().answers;
    out << fmt::format(
        "half to {}: {} functions, {} of them with a slip; reviewed by {}\n"
        "95 % intervals over projects drawn anew\n\n",
        half_, judged_.cases.size(), languages_.back().figures.slips, model_);
    print_review_heading(out);
    for (const Row& row : kinds_)
      print_review_row(out, row.name, row.figures, &row.intervals, ReviewColumns::of_slips);
    out << '\n';
    for (const Row& row : languages_) print_review_row(out, row.name, row.figures, &row.intervals);
    out << fmt::format("\n{:<18}{:>6}{:>8}{:>7}{:>6}{:>9}{:>26}{:>26}{:>26}\n", "answers", "cases",
                       "failed", "prose", "cut", "in part", "seconds a case", "tokens read",
                       "tokens written");
    for (const Row& row : languages_) {
      const AnswerFigures& a = row.answers;
      out << fmt::format("{:<18}{:>6}{:>8}{:>7}{:>6}{:>9}{:>26}{:>26}{:>26}\n", row.name, a.cases,
                         a.failed, a.prose, a.cut, a.in_part, with_ends(a.ms, 0.001, 1),
                         with_ends(a.prompt_tokens, 1, 0), with_ends(a.generated_tokens, 1, 0));
    }
    out << fmt::format(
        "{} more findings were refused (no such code on that line) and {} not confirmed by the "
        "model's second look; tokens as the engine tells them\n",
        all.refused, all.unconfirmed);
  }

 private:
  struct Row {
    std::string name;
    eval::ReviewFigures figures;
    eval::ReviewIntervals intervals;
    AnswerFigures answers;
  };
  static std::string with_ends(const eval::Interval& i, double scale, int digits) {
    return fmt::format("{:.{}f} ({:.{}f}-{:.{}f})", scale * i.mean, digits, scale * i.low, digits,
                       scale * i.high, digits);
  }

  const ReasoningRun& judged_;
  std::string half_, model_;
  std::vector<Row> kinds_, languages_;  ///< the last language is all of them
};

}  // namespace

int eval_reasoning(Run& run, EvalReasoningInput input) {
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  const auto model = load_reasoning(run, settings->config());
  if (!model) return run.fail(model.error());
  std::ofstream details;
  const auto unwritable = [&] {
    return run.fail({ErrorCode::io, input.details + ": cannot be written"});
  };
  if (!input.details.empty()) {  // told before hours of work
    details.open(input.details, std::ios::binary | std::ios::trunc);
    if (!details) return unwritable();
  }
  const size_t total = input.cases.size();
  const auto judged = [&] {
    ProgressBar bar(run, "review by reasoning");
    return eval::run_reasoning_cases(*model->assistant, std::move(input.cases),
                                     [&](size_t done) { bar(done, total); });
  }();
  if (!judged) return run.fail(judged.error());
  const Report report(*judged, std::move(input.half), model->description);
  if (input.json) {
    run.out << report.to_json().dump(1, ' ', false, json::error_handler_t::replace) << '\n';
  } else {
    report.print(run.out);
  }
  if (!input.details.empty()) {
    write_details(details, *judged);
    if (!details.flush()) return unwritable();
  }
  if (judged->ended) {
    return run.fail(
        {judged->ended->code,
         fmt::format("only the first {} of {} functions were reviewed, then {} in a row failed: {}",
                     judged->cases.size(), total, eval::kMostFailedInARow,
                     judged->ended->message)});
  }
  return run.exit;
}

}  // namespace cambium::cli
