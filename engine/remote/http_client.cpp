#include "engine/remote/http_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <charconv>
#include <list>
#include <optional>
#include <thread>

namespace cambium::engine {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kCancelPoll{10};
constexpr std::chrono::milliseconds kLongestWait{30'000};
constexpr uint32_t kHeaderLimit = 64 * 1024;

bool same_name(std::string_view a, std::string_view b) {
  return beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

std::string seconds(std::chrono::milliseconds time) {
  const auto ms = time.count();
  return ms < 1000 ? std::to_string(ms) + " ms" : std::to_string(ms / 1000) + " s";
}

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

/// One request under way.
struct Call {
  Call(asio::io_context& io, HttpRequest request_in, HttpHandlers handlers_in, CancelFlag cancel_in)
      : request(std::move(request_in)),
        handlers(std::move(handlers_in)),
        cancel(std::move(cancel_in)),
        resolver(io),
        stream(std::make_unique<beast::tcp_stream>(io)),
        watch(io),
        pause(io) {}

  /// Whatever waits, waits no longer.
  void stop() {
    stopped = true;
    resolver.cancel();
    pause.cancel();
    if (lowest != nullptr) lowest->close();
  }

  HttpRequest request;
  HttpHandlers handlers;
  CancelFlag cancel;
  tcp::resolver resolver;
  std::unique_ptr<beast::tcp_stream> stream;
  std::unique_ptr<TlsStream> tls;
  beast::tcp_stream* lowest = nullptr;
  asio::steady_timer watch, pause;
  bool stopped = false, done = false;
};
using CallPtr = std::shared_ptr<Call>;

/// What came of one attempt.
struct Attempt {
  std::optional<Error> error;
  std::optional<std::chrono::milliseconds> again;  ///< the server asks to be asked later
};

Error failure(const Call& call, const HttpOptions& options, const std::string& step,
              const error_code& error) {
  const std::string where = call.request.url.origin();
  if (call.stopped) return {ErrorCode::cancelled, "the request was cancelled"};
  if (error == beast::error::timeout) {
    const auto limit = step == "connect" ? options.connect : options.silence;
    return {ErrorCode::unavailable, where + ": no answer within " + seconds(limit) +
                                        "; the server hangs or is overloaded, try again later"};
  }
  if (step == "resolve") {
    return {ErrorCode::unavailable,
            where + ": the host name is not known (" + error.message() + "); correct its \"url\""};
  }
  if (step == "connect") {
    return {ErrorCode::unavailable, where + ": cannot be reached (" + error.message() +
                                        "); start the server there or correct its \"url\""};
  }
  if (error.category() == http::make_error_code(http::error::end_of_stream).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return {ErrorCode::bad_format, where + ": what answers there speaks no HTTP (" +
                                       error.message() + "); correct its \"url\""};
  }
  return {ErrorCode::unavailable,
          where + ": the connection was cut off before the answer was complete; try again"};
}

/// Why a TLS handshake failed, with the certificate's own fault if it was that.
Error tls_failure(const Call& call, TlsStream& stream, const error_code& error) {
  const std::string where = call.request.url.origin();
  if (call.stopped) return {ErrorCode::cancelled, "the request was cancelled"};
  const long verdict = SSL_get_verify_result(stream.native_handle());
  if (verdict != X509_V_OK) {
    return {ErrorCode::unavailable, where + ": its certificate is not trusted (" +
                                        X509_verify_cert_error_string(verdict) +
                                        "); if the server is yours, name its CA with \"caFile\""};
  }
  return {ErrorCode::unavailable,
          where + ": no TLS connection (" + error.message() + "); is the server an http:// one?"};
}

template <class Stream>
asio::awaitable<Attempt> exchange(Stream& stream, CallPtr call, const HttpOptions& options,
                                  int attempt, bool through_proxy) {
  const HttpRequest& asked = call->request;
  beast::tcp_stream& lowest = *call->lowest;
  http::request<http::string_body> request;
  request.method_string(asked.method);
  request.target(through_proxy ? asked.url.origin() + asked.url.target : asked.url.target);
  request.version(11);
  request.set(http::field::host, asked.url.authority());
  request.set(http::field::user_agent, "cambium");
  request.set(http::field::connection, "close");
  for (const auto& [name, value] : asked.headers) request.set(name, value);
  request.body() = asked.body;
  if (!asked.body.empty() || asked.method == "POST") request.prepare_payload();

  lowest.expires_after(options.silence);
  if (const auto [error, n] = co_await http::async_write(stream, request, kToken); error) {
    co_return Attempt{failure(*call, options, "write", error), {}};
  }
  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.header_limit(kHeaderLimit);
  parser.body_limit(boost::none);
  if (asked.method == "HEAD") parser.skip(true);
  lowest.expires_after(options.silence);
  if (const auto [error, n] = co_await http::async_read_header(stream, buffer, parser, kToken);
      error) {
    co_return Attempt{failure(*call, options, "read", error), {}};
  }
  HttpHead head;
  head.status = parser.get().result_int();
  for (const auto& field : parser.get()) {
    head.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  if ((head.status == 429 || head.status == 503) && attempt < options.retries) {
    co_return Attempt{{}, retry_delay(options, attempt, head.get("Retry-After"))};
  }
  if (call->handlers.on_head && !call->handlers.on_head(head)) co_return Attempt{};
  std::vector<char> chunk(16 * 1024);
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = chunk.data();
    body.size = chunk.size();
    body.more = true;
    lowest.expires_after(options.silence);
    auto [error, n] = co_await http::async_read_some(stream, buffer, parser, kToken);
    if (error == http::error::need_buffer) error = {};
    const size_t got = chunk.size() - body.size;
    if (call->stopped) co_return Attempt{failure(*call, options, "read", error), {}};
    if (got > 0 && call->handlers.on_body &&
        !call->handlers.on_body(std::string_view(chunk.data(), got))) {
      co_return Attempt{};
    }
    if (error) co_return Attempt{failure(*call, options, "read", error), {}};
  }
  co_return Attempt{};
}

/// Asks an HTTP proxy for a tunnel to the server.
asio::awaitable<std::optional<Error>> tunnel(CallPtr call, const HttpOptions& options,
                                             const Url& proxy) {
  const std::string target = call->request.url.host.find(':') == std::string::npos
                                 ? call->request.url.host + ":" + call->request.url.port
                                 : "[" + call->request.url.host + "]:" + call->request.url.port;
  http::request<http::empty_body> request(http::verb::connect, target, 11);
  request.set(http::field::host, target);
  if (!proxy.user.empty()) {
    request.set(http::field::proxy_authorization, "Basic " + base64(proxy.user));
  }
  call->lowest->expires_after(options.connect);
  if (const auto [error, n] = co_await http::async_write(*call->lowest, request, kToken); error) {
    co_return failure(*call, options, "write", error);
  }
  beast::flat_buffer buffer;
  http::response_parser<http::empty_body> parser;
  parser.skip(true);
  if (const auto [error, n] =
          co_await http::async_read_header(*call->lowest, buffer, parser, kToken);
      error) {
    co_return failure(*call, options, "read", error);
  }
  if (parser.get().result_int() != 200) {
    co_return Error{ErrorCode::unavailable,
                    "the proxy " + proxy.origin() + " refuses a connection to " +
                        call->request.url.origin() + " (status " +
                        std::to_string(parser.get().result_int()) +
                        "); put the host into no_proxy or correct the proxy"};
  }
  co_return std::nullopt;
}

asio::awaitable<Attempt> attempt_once(asio::io_context& io, asio::ssl::context* trust, CallPtr call,
                                      const HttpOptions& options, int attempt) {
  const Url& url = call->request.url;
  std::optional<Url> proxy;
  if (const std::string_view text = proxy_for(url, options.proxy); !text.empty()) {
    const std::string with_scheme =
        text.find("://") == text.npos ? "http://" + std::string(text) : std::string(text);
    auto parsed = parse_url(with_scheme);
    if (!parsed) co_return Attempt{parsed.error(), {}};
    proxy = *parsed;
  }
  const Url& first = proxy ? *proxy : url;
  call->tls.reset();
  call->stream = std::make_unique<beast::tcp_stream>(io);
  call->lowest = call->stream.get();

  const auto [unresolved, endpoints] =
      co_await call->resolver.async_resolve(first.host, first.port, kToken);
  if (unresolved) co_return Attempt{failure(*call, options, "resolve", unresolved), {}};
  call->lowest->expires_after(options.connect);
  const auto [unconnected, endpoint] = co_await call->lowest->async_connect(endpoints, kToken);
  if (unconnected) co_return Attempt{failure(*call, options, "connect", unconnected), {}};
  error_code ignored;
  call->lowest->socket().set_option(tcp::no_delay(true), ignored);

  if (!url.secure) {
    co_return co_await exchange(*call->stream, call, options, attempt, proxy.has_value());
  }
  if (proxy) {
    auto refused = co_await tunnel(call, options, *proxy);
    if (refused) co_return Attempt{std::move(refused), {}};
  }
  call->tls = std::make_unique<TlsStream>(std::move(*call->stream), *trust);
  call->lowest = &beast::get_lowest_layer(*call->tls);
  SSL* ssl = call->tls->native_handle();
  asio::ip::make_address(url.host, ignored);
  if (ignored) {  // a name, not an address
    SSL_set_tlsext_host_name(ssl, url.host.c_str());
    SSL_set1_host(ssl, url.host.c_str());
  } else {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), url.host.c_str());
  }
  call->lowest->expires_after(options.connect);
  const auto [distrust] =
      co_await call->tls->async_handshake(asio::ssl::stream_base::client, kToken);
  if (distrust == beast::error::timeout) {
    co_return Attempt{failure(*call, options, "connect", distrust), {}};
  }
  if (distrust) co_return Attempt{tls_failure(*call, *call->tls, distrust), {}};
  co_return co_await exchange(*call->tls, call, options, attempt, false);
}

}  // namespace

