// All models of a process under one memory budget: each is loaded at first need, the least recently
// used makes room, what is idle goes. Two roles of one model share it.
//
// Threading: the strand's, but for what assist::Models allows from any thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lsp/assist/cascade.h"
#include "lsp/assist/models.h"
#include "lsp/model_host.h"

namespace cambium::lsp {

/// One model, with every role it has.
struct PooledModel {
  std::string name;  ///< shown until it says its own
  std::vector<assist::Role> roles;
  /// Roles whose own model asks this one where it is less sure than so (assist::Cascade::threshold).
  std::map<assist::Role, double> larger_of;
  bool chats = false;  ///< answers in words
  uint64_t bytes = 0;  ///< what it will take about, before it is loaded; 0: a remote one
  LoadModel load;
};

struct PoolOptions {
  uint64_t memory_bytes = 0;      ///< 0: no bound
  std::chrono::minutes idle{10};  ///< 0: nothing is unloaded for idleness
  std::function<std::chrono::steady_clock::time_point()> now;  ///< empty: the clock's
};

class ModelPool final : public assist::Models, public std::enable_shared_from_this<ModelPool> {
 public:
  static std::shared_ptr<ModelPool> create(boost::asio::any_io_executor strand,
                                           std::vector<PooledModel> models, PoolOptions options);

  bool has(assist::Role role) const override;
  bool chats(assist::Role role) const override;
  std::string name(assist::Role role) const override;
  /// The generator given out keeps its model loaded until it is dropped. A load that failed is tried
  /// again half a minute later at the earliest; until then its error is repeated.
  void acquire(assist::Role role, Use use) override;
  std::optional<assist::Cascade> cascade(assist::Role role) const override;
  /// Also out_of_memory where it does not fit beside the role's own model: each would throw the other
  /// out with every request.
  void acquire_larger(assist::Role role, Use use) override;

  /// The completions of the completion role: `small`'s own, or in a cascade where one is configured.
  /// There a larger model that is not loaded yet starts to load, and the small one goes on meanwhile.
  /// `small` is kept loaded by the caller while they work. Strand only.
  std::shared_ptr<assist::CompletionService> completions(const LoadedModel& small);

  /// Null if nobody has the role.
  std::shared_ptr<ModelHost> host(assist::Role role) const;
  struct Row {
    std::shared_ptr<ModelHost> host;
    std::vector<assist::Role> roles, larger_of;
    uint64_t bytes = 0;
  };
  std::vector<Row> rows() const;                          ///< every model once
  std::vector<std::shared_ptr<ModelHost>> hosts() const;  ///< the same
  uint64_t loaded_bytes() const;

  /// Unloads what has been idle for too long; a timer of the pool calls it once a minute.
  void sweep();
  /// As ModelHost::close(), for all. To be called before the pool goes.
  void close();

 private:
  struct Entry;
  ModelPool(boost::asio::any_io_executor strand, PoolOptions options);
  void add(PooledModel model);
  std::shared_ptr<Entry> entry(assist::Role role) const;
  std::shared_ptr<Entry> larger_entry(assist::Role role) const;
  /// Nothing if the two fit the budget together.
  std::optional<Error> why_not_both(const Entry& small, const Entry& larger) const;
  void acquire_entry(const std::shared_ptr<Entry>& entry, const Use& use);
  void try_again(Entry& entry) const;
  void get_larger(bool wanted, const assist::CascadeCompleter::Larger::Use& use);
  std::chrono::steady_clock::time_point now() const;
  Result<void> make_room(const Entry& wanted);
  void loaded(const Entry& entry);
  Entry* least_recently_used(const Entry* besides) const;
  void start_timer();

  boost::asio::any_io_executor strand_;
  const PoolOptions options_;
  std::vector<std::shared_ptr<Entry>> entries_;
  boost::asio::steady_timer timer_;
};

}  // namespace cambium::lsp
