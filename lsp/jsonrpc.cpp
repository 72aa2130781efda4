#include "lsp/jsonrpc.h"

#include <atomic>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <utility>
#include <vector>

namespace cambium::lsp {

namespace asio = boost::asio;

namespace {

std::string dump(const Json& message) {
  // Text from a model or a file name may not be UTF-8; a reply with replacement characters is
  // better than none.
  return message.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Replaces escapes of half a surrogate pair by U+FFFD. Editors that hold text as UTF-16 can send
/// them
/// ("\ud83d" alone, after a cut emoji); no UTF-8 exists for them, and dropping the whole message
/// would lose a document. Both are one UTF-16 unit, so that columns stay right.
std::string without_lone_surrogates(std::string_view body) {
  const auto unit_at = [&](size_t i) -> int {  // of "\uXXXX" at i, or -1
    if (i + 6 > body.size() || body[i] != '\\' || body[i + 1] != 'u') return -1;
    int value = 0;
    const auto [end, error] = std::from_chars(body.data() + i + 2, body.data() + i + 6, value, 16);
    return error == std::errc{} && end == body.data() + i + 6 ? value : -1;
  };
  std::string out;
  out.reserve(body.size());
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\') {
      out.push_back(body[i++]);
      continue;
    }
    const int unit = unit_at(i);
    const int next = unit_at(i + 6);
    if (unit >= 0xD800 && unit < 0xDC00 && next >= 0xDC00 && next < 0xE000) {
      out.append(body.substr(i, 12));
      i += 12;
    } else if (unit >= 0xD800 && unit < 0xE000) {
      out.append("\\ufffd");
      i += 6;
    } else {
      out.append(
          body.substr(i, 2));  // also an escaped backslash, whose second half escapes nothing
      i += 2;
    }
  }
  return out;
}

std::optional<RequestId> read_id(const Json& json) {
  if (json.is_string()) return RequestId(json.get<std::string>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) return std::nullopt;
  if (json.is_number_integer()) return RequestId(json.get<int64_t>());
  return std::nullopt;
}

std::string id_key(const RequestId& id) { return to_json_id(id).dump(); }

Json error_body(const Json& id, const RpcError& error) {
  return {{"jsonrpc", "2.0"},
          {"id", id},
          {"error", {{"code", static_cast<int>(error.code)}, {"message", error.message}}}};
}

Json result_body(const Json& id, Json result) {
  Json body = {{"jsonrpc", "2.0"}, {"id", id}};
  body["result"] = std::move(result);
  return body;
}

std::chrono::milliseconds allowed(Latency latency) {
  switch (latency) {
    case Latency::instant:
      return std::chrono::milliseconds(5);
    case Latency::document:
      return std::chrono::milliseconds(100);
    case Latency::setup:
      return std::chrono::milliseconds(500);
  }
  return std::chrono::milliseconds(5);
}

}  // namespace

Json to_json_id(const RequestId& id) {
  return std::visit([](const auto& value) { return Json(value); }, id);
}

struct Reply::Pending {
  RequestId id;
  std::string key;
  std::weak_ptr<Peer> peer;
  asio::any_io_executor strand;
  std::atomic<bool> answered{false};
  std::function<void()> on_abandoned;  ///< strand only

  /// By the handler, on any thread. `dropped`: the handler lost the request.
  static void answer(const std::shared_ptr<Pending>& self, Json body, bool dropped = false) {
    if (self->answered.exchange(true)) return;
    asio::dispatch(self->strand, [self, dropped, body = std::move(body)] {
      if (const auto owner = self->peer.lock()) owner->finish(*self, body, dropped);
    });
  }
  /// In the handler's place, on the strand.
  void abandon(const Json& body) {
    if (answered.exchange(true)) return;
    if (const auto owner = peer.lock()) owner->finish(*this, body, true);
  }
};

Reply::~Reply() {
  if (!pending_ || pending_->answered) return;
  const RpcError error{RpcCode::internal_error, "the request was dropped by the server"};
  Pending::answer(pending_, error_body(to_json_id(pending_->id), error), true);
}

void Reply::operator()(Json result) {
  if (pending_->answered) return;
  Pending::answer(pending_, result_body(to_json_id(pending_->id), std::move(result)));
}

void Reply::fail(RpcCode code, std::string message) {
  if (pending_->answered) return;
  Pending::answer(pending_, error_body(to_json_id(pending_->id), {code, std::move(message)}));
}

