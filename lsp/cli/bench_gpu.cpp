// `cambium bench --gpu`: what a GPU reaches, against its physical limits and the project's goals.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "engine/engine.h"
#include "engine/gguf.h"
#include "engine/gpu_bench.h"
#include "engine/tokenizer.h"
#include "lsp/assist/review_likelihood.h"
#include "lsp/cli/bench.h"
#include "lsp/cli/cli.h"
#include "lsp/cli/verbs.h"

namespace cambium::cli {
namespace {

using nlohmann::json;

/// Texts as the tokens of the bundled vocabulary: how often code repeats itself hardly depends on
/// the vocabulary.
std::vector<std::vector<engine::TokenId>> replay_texts(const std::vector<std::string>& paths) {
  std::vector<std::vector<engine::TokenId>> texts;
  const auto model = choose_model({});
  if (!model) return texts;
  const auto file = engine::GgufFile::open(model->path);
  if (!file) return texts;
  const auto tokenizer = engine::Tokenizer::from_gguf(**file);
  if (!tokenizer) return texts;
  for (const std::string& path : paths) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    if (!text.str().empty()) texts.push_back((*tokenizer)->encode(text.str()));
  }
  return texts;
}

std::string goal_text(const engine::GpuFigure& figure) {
  if (figure.goal == 0) return "";
  const char* sign = figure.less_is_better ? "<=" : ">=";
  std::string text = fmt::format("{} {:g}", sign, figure.goal);
  if (figure.stretch != 0) text += fmt::format(" ({:g})", figure.stretch);
  const bool stretched = figure.stretch != 0 && figure.met(figure.stretch);
  return text + (stretched ? " stretch met" : figure.met(figure.goal) ? " met" : " MISSED");
}

void print(Run& run, const engine::GpuReport& report) {
  run.out << report.device << '\n'
          << fmt::format("copies {:.0f} GB/s (read and written)", report.copy_bandwidth / 1e9);
  if (report.matrix_rate > 0)
    run.out << fmt::format(", F16 matrix products {:.0f} TFLOP/s", report.matrix_rate / 1e12);
  run.out
      << "\nmedians; spread is half the distance of the 10th and 90th percentile; limit: bytes of "
         "weights and cells over the\ncopies' rate, for prefill and attention of many operations "
         "over the matrix products'\n\n"
      << fmt::format("{:<62} {:>9} {:<6} {:>7} {:>6}  {:<30} {}\n", "", "measured", "", "spread",
                     "limit", "goal (stretch)", "");
  for (const engine::GpuFigure& f : report.figures) {
    const int digits = f.value >= 100 ? 0 : f.value >= 10 ? 1 : f.value >= 1 ? 2 : 3;
    const std::string spread = f.spread > 0 ? fmt::format("{:.1f} %", 100 * f.spread) : "";
    const std::string share = f.share > 0 ? fmt::format("{:.0f} %", 100 * f.share) : "";
    run.out << fmt::format("{:<62} {:>9.{}f} {:<6} {:>7} {:>6}  {:<30} {}\n", f.name, f.value,
                           digits, f.unit, spread, share, goal_text(f), f.note);
  }
  if (report.projections.empty()) return;
  run.out
      << "\nprojection, not measured: 6.7B Q4_K at 64 cells with the share of the limit reached "
         "here, by nominal bandwidth\n";
  for (const engine::GpuProjection& p : report.projections) {
    run.out << fmt::format(
        "  {:<10} {:>6.0f} GB/s {:>6.0f} tok/s {:>6.0f} ms a line of 12 tokens\n", p.card,
        p.gigabytes_per_second, p.tokens_per_second, p.line_ms);
  }
  const auto card = std::find_if(report.projections.begin(), report.projections.end(),
                                 [](const auto& p) { return p.card == "RTX 3090"; });
  if (card != report.projections.end()) {
    run.out << fmt::format(
        "  by this an RTX 3090 {} a one-line completion of 6.7B under 200 ms, the prompt in the "
        "cache\n",
        card->line_ms < 200 ? "keeps" : "does not keep");
  }
}

json to_json(const engine::GpuReport& report) {
  json rows = json::array(), cards = json::array();
  for (const engine::GpuFigure& f : report.figures) {
    json row{{"name", f.name}, {"value", f.value}, {"unit", f.unit}, {"spread", f.spread}};
    if (f.share > 0) row["share_of_limit"] = f.share;
    if (f.goal != 0) {
      row["goal"] = f.goal;
      row["met"] = f.met(f.goal);
    }
    if (f.stretch != 0) row["stretch"] = f.stretch;
    if (!f.note.empty()) row["note"] = f.note;
    rows.push_back(std::move(row));
  }
  for (const engine::GpuProjection& p : report.projections)
    cards.push_back({{"card", p.card},
                     {"gigabytes_per_second", p.gigabytes_per_second},
                     {"tokens_per_second", p.tokens_per_second},
                     {"line_ms", p.line_ms}});
  return {{"device", report.device},
          {"copy_bytes_per_second", report.copy_bandwidth},
          {"matrix_operations_per_second", report.matrix_rate},
          {"figures", rows},
          {"projections", cards}};
}

/// The review by likelihood with a model of a shape and the bundled vocabulary: a review needs a
/// tokenizer, and its time depends on shapes and types.
Result<std::vector<engine::GpuFigure>> review_figures(const engine::GpuBenchOptions::File& file,
                                                      const std::string& device,
                                                      const std::string& folder) {
  auto shape = engine::model_shape(file.shape);
  if (!shape) return tl::unexpected(shape.error());
  auto bundled = choose_model({});
  if (!bundled) return tl::unexpected(bundled.error());
  auto vocabulary = engine::GgufFile::open(bundled->path);
  if (!vocabulary) return tl::unexpected(vocabulary.error());
  engine::RandomModelOptions random;
  random.shape = *shape;
  random.type = file.type;
  random.tokenizer = vocabulary->get();
  const std::string path = folder + "/review.gguf";
  if (auto written = engine::write_random_model(path, random); !written)
    return tl::unexpected(written.error());
  engine::LoadOptions options;
  options.engine.device = device;
  auto model = engine::load_model(path, options);
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  if (!model) return tl::unexpected(model.error());
  std::vector<engine::GpuFigure> rows;
  const int32_t most = assist::LikelihoodLimits{}.most_sites;
  for (const auto& [sites, holes] : {std::pair{kUsualSites, kUsualHoles}, std::pair{most, most}}) {
    auto time = time_review(**model, sites, holes);
    if (!time) return tl::unexpected(time.error());
    engine::GpuFigure figure;
    figure.name =
        fmt::format("{} {}: review of {} tokens, {} sites, {} holes", shape->name,
                    engine::type_traits(file.type)->name, time->tokens, sites, time->holes);
    figure.value = time->median_ms;
    figure.unit = "ms";
    figure.less_is_better = true;
    if (shape->name == "deepseek-coder-6.7b" && file.type == engine::DType::q4_k) figure.goal = 80;
    figure.note = fmt::format("{} tokens in {} requests", time->computed, time->requests);
    rows.push_back(std::move(figure));
  }
  return rows;
}

/// Rows for a review with the shape that is named, else with the one that a goal is set for.
Result<void> add_review(const engine::GpuBenchOptions& options, engine::GpuReport& report) {
  const engine::GpuBenchOptions::File reviewed =
      options.files.empty() ? engine::GpuBenchOptions::File{"deepseek-coder-6.7b"}
                            : options.files.front();
  if (options.on_progress) options.on_progress("measuring a review");
  auto review = review_figures(reviewed, options.device, options.folder);
  if (!review) return tl::unexpected(review.error());
  for (engine::GpuFigure& figure : *review) report.figures.push_back(std::move(figure));
  return {};
}

}  // namespace

