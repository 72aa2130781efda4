// The model that all sessions share: loaded at first need on a thread of its own, unloaded on
// demand.
//
// Threading: everything is called on the strand, and calls back on it; only `load` runs elsewhere.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/completer.h"

namespace cambium::lsp {

struct LoadedModel {
  std::shared_ptr<assist::CompletionService> completion;
  std::shared_ptr<engine::Generator> generator;  ///< for reviews; null: there are none by model
  engine::Capabilities capabilities;
};

/// Called on a thread of its own, at first need and again after an unload; may take seconds.
/// `progress` takes 0..1 and may be called on any thread.
using LoadModel = std::function<Result<LoadedModel>(const std::function<void(double)>& progress)>;

/// As LoadModel, of the engine alone. The error's message is shown to the user.
using LoadGenerator = std::function<Result<std::shared_ptr<engine::Generator>>(
    const std::function<void(double)>& progress)>;
/// The generator with a completer on it.
LoadModel load_completer(LoadGenerator load);

class ModelHost : public std::enable_shared_from_this<ModelHost> {
 public:
  enum class State : uint8_t { unloaded, loading, ready, failed };

  /// `name` is shown until the model says its own.
  ModelHost(boost::asio::any_io_executor strand, std::string name, LoadModel load);
  ~ModelHost();
  /// Waits for a load in progress (it can't be interrupted), then drops the model: its threads end
  /// here. Call it while the strand's context still exists, since they post to it.
  void close();

  /// What a pool of models wants to know and to say; each may be empty.
  struct Hooks {
    std::function<Result<void>()>
        before_load;  ///< an error is what acquire() gives; it is not kept
    std::function<void(const Result<LoadedModel>&)> loaded;  ///< or not; before anybody else hears
    std::function<void()> used;  ///< somebody takes the model, or is done with it
  };
  void set_hooks(Hooks hooks) { hooks_ = std::move(hooks); }

  using Use = std::function<void(const Result<LoadedModel>&)>;
  /// Calls `use` with the model, now or once it is loaded; starts the load if nobody has. A load
  /// that failed stays failed until unload(): trying again with every keystroke helps nobody.
  void acquire(Use use);

  /// Keeps a model alive while it works, whatever is unloaded meanwhile. The engine's own callbacks
  /// must not: the last one to go would end the engine's thread from within it.
  int64_t keep(const LoadedModel& model);
  void release(int64_t kept);
  /// Whether somebody is at work with it, or waits for it.
  bool working() const { return !kept_.empty() || !waiting_.empty(); }

  /// Drops the model (requests that run with it finish first) or the memory of a failed load. False
  /// while it loads.
  bool unload();

  State state() const { return state_; }
  double progress() const { return progress_; }            ///< 0..1 while loading
  const std::string& problem() const { return problem_; }  ///< of a failed load
  std::string name() const;
  /// Null unless ready.
  const LoadedModel* model() const { return state_ == State::ready ? &*model_ : nullptr; }

  /// `changed` is called after every change of state or progress.
  int64_t subscribe(std::function<void()> changed);
  void unsubscribe(int64_t subscription) { observers_.erase(subscription); }

 private:
  void finish(Result<LoadedModel> loaded);
  void set_progress(double fraction);
  void tell();

  boost::asio::any_io_executor strand_;
  std::string name_;
  LoadModel load_;
  Hooks hooks_;
  std::thread loader_;
  State state_ = State::unloaded;
  double progress_ = 0;
  std::string problem_;
  std::optional<LoadedModel> model_;
  std::vector<Use> waiting_;
  std::map<int64_t, LoadedModel> kept_;
  int64_t next_kept_ = 1;
  std::map<int64_t, std::function<void()>> observers_;
  int64_t next_observer_ = 1;
};

}  // namespace cambium::lsp