std::string_view HttpHead::get(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (same_name(key, name)) return value;
  }
  return {};
}

std::chrono::milliseconds retry_delay(const HttpOptions& options, int attempt,
                                      std::string_view retry_after) {
  int64_t said = 0;
  const auto [end, failed] =
      std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(), said);
  if (failed == std::errc{} && said >= 0 && said < 3600) {
    return std::min(kLongestWait, std::chrono::milliseconds(said * 1000));
  }
  return std::min(kLongestWait, options.back_off * (1 << std::min(attempt, 10)));
}

/// Shared with the thread, so that a client may go in one of its own callbacks.
struct HttpClient::State : std::enable_shared_from_this<HttpClient::State> {
  explicit State(HttpOptions options_in) : options(std::move(options_in)) {}

  /// The trusted certificates, read at the first https request.
  Result<asio::ssl::context*> trust() {
    if (tls) return &*tls;
    tls.emplace(asio::ssl::context::tls_client);
    error_code error;
    tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                         asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                         asio::ssl::context::no_tlsv1_1,
                     error);
    tls->set_default_verify_paths(error);
    tls->set_verify_mode(asio::ssl::verify_peer, error);
    if (!options.ca_file.empty()) {
      tls->load_verify_file(options.ca_file, error);
      if (error) {
        tls.reset();
        return fail(ErrorCode::bad_format,
                    options.ca_file + ": cannot be read as certificates (PEM): " + error.message());
      }
    }
    return &*tls;
  }

  asio::awaitable<void> run(CallPtr call) {
    asio::ssl::context* certificates = nullptr;
    if (call->request.url.secure) {
      auto loaded = trust();
      if (!loaded) {
        finish(*call, tl::unexpected(loaded.error()));
        co_return;
      }
      certificates = *loaded;
    }
    for (int attempt = 0;; ++attempt) {
      Attempt came = co_await attempt_once(io, certificates, call, options, attempt);
      if (!came.again) {
        finish(*call,
               came.error ? Result<void>(tl::unexpected(std::move(*came.error))) : Result<void>());
        co_return;
      }
      call->lowest->close();
      call->pause.expires_after(*came.again);
      co_await call->pause.async_wait(kToken);
      if (call->stopped) {
        finish(*call, fail(ErrorCode::cancelled, "the request was cancelled"));
        co_return;
      }
    }
  }

  void finish(Call& call, Result<void> result) {
    call.done = true;
    call.watch.cancel();
    if (call.lowest != nullptr) call.lowest->close();
    calls.remove_if([&](const CallPtr& other) { return other.get() == &call; });
    const HttpHandlers handlers = std::move(call.handlers);
    if (handlers.on_done) handlers.on_done(std::move(result));
  }

  void watch_cancel(const CallPtr& call) {
    call->watch.expires_after(kCancelPoll);
    call->watch.async_wait([self = shared_from_this(), call](error_code error) {
      if (error || call->done) return;
      if (call->cancel->load(std::memory_order_relaxed)) {
        call->stop();
      } else {
        self->watch_cancel(call);
      }
    });
  }

  const HttpOptions options;
  asio::io_context io{1};
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work{
      asio::make_work_guard(io)};
  std::optional<asio::ssl::context> tls;
  std::list<CallPtr> calls;
  std::thread thread;
};

HttpClient::HttpClient(HttpOptions options) : state_(std::make_shared<State>(std::move(options))) {
  state_->thread = std::thread([state = state_] { state->io.run(); });
}

HttpClient::~HttpClient() {
  asio::post(state_->io, [state = state_] {
    for (const CallPtr& call : state->calls) call->stop();
    state->work.reset();
  });
  if (state_->thread.get_id() == std::this_thread::get_id()) {
    state_->thread.detach();
  } else {
    state_->thread.join();
  }
}

void HttpClient::start(HttpRequest request, HttpHandlers handlers, CancelFlag cancel) {
  auto call = std::make_shared<Call>(state_->io, std::move(request), std::move(handlers),
                                     std::move(cancel));
  asio::post(state_->io, [state = state_, call] {
    state->calls.push_back(call);
    if (call->cancel) state->watch_cancel(call);
    asio::co_spawn(state->io, state->run(call), asio::detached);
  });
}

}  // namespace cambium::engine
