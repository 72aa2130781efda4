// JSON-RPC 2.0 as LSP uses it: typed handlers, requests answered exactly once, cancels, calls to
// the other side.
//
// Threading: a Peer belongs to one strand. A Reply may be used or destroyed on any thread; its
// answer hops to the strand.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "lsp/log.h"
#include "lsp/protocol/reader.h"

namespace cambium::lsp {

using RequestId = std::variant<int64_t, std::string>;
Json to_json_id(const RequestId& id);

enum class RpcCode : int {
  parse_error = -32700,
  invalid_request = -32600,
  method_not_found = -32601,
  invalid_params = -32602,
  internal_error = -32603,
  server_not_initialized = -32002,
  request_cancelled = -32800,
  request_failed = -32803,
};

struct RpcError {
  RpcCode code = RpcCode::internal_error;
  std::string message;
};

/// How long a handler may hold the strand before that is logged: a slow handler delays every
/// session.
enum class Latency : uint8_t {
  instant,   ///< 5 ms: everything on the path of a keystroke
  document,  ///< 100 ms: takes a whole text
  setup,     ///< 500 ms: once a session; reads small files
};

class Peer;

/// The duty to answer one request. Move-only; if it dies unanswered, the client gets
/// internal_error. Whatever comes second (a late result after a cancel) is dropped.
class Reply {
 public:
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&&) = delete;
  ~Reply();

  void operator()(Json result);
  void fail(RpcCode code, std::string message);

  /// Called once, on the strand, when the request was answered from elsewhere (the client's cancel,
  /// a newer request, shutdown), so that the work for it stops. On the strand.
  void on_abandoned(std::function<void()> callback);
  /// Answers in the handler's place while the Reply is elsewhere (with the engine, as a rule); does
  /// nothing once answered. On the strand.
  std::function<void(Json)> abandoner() const;

 private:
  friend class Peer;
  struct Pending;
  explicit Reply(std::shared_ptr<Pending> pending) : pending_(std::move(pending)) {}
  std::shared_ptr<Pending> pending_;
};

using CallResult = tl::expected<Json, RpcError>;

/// One side of a conversation.
class Peer : public std::enable_shared_from_this<Peer> {
 public:
  /// `send` takes finished message bodies, on the strand.
  Peer(boost::asio::any_io_executor strand, std::function<void(std::string)> send, Logger log);
  ~Peer();

  /// Registers a handler; Params is read once by its `read(const Json&, Params&, Path)`. Params
  /// that do not fit are answered invalid_params (a notification: logged) with the field's name.
  template <class Params>
  void on_request(std::string method, Latency latency, std::function<void(Params, Reply)> handler) {
    requests_[std::move(method)] = {latency,
                                    [handler = std::move(handler)](const Json& json, Reply reply) {
                                      Params params;
                                      std::string problem;
                                      if (!read(json, params, Path::root(problem))) {
                                        reply.fail(RpcCode::invalid_params, problem);
                                        return;
                                      }
                                      handler(std::move(params), std::move(reply));
                                    }};
  }
  template <class Params>
  void on_notification(std::string method, Latency latency, std::function<void(Params)> handler) {
    notifications_[method] = {latency,
                              [this, method, handler = std::move(handler)](const Json& json) {
                                Params params;
                                std::string problem;
                                if (!read(json, params, Path::root(problem))) {
                                  log_->warn("{}: {}", method, problem);
                                  return;
                                }
                                handler(std::move(params));
                              }};
  }

  /// Asked before each message but $/cancelRequest; an error answers a request (a notification is
  /// dropped).
  using Gate = std::function<std::optional<RpcError>(std::string_view method, bool is_request)>;
  void set_gate(Gate gate) { gate_ = std::move(gate); }

  /// A message body as JSON; none if it is not that. Any thread.
  using Message = std::optional<Json>;
  static Message read_message(std::string_view body);
  /// One message from the other side.
  void take(Message message);
  void receive(std::string_view body) { take(read_message(body)); }
  /// Tells the other side of a message that could not be read at all (id null).
  void report_unreadable(RpcCode code, std::string message);

  void notify(std::string_view method, Json params);
  /// `done` is called exactly once, on the strand: with the result, the other side's error,
  /// request_failed after `timeout`, or request_cancelled when the peer closes.
  void call(std::string_view method, Json params, std::chrono::milliseconds timeout,
            std::function<void(CallResult)> done);

  /// Answers every request still open.
  void abandon_all(const RpcError& error);
  /// abandon_all, ends open calls, sends nothing any more.
  void close();

  size_t open_requests() const { return pending_.size(); }

 private:
  friend class Reply;
  struct RequestHandler {
    Latency latency = Latency::instant;
    std::function<void(const Json&, Reply)> run;
  };
  struct NotificationHandler {
    Latency latency = Latency::instant;
    std::function<void(const Json&)> run;
  };
  struct OpenCall;

  void handle_request(RequestId id, const std::string& method, const Json& params);
  void handle_notification(const std::string& method, const Json& params);
  void handle_response(const Json& message);
  void cancel(const Json& params);
  void finish(Reply::Pending& pending, const Json& body, bool abandoned);
  void send(const Json& message);
  void finish_call(int64_t id, CallResult result);
  template <class Run>
  void timed(const std::string& method, Latency latency, Run&& run);

  boost::asio::any_io_executor strand_;
  std::function<void(std::string)> send_;
  Logger log_;
  Gate gate_;
  std::unordered_map<std::string, RequestHandler> requests_;
  std::unordered_map<std::string, NotificationHandler> notifications_;
  std::unordered_map<std::string, std::shared_ptr<Reply::Pending>> pending_;  ///< by the id as JSON
  std::unordered_map<int64_t, std::shared_ptr<OpenCall>> calls_;
  int64_t next_call_ = 1;
  bool closed_ = false;
};

}  // namespace cambium::lsp
