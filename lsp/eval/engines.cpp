#include "lsp/eval/engines.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace cambium::eval {

engine::LoadOptions one_thread(engine::LoadOptions options) {
  options.engine.threads = 1;
  options.engine.slots = 1;
  return options;
}

Result<void> run_on_engines(const std::string& path, const engine::LoadOptions& load, int threads,
                            std::shared_ptr<engine::Generator> first, size_t n,
                            const MakeWork& make_work, const OnProgress& on_progress) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t wanted = threads > 0 ? static_cast<size_t>(threads) : cores;
  std::atomic<size_t> next{0};
  std::mutex mutex;
  size_t done = 0;
  std::optional<Error> error;
  const auto stop = [&](Error problem) {
    const std::lock_guard lock(mutex);
    if (!error) error = std::move(problem);
    next = n;
  };
  const auto run = [&](std::shared_ptr<engine::Generator> engine) {
    if (!engine) {
      auto own = engine::load_model(path, one_thread(load));
      if (!own) return stop(own.error());
      engine = std::move(*own);
    }
    const Work work = make_work(std::move(engine));
    for (size_t i; (i = next.fetch_add(1)) < n;) {
      if (auto problem = work(i)) return stop(std::move(*problem));
      const std::lock_guard lock(mutex);
      if (++done; on_progress) on_progress(done, n);
    }
  };
  {
    std::vector<std::jthread> others;
    for (size_t t = 1; t < std::min(wanted, n); ++t) others.emplace_back(run, nullptr);
    run(std::move(first));
  }
  if (error) return tl::unexpected(std::move(*error));
  return {};
}

}  // namespace cambium::eval
