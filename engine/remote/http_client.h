// Requests over HTTP and HTTPS, streamed: time-outs on every step, retries with back-off where the
// server asks for patience, certificates verified, proxies kept to.
//
// Threading: start() may be called from any thread; handlers run on the client's own thread and must
// not block. `on_done` is called exactly once a request, also when the client goes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/remote/url.h"
#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

struct HttpOptions {
  std::chrono::milliseconds connect{10'000};   ///< to resolve, connect and shake hands
  std::chrono::milliseconds silence{120'000};  ///< the longest wait for the next bytes
  int retries = 3;                             ///< after 429 and 503, before any text came
  std::chrono::milliseconds back_off{500};     ///< before the first retry; doubles
  ProxySettings proxy;
  std::string ca_file;  ///< PEM; trusted besides the system's certificates
};

/// How long to wait before retry number `attempt` (from 0): what the server's Retry-After says in
/// seconds, else back_off doubled each time; 30 s at most.
std::chrono::milliseconds retry_delay(const HttpOptions& options, int attempt,
                                      std::string_view retry_after);

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "POST";
  Url url;
  HttpHeaders headers;
  std::string body;
};

struct HttpHead {
  int status = 0;
  HttpHeaders headers;
  std::string_view get(std::string_view name) const;  ///< any case; empty: not there
};

struct HttpHandlers {
  std::function<bool(const HttpHead&)> on_head;         ///< false: enough, the stream is closed
  std::function<bool(std::string_view bytes)> on_body;  ///< the same
  /// No error when the body came to its end or a handler had enough. Errors are sentences that name
  /// the server: unavailable (down, timed out, cut off), cancelled, bad_format (no HTTP).
  std::function<void(Result<void>)> on_done;
};

class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  /// Closes what is open; may be called on the client's own thread.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `cancel` (may be null) closes the stream within 10 ms.
  void start(HttpRequest request, HttpHandlers handlers, CancelFlag cancel);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cambium::engine