Result<engine::DType> weight_type(std::string_view name) {
  using engine::DType;
  constexpr std::array kTypes{DType::q4_k, DType::q5_k, DType::q6_k, DType::q8_0,
                              DType::q4_0, DType::f16,  DType::bf16};
  std::string known, wanted(name);
  std::transform(wanted.begin(), wanted.end(), wanted.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const DType type : kTypes) {
    const std::string spelling(engine::type_traits(type)->name);
    if (wanted == spelling) return type;
    known += (known.empty() ? "" : ", ") + spelling;
  }
  return cambium::fail(
      ErrorCode::invalid_argument,
      "no type of weights is named '" + std::string(name) + "'; there are " + known);
}

Result<void> bench_gpu(Run& run, const GpuFlags& flags) {
  engine::GpuBenchOptions options;
  options.device = flags.device == "auto" ? "cuda" : flags.device;
  options.folder = flags.folder;
  options.only_long = flags.only_long;
  options.replay = replay_texts(flags.replay);
  if (!flags.json)
    options.on_progress = [&](const std::string& what) { run.err << what << '\n' << std::flush; };
  if (!flags.shape.empty()) {
    auto shape = engine::model_shape(flags.shape);
    if (!shape) return tl::unexpected(shape.error());
    auto type = weight_type(flags.type);
    if (!type) return tl::unexpected(type.error());
    options.files = {{shape->name, *type}};
  }
  auto report = engine::bench_gpu(options);
  if (!report) return tl::unexpected(report.error());
  if (!flags.only_long) {
    if (auto done = add_review(options, *report); !done) return done;
  }
  if (flags.json) {
    run.out << to_json(*report).dump(2) << '\n';
  } else {
    print(run, *report);
  }
  return {};
}

}  // namespace cambium::cli
