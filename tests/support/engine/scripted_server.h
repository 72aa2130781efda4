// An HTTP server inside the test: a thread that takes one connection after the other and does with
// each what the test says, well-behaved or not. With TLS where it is given a certificate.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace cambium::test {

/// A certificate made for the test, as PEM.
struct Certificate {
  std::string certificate, key;
};
/// Self-signed, for `name` (a host name or an IPv4 address).
Certificate make_certificate(const std::string& name);

class ScriptedServer {
 public:
  /// One client, after its request was read.
  class Connection {
   public:
    virtual ~Connection() = default;
    virtual bool send(const std::string& bytes) = 0;  ///< false: the client has gone
    /// Blocks until the client closes its side (ten seconds at most). False: it did not.
    virtual bool wait_until_closed() = 0;
  };
  /// `request` is the head and the body as they came.
  using Script = std::function<void(Connection&, const std::string& request)>;

  explicit ScriptedServer(Script script, const Certificate* certificate = nullptr);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string port() const;
  std::string url(const std::string& path = "") const;  ///< "http://127.0.0.1:PORT" + path
  std::vector<std::string> requests() const;            ///< all that came, in order

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// "HTTP/1.1 200 OK…" with a length.
std::string response(int status, const std::string& type, const std::string& body,
                     const std::string& more_headers = "");
/// The head of an event stream that ends with the connection.
std::string stream_head();
std::string event(const std::string& data);
std::string body_of(const std::string& request);

}  // namespace cambium::test
