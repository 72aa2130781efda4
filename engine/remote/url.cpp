#include "engine/remote/url.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>

namespace cambium::engine {

namespace {

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return lower(c); });
  return out;
}

tl::unexpected<Error> bad(std::string_view text, const char* why) {
  return fail(ErrorCode::invalid_argument, "'" + std::string(text) + "' is no URL (" + why +
                                               "); expected http://HOST[:PORT]/PATH or https://…");
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr ==
            text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == host.npos ? host : "[" + host + "]";
  return port == (secure ? "443" : "80") ? name : name + ":" + port;
}

std::string Url::origin() const { return (secure ? "https://" : "http://") + authority(); }

Url Url::join(std::string_view path) const {
  Url out = *this;
  while (out.target.ends_with('/')) out.target.pop_back();
  out.target += path;
  return out;
}

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  const std::string head = lower(text.substr(0, 8));
  if (head.starts_with("https://")) {
    url.secure = true;
    rest.remove_prefix(8);
  } else if (head.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return bad(text, "it does not begin with http:// or https://");
  }
  // A line end or a blank would end the request line early.
  if (std::any_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; })) {
    return bad(text, "it holds blanks or control characters");
  }
  rest = rest.substr(0, rest.find('#'));
  const size_t slash = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view authority = rest.substr(0, slash);
  url.target = rest.substr(slash);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  if (const size_t at = authority.rfind('@'); at != authority.npos) {
    url.user = percent_decoded(authority.substr(0, at));
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == authority.npos) return bad(text, "a '[' without ']'");
    url.host = authority.substr(1, close - 1);
    if (authority.size() > close + 1) {
      if (authority[close + 1] != ':') return bad(text, "no ':' before the port");
      port = authority.substr(close + 2);
    }
  } else {
    const size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    if (colon != authority.npos) port = authority.substr(colon + 1);
  }
  url.host = lower(url.host);
  if (url.host.empty()) return bad(text, "it names no host");
  uint16_t number = url.secure ? 443 : 80;
  if (!port.empty()) {
    const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (failed != std::errc{} || end != port.data() + port.size() || number == 0) {
      return bad(text, "the port is no number from 1 to 65535");
    }
  }
  url.port = std::to_string(number);
  return url;
}

Result<Url> resolve_url(const Url& base, std::string_view location) {
  if (location.starts_with("//")) {
    return parse_url((base.secure ? "https:" : "http:") + std::string(location));
  }
  if (location.find("://") != location.npos) return parse_url(location);
  std::string target(location);
  if (!target.starts_with('/')) {
    const std::string path = base.target.substr(0, base.target.find('?'));
    target = path.substr(0, path.rfind('/') + 1) + target;
  }
  return parse_url(base.origin() + target);
}

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
}

std::string_view proxy_for(const Url& url, const ProxySettings& settings) {
  const std::string& proxy = url.secure ? settings.https : settings.http;
  if (proxy.empty() || is_loopback(url.host)) return {};
  std::string_view rest = settings.no_proxy;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string entry = lower(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    entry.erase(std::remove(entry.begin(), entry.end(), ' '), entry.end());
    if (entry == "*") return {};
    if (entry.starts_with('.')) entry.erase(0, 1);
    if (entry.empty()) continue;
    // A domain stands for every host in it.
    if (url.host == entry || url.host.ends_with("." + entry) ||
        url.host + ":" + url.port == entry) {
      return {};
    }
  }
  return proxy;
}

}  // namespace cambium::engine
