#include "lsp/serve/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <csignal>
#include <ctime>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/tokenizer.h"
#include "lsp/address.h"
#include "lsp/assist/json_constraint.h"
#include "lsp/assist/thinking.h"
#include "lsp/serve/api.h"
#include "lsp/serve/metrics.h"

namespace cambium::lsp::serve {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Json = nlohmann::json;
using GeneratorPtr = std::shared_ptr<engine::Generator>;
using HttpRequest = http::request<http::string_body>;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kPatience{60};  // for a client's next bytes, and for it to read ours
constexpr uint32_t kHeaderLimit = 16 * 1024;

/// A generation on its way to a client. The server's thread alone holds it: what an engine keeps of a
/// request may outlive the server, so its callbacks know it by number only.
struct Exchange {
  explicit Exchange(asio::io_context& io) : wake(io) { wake.expires_at(Never); }
  static constexpr auto Never = std::chrono::steady_clock::time_point::max();

  void changed() { wake.cancel(); }

  ApiRequest asked;
  AnswerHead head;
  engine::CancelFlag cancel = engine::make_cancel_flag();
  assist::ThinkingSplitter splitter{false};
  std::deque<std::string> pieces;  ///< events not yet sent
  std::optional<Result<engine::Generated>> done;
  bool started = false;  ///< something was generated: the answer's status is 200
  asio::steady_timer wake;
};
using ExchangePtr = std::shared_ptr<Exchange>;

class HttpServer {
 public:
  explicit HttpServer(HttpServerOptions options) : options_(std::move(options)) {}

  Result<void> run() {
    for (const std::string& address : options_.listen) {
      auto parsed = parse_address(address, options_.beyond_loopback);
      if (!parsed) return tl::unexpected(parsed.error());
      auto listening = parsed->tcp ? listen_at<asio::ip::tcp>(*parsed)
                                   : listen_at<asio::local::stream_protocol>(*parsed);
      if (!listening) {
        remove_files();
        return listening;
      }
    }
    // Told when all are bound: one that fails ends the server.
    for (const std::string& address : bound_) {
      if (!options_.on_listening) break;
      options_.on_listening(address, [this] { asio::post(io_, [this] { stop(); }); });
    }
    asio::signal_set signals(io_, SIGINT, SIGTERM);
    signals.async_wait([this](error_code error, int) {
      if (!error) stop();
    });
    io_.run();
    // The engines' callbacks post here: none may be left when the context goes.
    const auto work = asio::make_work_guard(io_);
    io_.restart();
    while (generating_ > 0) io_.run_one();
    options_.models.reset();
    remove_files();
    return {};
  }

 private:
  void stop() {
    stopping_ = true;
    for (const auto& [id, open] : exchanges_) open->cancel->store(true);
    io_.stop();
  }

  void remove_files() {
    for (const std::string& file : files_) ::unlink(file.c_str());
  }

  template <class Protocol>
  Result<void> listen_at(const Address& address) {
    auto acceptor = std::make_shared<typename Protocol::acceptor>(io_);
    auto bound = bind_to(*acceptor, address);
    if (!bound) return tl::unexpected(bound.error());
    if (!address.path.empty()) files_.push_back(address.path);
    bound_.push_back(std::move(*bound));
    asio::co_spawn(io_, accept<Protocol>(acceptor), asio::detached);
    return {};
  }

  template <class Protocol>
  asio::awaitable<void> accept(std::shared_ptr<typename Protocol::acceptor> acceptor) {
    bool full = false;
    for (;;) {
      if (full || connections_ >= options_.max_connections) {
        // Out of descriptors, or of places: who waits gets a turn when somebody goes.
        asio::steady_timer pause(io_, std::chrono::milliseconds(50));
        co_await pause.async_wait(kToken);
        full = false;
        continue;
      }
      auto [error, socket] = co_await acceptor->async_accept(kToken);
      if (error == asio::error::operation_aborted) co_return;
      full = static_cast<bool>(error);
      if (full) continue;
      asio::co_spawn(io_, converse<Protocol>(std::move(socket)), asio::detached);
    }
  }

  template <class Protocol>
  asio::awaitable<void> converse(typename Protocol::socket socket) {
    ++connections_;
    beast::basic_stream<Protocol> stream(std::move(socket));
    beast::flat_buffer buffer;
    bool open = true;
    while (open) {
      http::request_parser<http::string_body> parser;
      parser.header_limit(kHeaderLimit);
      parser.body_limit(options_.max_body_bytes);
      stream.expires_after(kPatience);
      const auto [error, n] = co_await http::async_read(stream, buffer, parser, kToken);
      if (error) {
        if (const auto told = unreadable(error)) {
          co_await answer(stream, "other", told->status, "application/json", error_body(*told),
                          false, 11);
        }
        break;
      }
      open = co_await handle(stream, parser.get());
    }
    error_code ignored;
    stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
    co_await drain(stream);
    stream.close();
    --connections_;
  }

