// One connected client: its documents, its settings, its open requests. All sessions of a process
// share a ServerContext, and through it the model.
//
// Threading: everything on the strand.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/assist/privacy.h"
#include "lsp/assist/reviewer.h"
#include "lsp/documents.h"
#include "lsp/handlers/review.h"
#include "lsp/handlers/suggest.h"
#include "lsp/jsonrpc.h"
#include "lsp/log.h"
#include "lsp/model_host.h"
#include "lsp/model_pool.h"
#include "lsp/protocol/lifecycle.h"
#include "lsp/settings.h"
#include "lsp/stats.h"
#include "lsp/status.h"
#include "lsp/transport.h"
#include "lsp/work_progress.h"
#include "syntax/outline.h"

namespace cambium::lsp {

/// What the sessions of one process share.
struct ServerContext {
  boost::asio::any_io_executor strand;
  Logger log;
  Settings settings;                             ///< command line, user file, defaults
  std::shared_ptr<ModelPool> pool;               ///< all models
  std::shared_ptr<ModelHost> model;              ///< the one of them that completes
  std::shared_ptr<assist::Assistant> assistant;  ///< asks them in words
  std::shared_ptr<syntax::ParseThread> parser = std::make_shared<syntax::ParseThread>();
  std::shared_ptr<assist::Reviewer> reviewer = std::make_shared<assist::Reviewer>();
  /// For reviews by a model that reasons: they take minutes, and the others do not wait for them.
  std::shared_ptr<assist::Reviewer> reasoner = std::make_shared<assist::Reviewer>();
  /// Reads messages that are too large for the strand; posts to it, so close() comes before its end.
  std::shared_ptr<syntax::ParseThread> reader = std::make_shared<syntax::ParseThread>();
  std::vector<std::string> notices;  ///< shown to every client once it is there
  Stats stats;
  size_t sessions = 0;

  /// `models` has one that completes.
  void use(std::shared_ptr<ModelPool> models, assist::AssistantOptions options = {});
  /// Ends the threads that post to the strand. Call it while the strand's context still exists.
  void close();
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  /// `send` takes message bodies. `on_exit` is called at most once, when the client says exit or
  /// its process is gone, with the exit code LSP asks for.
  static std::shared_ptr<Session> create(std::shared_ptr<ServerContext> context,
                                         std::function<void(std::string)> send,
                                         std::function<void(int)> on_exit);
  ~Session();

  void receive(const Frame& frame);
  /// The stream ended. Open work is stopped.
  void disconnected();
  /// 0 after shutdown, else 1.
  int exit_code() const { return phase_ == Phase::shut_down ? 0 : 1; }

  // For the handlers.
  enum class Phase : uint8_t { started, initialized, shut_down };

  ServerContext& context() { return *context_; }
  Peer& peer() { return *peer_; }
  const Logger& log() const { return log_; }
  DocumentStore& documents() { return documents_; }
  /// Of the session as a whole, and of documents in no workspace folder.
  const Settings& settings() const { return settings_; }
  /// Of the innermost workspace folder that holds the file.
  const Settings& settings_for(const std::string& path) const;
  /// The innermost workspace folder that holds the file; null: none does.
  const std::string* root_of(const std::string& path) const;
  assist::Privacy& privacy() { return privacy_; }
  StatusReporter& status() { return *status_; }
  Suggester& suggester() { return *suggester_; }
  Reviews& reviews() { return *reviews_; }
  ProgressReporter& progress() { return *progress_; }
  /// The definitions of a document whose tree is there; kept while the cursor moves in one version of it.
  using Outline = std::shared_ptr<const std::vector<syntax::OutlineItem>>;
  Outline outline_of(const std::shared_ptr<const Snapshot>& snapshot);
  const ClientCapabilities& client() const { return client_; }
  PositionEncoding encoding() const { return encoding_; }
  const std::vector<std::string>& roots() const { return roots_; }  ///< workspace folders, as paths
  /// Whether the user trusts a workspace folder. The workspace has no say: it is what the client's own
  /// code told (set_trusted) or what the user's config file lists.
  bool trusts(const std::string& root) const;
  void set_trusted(std::vector<std::string> folders) { trusted_ = std::move(folders); }

  void set_phase(Phase phase) { phase_ = phase; }
  Phase phase() const { return phase_; }
  void set_client(ClientCapabilities client, PositionEncoding encoding);
  /// Also reads the folders' .cambium/config.json.
  void set_roots(std::vector<std::string> roots);
  void read_workspace_config();
  /// Of all folders alike.
  void set_client_settings(const Json& settings);
  /// Of one workspace folder, named by its path; nothing happens if it is gone.
  void set_folder_settings(const std::string& root, const Json& settings);
  /// Ends the session when the process is no longer there.
  void watch_parent(int32_t process_id, std::chrono::milliseconds period = std::chrono::seconds(5));
  void exit();

  void show_message(MessageType type, const std::string& message);

 private:
  Session(std::shared_ptr<ServerContext> context, std::function<void(int)> on_exit);
  void start(std::function<void(std::string)> send);
  void deliver(const Frame& frame);
  void read_apart(std::string body);
  void log_to_client(spdlog::level::level_enum level, std::string message);
  void apply_log_level();

  std::shared_ptr<ServerContext> context_;
  std::function<void(int)> on_exit_;
  Logger log_;
  std::shared_ptr<Peer> peer_;
  DocumentStore documents_;
  Settings settings_;
  std::map<std::string, Settings> folder_settings_;  ///< by root
  Json client_settings_ = Json::object();
  std::deque<Frame> behind_;  ///< frames that came after one that is being read apart
  bool reads_apart_ = false;
  assist::Privacy privacy_;
  std::unique_ptr<StatusReporter> status_;
  std::unique_ptr<Suggester> suggester_;
  std::unique_ptr<Reviews> reviews_;
  std::unique_ptr<ProgressReporter> progress_;
  ClientCapabilities client_;
  PositionEncoding encoding_ = PositionEncoding::utf16;
  std::vector<std::string> roots_, trusted_;  ///< workspace folders; those that the client trusts
  std::shared_ptr<const Snapshot> outlined_;
  Outline outline_;  ///< of outlined_
  Phase phase_ = Phase::started;
  boost::asio::steady_timer parent_timer_;
};

}  // namespace cambium::lsp
