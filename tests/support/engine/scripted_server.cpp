#include "tests/support/engine/scripted_server.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <thread>

namespace cambium::test {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kPatience = 10;  // seconds

void be_patient(tcp::socket& socket) {
  const timeval limit{kPatience, 0};
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/// Head and body, by Content-Length; what came if the client closed early.
template <class Stream>
std::string read_request(Stream& stream) {
  std::string text;
  char chunk[4096];
  for (;;) {
    const size_t head = text.find("\r\n\r\n");
    if (head != text.npos) {
      size_t length = 0;
      if (const size_t at = text.find("Content-Length: "); at != text.npos && at < head) {
        length = std::stoul(text.substr(at + 16));
      }
      if (text.size() >= head + 4 + length) return text;
    }
    error_code error;
    const size_t n = stream.read_some(asio::buffer(chunk), error);
    if (n == 0 || error) return text;
    text.append(chunk, n);
    if (text.front() == '\x16') return text;  // a TLS hello: no head will follow
  }
}

template <class Stream>
class StreamConnection final : public ScriptedServer::Connection {
 public:
  explicit StreamConnection(Stream& stream) : stream_(stream) {}
  bool send(const std::string& bytes) override {
    error_code error;
    asio::write(stream_, asio::buffer(bytes), error);
    return !error;
  }
  bool wait_until_closed() override {
    char chunk[4096];
    for (;;) {
      error_code error;
      stream_.read_some(asio::buffer(chunk), error);
      if (error) return error != asio::error::try_again && error != asio::error::would_block;
    }
  }

 private:
  Stream& stream_;
};

}  // namespace

struct ScriptedServer::State {
  asio::io_context io;
  tcp::acceptor acceptor{io, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0)};
  std::optional<asio::ssl::context> tls;
  Script script;
  mutable std::mutex mutex;
  std::vector<std::string> requests;
  std::atomic<bool> ending{false};
  std::thread thread;

  template <class Stream>
  void serve(Stream& stream) {
    const std::string request = read_request(stream);
    if (request.empty()) return;
    {
      const std::lock_guard lock(mutex);
      requests.push_back(request);
    }
    StreamConnection<Stream> connection(stream);
    script(connection, request);
  }

  void run() {
    while (!ending) {
      error_code error;
      tcp::socket socket(io);
      acceptor.accept(socket, error);
      if (error || ending) return;
      be_patient(socket);
      if (!tls) {
        serve(socket);
        socket.shutdown(tcp::socket::shutdown_send, error);
        continue;
      }
      asio::ssl::stream<tcp::socket> stream(std::move(socket), *tls);
      stream.handshake(asio::ssl::stream_base::server, error);
      if (error) continue;
      serve(stream);
      stream.shutdown(error);
    }
  }
};

ScriptedServer::ScriptedServer(Script script, const Certificate* certificate)
    : state_(std::make_shared<State>()) {
  state_->script = std::move(script);
  if (certificate != nullptr) {
    state_->tls.emplace(asio::ssl::context::tls_server);
    state_->tls->use_certificate_chain(asio::buffer(certificate->certificate));
    state_->tls->use_private_key(asio::buffer(certificate->key), asio::ssl::context::pem);
  }
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

ScriptedServer::~ScriptedServer() {
  state_->ending = true;
  error_code ignored;
  tcp::socket wake(state_->io);  // accept() waits for somebody
  wake.connect(state_->acceptor.local_endpoint(), ignored);
  state_->thread.join();
}

std::string ScriptedServer::port() const {
  return std::to_string(state_->acceptor.local_endpoint().port());
}

std::string ScriptedServer::url(const std::string& path) const {
  return (state_->tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + port() + path;
}

std::vector<std::string> ScriptedServer::requests() const {
  const std::lock_guard lock(state_->mutex);
  return state_->requests;
}

Certificate make_certificate(const std::string& name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, subject);
  const bool address = name.find_first_not_of("0123456789.") == name.npos;
  const std::string alternative = (address ? "IP:" : "DNS:") + name;
  for (const auto& [nid, value] : {std::pair(NID_subject_alt_name, alternative),
                                   std::pair(NID_basic_constraints, std::string("CA:TRUE"))}) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate, key, EVP_sha256());

  const auto text_of = [](auto write) {
    BIO* bio = BIO_new(BIO_s_mem());
    write(bio);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  };
  Certificate out;
  out.certificate = text_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
  out.key = text_of(
      [&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

std::string response(int status, const std::string& type, const std::string& body,
                     const std::string& more_headers) {
  return "HTTP/1.1 " + std::to_string(status) + " Any\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more_headers + "\r\n" +
         body;
}

std::string stream_head() {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
         "Connection: close\r\n\r\n";
}

std::string event(const std::string& data) { return "data: " + data + "\n\n"; }

std::string body_of(const std::string& request) {
  const size_t head = request.find("\r\n\r\n");
  return head == request.npos ? std::string() : request.substr(head + 4);
}

}  // namespace cambium::test