  /// Closing with bytes unread would reset the connection, and our answer with it.
  template <class Stream>
  static asio::awaitable<void> drain(Stream& stream) {
    std::vector<char> scrap(64 * 1024);
    stream.expires_after(std::chrono::seconds(2));
    for (size_t left = size_t{64} << 20; left > 0;) {
      const auto [error, n] = co_await stream.async_read_some(asio::buffer(scrap), kToken);
      if (error) break;
      left -= std::min(left, n);
    }
  }

  std::optional<ApiError> unreadable(const error_code& error) const {
    if (error == http::error::body_limit) {
      return ApiError{
          413, "the body is larger than " + std::to_string(options_.max_body_bytes >> 20) + " MiB"};
    }
    if (error == http::error::header_limit) return ApiError{431, "the header is too large"};
    if (error == http::error::end_of_stream || error == http::error::partial_message ||
        error.category() != http::make_error_code(http::error::end_of_stream).category()) {
      return std::nullopt;  // the client has gone, or was silent
    }
    return ApiError{400, "this is no HTTP request (" + error.message() + ")"};
  }

  /// Its arguments are copies: it begins when it is awaited, and the caller's temporaries are gone.
  template <class Stream>
  asio::awaitable<bool> answer(Stream& stream, std::string path, int status, const char* type,
                               std::string body, bool keep_alive, unsigned version) {
    metrics_.answered(path, status);
    http::response<http::string_body> response;
    response.result(static_cast<unsigned>(status));
    response.version(version);
    response.set(http::field::server, "cambium");
    response.set(http::field::content_type, type);
    response.keep_alive(keep_alive);
    response.body() = std::move(body);
    response.prepare_payload();
    stream.expires_after(kPatience);
    const auto [error, n] = co_await http::async_write(stream, response, kToken);
    co_return !error && keep_alive;
  }

  /// False: the connection is to be closed.
  template <class Stream>
  asio::awaitable<bool> handle(Stream& stream, const HttpRequest& request) {
    const std::string path(request.target().substr(0, request.target().find('?')));
    const auto refuse = [&](int status, std::string message) {
      return answer(stream, "other", status, "application/json",
                    error_body({status, std::move(message)}), request.keep_alive(),
                    request.version());
    };
    // A page in a browser must not reach the model through its reader's machine.
    if (!request[http::field::origin].empty()) {
      co_return co_await refuse(403, "requests from web pages are not served");
    }
    const bool get = request.method() == http::verb::get;
    const bool post = request.method() == http::verb::post;
    const char* json = "application/json";
    if (path == "/health" || path == "/metrics" || path == "/v1/models" || path == "/models") {
      if (!get) co_return co_await refuse(405, path + " takes GET");
      const bool metrics = path == "/metrics";
      std::string body = metrics             ? metrics_.text()
                         : path == "/health" ? std::string(R"({"status":"ok"})")
                                             : models_body();
      co_return co_await answer(stream, path, 200, metrics ? "text/plain; version=0.0.4" : json,
                                std::move(body), request.keep_alive(), request.version());
    }
    std::optional<Endpoint> endpoint;
    if (path == "/v1/completions" || path == "/completions") endpoint = Endpoint::completions;
    if (path == "/v1/chat/completions" || path == "/chat/completions") endpoint = Endpoint::chat;
    if (path == "/infill") endpoint = Endpoint::infill;
    if (!endpoint) {
      co_return co_await refuse(404,
                                "no such path; there are /v1/completions, "
                                "/v1/chat/completions, /infill, /v1/models, /health and "
                                "/metrics");
    }
    if (!post) co_return co_await refuse(405, path + " takes POST");
    auto asked = read_request(*endpoint, request.body());
    if (!asked) co_return co_await refuse(asked.error().status, asked.error().message);
    co_return co_await generate(stream, request, path, std::move(*asked));
  }

  std::string models_body() const {
    Json list = Json::array();
    for (const assist::Role role : assist::kRoles) {
      if (!options_.models->has(role)) continue;
      list.push_back({{"id", options_.models->name(role)},
                      {"object", "model"},
                      {"owned_by", "cambium"},
                      {"role", assist::to_string(role)}});
    }
    return Json{{"object", "list"}, {"data", std::move(list)}}.dump(-1, ' ', false,
                                                                    Json::error_handler_t::replace);
  }

