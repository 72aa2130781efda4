#include "engine/bench.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "engine/adapter.h"
#include "engine/config.h"
#include "engine/cpu_variants.h"
#include "engine/device.h"
#include "engine/gguf.h"
#include "engine/models/model.h"

namespace cambium::engine {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// One slot fed with arbitrary tokens; every call returns milliseconds, or the first error sticks.
class Runner {
 public:
  Runner(Model& model, KvStore& kv, int32_t chunk) : model_(model), kv_(kv), chunk_(chunk) {}

  double fill(int32_t n) {
    position_ = 0;
    double ms = 0;
    for (int32_t left = n; left > 0 && !error_;) {
      const int32_t fed = std::min(left, chunk_);
      left -= fed;
      ms += pass(fed, left == 0 ? 1 : 0);
    }
    return ms;
  }

  // Goes back to `position`; the cells from there on are written anew.
  void rewind(int32_t position) { position_ = position; }

  // Feeds n tokens, with the logits of the last `rows`.
  double pass(int32_t n, int32_t rows) {
    std::vector<TokenId> tokens(static_cast<size_t>(n));
    for (int32_t i = 0; i < n; ++i) {
      tokens[static_cast<size_t>(i)] = 32 + (position_ + i) * 7919 % 200;
    }
    std::vector<int32_t> logits_at(static_cast<size_t>(rows));
    std::iota(logits_at.begin(), logits_at.end(), n - rows);
    const auto start = Clock::now();
    const auto result = model_.forward({tokens, position_, &kv_, nullptr, logits_at, nullptr});
    const double ms = ms_since(start);
    if (!result && !error_) error_ = result.error();
    position_ += n;
    return ms;
  }

  double steps(int32_t n) {
    double ms = 0;
    for (int32_t i = 0; i < n && !error_; ++i) ms += pass(1, 1);
    return ms;
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  Model& model_;
  KvStore& kv_;
  const int32_t chunk_;
  int32_t position_ = 0;
  std::optional<Error> error_;
};

Result<BenchFigures> run(const std::string& path, const BenchOptions& options) {
  const auto start = Clock::now();
  auto file = GgufFile::open(path);
  if (!file) return tl::unexpected(file.error());
  if (!options.load.adapter.empty()) file = lay_adapter(**file, options.load.adapter);
  if (!file) return tl::unexpected(file.error());
  auto config = ModelConfig::from_gguf(**file, {options.load.structure, options.load.prune});
  if (!config) return tl::unexpected(config.error());
  constexpr int32_t kColumns = 8;
  const int32_t cells = std::max(options.prompt, options.context + options.decode + kColumns);
  if (cells > config->context) {
    return fail(ErrorCode::invalid_argument,
                path + ": the model's context is " + std::to_string(config->context) +
                    " tokens; this bench needs " + std::to_string(cells));
  }
  EngineOptions wanted = options.load.engine;
  wanted.context = cells;
  wanted.slots = 1;
  auto placed = place_model(*file, *config, wanted, options.load.on_progress);
  if (!placed) return tl::unexpected(placed.error());
  if (placed->options.context < cells) {
    return fail(ErrorCode::out_of_memory,
                path + ": " + placed->device + "; this bench needs " + std::to_string(cells));
  }

  BenchFigures figures;
  figures.model = config->name;
  figures.backend = placed->device;
  figures.file_bytes = (*file)->file_bytes();
  auto kv = placed->model->create_kv(cells);
  if (!kv) return tl::unexpected(kv.error());
  figures.load_ms = ms_since(start);

  Runner runner(*placed->model, **kv, placed->options.prefill_chunk);
  runner.fill(options.prompt);  // pages of the file, threads
  const auto best = [&](auto measure) {
    const auto begun = Clock::now();
    double ms = INFINITY;
    for (int32_t i = 0; i < std::max(1, options.repeat) && (i == 0 || ms_since(begun) < 10'000);
         ++i)
      ms = std::min(ms, measure());
    return ms;
  };
  const auto rate = [](int32_t tokens, double ms) { return tokens * 1000.0 / ms; };
  figures.prefill_tps = rate(options.prompt, best([&] { return runner.fill(options.prompt); }));
  figures.decode_tps = rate(options.decode, best([&] {
                              runner.fill(1);
                              return runner.steps(options.decode);
                            }));
  runner.fill(options.context);
  figures.decode_context_tps = rate(options.decode, best([&] {
                                      runner.rewind(options.context);
                                      return runner.steps(options.decode);
                                    }));
  figures.verify_8_ms = best([&] {
    runner.rewind(options.context);
    return runner.pass(kColumns, kColumns);
  });
  if (runner.error()) return tl::unexpected(*runner.error());
  auto loads = placed->model->expert_loads();
  if (!loads) return tl::unexpected(loads.error());
  figures.expert_loads = std::move(*loads);
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    figures.resident_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  }
  return figures;
}

}  // namespace

Result<BenchFigures> bench_model(const std::string& path, const BenchOptions& options) {
  try {
    return run(path, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory, path + ": not enough memory for this bench");
  }
}

std::string machine_description() {
  std::string processor = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (const size_t colon = line.find(": ");
        line.starts_with("model name") && colon != line.npos) {
      processor = line.substr(colon + 2);
      break;
    }
  }
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 30);
  utsname system{};
  uname(&system);
  return processor + ", " + std::to_string(cores) + (cores == 1 ? " core, " : " cores, ") +
         std::to_string(std::lround(gib)) + " GiB, " + system.sysname + " " + system.release +
         "; kernels: " + cpu_variants_text();
}

}  // namespace cambium::engine
