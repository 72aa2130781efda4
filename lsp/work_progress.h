// $/progress for work that takes its time: it begins once, it ends once, whatever becomes of the work, and
// the client's button cancels it. Strand only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "lsp/jsonrpc.h"

namespace cambium::lsp {

/// The progress of one session's work.
class ProgressReporter {
 public:
  explicit ProgressReporter(Peer& peer) : peer_(peer) {}
  ProgressReporter(const ProgressReporter&) = delete;
  ProgressReporter& operator=(const ProgressReporter&) = delete;

  /// One piece of work; ends with the object at the latest.
  class Work {
   public:
    Work(std::weak_ptr<Peer> peer, Json token) : peer_(std::move(peer)), token_(std::move(token)) {}
    ~Work() { end(""); }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    void report(const std::string& message, int percentage = -1);
    /// Later calls do nothing.
    void end(const std::string& message);

   private:
    friend class ProgressReporter;
    void send(Json value);
    void begin();

    std::weak_ptr<Peer> peer_;
    Json token_;  ///< null: nobody is told
    Json first_;  ///< the value that begins it
    bool begun_ = false, ended_ = false;
  };

  struct Start {
    std::string title;
    bool counts = false;      ///< report() comes with percentages
    bool may_create = false;  ///< the client takes window/workDoneProgress/create
  };
  /// Under the client's token; without one, under one of our own where that may be, else nobody is told.
  /// `cancel` is called when the user cancels.
  std::shared_ptr<Work> begin(const Json& token, const Start& start, std::function<void()> cancel);
  /// window/workDoneProgress/cancel.
  void cancel(const Json& token);

 private:
  Peer& peer_;
  struct Cancel {
    std::weak_ptr<Work> work;
    std::function<void()> run;
  };
  std::map<std::string, Cancel> cancels_;  ///< by token, as JSON
  int64_t next_token_ = 1;
};

}  // namespace cambium::lsp