  /// The role a request goes to: by its `model` if that names one, else by the endpoint.
  tl::expected<assist::Role, ApiError> role_of(const ApiRequest& asked) const {
    const assist::Models& models = *options_.models;
    if (!asked.model.empty()) {
      for (const assist::Role role : assist::kRoles) {
        if (models.has(role) &&
            (asked.model == assist::to_string(role) || asked.model == models.name(role))) {
          return role;
        }
      }
    }
    using assist::Role;
    const bool chat = asked.endpoint == Endpoint::chat;
    for (const Role role : chat ? std::array{Role::general, Role::reasoning, Role::completion}
                                : std::array{Role::completion, Role::general, Role::reasoning}) {
      if (models.has(role)) return role;
    }
    return tl::unexpected(ApiError{404, "no model is configured"});
  }

  template <class Stream>
  asio::awaitable<bool> generate(Stream& stream, const HttpRequest& request,
                                 const std::string& path, ApiRequest asked) {
    auto role = role_of(asked);
    if (stopping_) role = tl::unexpected(ApiError{503, "the server is about to stop"});
    if (!role) {
      co_return co_await answer(stream, path, role.error().status, "application/json",
                                error_body(role.error()), request.keep_alive(), request.version());
    }
    const auto exchange = std::make_shared<Exchange>(io_);
    const uint64_t id = ++answers_;
    exchange->asked = std::move(asked);
    exchanges_.emplace(id, exchange);
    start(id, *role);
    watch_client(stream, id);

    while (!exchange->started && !exchange->done) co_await exchange->wake.async_wait(kToken);
    bool open = false;
    if (exchange->done && !*exchange->done) {
      const ApiError error = api_error(exchange->done->error());
      open = co_await answer(stream, path, error.status, "application/json", error_body(error),
                             request.keep_alive(), request.version());
    } else if (exchange->asked.stream) {
      open = co_await send_stream(stream, request, path, exchange);
    } else {
      while (!exchange->done) co_await exchange->wake.async_wait(kToken);
      open = co_await send_whole(stream, request, path, exchange);
    }
    exchange->cancel->store(true);  // a client that left: nobody wants the rest
    exchanges_.erase(id);
    co_return open;
  }

  template <class Stream>
  asio::awaitable<bool> send_whole(Stream& stream, const HttpRequest& request,
                                   const std::string& path, ExchangePtr exchange) {
    const Result<engine::Generated>& done = *exchange->done;
    if (!done) {
      const ApiError error = api_error(done.error());
      co_return co_await answer(stream, path, error.status, "application/json", error_body(error),
                                request.keep_alive(), request.version());
    }
    const AnswerText whole{exchange->splitter.text(), exchange->splitter.thinking()};
    co_return co_await answer(stream, path, 200, "application/json",
                              answer_body(exchange->head, *done, whole), request.keep_alive(),
                              request.version());
  }

  template <class Stream>
  asio::awaitable<bool> send_stream(Stream& stream, const HttpRequest& request,
                                    const std::string& path, ExchangePtr exchange) {
    metrics_.answered(path, 200);
    http::response<http::empty_body> head(http::status::ok, request.version());
    head.set(http::field::server, "cambium");
    head.set(http::field::content_type, "text/event-stream");
    head.set(http::field::cache_control, "no-cache");
    head.keep_alive(request.keep_alive());
    const bool chunked = request.version() >= 11;
    if (chunked) head.chunked(true);
    http::response_serializer<http::empty_body> serializer(head);
    stream.expires_after(kPatience);
    if (const auto [error, n] = co_await http::async_write_header(stream, serializer, kToken);
        error) {
      co_return false;
    }
    for (;;) {
      while (exchange->pieces.empty() && !exchange->done) {
        co_await exchange->wake.async_wait(kToken);
      }
      std::string events;  // what came meanwhile goes out together
      while (!exchange->pieces.empty()) {
        events += "data: " + exchange->pieces.front() + "\n\n";
        exchange->pieces.pop_front();
      }
      const bool last = exchange->done.has_value();
      if (last) {
        const Result<engine::Generated>& done = *exchange->done;
        events += "data: " +
                  (done ? end_body(exchange->head, *done) : error_body(api_error(done.error()))) +
                  "\n\n";
        if (exchange->head.endpoint != Endpoint::infill) events += "data: [DONE]\n\n";
      }
      stream.expires_after(kPatience);
      error_code failed;
      if (chunked) {
        const auto [error, n] =
            co_await asio::async_write(stream, http::make_chunk(asio::buffer(events)), kToken);
        failed = error;
      } else {
        const auto [error, n] = co_await asio::async_write(stream, asio::buffer(events), kToken);
        failed = error;
      }
      if (failed) co_return false;
      if (!last) continue;
      if (!chunked) co_return false;
      stream.expires_after(kPatience);
      const auto [error, n] = co_await asio::async_write(stream, http::make_chunk_last(), kToken);
      co_return !error && request.keep_alive();
    }
  }

