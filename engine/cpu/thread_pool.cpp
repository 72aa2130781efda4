#include "engine/cpu/thread_pool.h"

#include <sched.h>

#include <chrono>
#include <fstream>
#include <set>
#include <string>

namespace cambium::engine::cpu {
namespace {

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// How long a worker stays awake after its last task: longer than the serial parts of a decode
/// step, far shorter than the pause between two requests.
constexpr std::chrono::microseconds kStayAwake{60};
constexpr int kSpinsPerLook = 64;

}  // namespace

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    const unsigned n = std::thread::hardware_concurrency();
    return n > 0 ? static_cast<int>(n) : 1;
  }
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = "cpu " + std::to_string(cpu);
    cores.insert(siblings);
  }
  return cores.empty() ? 1 : static_cast<int>(cores.size());
}

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::dispatch(int64_t n, void* context, Function function) {
  context_.store(context, std::memory_order_relaxed);
  function_.store(function, std::memory_order_relaxed);
  total_.store(n, std::memory_order_relaxed);
  unfinished_.store(n, std::memory_order_relaxed);
  ticket_.store(uint64_t{++job_} << 32 | static_cast<uint64_t>(n));
  if (sleeping_.load() > 0) {
    wake_.fetch_add(1);
    wake_.notify_all();
  }
  help(0);
  for (int spins = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spins) {
    relax();
    if (spins > 4096) std::this_thread::yield();  // the last task's thread may want this core
  }
}

bool ThreadPool::help(int thread) {
  bool helped = false;
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & 0xffffffffu) != 0) {
    // Read before the claim: after it they may only change once the claimed task has finished.
    void* context = context_.load(std::memory_order_relaxed);
    const Function function = function_.load(std::memory_order_relaxed);
    const int64_t total = total_.load(std::memory_order_relaxed);
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
    helped = true;
    // Claims count down; tasks are handed out in ascending order, as memory is laid out.
    const auto left = static_cast<int64_t>(ticket & 0xffffffffu);
    function(context, total - left, thread);
    unfinished_.fetch_sub(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
  return helped;
}

void ThreadPool::work(int thread) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point last = Clock::now();
  while (!stop_.load(std::memory_order_relaxed)) {
    if (help(thread)) last = Clock::now();
    for (int i = 0; i < kSpinsPerLook; ++i) {
      if ((ticket_.load(std::memory_order_relaxed) & 0xffffffffu) != 0) break;
      relax();
    }
    if ((ticket_.load(std::memory_order_relaxed) & 0xffffffffu) != 0) continue;
    if (Clock::now() - last < kStayAwake) continue;
    // Announce first, look again, then block: dispatch() publishes first, then looks for sleepers.
    const uint32_t seen = wake_.load();
    sleeping_.fetch_add(1);
    if ((ticket_.load() & 0xffffffffu) == 0 && !stop_.load()) wake_.wait(seen);
    sleeping_.fetch_sub(1);
    last = Clock::now();
  }
}

}  // namespace cambium::engine::cpu
