#include "syntax/parse_thread.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace cambium::syntax {

struct ParseThread::Queue {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> jobs;
  bool stopped = false;

  void run() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [this] { return stopped || !jobs.empty(); });
        if (stopped) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      job();
    }
  }
};

ParseThread::ParseThread()
    : queue_(std::make_shared<Queue>()), thread_([queue = queue_] { queue->run(); }) {}

ParseThread::~ParseThread() {
  std::deque<std::function<void()>>
      dropped;  // destroyed without the mutex: they may hold documents
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopped = true;
    dropped.swap(queue_->jobs);
  }
  queue_->wake.notify_all();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void ParseThread::post(std::function<void()> job) {
  {
    const std::lock_guard lock(queue_->mutex);
    if (queue_->stopped) return;
    queue_->jobs.push_back(std::move(job));
  }
  queue_->wake.notify_one();
}

}  // namespace cambium::syntax
