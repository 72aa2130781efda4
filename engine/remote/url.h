// http and https URLs, and which of them go through a proxy.
#pragma once

#include <string>
#include <string_view>

#include "engine/result.h"

namespace cambium::engine {

struct Url {
  bool secure = false;  ///< https
  std::string host;     ///< a name or an address, without brackets
  std::string port;     ///< always given
  std::string target;   ///< path and query, begins with '/'
  std::string user;     ///< "name:password", percent-decoded; proxies only

  /// "https://host:port", for messages: never the user, never the path.
  std::string origin() const;
  /// As a Host header has it.
  std::string authority() const;
  /// The same server, `path` appended to this one's.
  Url join(std::string_view path) const;
};
/// Errors: invalid_argument, saying what is expected.
Result<Url> parse_url(std::string_view text);
/// A Location header, relative or not.
Result<Url> resolve_url(const Url& base, std::string_view location);

/// What the environment says of proxies (http_proxy, https_proxy, no_proxy); empty: none.
struct ProxySettings {
  std::string http, https;
  std::string no_proxy;  ///< hosts and domains, by commas; "*": no proxy at all
};
/// The proxy a request goes through; empty: none. Loopback never does.
std::string_view proxy_for(const Url& url, const ProxySettings& settings);
bool is_loopback(std::string_view host);

}  // namespace cambium::engine
