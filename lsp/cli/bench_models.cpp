// `cambium bench --shape` and `--only long`: models of other families at their real size, and
// attention over long answers.
#include <spdlog/fmt/fmt.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "engine/bench.h"
#include "engine/bench_long.h"
#include "lsp/cli/bench.h"

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

}  // namespace

Result<void> bench_long(const std::string& model, const engine::LoadOptions& options,
                        Figures& figures) {
  constexpr int32_t kLengths[] = {4096, 8192, 16384, 32768};
  const auto steps = engine::bench_long_steps(kLengths, options.engine.threads);
  if (!steps) return tl::unexpected(steps.error());
  for (const engine::LongStep& s : *steps) {
    const std::string name = fmt::format("R1-8B's attention, a layer, {} cells", s.cells);
    figures.push_back({"long", name + ", dense", s.dense_ms, "ms"});
    figures.push_back({"long", name + ", sparse", s.sparse_ms, "ms"});
    figures.push_back({"long", name + ", ratio", s.dense_ms / s.sparse_ms, "x", 0, Better::more});
  }
  const auto agreement = engine::bench_long_agreement(model, options, own_text(), 256);
  if (!agreement) return tl::unexpected(agreement.error());
  const std::string name = fmt::format("own model after {} tokens, sparse", agreement->cells);
  figures.push_back({"long", name + ": cells read", agreement->read * 100, "%"});
  figures.push_back({"long", name + ": same most likely token", agreement->same_best * 100, "%", 0,
                     Better::more});
  figures.push_back({"long", name + ": loss", agreement->sparse_nats, "nats"});
  figures.push_back({"long", name + ": loss, dense", agreement->dense_nats, "nats"});
  return {};
}

}  // namespace cambium::cli
