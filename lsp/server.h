// The language server as one call: what `cambium lsp` runs.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/model_pool.h"
#include "lsp/settings.h"

namespace cambium::lsp {

struct ServerOptions {
  /// Where to listen: "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT" (port 0: any free one),
  /// "unix:PATH" or a path with a slash. Loopback only. Empty: one session over stdin and stdout.
  std::vector<std::string> listen;
  Settings settings;                ///< defaults, user file and command line already in it
  std::vector<PooledModel> models;  ///< one of them completes
  PoolOptions pool;
  assist::AssistantOptions assistant;
  std::vector<std::string> notices;  ///< shown to every client once it is there
  size_t max_message_bytes = size_t{64} << 20;
  /// Told each bound address once the server takes connections; may be empty.
  std::function<void(const std::string& address)> on_listening;
};

/// Serves until the session ends (stdio) or SIGINT/SIGTERM (sockets), then returns the exit code:
/// 0 after an orderly shutdown, 1 when the client left without one, 2 when an address cannot be
/// listened at (one line on stderr says why). Logs to stderr or settings.log_file; nothing but the
/// protocol is written to stdout.
int run_server(ServerOptions options);

}  // namespace cambium::lsp
