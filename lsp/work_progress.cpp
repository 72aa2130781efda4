#include "lsp/work_progress.h"

#include <utility>

namespace cambium::lsp {

namespace {
constexpr std::chrono::seconds kCallTimeout{20};
}  // namespace

void ProgressReporter::Work::send(Json value) {
  const auto peer = peer_.lock();
  if (peer && !token_.is_null()) {
    peer->notify("$/progress", {{"token", token_}, {"value", std::move(value)}});
  }
}

void ProgressReporter::Work::begin() {
  if (begun_ || ended_) return;
  begun_ = true;
  send(first_);
}

void ProgressReporter::Work::report(const std::string& message, int percentage) {
  if (!begun_ || ended_) return;
  Json value = {{"kind", "report"}, {"message", message}};
  if (percentage >= 0) value["percentage"] = percentage;
  send(std::move(value));
}

void ProgressReporter::Work::end(const std::string& message) {
  if (std::exchange(ended_, true) || !begun_) return;
  Json value = {{"kind", "end"}};
  if (!message.empty()) value["message"] = message;
  send(std::move(value));
}

std::shared_ptr<ProgressReporter::Work> ProgressReporter::begin(const Json& token,
                                                                const Start& start,
                                                                std::function<void()> cancel) {
  std::erase_if(cancels_, [](const auto& each) { return each.second.work.expired(); });
  const bool own = token.is_null() && start.may_create;
  const Json used = own ? Json("cambium-work-" + std::to_string(next_token_++)) : token;
  const auto work = std::make_shared<Work>(peer_.weak_from_this(), used);
  work->first_ = {{"kind", "begin"}, {"title", start.title}, {"cancellable", true}};
  if (start.counts) work->first_["percentage"] = 0;
  if (!used.is_null()) cancels_[used.dump()] = {work, std::move(cancel)};
  if (!own) {
    work->begin();
    return work;
  }
  // Work that is done before the client agrees is never shown.
  peer_.call("window/workDoneProgress/create", {{"token", used}}, kCallTimeout,
             [weak = std::weak_ptr<Work>(work)](const CallResult& result) {
               const auto still = weak.lock();
               if (still && result) still->begin();
             });
  return work;
}

void ProgressReporter::cancel(const Json& token) {
  const auto found = cancels_.find(token.dump());
  if (found == cancels_.end()) return;
  const auto run = std::move(found->second.run);
  cancels_.erase(found);
  if (run) run();
}

}  // namespace cambium::lsp
