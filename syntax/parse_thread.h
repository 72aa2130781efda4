// One thread that parses; shared by all documents of a process.
#pragma once

#include <functional>
#include <memory>
#include <thread>

namespace cambium::syntax {

class ParseThread {
 public:
  ParseThread();
  /// Jobs not yet begun are dropped; the running one is waited for, unless it is the one that lets go of
  /// the last reference.
  ~ParseThread();
  ParseThread(const ParseThread&) = delete;
  ParseThread& operator=(const ParseThread&) = delete;

  /// Runs `job` after those posted before. Any thread; never waits for a job.
  void post(std::function<void()> job);

 private:
  struct Queue;
  std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace cambium::syntax
