#include "lsp/address.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace cambium::lsp {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

tl::unexpected<Error> address_error(const std::string& address, const std::string& why) {
  return fail(ErrorCode::invalid_argument,
              "cannot listen at '" + address + "': " + why +
                  "; expected 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or unix:PATH");
}

tl::unexpected<Error> bind_error(const std::string& address, const error_code& error) {
  return fail(ErrorCode::io, "cannot listen at '" + address + "': " + error.message());
}

/// A socket file that nobody serves any more is left over from a killed process.
bool is_stale_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  const bool refused =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 &&
      errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

}  // namespace

Result<Address> parse_address(const std::string& address, bool beyond_loopback) {
  Address out;
  out.given = address;
  if (address.starts_with("unix:") || address.find('/') != std::string::npos) {
    out.path = address.starts_with("unix:") ? address.substr(5) : address;
    if (out.path.empty() || out.path.size() >= sizeof(sockaddr_un{}.sun_path)) {
      return address_error(address, "the path of a socket has 1 to 107 bytes");
    }
    return out;
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return address_error(address, "no port");
  std::string host = address.substr(0, colon);
  const std::string port_text = address.substr(colon + 1);
  uint16_t port = 0;
  const auto [rest, bad] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port_text.empty() || bad != std::errc{} || rest != port_text.data() + port_text.size()) {
    return address_error(address, "the port is no number from 0 to 65535");
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") host = "127.0.0.1";
  error_code error;
  const auto ip = asio::ip::make_address(host, error);
  if (error) return address_error(address, "not an address of this machine");
  if (!ip.is_loopback() && !beyond_loopback) {
    return address_error(address, "only loopback addresses are served");
  }
  out.tcp = asio::ip::tcp::endpoint(ip, port);
  return out;
}

Result<std::string> bind_to(asio::ip::tcp::acceptor& acceptor, const Address& address) {
  error_code error;
  acceptor.open(address.tcp->protocol(), error);
  if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(*address.tcp, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return bind_error(address.given, error);
  const auto bound = acceptor.local_endpoint(error);
  const std::string host = bound.address().to_string();
  return (bound.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(bound.port());
}

Result<std::string> bind_to(asio::local::stream_protocol::acceptor& acceptor,
                            const Address& address) {
  if (is_stale_socket(address.path)) ::unlink(address.path.c_str());
  error_code error;
  acceptor.open(asio::local::stream_protocol(), error);
  if (!error) {
    // The file's rights say who may connect: the user alone, from the moment it exists.
    const mode_t before = ::umask(0177);
    acceptor.bind(asio::local::stream_protocol::endpoint(address.path), error);
    ::umask(before);
  }
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return bind_error(address.given, error);
  return "unix:" + address.path;
}

}  // namespace cambium::lsp
