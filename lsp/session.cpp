#include "lsp/session.h"

#include <signal.h>

#include <boost/asio/dispatch.hpp>
#include <cerrno>
#include <utility>

#include "lsp/handlers/commands.h"
#include "lsp/handlers/completion.h"
#include "lsp/handlers/documents.h"
#include "lsp/handlers/inline_completion.h"
#include "lsp/handlers/lifecycle.h"

namespace cambium::lsp {

namespace {
bool process_is_gone(int32_t process_id) {
  return process_id > 0 && ::kill(process_id, 0) != 0 && errno == ESRCH;
}
}  // namespace

Session::Session(std::shared_ptr<ServerContext> context, std::function<void(int)> on_exit)
    : context_(std::move(context)),
      on_exit_(std::move(on_exit)),
      documents_(context_->parser),
      settings_(context_->settings),
      parent_timer_(context_->strand) {
  ++context_->sessions;
}

Session::~Session() { --context_->sessions; }

std::shared_ptr<Session> Session::create(std::shared_ptr<ServerContext> context,
                                         std::function<void(std::string)> send,
                                         std::function<void(int)> on_exit) {
  std::shared_ptr<Session> session(new Session(std::move(context), std::move(on_exit)));
  session->start(std::move(send));
  return session;
}

void Session::start(std::function<void(std::string)> send) {
  log_ = with_client(context_->log, [weak = weak_from_this(), strand = context_->strand](
                                        spdlog::level::level_enum level, std::string message) {
    boost::asio::dispatch(strand, [weak, level, message = std::move(message)]() mutable {
      if (const auto self = weak.lock()) self->log_to_client(level, std::move(message));
    });
  });
  peer_ = std::make_shared<Peer>(context_->strand, std::move(send), log_);
  status_ = std::make_unique<StatusReporter>(*peer_, context_->model);
  suggester_ = std::make_unique<Suggester>(*this);
  bind_lifecycle(*this);
  bind_documents(*this);
  bind_inline_completion(*this);
  bind_completion(*this);
  bind_commands(*this);
  apply_log_level();
}

void Session::receive(const Frame& frame) {
  const auto self = shared_from_this();  // exit may drop the last other pointer to us
  switch (frame.kind) {
    case Frame::Kind::message:
      peer_->receive(frame.body);
      break;
    case Frame::Kind::oversized:
      peer_->report_unreadable(RpcCode::invalid_request, frame.error);
      break;
    case Frame::Kind::malformed:
      peer_->report_unreadable(RpcCode::parse_error, frame.error);
      break;
  }
}

void Session::disconnected() {
  const auto self = shared_from_this();
  parent_timer_.cancel();
  peer_->close();
  on_exit_ = nullptr;
}

void Session::exit() {
  parent_timer_.cancel();
  peer_->close();
  if (const auto on_exit = std::exchange(on_exit_, nullptr)) on_exit(exit_code());
}

void Session::set_client(ClientCapabilities client, PositionEncoding encoding) {
  client_ = std::move(client);
  encoding_ = encoding;
}

void Session::set_roots(std::vector<std::string> roots) {
  roots_ = std::move(roots);
  privacy_.set_roots(roots_);
  read_workspace_config();
}

void Session::read_workspace_config() {
  // One session, one set of settings: the first folder that sets a key wins.
  Json merged = Json::object();
  for (const std::string& root : roots_) {
    auto file = read_config_file(std::filesystem::path(root) / ".cambium" / "config.json");
    if (!file) {
      log_->warn("{}", file.error().message);
      continue;
    }
    file->merge_patch(merged);
    merged = std::move(*file);
  }
  for (const std::string& problem : settings_.set_layer(Origin::workspace, merged)) {
    log_->warn(".cambium/config.json: {}", problem);
  }
  apply_log_level();
}

void Session::set_client_settings(const Json& settings) {
  for (const std::string& problem : settings_.set_layer(Origin::client, settings)) {
    log_->warn("the editor's settings: {}", problem);
  }
  apply_log_level();
}

void Session::apply_log_level() {
  log_->set_level(spdlog::level::from_str(settings_.config().log_level));
}

void Session::watch_parent(int32_t process_id, std::chrono::milliseconds period) {
  // A client in another process namespace names a number that means nothing here.
  if (process_id <= 0 || process_is_gone(process_id)) return;
  parent_timer_.expires_after(period);
  parent_timer_.async_wait(
      [weak = weak_from_this(), process_id, period](boost::system::error_code stop) {
        const auto self = weak.lock();
        if (stop || !self) return;
        if (process_is_gone(process_id)) {
          self->log_->info("the client's process {} is gone", process_id);
          self->exit();
        } else {
          self->watch_parent(process_id, period);
        }
      });
}

void Session::show_message(MessageType type, const std::string& message) {
  peer_->notify("window/showMessage", {{"type", static_cast<int>(type)}, {"message", message}});
}

void Session::log_to_client(spdlog::level::level_enum level, std::string message) {
  if (phase_ != Phase::initialized) return;  // LSP: not before initialize
  const MessageType type = level >= spdlog::level::err    ? MessageType::error
                           : level >= spdlog::level::warn ? MessageType::warning
                                                          : MessageType::info;
  peer_->notify("window/logMessage",
                {{"type", static_cast<int>(type)}, {"message", std::move(message)}});
}

}  // namespace cambium::lsp
