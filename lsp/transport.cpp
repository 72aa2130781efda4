#include "lsp/transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <type_traits>

#include "lsp/address.h"

namespace cambium::lsp {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

/// A client that stops reading is cut off rather than buffered for without end.
constexpr size_t kMaxQueuedBytes = size_t{256} << 20;
/// How long a connection that we have ended waits for the client's end.
constexpr std::chrono::seconds kLingers{2};

/// Read and write one byte stream, or two: `In` and `Out` are Asio stream objects.
template <class In, class Out>
class StreamConnection final : public Connection,
                               public std::enable_shared_from_this<StreamConnection<In, Out>> {
 public:
  /// `streams` owns both; `stop_on_damage`: bytes that are no header end the connection.
  StreamConnection(std::shared_ptr<void> streams, In& in, Out& out, size_t max_message_bytes,
                   bool stop_on_damage)
      : streams_(std::move(streams)),
        in_(in),
        out_(out),
        lingers_(in.get_executor()),
        reader_(max_message_bytes),
        stop_on_damage_(stop_on_damage) {}

  void start(ConnectionEvents events) {
    events_ = std::move(events);
    read();
  }

  void send(std::string body) override {
    if (closing_) return;
    queued_bytes_ += body.size();
    if (queued_bytes_ > kMaxQueuedBytes) {
      finish();
      return;
    }
    std::string header = frame_header(body.size());
    queue_.push_back({std::move(header), std::move(body)});
    if (!writing_) write();
  }

  void close() override {
    if (closing_) return;
    closing_ = true;
    if (!writing_) end();
  }

 private:
  struct Outgoing {
    std::string header, body;
  };

  void read() {
    in_.async_read_some(asio::buffer(chunk_),
                        [self = this->shared_from_this()](error_code error, size_t size) {
                          if (error) {
                            self->ended_ = true;
                            if (!self->closing_ || !self->writing_) self->finish();
                            return;
                          }
                          if (!self->closing_)
                            self->take(std::string_view(self->chunk_.data(), size));
                          if (!self->finished_) self->read();
                        });
  }

  void take(std::string_view bytes) {
    reader_.feed(bytes);
    const auto on_frame = events_.on_frame;  // which may close us, and be dropped while it runs
    while (auto next = reader_.next()) {
      const bool damaged = next->kind == Frame::Kind::malformed;
      if (on_frame) on_frame(std::move(*next));
      if (damaged && stop_on_damage_) close();
      if (closing_) return;
    }
  }

  void write() {
    writing_ = true;
    const std::array<asio::const_buffer, 2> parts{asio::buffer(queue_.front().header),
                                                  asio::buffer(queue_.front().body)};
    asio::async_write(out_, parts, [self = this->shared_from_this()](error_code error, size_t) {
      self->writing_ = false;
      if (error) {
        self->finish();
        return;
      }
      self->queued_bytes_ -= self->queue_.front().body.size();
      self->queue_.pop_front();
      if (!self->queue_.empty()) {
        self->write();
      } else if (self->closing_) {
        self->end();
      }
    });
  }

  /// All is written. A socket that is closed while bytes lie there unread is reset, and the client loses
  /// what it was sent last; so ours is shut, and read, and dropped, until the client ends it too.
  void end() {
    if constexpr (requires(error_code error) {
                    out_.shutdown(asio::socket_base::shutdown_send, error);
                  }) {
      if (!ended_ && !finished_) {
        error_code ignored;
        out_.shutdown(asio::socket_base::shutdown_send, ignored);
        lingers_.expires_after(kLingers);
        lingers_.async_wait([self = this->shared_from_this()](error_code stopped) {
          if (!stopped) self->finish();
        });
        return tell();
      }
    }
    finish();
  }

  void finish() {
    closing_ = true;
    if (finished_) return;
    finished_ = true;
    lingers_.cancel();
    error_code ignored;
    in_.close(ignored);
    if (static_cast<void*>(&in_) != static_cast<void*>(&out_)) out_.close(ignored);
    tell();
  }

  void tell() {
    ConnectionEvents events = std::move(events_);  // the session may be what keeps us alive
    events_ = {};
    if (events.on_closed) events.on_closed();
  }

  std::shared_ptr<void> streams_;
  In& in_;
  Out& out_;
  asio::steady_timer lingers_;
  FrameReader reader_;
  ConnectionEvents events_;
  std::array<char, 65536> chunk_{};
  std::deque<Outgoing> queue_;
  size_t queued_bytes_ = 0;
  bool stop_on_damage_;
  bool writing_ = false, closing_ = false, finished_ = false;
  bool ended_ = false;  ///< nothing more comes in
};

/// stdin and stdout as Asio streams. They are duplicated, so that closing ours leaves the process's
/// own, and their flags are restored: non-blocking mode belongs to the open file, which a shell
/// shares.
struct StdioStreams {
  explicit StdioStreams(const asio::any_io_executor& strand)
      : in(strand),
        out(strand),
        in_flags(fcntl(STDIN_FILENO, F_GETFL)),
        out_flags(fcntl(STDOUT_FILENO, F_GETFL)) {
    error_code ignored;
    in.assign(dup(STDIN_FILENO), ignored);
    out.assign(dup(STDOUT_FILENO), ignored);
  }
  ~StdioStreams() {
    if (in_flags >= 0) fcntl(STDIN_FILENO, F_SETFL, in_flags);
    if (out_flags >= 0) fcntl(STDOUT_FILENO, F_SETFL, out_flags);
  }
  StdioStreams(const StdioStreams&) = delete;
  StdioStreams& operator=(const StdioStreams&) = delete;

