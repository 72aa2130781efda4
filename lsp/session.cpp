#include "lsp/session.h"

#include <signal.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "lsp/assist/team_rules.h"
#include "lsp/handlers/chat.h"
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
  status_ = std::make_unique<StatusReporter>(*peer_, context_->model, context_->pool->hosts());
  suggester_ = std::make_unique<Suggester>(*this);
  reviews_ = std::make_unique<Reviews>(*this);
  progress_ = std::make_unique<ProgressReporter>(*peer_);
  bind_lifecycle(*this);
  bind_documents(*this);
  bind_inline_completion(*this);
  bind_completion(*this);
  bind_review(*this);
  bind_chat(*this);
  bind_commands(*this);
  apply_log_level();
}

void ServerContext::use(std::shared_ptr<ModelPool> models, assist::AssistantOptions options) {
  pool = std::move(models);
  model = pool->host(assist::Role::completion);
  assistant = std::make_shared<assist::Assistant>(pool, options);
}

void ServerContext::close() {
  reader.reset();
  pool->close();
}

void Session::receive(const Frame& frame) {
  if (reads_apart_) {
    behind_.push_back(frame);
    return;
  }
  deliver(frame);
}

// A large file's didOpen takes tens of milliseconds to read, in which other sessions would wait. What
// comes after it stays behind it, so a session that is alone gains nothing, and reads it at once.
void Session::read_apart(std::string body) {
  reads_apart_ = true;
  context_->reader->post(
      [weak = weak_from_this(), strand = context_->strand, body = std::move(body)] {
        auto message = std::make_shared<Peer::Message>(Peer::read_message(body));
        boost::asio::post(strand, [weak, message] {
          const auto self = weak.lock();
          if (!self) return;
          self->peer_->take(std::move(*message));
          self->reads_apart_ = false;
          while (!self->behind_.empty() && !self->reads_apart_) {
            const Frame next = std::move(self->behind_.front());
            self->behind_.pop_front();
            self->deliver(next);
          }
        });
      });
}

void Session::deliver(const Frame& frame) {
  constexpr size_t kLarge = size_t{256} << 10;
  const auto self = shared_from_this();  // exit may drop the last other pointer to us
  switch (frame.kind) {
    case Frame::Kind::message:
      if (frame.body.size() > kLarge && context_->sessions > 1 && context_->reader) {
        read_apart(frame.body);
      } else {
        peer_->receive(frame.body);
      }
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
  // What is of no folder takes the first one that sets a key.
  Json merged = Json::object();
  std::erase_if(folder_settings_, [&](const auto& folder) {
    return std::find(roots_.begin(), roots_.end(), folder.first) == roots_.end();
  });
  for (const std::string& root : roots_) {
    const auto [folder, is_new] = folder_settings_.try_emplace(root, context_->settings);
    if (is_new) folder->second.set_layer(Origin::client, client_settings_);
    auto file = read_config_file(std::filesystem::path(root) / ".cambium" / "config.json");
    if (!file) {
      log_->warn("{}", file.error().message);
      continue;
    }
    for (const std::string& problem : folder->second.set_layer(Origin::workspace, *file)) {
      log_->warn("{}/.cambium/config.json: {}", root, problem);
    }
    file->merge_patch(merged);
    merged = std::move(*file);
  }
  settings_.set_layer(Origin::workspace, merged);
  apply_log_level();
}

void Session::set_client_settings(const Json& settings) {
  client_settings_ = settings;
  for (const std::string& problem : settings_.set_layer(Origin::client, settings)) {
    log_->warn("the editor's settings: {}", problem);
  }
  for (auto& [root, folder] : folder_settings_) folder.set_layer(Origin::client, settings);
  apply_log_level();
}

void Session::set_folder_settings(const std::string& root, const Json& settings) {
  const auto folder = folder_settings_.find(root);
  if (folder == folder_settings_.end()) return;
  for (const std::string& problem : folder->second.set_layer(Origin::client, settings)) {
    log_->warn("the editor's settings of {}: {}", root, problem);
  }
}

const std::string* Session::root_of(const std::string& path) const {
  const std::string* found = nullptr;
  for (const auto& [root, settings] : folder_settings_) {
    const bool inside =
        path.starts_with(root) &&
        (root.ends_with('/') || path.size() == root.size() || path[root.size()] == '/');
    if (inside && (found == nullptr || root.size() >= found->size())) found = &root;
  }
  return found;
}

const Settings& Session::settings_for(const std::string& path) const {
  const std::string* root = root_of(path);
  return root == nullptr ? settings_ : folder_settings_.at(*root);
}

Session::Outline Session::outline_of(const std::shared_ptr<const Snapshot>& snapshot) {
  if (snapshot != outlined_) {
    outline_ = std::make_shared<const std::vector<syntax::OutlineItem>>(
        syntax::outline(*snapshot->tree, *snapshot->text));
    outlined_ = snapshot;
  }
  return outline_;
}

bool Session::trusts(const std::string& root) const {
  return std::find(trusted_.begin(), trusted_.end(), root) != trusted_.end() ||
         assist::is_within(root, settings_.config().trusted_folders);
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
