#include "lsp/status.h"

#include <cmath>
#include <utility>

namespace cambium::lsp {

namespace {
constexpr std::chrono::seconds kProgressTimeout{10};
}

StatusReporter::StatusReporter(Peer& peer, std::shared_ptr<ModelHost> model,
                               const std::vector<std::shared_ptr<ModelHost>>& models)
    : peer_(peer), model_(std::move(model)) {
  subscription_ = model_->subscribe([this] { update(); });
  for (const auto& each : models) {
    const std::string number = bars_.empty() ? "" : std::to_string(bars_.size() + 1) + "-";
    bars_.push_back(std::make_unique<LoadBar>(peer_, each, "cambium-load-" + number));
  }
}

StatusReporter::~StatusReporter() { model_->unsubscribe(subscription_); }

void StatusReporter::start(bool client_takes_progress) {
  started_ = true;
  for (const auto& bar : bars_) {
    if (client_takes_progress) bar->start();
  }
  update();
}

void StatusReporter::set_document(std::string off, std::string problem) {
  off_ = std::move(off);
  document_problem_ = std::move(problem);
  update();
}

void StatusReporter::request_started() {
  ++running_;
  failure_.clear();
  update();
}

void StatusReporter::request_ended() {
  --running_;
  update();
}

void StatusReporter::set_failure(std::string message) {
  failure_ = std::move(message);
  update();
}

Json StatusReporter::current() const {
  Json out = {{"model", model_->name()}};
  const auto set = [&](const char* state, std::string message) {
    out["state"] = state;
    out["message"] = std::move(message);
  };
  if (model_->state() == ModelHost::State::loading) {
    set("loading", "loading " + model_->name());
    out["progress"] = model_->progress();
  } else if (!off_.empty()) {
    set("off", off_);
  } else if (model_->state() == ModelHost::State::failed) {
    set("problem", model_->problem());
  } else if (!document_problem_.empty()) {
    set("problem", document_problem_);
  } else if (running_ > 0 && model_->model() != nullptr) {
    set("busy", "");
  } else if (!failure_.empty()) {
    set("problem", failure_);
  } else {
    const LoadedModel* loaded = model_->model();
    set("ready", loaded ? loaded->capabilities.description : "the model loads at first use");
  }
  return out;
}

void StatusReporter::update() {
  if (!started_) return;
  Json now = current();
  if (now != last_) {
    last_ = now;
    peer_.notify("cambium/status", std::move(now));
  }
  // Told once a failure: every session hears of it, and none again with each keystroke.
  if (model_->state() == ModelHost::State::failed && told_failure_ != model_->problem()) {
    told_failure_ = model_->problem();
    peer_.notify(
        "window/showMessage",
        {{"type", 1},
         {"message", "Cambium cannot load its model and suggests nothing: " + model_->problem() +
                         " (then run the command cambium.unload to try again)"}});
  } else if (model_->state() == ModelHost::State::unloaded) {
    told_failure_.clear();
  }
}

LoadBar::LoadBar(Peer& peer, std::shared_ptr<ModelHost> model, std::string token_prefix)
    : peer_(peer), model_(std::move(model)), token_prefix_(std::move(token_prefix)) {
  subscription_ = model_->subscribe([this] { update(); });
}

LoadBar::~LoadBar() { model_->unsubscribe(subscription_); }

void LoadBar::update() {
  if (!started_) return;
  const auto send = [this](const std::string& token, Json value) {
    peer_.notify("$/progress", {{"token", token}, {"value", std::move(value)}});
  };
  if (model_->state() != ModelHost::State::loading) {
    if (progress_ && progress_->granted) {
      const bool failed = model_->state() == ModelHost::State::failed;
      send(progress_->token,
           {{"kind", "end"}, {"message", failed ? "the model could not be loaded" : "loaded"}});
    }
    progress_.reset();
    return;
  }
  const int percent = static_cast<int>(std::lround(model_->progress() * 100));
  if (progress_) {
    if (progress_->granted && percent > progress_->percent) {
      progress_->percent = percent;
      send(progress_->token, {{"kind", "report"}, {"percentage", percent}});
    }
    return;
  }
  progress_ = std::make_shared<Progress>();
  progress_->token = token_prefix_ + std::to_string(next_token_++);
  // The weak pointer also says whether this bar is still wanted: a load may end before the answer.
  peer_.call("window/workDoneProgress/create", {{"token", progress_->token}}, kProgressTimeout,
             [weak = std::weak_ptr<Progress>(progress_), send, title = "Loading " + model_->name(),
              this](const CallResult& result) {
               const auto progress = weak.lock();
               if (!progress || !result) return;
               progress->granted = true;
               progress->percent = static_cast<int>(std::lround(model_->progress() * 100));
               send(progress->token, {{"kind", "begin"},
                                      {"title", title},
                                      {"cancellable", false},
                                      {"percentage", progress->percent}});
             });
}

}  // namespace cambium::lsp