  /// Null once its client has all it will get.
  ExchangePtr exchange(uint64_t id) const {
    const auto found = exchanges_.find(id);
    return found == exchanges_.end() ? nullptr : found->second;
  }

  /// Raises the cancel flag when the client closes its side while its answer is made.
  template <class Stream>
  void watch_client(Stream& stream, uint64_t id) {
    using Socket = std::remove_reference_t<decltype(stream.socket())>;
    const auto readable = [this, id, fd = stream.socket().native_handle()](error_code error) {
      const ExchangePtr open = exchange(id);  // while it is open, so is the descriptor
      if (error || !open || open->done) return;
      char byte = 0;
      const auto n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (n > 0) return;  // the next request, early: the client is there
      open->cancel->store(true);
      metrics_.cancelled();
    };
    stream.socket().async_wait(Socket::wait_read, readable);
  }

  void start(uint64_t id, assist::Role role) {
    ++generating_;
    metrics_.started();
    options_.models->acquire(role, [this, id](const Result<GeneratorPtr>& generator) {
      asio::post(io_, [this, id, generator] {
        if (generator) {
          submit(id, *generator);
        } else {
          finished(id, tl::unexpected(generator.error()));
        }
      });
    });
  }

  void submit(uint64_t id, const GeneratorPtr& generator) {
    const ExchangePtr open = exchange(id);
    if (!open) return finished(id, fail(ErrorCode::unavailable, "the client has gone"));
    const engine::Capabilities can = generator->capabilities();
    ApiRequest& asked = open->asked;
    if (asked.form && !can.step_control && !can.json_schema) {
      return finished(id, fail(ErrorCode::unsupported,
                               "the model " + can.model +
                                   " can't be held to a form; ask without response_format"));
    }
    const bool chat = asked.endpoint == Endpoint::chat;
    open->head.endpoint = asked.endpoint;
    open->head.model = can.model;
    open->head.logprobs = asked.logprobs;
    open->head.created = std::time(nullptr);
    open->head.id = (chat ? "chatcmpl-" : "cmpl-") + std::to_string(id);
    open->splitter = assist::ThinkingSplitter(chat && can.chat_defaults.thinks);
    engine::Request request = std::move(asked.request);
    if (chat && !asked.sampling_given) {
      const uint64_t seed = request.sampling.seed;
      request.sampling = can.chat_defaults.sampling;
      request.sampling.seed = seed;
    }
    if (!asked.max_tokens_given) request.max_tokens = can.context > 0 ? can.context : 4096;
    request.cancel = open->cancel;
    constraints_.apply(request, generator, asked.form);
    at_work_.emplace(id, generator);
    generator->generate(
        std::move(request),
        [this, id](std::string_view piece) {
          asio::post(io_, [this, id, text = std::string(piece)] {
            if (const ExchangePtr still = exchange(id)) put(*still, still->splitter.append(text));
          });
        },
        [this, id](Result<engine::Generated> generated) {
          asio::post(io_, [this, id, generated = std::move(generated)]() mutable {
            finished(id, std::move(generated));
          });
        });
  }

  static void put(Exchange& exchange, const assist::ThinkingSplitter::Shown& shown) {
    exchange.started = true;
    if (exchange.asked.stream && (!shown.text.empty() || !shown.thinking.empty())) {
      exchange.pieces.push_back(piece_body(exchange.head, {shown.text, shown.thinking}));
    }
    exchange.changed();
  }

  void finished(uint64_t id, Result<engine::Generated> generated) {
    metrics_.ended();
    --generating_;
    at_work_.erase(id);
    if (generated) metrics_.generated(generated->timings);
    const ExchangePtr open = exchange(id);
    if (!open) return;
    if (generated) put(*open, open->splitter.finish());
    open->done = std::move(generated);
    open->changed();
  }

  HttpServerOptions options_;
  asio::io_context io_{1};
  Metrics metrics_;
  assist::JsonConstraints constraints_;
  std::map<uint64_t, ExchangePtr> exchanges_;
  /// Models that write, which may be unloaded meanwhile. Held here and not by the engine's callbacks: an
  /// engine whose last reference its own thread drops would wait for itself.
  std::map<uint64_t, GeneratorPtr> at_work_;
  std::vector<std::string> bound_, files_;
  size_t connections_ = 0;
  size_t generating_ = 0;
  uint64_t answers_ = 0;
  bool stopping_ = false;
};

}  // namespace

Result<void> run_http_server(HttpServerOptions options) {
  return HttpServer(std::move(options)).run();
}

}  // namespace cambium::lsp::serve
