// `cambium serve`: the engine alone over HTTP, on loopback or a Unix socket.
//
//   POST /v1/completions, /v1/chat/completions   OpenAI's shape, SSE with "stream"
//   POST /infill                                 llama.cpp's shape
//   GET  /v1/models, /health, /metrics
//
// Bodies are bounded; a client that leaves cancels its generation within a step.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/result.h"
#include "lsp/assist/models.h"

namespace cambium::lsp::serve {

struct HttpServerOptions {
  std::vector<std::string> listen;  ///< as parse_address() takes them; at least one
  bool beyond_loopback = false;     ///< the user said in so many words that others may connect
  size_t max_body_bytes = size_t{8} << 20;
  size_t max_connections = 64;
  std::shared_ptr<assist::Models> models;
  /// Told each bound address once clients may come; and how to stop the server, from any thread.
  std::function<void(const std::string& address, const std::function<void()>& stop)> on_listening;
};

/// Serves until SIGINT, SIGTERM or stop(); every open request is answered or cut off before it
/// returns. Errors: those of listening.
Result<void> run_http_server(HttpServerOptions options);

}  // namespace cambium::lsp::serve
