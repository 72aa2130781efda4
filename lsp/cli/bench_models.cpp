// `cambium bench --shape` and `--only long`: models of other families at their real size, and
// attention over long answers.
#include <spdlog/fmt/fmt.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "engine/bench.h"
#include "engine/bench_long.h"
#include "lsp/cli/bench.h"
#include "lsp/eval/cases.h"

namespace cambium::cli {

using Better = Figure::Better;

void add_expert_figures(const std::string& name, const std::vector<uint64_t>& loads, bool each,
                        Figures& figures) {
  const engine::ExpertSpread spread = engine::spread_of(loads);
  if (spread.imbalance == 0) return;
  figures.push_back({"engine", name + ": experts, busiest", 100 * spread.busiest, "%"});
  figures.push_back(
      {"engine", name + ": experts, busiest against the mean", spread.imbalance, "x"});
  if (!each) return;
  const double share =
      100.0 / static_cast<double>(std::accumulate(loads.begin(), loads.end(), uint64_t{0}));
  for (size_t e = 0; e < loads.size(); ++e) {
    figures.push_back({"engine", fmt::format("{}: expert {}", name, e),
                       static_cast<double>(loads[e]) * share, "%"});
  }
}

namespace {

// Text of the project itself, a file after the other, long enough for any context here.
std::string own_text() {
  std::string text;
  std::vector<std::filesystem::path> paths;
  std::error_code ignored;
  for (const char* folder : {"engine", "lsp/assist", "lsp"}) {
    const auto in = std::filesystem::path(CAMBIUM_SOURCE_DIR) / folder;
    for (const auto& entry : std::filesystem::directory_iterator(in, ignored)) {
      if (entry.path().extension() == ".cpp") paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    std::ostringstream one;
    one << std::ifstream(path).rdbuf();
    text += one.str();
  }
  return text;
}

// Texts of at least so many bytes, files of a project ("<language>/<project>/...") one after the
// other: at most four, from all over the projects.
std::vector<std::string> long_texts(const std::vector<BenchText>& files, size_t bytes) {
  std::map<std::string, std::string> projects;
  for (const BenchText& file : files) {
    std::string& text = projects[eval::project_of(file.path)];
    if (text.size() < bytes) text += file.text + '\n';
  }
  std::vector<std::string> all;
  for (auto& [name, text] : projects) {
    if (text.size() >= bytes) all.push_back(std::move(text));
  }
  constexpr size_t kTexts = 4;
  const size_t n = std::min(kTexts, all.size());
  std::vector<std::string> texts;
  for (size_t i = 0; i < n; ++i) texts.push_back(std::move(all[i * all.size() / n]));
  return texts;
}

}  // namespace

Result<void> bench_long(const std::string& model, const engine::LoadOptions& options,
                        const std::vector<BenchText>& files, Figures& figures) {
  constexpr int32_t kLengths[] = {4096, 8192, 16384, 32768};
  const auto steps = engine::bench_long_steps(kLengths, options.engine.threads);
  if (!steps) return tl::unexpected(steps.error());
  for (const engine::LongStep& s : *steps) {
    const std::string name = fmt::format("R1-8B's attention, a layer, {} cells", s.cells);
    figures.push_back({"long", name + ", dense", s.dense_ms, "ms"});
    figures.push_back({"long", name + ", sparse", s.sparse_ms, "ms"});
    figures.push_back({"long", name + ", ratio", s.dense_ms / s.sparse_ms, "x", 0, Better::more});
  }
  // The usual window would leave nothing out of a short context.
  constexpr engine::LongAgreementOptions kAgreements[] = {
      {2048, 128, {.from = 1, .sinks = 32, .window = 128}},
      {8192, 128, {.from = 1}},
      {16384, 128, {.from = 1}}};
  for (const engine::LongAgreementOptions& wanted : kAgreements) {
    // Code has about three bytes a token.
    std::vector<std::string> texts = long_texts(files, static_cast<size_t>(wanted.context) * 5);
    if (files.empty()) texts.push_back(own_text());
    const auto a = engine::bench_long_agreement(model, options, texts, wanted);
    if (!a) return tl::unexpected(a.error());
    std::string name = fmt::format("{} tokens, window {}", wanted.context, wanted.rule.window);
    if (a->stretch > 1) name += fmt::format(", stretched {:g}-fold", a->stretch);
    const auto add = [&](const char* what, double value, const char* unit,
                         Better better = Better::less) {
      figures.push_back({"long", name + ": " + what, value, unit, 0, better});
    };
    add("texts", a->texts, "");
    add("steps", a->steps, "");
    add("blocks read", a->read * 100, "%");
    add("same most likely token", a->same_best * 100, "%", Better::more);
    add("divergence from dense", a->divergence, "nats");
    add("loss, dense", a->dense_nats, "nats");
    add("loss, sparse minus dense", a->loss_difference, "nats");
    add("  half of its 95 % interval", a->loss_interval, "nats");
    add("a step, dense", a->dense_ms, "ms");
    add("a step, sparse", a->sparse_ms, "ms");
  }
  return {};
}

}  // namespace cambium::cli
