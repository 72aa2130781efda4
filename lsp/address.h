// Addresses a server of ours listens at: loopback TCP and Unix sockets.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <optional>
#include <string>

#include "engine/result.h"

namespace cambium::lsp {

struct Address {
  std::string given;                                  ///< as the user wrote it
  std::optional<boost::asio::ip::tcp::endpoint> tcp;  ///< unset: a Unix socket
  std::string path;                                   ///< of the Unix socket
};

/// "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT" (port 0: any free one), "unix:PATH" or a path
/// with a slash. Any other TCP address is an error unless `beyond_loopback`. Errors:
/// invalid_argument, saying what is expected.
Result<Address> parse_address(const std::string& address, bool beyond_loopback = false);

/// Binds and listens; gives back the address as bound, its port never 0. A Unix socket is open to
/// the user alone from the moment it exists; one left over from a killed process is replaced.
/// Errors: io (in use, not allowed).
Result<std::string> bind_to(boost::asio::ip::tcp::acceptor& acceptor, const Address& address);
Result<std::string> bind_to(boost::asio::local::stream_protocol::acceptor& acceptor,
                            const Address& address);

}  // namespace cambium::lsp
