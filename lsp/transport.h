// Bytes to messages and back: Content-Length framing, over stdin/stdout and over sockets.
//
// Threading: everything here runs on the one strand of the server's io_context.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/result.h"

namespace cambium::lsp {

/// What a byte stream turned out to hold next.
struct Frame {
  enum class Kind : uint8_t {
    message,    ///< `body` is one message
    oversized,  ///< its body was skipped; the stream goes on after it
    malformed,  ///< bytes that are no header; the stream goes on at the next one
  };
  Kind kind = Kind::message;
  std::string body;
  std::string error;  ///< of the last two: what was wrong, for the other side
};

/// Splits a stream into frames; takes any piece of it at a time. Does no input or output itself.
class FrameReader {
 public:
  explicit FrameReader(size_t max_body_bytes) : max_body_(max_body_bytes) {}

  /// Adds bytes; then call next() until it gives nothing.
  void feed(std::string_view bytes);
  std::optional<Frame> next();

 private:
  std::optional<Frame> read_headers();
  std::optional<Frame> resync(std::string why);

  size_t max_body_;
  std::string buffer_;
  size_t used_ = 0;             ///< bytes of buffer_ already taken
  std::optional<size_t> body_;  ///< length of the body being read
  size_t skip_ = 0;             ///< bytes of an oversized body still to come
  bool lost_ = false;           ///< looking for the next header after damage; told once
};

/// What goes before a body of that size.
std::string frame_header(size_t body_bytes);

/// One connected client.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Queues a message body; never blocks. Dropped once the connection is closed.
  virtual void send(std::string body) = 0;
  /// Flushes what is queued, then closes; on_closed is called.
  virtual void close() = 0;
};

struct ConnectionEvents {
  std::function<void(Frame)> on_frame;
  std::function<void()> on_closed;  ///< once, after the last on_frame
};

/// Over the process's own stdin and stdout. The descriptors' flags are put back at the end.
std::shared_ptr<Connection> open_stdio(const boost::asio::any_io_executor& strand,
                                       size_t max_message_bytes, ConnectionEvents events);

/// Takes connections at one address until stopped.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual std::string address() const = 0;  ///< as bound: the port is never 0
  virtual void stop() = 0;
};

/// Called for each client; gives back what its frames go to. The connection lives as long as its
/// stream or the last pointer to it.
using OnConnection = std::function<ConnectionEvents(const std::shared_ptr<Connection>&)>;

/// `address` as ServerOptions::listen has it. Errors: invalid_argument (not a loopback address, not
/// an address), io (in use, not allowed).
Result<std::shared_ptr<Listener>> listen(const boost::asio::any_io_executor& strand,
                                         const std::string& address, size_t max_message_bytes,
                                         OnConnection on_connection);

}  // namespace cambium::lsp
