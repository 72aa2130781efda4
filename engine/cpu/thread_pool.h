// Fork-join for the ops of one forward pass.
//
// Threads: run() is called from one thread at a time, which works too. Workers spin for some
// microseconds after a task, so that the next op of the same step finds them awake, then block: an
// idle engine costs nothing. Tasks are claimed one by one, so a worker that the system took off its
// core delays only the task it holds; nobody waits for it to wake up. Which thread runs a task is
// not determined, so tasks must not share what they write.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace cambium::engine::cpu {

/// Cores of the machine this process may use, hardware threads of one core counted once.
int physical_cores();

class ThreadPool {
 public:
  /// `threads` >= 1 counts the caller.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(index, thread) for every index in [0, n), thread in [0, size()); returns when all
  /// are done. n < 2^31.
  template <class Task>
  void run(int64_t n, Task&& task) {
    if (n <= 0) return;
    if (n == 1 || workers_.empty()) {
      for (int64_t i = 0; i < n; ++i) task(i, 0);
      return;
    }
    using Callable = std::remove_reference_t<Task>;
    dispatch(n, const_cast<std::remove_const_t<Callable>*>(&task),
             [](void* context, int64_t index, int thread) {
               (*static_cast<Callable*>(context))(index, thread);
             });
  }

 private:
  using Function = void (*)(void* context, int64_t index, int thread);
  void dispatch(int64_t n, void* context, Function function);
  bool help(
      int thread);  // runs tasks of the current job until none is left; false if there was none
  void work(int thread);

  // A ticket is job number << 32 | tasks left to claim. A claim decrements it by compare-exchange,
  // so a thread that read an old job can never take a task of a newer one.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  std::atomic<void*> context_{nullptr};
  std::atomic<Function> function_{nullptr};
  std::atomic<int64_t> total_{0};
  alignas(64) std::atomic<int64_t> unfinished_{0};
  alignas(64) std::atomic<uint32_t> wake_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  uint32_t job_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace cambium::engine::cpu