void Reply::on_abandoned(std::function<void()> callback) {
  pending_->on_abandoned = std::move(callback);
}

std::function<void(Json)> Reply::abandoner() const {
  return [weak = std::weak_ptr<Pending>(pending_)](Json result) {
    if (const auto pending = weak.lock()) {
      pending->abandon(result_body(to_json_id(pending->id), std::move(result)));
    }
  };
}

struct Peer::OpenCall {
  OpenCall(const asio::any_io_executor& strand, std::function<void(CallResult)> callback)
      : timer(strand), done(std::move(callback)) {}
  asio::steady_timer timer;
  std::function<void(CallResult)> done;
};

Peer::Peer(asio::any_io_executor strand, std::function<void(std::string)> send, Logger log)
    : strand_(std::move(strand)), send_(std::move(send)), log_(std::move(log)) {}

Peer::~Peer() = default;

void Peer::send(const Json& message) {
  if (!closed_) send_(dump(message));
}

Peer::Message Peer::read_message(std::string_view body) {
  Json message = Json::parse(body, nullptr, false);
  if (message.is_discarded() && body.find("\\u") != std::string_view::npos) {
    message = Json::parse(without_lone_surrogates(body), nullptr, false);
  }
  if (message.is_discarded()) return std::nullopt;
  return message;
}

void Peer::take(Message read) {
  if (closed_) return;
  if (!read) {
    report_unreadable(RpcCode::parse_error, "the message is not valid JSON in UTF-8");
    return;
  }
  const Json& message = *read;
  if (!message.is_object()) {
    report_unreadable(RpcCode::invalid_request,
                      message.is_array() ? "batches are not part of LSP; send messages one by one"
                                         : "a message is a JSON object");
    return;
  }
  static const Json kNoParams = Json::object();
  const auto method = message.find("method");
  const auto id = message.find("id");
  if (method == message.end()) {
    if (id != message.end() && (message.contains("result") || message.contains("error"))) {
      handle_response(message);
    } else {
      report_unreadable(RpcCode::invalid_request, "a message has a method, a result or an error");
    }
    return;
  }
  if (!method->is_string()) {
    report_unreadable(RpcCode::invalid_request, "method: expected a string");
    return;
  }
  const auto params = message.find("params");
  const Json& arguments = params == message.end() || params->is_null() ? kNoParams : *params;
  if (id == message.end()) {
    handle_notification(method->get_ref<const std::string&>(), arguments);
    return;
  }
  const auto request_id = read_id(*id);
  if (!request_id) {
    report_unreadable(RpcCode::invalid_request, "id: expected a string or a whole number");
    return;
  }
  handle_request(*request_id, method->get_ref<const std::string&>(), arguments);
}

void Peer::report_unreadable(RpcCode code, std::string message) {
  log_->warn("unreadable message: {}", message);
  send(error_body(nullptr, {code, std::move(message)}));
}

template <class Run>
void Peer::timed(const std::string& method, Latency latency, Run&& run) {
  const auto start = std::chrono::steady_clock::now();
  try {
    run();
  } catch (const std::exception& error) {  // a library's; ours are values. The Reply answers.
    log_->error("{} failed inside: {}", method, error.what());
  }
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  if (spent > allowed(latency)) {
    log_->debug("{} held the server for {:.1f} ms, {} allowed", method, spent.count(),
                allowed(latency).count());
  }
}

void Peer::handle_request(RequestId id, const std::string& method, const Json& params) {
  const std::string key = id_key(id);
  const Json id_json = to_json_id(id);
  if (pending_.contains(key)) {
    send(error_body(id_json,
                    {RpcCode::invalid_request, "a request with id " + key + " is still open"}));
    return;
  }
  if (gate_) {
    if (const auto refused = gate_(method, true)) {
      send(error_body(id_json, *refused));
      return;
    }
  }
  const auto found = requests_.find(method);
  if (found == requests_.end()) {
    send(error_body(id_json, {RpcCode::method_not_found, "no method '" + method + "'"}));
    return;
  }
  auto pending = std::make_shared<Reply::Pending>();
  pending->id = std::move(id);
  pending->key = key;
  pending->peer = weak_from_this();
  pending->strand = strand_;
  pending_.emplace(key, pending);
  timed(method, found->second.latency,
        [&] { found->second.run(params, Reply(std::move(pending))); });
}

