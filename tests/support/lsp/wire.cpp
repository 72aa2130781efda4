#include "tests/support/lsp/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace cambium::test {

namespace {
constexpr int kPatienceMs = 10000;
}

Wire::Wire(int read_descriptor, int write_descriptor)
    : read_(read_descriptor), write_(write_descriptor) {}

Wire::Wire(Wire&& other) noexcept
    : read_(std::exchange(other.read_, -1)),
      write_(std::exchange(other.write_, -1)),
      ended_(other.ended_),
      reader_(std::move(other.reader_)) {}

Wire::~Wire() {
  if (write_ >= 0 && write_ != read_) ::close(write_);
  if (read_ >= 0) ::close(read_);
}

std::optional<Wire> Wire::connect(const std::string& address) {
  int descriptor = -1;
  int result = -1;
  if (address.starts_with("unix:")) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.c_str() + 5, address.size() - 4);
    descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
    result = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof name);
  } else {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    const size_t colon = address.rfind(':');
    name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &name.sin_addr);
    descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    result = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof name);
  }
  if (result != 0) {
    ::close(descriptor);
    return std::nullopt;
  }
  return Wire(descriptor, descriptor);
}

void Wire::send(const std::string& body) { send_bytes(lsp::frame_header(body.size()) + body); }

void Wire::send_bytes(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(write_, bytes.data() + done, bytes.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

bool Wire::read_more() {
  if (ended_) return false;
  pollfd ready{read_, POLLIN, 0};
  if (::poll(&ready, 1, kPatienceMs) <= 0) return false;
  char chunk[65536];
  const ssize_t n = ::read(read_, chunk, sizeof chunk);
  if (n <= 0) {
    ended_ = true;
    return false;
  }
  reader_.feed({chunk, static_cast<size_t>(n)});
  return true;
}

std::optional<std::string> Wire::receive() {
  for (;;) {
    if (auto frame = reader_.next()) return std::move(frame->body);
    if (!read_more()) return std::nullopt;
  }
}

bool Wire::closed() {
  while (read_more()) {
  }
  return ended_;
}

void Wire::close_writing() {
  if (write_ == read_) {
    ::shutdown(write_, SHUT_WR);
  } else {
    ::close(std::exchange(write_, -1));
  }
}

ChildServer::ChildServer(lsp::ServerOptions options) {
  ::signal(SIGPIPE, SIG_IGN);
  int to_child[2], from_child[2];
  if (::pipe(to_child) != 0 || ::pipe(from_child) != 0) return;
  process_ = ::fork();
  if (process_ == 0) {
    ::dup2(to_child[0], STDIN_FILENO);
    ::dup2(from_child[1], STDOUT_FILENO);
    for (const int end : {to_child[0], to_child[1], from_child[0], from_child[1]}) ::close(end);
    ::_exit(lsp::run_server(std::move(options)));
  }
  ::close(to_child[0]);
  ::close(from_child[1]);
  wire_.emplace(from_child[0], to_child[1]);
}

ChildServer::~ChildServer() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

void ChildServer::signal(int number) const { ::kill(process_, number); }

int ChildServer::exit_code() {
  int status = 0;
  if (::waitpid(std::exchange(process_, -1), &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace cambium::test
