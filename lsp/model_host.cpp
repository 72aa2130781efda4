#include "lsp/model_host.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace cambium::lsp {

LoadModel load_completer(LoadGenerator load) {
  return
      [load = std::move(load)](const std::function<void(double)>& progress) -> Result<LoadedModel> {
        auto generator = load(progress);
        if (!generator) return tl::unexpected(generator.error());
        LoadedModel out;
        out.capabilities = (*generator)->capabilities();
        out.generator = *generator;
        out.completion = std::make_shared<assist::Completer>(std::move(*generator));
        return out;
      };
}

ModelHost::ModelHost(boost::asio::any_io_executor strand, std::string name, LoadModel load)
    : strand_(std::move(strand)), name_(std::move(name)), load_(std::move(load)) {}

ModelHost::~ModelHost() { close(); }

void ModelHost::close() {
  if (loader_.joinable()) loader_.join();
  waiting_.clear();
  kept_.clear();
  model_.reset();
  state_ = State::unloaded;
}

int64_t ModelHost::keep(const LoadedModel& model) {
  kept_.emplace(next_kept_, model);
  if (hooks_.used) hooks_.used();
  return next_kept_++;
}

void ModelHost::release(int64_t kept) {
  kept_.erase(kept);
  if (hooks_.used) hooks_.used();
}

std::string ModelHost::name() const {
  return state_ == State::ready && !model_->capabilities.model.empty() ? model_->capabilities.model
                                                                       : name_;
}

void ModelHost::acquire(Use use) {
  switch (state_) {
    case State::ready:
      if (hooks_.used) hooks_.used();
      use(*model_);
      return;
    case State::failed:
      use(fail(ErrorCode::unavailable, problem_));
      return;
    case State::loading:
      waiting_.push_back(std::move(use));
      return;
    case State::unloaded:
      break;
  }
  if (hooks_.before_load) {
    // Not kept as the state: there may be room at any time.
    if (const auto room = hooks_.before_load(); !room) return use(tl::unexpected(room.error()));
  }
  waiting_.push_back(std::move(use));
  state_ = State::loading;
  progress_ = 0;
  if (loader_.joinable()) loader_.join();  // the last load's thread, long done
  loader_ = std::thread([weak = weak_from_this(), strand = strand_, load = load_] {
    double told = 0;
    auto loaded = load([&](double fraction) {
      // Twenty steps are enough for any bar.
      if (fraction < told + 0.05) return;
      told = fraction;
      boost::asio::post(strand, [weak, fraction] {
        if (const auto self = weak.lock()) self->set_progress(fraction);
      });
    });
    boost::asio::post(strand, [weak, loaded = std::move(loaded)]() mutable {
      if (const auto self = weak.lock()) self->finish(std::move(loaded));
    });
  });
  tell();
}

void ModelHost::set_progress(double fraction) {
  if (state_ != State::loading) return;
  progress_ = std::clamp(fraction, 0.0, 1.0);
  tell();
}

void ModelHost::finish(Result<LoadedModel> loaded) {
  if (loaded) {
    model_ = *loaded;
    state_ = State::ready;
    problem_.clear();
  } else {
    problem_ = loaded.error().message;
    state_ = State::failed;
  }
  if (hooks_.loaded) hooks_.loaded(loaded);
  tell();
  for (Use& use : std::exchange(waiting_, {})) acquire(std::move(use));
}

bool ModelHost::unload() {
  if (state_ == State::loading) return false;
  model_.reset();
  problem_.clear();
  state_ = State::unloaded;
  tell();
  return true;
}

int64_t ModelHost::subscribe(std::function<void()> changed) {
  observers_.emplace(next_observer_, std::move(changed));
  return next_observer_++;
}

void ModelHost::tell() {
  const auto observers = observers_;  // one may unsubscribe while it is called
  for (const auto& [id, changed] : observers) changed();
}

}  // namespace cambium::lsp
