// One thread that parses; shared by all documents of a process.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace cambium::syntax {

class ParseThread {
 public:
  ParseThread() : thread_([this](std::stop_token stop) { run(stop); }) {}
  /// Jobs not yet begun are dropped; the running one is waited for (documents cancel theirs).
  ~ParseThread();
  ParseThread(const ParseThread&) = delete;
  ParseThread& operator=(const ParseThread&) = delete;

  /// Runs `job` after those posted before. Any thread; never waits for a job.
  void post(std::function<void()> job);

 private:
  void run(std::stop_token stop);

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::function<void()>> jobs_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace cambium::syntax