  asio::posix::stream_descriptor in, out;
  int in_flags, out_flags;
};

template <class Protocol>
class SocketListener final : public Listener,
                             public std::enable_shared_from_this<SocketListener<Protocol>> {
 public:
  SocketListener(const asio::any_io_executor& strand, size_t max_message_bytes,
                 OnConnection on_connection)
      : acceptor_(strand),
        pause_(strand),
        max_message_bytes_(max_message_bytes),
        on_connection_(std::move(on_connection)) {}
  ~SocketListener() override { remove_file(); }

  typename Protocol::acceptor& acceptor() { return acceptor_; }
  std::string address_text;
  std::string file;  ///< the socket's path, removed at the end; empty for TCP

  std::string address() const override { return address_text; }
  void stop() override {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    remove_file();
  }

  void accept() {
    acceptor_.async_accept([self = this->shared_from_this()](error_code error,
                                                             typename Protocol::socket socket) {
      if (!self->acceptor_.is_open()) return;
      if (error) {  // out of descriptors, as a rule: trying again at once would only spin
        self->pause_.expires_after(std::chrono::milliseconds(200));
        self->pause_.async_wait([self](error_code stopped) {
          if (!stopped && self->acceptor_.is_open()) self->accept();
        });
        return;
      }
      using Stream = typename Protocol::socket;
      auto owned = std::make_shared<Stream>(std::move(socket));
      if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) {
        error_code ignored;  // small messages both ways: waiting to fill a packet costs a keystroke
        owned->set_option(asio::ip::tcp::no_delay(true), ignored);
      }
      auto& stream = *owned;
      auto connection = std::make_shared<StreamConnection<Stream, Stream>>(
          owned, stream, stream, self->max_message_bytes_, true);
      connection->start(self->on_connection_(connection));
      self->accept();
    });
  }

 private:
  void remove_file() {
    if (!file.empty()) ::unlink(file.c_str());
    file.clear();
  }

  typename Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
  size_t max_message_bytes_;
  OnConnection on_connection_;
};

}  // namespace

std::shared_ptr<Connection> open_stdio(const asio::any_io_executor& strand,
                                       size_t max_message_bytes, ConnectionEvents events) {
  using Stream = asio::posix::stream_descriptor;
  auto streams = std::make_shared<StdioStreams>(strand);
  // An editor's pipe is its own: damage on it (a stray print of a wrapper script) is survived.
  auto connection = std::make_shared<StreamConnection<Stream, Stream>>(
      streams, streams->in, streams->out, max_message_bytes, false);
  connection->start(std::move(events));
  return connection;
}

Result<std::shared_ptr<Listener>> listen(const asio::any_io_executor& strand,
                                         const std::string& address, size_t max_message_bytes,
                                         OnConnection on_connection) {
  auto parsed = parse_address(address);
  if (!parsed) return tl::unexpected(parsed.error());
  const auto start = [&](auto listener) -> Result<std::shared_ptr<Listener>> {
    auto bound = bind_to(listener->acceptor(), *parsed);
    if (!bound) return tl::unexpected(bound.error());
    listener->address_text = *bound;
    listener->file = parsed->path;
    listener->accept();
    return listener;
  };
  if (parsed->tcp) {
    return start(std::make_shared<SocketListener<asio::ip::tcp>>(strand, max_message_bytes,
                                                                 std::move(on_connection)));
  }
  return start(std::make_shared<SocketListener<asio::local::stream_protocol>>(
      strand, max_message_bytes, std::move(on_connection)));
}

}  // namespace cambium::lsp
