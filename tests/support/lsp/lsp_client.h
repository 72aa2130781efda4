// A language client inside the test's own process and thread: sessions without pipes, and a
// completion service that does what the test says.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lsp/session.h"

namespace cambium::test {

using lsp::Json;

/// Answers at once with `respond`, or holds every request until the test answers it.
class FakeCompletion final : public assist::CompletionService {
 public:
  using Done = std::function<void(Result<assist::CompletionOutput>)>;
  using Respond = std::function<Result<assist::CompletionOutput>(const assist::CompletionInput&)>;

  /// Inserts `text` at the cursor.
  static Respond inserting(std::string text);

  void complete(assist::CompletionInput input, Done done) override;

  Respond respond = inserting("completed");
  bool hold = false;
  std::vector<assist::CompletionInput> inputs;  ///< all that were asked
  std::vector<Done> held;                       ///< those not answered yet, in the order asked
};

/// A process without sockets: what sessions share.
class LspServer {
 public:
  explicit LspServer(lsp::LoadModel load = {});
  ~LspServer();

  /// Runs what is due until `ready` says so; false after ten seconds.
  bool run_until(const std::function<bool()>& ready);
  /// Runs what is due now.
  void run();

  std::shared_ptr<FakeCompletion> completion = std::make_shared<FakeCompletion>();
  boost::asio::io_context io{1};
  std::shared_ptr<lsp::ServerContext> context;
};

class LspClient {
 public:
  explicit LspClient(LspServer& server);
  ~LspClient();
  LspClient(const LspClient&) = delete;
  LspClient& operator=(const LspClient&) = delete;

  /// initialize and initialized; gives back the result of the first.
  Json initialize(Json params = Json::object());

  /// Sends and waits: the whole answer, with "result" or "error".
  Json request(const std::string& method, Json params = Json::object());
  /// The answer's result; an error fails with a message.
  Json result_of(const std::string& method, Json params = Json::object());
  int64_t send_request(const std::string& method, Json params = Json::object());
  /// The answer to an earlier send_request; null after ten seconds without one.
  Json wait(int64_t id);
  bool answered(int64_t id) const { return answers_.contains(Json(id).dump()); }
  void notify(const std::string& method, Json params = Json::object());
  void send_raw(const std::string& body);

  void open(const std::string& uri, const std::string& text, const std::string& language = "cpp");
  Json position_params(const std::string& uri, uint32_t line, uint32_t character) const;

  /// The server's own requests: what to answer, by method; without one they stay open.
  std::map<std::string, std::function<Json(const Json& params)>> on_call;

  /// What came by notification, in order; take() also forgets it.
  std::vector<Json> take(const std::string& method);
  std::vector<Json> messages;                ///< everything, in order
  std::map<std::string, int> answer_counts;  ///< by id as JSON
  int exit_code = -1;

  lsp::Session& session() { return *session_; }
  void disconnect();

 private:
  void receive(const std::string& body);

  LspServer& server_;
  std::shared_ptr<lsp::Session> session_;
  std::map<std::string, Json> answers_;
  std::vector<std::pair<std::string, Json>> notifications_;
  int64_t next_id_ = 1;
};

}  // namespace cambium::test