void Peer::handle_notification(const std::string& method, const Json& params) {
  if (method == "$/cancelRequest") {
    cancel(params);
    return;
  }
  if (gate_ && gate_(method, false)) return;
  const auto found = notifications_.find(method);
  if (found == notifications_.end()) {
    // "$/" marks what a receiver may ignore.
    if (!method.starts_with("$/")) log_->debug("ignoring unknown notification {}", method);
    return;
  }
  timed(method, found->second.latency, [&] { found->second.run(params); });
}

void Peer::cancel(const Json& params) {
  const auto id =
      params.is_object() && params.contains("id") ? read_id(params["id"]) : std::nullopt;
  if (!id) {
    log_->warn("$/cancelRequest: id: expected a string or a whole number");
    return;
  }
  const auto found = pending_.find(id_key(*id));
  if (found == pending_.end()) return;  // already answered: normal
  const auto pending = found->second;
  pending->abandon(error_body(to_json_id(*id), {RpcCode::request_cancelled, "cancelled"}));
}

void Peer::finish(Reply::Pending& pending, const Json& body, bool abandoned) {
  const auto found = pending_.find(pending.key);
  std::shared_ptr<Reply::Pending> keep;
  if (found != pending_.end() && found->second.get() == &pending) {
    keep = std::move(found->second);
    pending_.erase(found);
  }
  send(body);
  const auto callback = std::exchange(pending.on_abandoned, nullptr);
  if (abandoned && callback) callback();
}

void Peer::abandon_all(const RpcError& error) {
  std::vector<std::shared_ptr<Reply::Pending>> open;
  open.reserve(pending_.size());
  for (const auto& [key, pending] : pending_) open.push_back(pending);
  for (const auto& pending : open) {
    pending->abandon(error_body(to_json_id(pending->id), error));
  }
}

void Peer::close() {
  if (closed_) return;
  closed_ = true;  // nobody reads the answers; the work behind them must stop all the same
  abandon_all({RpcCode::request_cancelled, "the connection was closed"});
  while (!calls_.empty()) {
    finish_call(calls_.begin()->first,
                tl::unexpected(RpcError{RpcCode::request_cancelled, "the connection was closed"}));
  }
}

void Peer::notify(std::string_view method, Json params) {
  Json message = {{"jsonrpc", "2.0"}, {"method", method}};
  message["params"] = std::move(params);
  send(message);
}

void Peer::call(std::string_view method, Json params, std::chrono::milliseconds timeout,
                std::function<void(CallResult)> done) {
  if (closed_) {
    done(tl::unexpected(RpcError{RpcCode::request_cancelled, "the connection is closed"}));
    return;
  }
  const int64_t id = next_call_++;
  auto open = std::make_shared<OpenCall>(strand_, std::move(done));
  calls_.emplace(id, open);
  open->timer.expires_after(timeout);
  open->timer.async_wait(
      [weak = weak_from_this(), id, name = std::string(method)](boost::system::error_code stopped) {
        if (stopped) return;
        if (const auto self = weak.lock()) {
          self->finish_call(id, tl::unexpected(RpcError{RpcCode::request_failed,
                                                        name + ": the client did not answer"}));
        }
      });
  Json message = {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}};
  message["params"] = std::move(params);
  send(message);
}

void Peer::handle_response(const Json& message) {
  const Json& id = message["id"];
  if (!id.is_number_integer()) return;
  if (const auto error = message.find("error"); error != message.end() && !error->is_null()) {
    RpcError read_error{RpcCode::request_failed, "the client answered with an error"};
    if (error->is_object()) {
      if (error->contains("message") && (*error)["message"].is_string()) {
        read_error.message = (*error)["message"].get<std::string>();
      }
      if (error->contains("code") && (*error)["code"].is_number_integer()) {
        read_error.code = static_cast<RpcCode>((*error)["code"].get<int>());
      }
    }
    finish_call(id.get<int64_t>(), tl::unexpected(std::move(read_error)));
    return;
  }
  finish_call(id.get<int64_t>(), message.contains("result") ? message["result"] : Json());
}

void Peer::finish_call(int64_t id, CallResult result) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;  // late, after its timeout
  const auto open = std::move(found->second);
  calls_.erase(found);
  open->timer.cancel();
  open->done(std::move(result));
}

}  // namespace cambium::lsp
