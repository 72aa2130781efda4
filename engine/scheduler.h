// Owns a model and the one thread that runs it. Requests take turns, a prefill chunk or a decode
// step at a time: the highest priority first, and among equals the one that has had the least
// compute time. A waiting request of higher priority cuts into a running chunk between two layers,
// and takes the slot of a lower one if no other is free; the lower one goes on later from its own
// tokens.
//
// Threads: submit() and stop() may be called from any thread, all else runs on the engine thread.
// The thread sleeps while there is nothing to do.
#pragma once

#include <memory>
#include <thread>

#include "engine/generator.h"
#include "engine/models/model.h"

namespace cambium::engine {

class Scheduler {
 public:
  struct Options {
    int32_t context = 4096;  ///< cells a slot
    int32_t slots = 2;
    int32_t prefill_chunk = 256;  ///< tokens between two turns
    /// Asked, on the engine thread, when the model's device has failed: the model to go on with.
    /// Requests start over on it from their own tokens and lose nothing they have written. Null:
    /// the error is theirs.
    std::function<Result<std::unique_ptr<Model>>(const Error& why)> replacement = nullptr;
  };

  Scheduler(std::unique_ptr<Model> model, std::shared_ptr<const Tokenizer> tokenizer,
            std::shared_ptr<const PromptFormat> format, const Options& options);
  /// Ends the thread: the running pass is given up, every request is answered with an error. May be
  /// called on the engine thread itself (from a callback), which then ends on its own.
  ~Scheduler();

  void generate(Request request, OnText on_text, OnDone on_done);
  void score(ScoreRequest request, OnScored on_done);

 private:
  // The thread keeps what it runs on alive, so that a Scheduler may die in one of its callbacks.
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace cambium::engine
