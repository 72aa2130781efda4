// A client on the other end of a real stream: a socket, or the pipes of a child process.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "lsp/server.h"
#include "lsp/transport.h"

namespace cambium::test {

/// Blocking; every read gives up after ten seconds.
class Wire {
 public:
  Wire(int read_descriptor, int write_descriptor);
  ~Wire();
  Wire(Wire&& other) noexcept;
  Wire& operator=(Wire&&) = delete;

  /// "127.0.0.1:PORT" or "unix:PATH".
  static std::optional<Wire> connect(const std::string& address);

  void send(const std::string& body);
  void send_bytes(const std::string& bytes);
  /// The next message; nothing once the other side has closed or is silent.
  std::optional<std::string> receive();
  /// Has the other side closed, with nothing left to read?
  bool closed();
  void close_writing();

 private:
  bool read_more();

  int read_, write_;
  bool ended_ = false;
  lsp::FrameReader reader_{size_t{64} << 20};
};

/// run_server() over stdin and stdout of a process of its own.
class ChildServer {
 public:
  explicit ChildServer(lsp::ServerOptions options);
  ~ChildServer();
  Wire& wire() { return *wire_; }
  void signal(int number) const;
  /// Waits for its end; -1 if it was killed.
  int exit_code();

 private:
  pid_t process_ = -1;
  std::optional<Wire> wire_;
};

}  // namespace cambium::test
