// `cambium eval`: how good a model is on source files it has not seen, by language, beside the
// baseline that copies.
#include "lsp/cli/eval.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <ostream>

#include "engine/config.h"
#include "lsp/cli/cli.h"
#include "lsp/cli/eval_cascade.h"
#include "lsp/cli/eval_review.h"
#include "lsp/cli/verbs.h"
#include "lsp/eval/cases.h"
#include "lsp/eval/evaluate.h"
#include "lsp/eval/infill.h"
#include "lsp/eval/summary.h"

namespace cambium::cli {
namespace {

using nlohmann::json;

struct Flags {
  std::vector<std::string> models, ab, languages;
  std::string data = ".", details;
  std::string baseline = "copy";
  size_t cases = 40, loss_tokens = 16384;
  uint64_t seed = 1;
  int32_t prompt_tokens = -1, max_tokens = -1;
  bool json = false, loss_only = false;
  EvalReviewFlags review;
  EvalCascadeFlags cascade;
  std::string infill;
};

json loss_json(const eval::Loss& loss) {
  return {{"nats_per_token", loss.per_token()},
          {"nats_per_byte", loss.per_byte()},
          {"tokens", loss.tokens},
          {"bytes", loss.bytes}};
}

json details_json(const eval::Case& asked, const eval::Outcome& o) {
  return {{"path", asked.path},
          {"language", asked.language},
          {"kind", eval::to_string(asked.kind)},
          {"cursor", asked.cursor},
          {"middle", asked.middle},
          {"answer", o.answer},
          {"stop", o.stop},
          {"dropped", o.dropped},
          {"exact", o.judgement.exact},
          {"similarity", o.judgement.similarity},
          {"adds_errors", o.judgement.adds_errors},
          {"ends_node", o.judgement.ends_node},
          {"middle_nats", o.middle.nats},
          {"middle_tokens", o.middle.tokens},
          {"stops_at_end", o.stops_at_end},
          {"stops_early", o.stops_early},
          {"truth_dropped", o.truth_dropped},
          {"skipped_blocks", o.timings.skipped_blocks}};
}

struct Evaluated {
  std::string name;
  eval::Evaluation evaluation;
  eval::FiguresByLanguage figures;
};

void print_table(Run& run, const eval::FiguresByLanguage& figures, const std::string& title,
                 const eval::FiguresByLanguage* baseline) {
  const bool color = run.color();
  run.out << (color ? "\x1b[1m" : "") << title << (color ? "\x1b[0m" : "") << '\n';
  run.out << fmt::format("  {:<12}{:>9}{:>9}{:>7}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}\n", "", "text",
                         "middle", "line", "copy", "block", "copy", "simil.", "at end", "shown",
                         "errors");
  const auto row = [&](const std::string& name, const eval::Figures& f) {
    const auto& [line, block] = f.kinds;
    const eval::Figures* copied = nullptr;
    if (baseline != nullptr) {
      const auto it = baseline->find(name);
      if (it != baseline->end()) copied = &it->second;
    }
    const auto percent = [](double share) { return fmt::format("{:.1f}", 100 * share); };
    const auto n = static_cast<double>(std::max<size_t>(f.cases, 1));
    run.out << fmt::format(
        "  {:<12}{:>9}{:>9}{:>7}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}\n", name.empty() ? "all" : name,
        f.text.tokens == 0 ? "-" : fmt::format("{:.3f}", f.text.per_token()),
        f.middle.tokens == 0 ? "-" : fmt::format("{:.3f}", f.middle.per_token()),
        percent(line.share(line.exact)),
        copied != nullptr ? percent(copied->kinds[0].share(copied->kinds[0].exact)) : "-",
        percent(block.share(block.exact)),
        copied != nullptr ? percent(copied->kinds[1].share(copied->kinds[1].exact)) : "-",
        percent((line.similarity + block.similarity) / n),
        percent(static_cast<double>(f.stops_at_end) / n),
        percent(static_cast<double>(line.shown + block.shown) / n),
        percent(static_cast<double>(line.adds_errors + block.adds_errors) / n));
  };
  for (const auto& [name, f] : figures) {
    if (!name.empty()) row(name, f);
  }
  row("", figures.at(""));
}

void print_difference(Run& run, const std::string& what, const eval::Interval& d, double scale,
                      const char* unit) {
  const bool sure = d.low > 0 || d.high < 0;
  run.out << fmt::format("  {:<28}{:>+9.3f} {} [{:+.3f}, {:+.3f}]  n = {}{}\n", what,
                         scale * d.mean, unit, scale * d.low, scale * d.high, d.n,
                         sure ? "  *" : "");
}

/// Public benchmarks: what a model writes into their holes.
int infill(Run& run, const Flags& flags, const std::vector<eval::ModelUnderTest>& models,
           int threads) {
  auto bytes = training::read_bytes(flags.infill);
  if (!bytes) return run.fail(bytes.error());
  auto tasks = eval::parse_infill_tasks(*bytes);
  if (!tasks) return run.fail({tasks.error().code, flags.infill + ": " + tasks.error().message});
  std::ofstream details;
  if (!flags.details.empty()) details.open(flags.details);
  json report{{"infill", flags.infill}, {"tasks", tasks->size()}, {"models", json::array()}};
  for (size_t m = 0; m < models.size(); ++m) {
    const std::string& name = flags.models[m].empty() ? models[m].path : flags.models[m];
    ProgressBar bar(run, name);
    auto answers =
        eval::infill(models[m], *tasks, threads, [&](size_t done, size_t all) { bar(done, all); });
    if (!answers) return run.fail(answers.error());
    size_t exact = 0;
    double similarity = 0;
    for (size_t i = 0; i < answers->size(); ++i) {
      const eval::InfillAnswer& answer = (*answers)[i];
      exact += answer.exact ? 1 : 0;
      similarity += answer.similarity / static_cast<double>(answers->size());
      if (!flags.details.empty()) {
        details << json{{"task_id", (*tasks)[i].id},
                        {"completion", answer.completion},
                        {"exact", answer.exact},
                        {"model", name}}
                       .dump(-1, ' ', false, json::error_handler_t::replace)
                << '\n';
      }
    }
    const eval::Interval share = eval::proportion(exact, answers->size());
    report["models"].push_back({{"name", name},
                                {"exact_match", share.mean},
                                {"interval", interval_json(share)},
                                {"edit_similarity", similarity}});
    if (!flags.json) {
      run.out << fmt::format(
          "{}: exact match {:.1f} % [{:.1f}, {:.1f}], similarity {:.1f} %, {} tasks\n", name,
          100 * share.mean, 100 * share.low, 100 * share.high, 100 * similarity, answers->size());
    }
  }
  if (!flags.details.empty() && !details.flush())
    return run.fail({ErrorCode::io, flags.details + ": cannot be written"});
  if (models.size() == 1) report["exact_match"] = report["models"][0]["exact_match"];
  if (flags.json) run.out << report.dump(1, ' ', false, json::error_handler_t::replace) << '\n';
  return run.exit;
}

int evaluate(Run& run, Flags flags) {
  if (flags.review.review) {
    return eval_review(run, flags.review,
                       {flags.data, flags.languages, flags.seed, flags.details, flags.json});
  }
  if (!flags.cascade.models.empty()) flags.models = flags.cascade.models;
  if (!flags.ab.empty()) flags.models = flags.ab;
  if (flags.models.empty()) flags.models.emplace_back();
  json overrides = json::object();
  if (flags.max_tokens >= 0) overrides["completion.maxTokens"] = flags.max_tokens;
  if (flags.prompt_tokens >= 0) overrides["completion.promptTokens"] = flags.prompt_tokens;
  auto settings = settings_for(run, {}, std::move(overrides));
  if (!settings) return run.fail(settings.error());
  std::vector<eval::ModelUnderTest> models;
  for (const std::string& argument : flags.models) {
    auto model = parse_model(argument, settings->config());
    if (!model) return run.fail(model.error());
    models.push_back(std::move(*model));
  }
  if (!flags.infill.empty()) return infill(run, flags, models, settings->config().threads);
  auto sources = eval::read_sources(flags.data);
  if (!sources) return run.fail(sources.error());
  eval::CaseOptions choice;
  choice.per_language = flags.cases;
  choice.languages = flags.languages;
  choice.seed = flags.seed;
  auto cases = eval::choose_cases(*sources, choice);
  if (!cases) return run.fail(cases.error());

  if (!flags.cascade.models.empty()) {
    return eval_cascade(run, flags.cascade, models, *cases, flags.data, flags.json);
  }

  eval::EvaluateOptions options;
  options.threads = settings->config().threads;
  options.seed = flags.seed;
  options.loss_tokens = flags.loss_tokens;
  options.completions = !flags.loss_only;
  std::vector<Evaluated> done;
  for (size_t i = 0; i < models.size(); ++i) {
    ProgressBar bar(run, flags.models[i].empty() ? "evaluating" : flags.models[i]);
    auto one = eval::evaluate(models[i], *cases, *sources, options,
                              [&](size_t n, size_t all) { bar(n, all); });
    if (!one) return run.fail(one.error());
    Evaluated evaluated{
        flags.models[i].empty() ? models[i].path : flags.models[i], std::move(*one), {}};
    evaluated.figures =
        eval::summarize(*cases, evaluated.evaluation.outcomes, evaluated.evaluation.text_loss);
    done.push_back(std::move(evaluated));
  }
  std::optional<eval::FiguresByLanguage> baseline;
  std::vector<eval::Outcome> copied;
  if (flags.baseline == "copy" && options.completions) {
    copied = eval::copy_baseline(*cases);
    baseline = eval::summarize(*cases, copied, {});
  }
  if (!flags.details.empty()) {
    std::ofstream out(flags.details);
    for (const Evaluated& one : done) {
      for (size_t i = 0; i < one.evaluation.outcomes.size(); ++i) {
        json line = details_json((*cases)[i], one.evaluation.outcomes[i]);
        line["model"] = one.name;
        if (!copied.empty()) line["copied"] = copied[i].answer;
        out << line.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
      }
    }
    if (!out.flush()) return run.fail({ErrorCode::io, flags.details + ": cannot be written"});
  }

  if (flags.json) {
    json report{{"data", flags.data},
                {"files", sources->files.size()},
                {"seed", flags.seed},
                {"cases", cases->size()},
                {"models", json::array()}};
    for (const Evaluated& one : done) {
      report["models"].push_back({{"name", one.name},
                                  {"description", one.evaluation.model.description},
                                  {"seconds", one.evaluation.seconds},
                                  {"figures", figures_json(one.figures)}});
    }
    if (baseline) report["baseline"] = {{"name", "copy"}, {"figures", figures_json(*baseline)}};
    for (size_t i = 1; i < done.size() && options.completions; ++i) {
      const eval::Comparison c =
          eval::compare(*cases, done[0].evaluation.outcomes, done[i].evaluation.outcomes);
      report["comparisons"].push_back({{"a", done[0].name},
                                       {"b", done[i].name},
                                       {"line_exact_match", interval_json(c.exact_match[0])},
                                       {"block_exact_match", interval_json(c.exact_match[1])},
                                       {"line_similarity", interval_json(c.similarity[0])},
                                       {"block_similarity", interval_json(c.similarity[1])},
                                       {"middle_loss", interval_json(c.middle_loss)},
                                       {"stops_at_end", interval_json(c.stops_at_end)}});
    }
    run.out << report.dump(1, ' ', false, json::error_handler_t::replace) << '\n';
    return run.exit;
  }
  for (const Evaluated& one : done) {
    print_table(run, one.figures, one.name + ": " + one.evaluation.model.description,
                baseline ? &*baseline : nullptr);
  }
  run.out << fmt::format(
      "{} cases of {}, seed {}; text and middle: loss in nats a token; line, block: exact match, "
      "%, "
      "copy: of the baseline; simil.: edit similarity, %; at end: the model itself stops at the "
      "hole's end, %; errors: completions that add a syntax error, %\n",
      cases->size(), flags.data, flags.seed);
  for (size_t i = 1; i < done.size() && options.completions; ++i) {
    const eval::Comparison c =
        eval::compare(*cases, done[0].evaluation.outcomes, done[i].evaluation.outcomes);
    run.out << done[i].name << " minus " << done[0].name
            << ", paired, 95 % interval, * where it leaves out 0\n";
    print_difference(run, "exact match of a line", c.exact_match[0], 100, "points");
    print_difference(run, "exact match of a block", c.exact_match[1], 100, "points");
    print_difference(run, "similarity of a line", c.similarity[0], 100, "points");
    print_difference(run, "similarity of a block", c.similarity[1], 100, "points");
    print_difference(run, "stops at the end", c.stops_at_end, 100, "points");
    print_difference(run, "loss of the middle", c.middle_loss, 1, "nats  ");
  }
  return run.exit;
}

}  // namespace

ProgressBar::ProgressBar(Run& run, std::string name)
    : run_(run),
      name_(std::move(name)),
      shown_(&run.err == &std::cerr && isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (shown_) run_.err << "\r\x1b[K" << std::flush;
}

void ProgressBar::operator()(size_t done, size_t all) {
  if (!shown_) return;
  constexpr size_t kWidth = 30;
  const size_t filled = all == 0 ? kWidth : done * kWidth / all;
  run_.err << fmt::format("\r{} [{}{}] {}/{}", name_, std::string(filled, '#'),
                          std::string(kWidth - filled, ' '), done, all)
           << std::flush;
}

Result<eval::ModelUnderTest> parse_model(const std::string& argument, const Config& config) {
  eval::ModelUnderTest model;
  model.settings.max_tokens = config.completion_max_tokens;
  model.settings.prompt_tokens = config.completion_prompt_tokens;
  Config own = config;
  std::optional<engine::PruneRule> rule;
  size_t at = std::min(argument.find(','), argument.size());
  model.path = argument.substr(0, at);
  while (at < argument.size()) {
    const size_t end = std::min(argument.find(',', at + 1), argument.size());
    const std::string part = argument.substr(at + 1, end - at - 1);
    at = end;
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == part.npos ? "" : part.substr(equals + 1);
    const bool digits =
        !value.empty() && value.size() <= 9 && value.find_first_not_of("0123456789") == value.npos;
    const int32_t number = digits ? std::stoi(value) : 0;
    if (key == "structure" && (value == "auto" || engine::structure_mode(value))) {
      own.structure = value;
    } else if (key == "adapter" && !value.empty()) {
      own.adapter = value;
    } else if ((key == "window" || key == "sinks" || key == "scope-window") && digits) {
      if (!rule) rule.emplace();
      (key == "window" ? rule->window : key == "sinks" ? rule->sinks : rule->scope_window) = number;
    } else if (key == "prompt-tokens" && digits) {
      model.settings.prompt_tokens = number;
    } else if (key == "max-tokens" && digits) {
      model.settings.max_tokens = number;
    } else if (key == "copying" && digits) {
      model.settings.copying = static_cast<float>(number) / 100;
    } else if (key == "copied-lines" && digits) {
      model.settings.copied_lines = number != 0;
    } else {
      return cambium::fail(
          ErrorCode::invalid_argument,
          "'" + part + "' in '" + argument +
              "': expected adapter=FILE, structure=auto, off, emphasis, prune, own or tree, "
              "window=N, sinks=N, scope-window=N, prompt-tokens=N, max-tokens=N, "
              "copying=PERCENT or copied-lines=0 or 1");
    }
  }
  if (model.path.empty()) {
    auto choice = choose_model(own);
    if (!choice) return tl::unexpected(choice.error());
    model.path = choice->path;
  }
  model.load = load_options(own);
  model.load.prune = rule;
  return model;
}

json interval_json(const eval::Interval& i) {
  return {{"mean", i.mean}, {"low", i.low}, {"high", i.high}, {"n", i.n}};
}

json figures_json(const eval::FiguresByLanguage& figures) {
  json out = json::object();
  for (const auto& [name, f] : figures) {
    const auto n = static_cast<double>(std::max<size_t>(f.cases, 1));
    json one;
    for (int k = 0; k < eval::kCaseKinds; ++k) {
      const eval::KindFigures& kind = f.kinds[static_cast<size_t>(k)];
      one[eval::to_string(static_cast<eval::CaseKind>(k))] = {
          {"cases", kind.cases},
          {"exact_match", interval_json(kind.exact_match())},
          {"edit_similarity",
           kind.cases == 0 ? 0 : kind.similarity / static_cast<double>(kind.cases)},
          {"shown", kind.share(kind.shown)},
          {"ends_node", kind.share(kind.ends_node)},
          {"syntax_errors", kind.share(kind.adds_errors)}};
    }
    one["stops_at_end"] = interval_json(eval::proportion(f.stops_at_end, f.cases));
    one["stops_early"] = static_cast<double>(f.stops_early) / n;
    one["truth_dropped"] = static_cast<double>(f.truth_dropped) / n;
    one["middle_loss"] = loss_json(f.middle);
    one["text_loss"] = loss_json(f.text);
    one["stop_reasons"] = f.stops;
    one["dropped"] = f.dropped;
    one["skipped_blocks"] = f.skipped_blocks / n;
    one["ttft_ms"] = f.ttft_ms / n;
    one["prompt_tokens"] = static_cast<double>(f.prompt_tokens) / n;
    one["generated_tokens"] = static_cast<double>(f.generated_tokens) / n;
    one["decode_tokens_per_second"] =
        f.decode_ms > 0 ? 1000 * static_cast<double>(f.generated_tokens) / f.decode_ms : 0;
    out[name.empty() ? "all" : name] = std::move(one);
  }
  return out;
}

void add_eval(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "eval", "How good a model is on source files: loss, exact match, where it stops");
  verb->add_option("MODEL", flags->models,
                   "GGUF files, each with settings behind commas: m.gguf,structure=off");
  verb->add_option("--ab", flags->ab, "Two models or settings, compared case by case")->expected(2);
  verb->add_option("--data", flags->data,
                   "Folder of sources, or a container of cambium-prepare; default: this folder");
  verb->add_option("--cases", flags->cases, "A language, half of them lines, half blocks")
      ->check(CLI::Range(2, 100000));
  verb->add_option("--languages", flags->languages, "Only these, by name: python,cpp")
      ->delimiter(',');
  verb->add_option("--seed", flags->seed, "Of the choice of cases");
  verb->add_option("--loss-tokens", flags->loss_tokens,
                   "Tokens a language whose loss is taken; 0: none");
  verb->add_flag("--loss-only", flags->loss_only, "No completions");
  verb->add_option("--baseline", flags->baseline,
                   "copy: what follows the longest matching context in the file; none")
      ->check(CLI::IsMember({"copy", "none"}));
  verb->add_option(
      "--infill", flags->infill,
      "A benchmark's JSON lines with prompt, suffix and canonical_solution, in place of "
      "--data; generates only, --details writes samples for the benchmark's own runner");
  verb->add_option("--prompt-tokens", flags->prompt_tokens, "Budget of a prompt");
  verb->add_option("--max-tokens", flags->max_tokens, "Most tokens of a completion");
  verb->add_option("--details", flags->details, "Write every case with its answer to this file");
  add_review_flags(*verb, flags->review);
  add_cascade_flags(*verb, flags->cascade);
  verb->add_flag("--json", flags->json, "As JSON");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = evaluate(run, *flags); });
}

}  // namespace cambium::cli
