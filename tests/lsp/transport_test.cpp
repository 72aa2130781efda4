#include "lsp/transport.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/lsp/wire.h"

using namespace cambium;
using namespace cambium::lsp;
using cambium::test::Wire;

namespace {

struct TempFolder {
  TempFolder() {
    path = (std::filesystem::temp_directory_path() / "cambium-sock-XXXXXX").string();
    ::mkdtemp(path.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

/// Sends every message back, on a thread of its own; "bye" closes.
class EchoServer {
 public:
  explicit EchoServer(const std::string& address, size_t limit = 1 << 20) {
    auto made = listen(
        io_.get_executor(), address, limit, [this](const std::shared_ptr<Connection>& connection) {
          const std::weak_ptr<Connection> weak = connection;
          ConnectionEvents events;
          events.on_frame = [weak](const Frame& frame) {
            const auto open = weak.lock();
            open->send(frame.kind == Frame::Kind::message ? frame.body : "! " + frame.error);
            if (frame.body == "bye") open->close();
          };
          events.on_closed = [this] {
            if (!std::exchange(told_, true)) closed_.set_value();
          };
          return events;
        });
    if (!made) {
      problem = made.error().message;
      return;
    }
    listener_ = std::move(*made);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~EchoServer() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    if (listener_) listener_->stop();
  }
  std::string address() const { return listener_->address(); }
  Wire connect() {
    auto wire = Wire::connect(address());
    REQUIRE(wire.has_value());
    return std::move(*wire);
  }

  /// Until the first connection has ended, or for ten seconds: where the system holds less of what was
  /// sent, it ends only as the client reads.
  void wait_closed() { closed_.get_future().wait_for(std::chrono::seconds(10)); }

  std::string problem;

 private:
  boost::asio::io_context io_{1};
  std::shared_ptr<Listener> listener_;
  std::promise<void> closed_;
  bool told_ = false;
  std::thread thread_;
};

}  // namespace

TEST_CASE("messages go both ways over loopback, for several clients at once") {
  EchoServer server("127.0.0.1:0");
  REQUIRE(server.problem.empty());
  CHECK(server.address() != "127.0.0.1:0");
  Wire first = server.connect(), second = server.connect();
  const std::string big(700000, 'b');
  first.send("one");
  second.send("two");
  first.send(big);
  CHECK(second.receive() == "two");
  CHECK(first.receive() == "one");
  CHECK(first.receive() == big);
}

TEST_CASE("what was queued is written before a connection closes") {
  EchoServer server("localhost:0");
  REQUIRE(server.problem.empty());
  Wire wire = server.connect();
  wire.send(std::string(500000, 'q'));
  wire.send("bye");
  wire.send("never read");
  CHECK(wire.receive()->size() == 500000);
  CHECK(wire.receive() == "bye");
  CHECK(wire.closed());
}

TEST_CASE("what a client sent in vain does not take back what it was answered") {
  EchoServer server("localhost:0");
  Wire wire = server.connect();
  const std::string answer(200000, 'q');
  wire.send(answer);
  wire.send("bye");
  wire.send(std::string(300000, 'n'));  // more than is read at once
  server.wait_closed();
  CHECK(wire.receive() == answer);
  CHECK(wire.receive() == "bye");
  CHECK(wire.closed());
}

TEST_CASE("an oversized message is told and skipped, the connection stays") {
  EchoServer server("127.0.0.1:0", 1000);
  Wire wire = server.connect();
  wire.send(std::string(5000, 'x'));
  wire.send("next");
  CHECK(wire.receive() == "! a message of 5000 bytes is over the limit of 1000 and was skipped");
  CHECK(wire.receive() == "next");
}

TEST_CASE("a web page that posts to the port gets nowhere") {
  EchoServer server("127.0.0.1:0");
  Wire wire = server.connect();
  wire.send_bytes("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
  CHECK(wire.receive() == "! expected a header \"Name: value\" before the message");
  CHECK(wire.closed());
}

TEST_CASE("a Unix socket belongs to its user and is removed at the end") {
  const TempFolder folder;
  const std::string path = folder.path + "/s.sock";
  {
    EchoServer server("unix:" + path);
    REQUIRE(server.problem.empty());
    CHECK(server.address() == "unix:" + path);
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    Wire wire = server.connect();
    wire.send("hello");
    CHECK(wire.receive() == "hello");
    // In use: a second server must not take it away.
    CHECK_FALSE(EchoServer(path).problem.empty());
    CHECK(std::filesystem::exists(path));
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a socket file left by a killed process is taken over, another file is not") {
  const TempFolder folder;
  const std::string path = folder.path + "/s.sock";
  const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::bind(left, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  ::close(left);
  REQUIRE(std::filesystem::exists(path));
  CHECK(EchoServer(path).problem.empty());
  FILE* file = ::fopen(path.c_str(), "w");
  ::fclose(file);
  CHECK_FALSE(EchoServer(path).problem.empty());
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("addresses that are not served") {
  struct Case {
    std::string address;
    const char* told;
  };
  const Case cases[] = {
      {"0.0.0.0:0", "only loopback addresses are served"},
      {"192.168.0.1:80", "only loopback addresses are served"},
      {"[::]:0", "only loopback addresses are served"},
      {"example.org:80", "not an address of this machine"},
      {"127.0.0.1", "no port"},
      {"127.0.0.1:", "the port is no number"},
      {"127.0.0.1:http", "the port is no number"},
      {"127.0.0.1:70000", "the port is no number"},
      {"unix:", "has 1 to 107 bytes"},
      {"/tmp/" + std::string(200, 'a'), "has 1 to 107 bytes"},
      {"/no/such/folder/s.sock", "cannot listen at"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.address);
    EchoServer server(c.address);
    CHECK(server.problem.find(c.told) != std::string::npos);
  }
}
