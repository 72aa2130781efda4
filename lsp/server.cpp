#include "lsp/server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <optional>
#include <utility>

#include "lsp/session.h"
#include "lsp/transport.h"

namespace cambium::lsp {

namespace {

/// One thread runs the context: it is the strand.
class Server {
 public:
  Server(ServerOptions options, Logger log)
      : options_(std::move(options)), context_(std::make_shared<ServerContext>()) {
    context_->strand = io_.get_executor();
    context_->log = std::move(log);
    context_->settings = options_.settings;
    context_->notices = options_.notices;
    context_->use(ModelPool::create(context_->strand, std::move(options_.models), options_.pool),
                  options_.assistant);
  }

  int run() {
    const int code = options_.listen.empty() ? serve_stdio() : serve_sockets();
    // Their last answers need the context that runs the strand.
    context_->reasoner.reset();
    context_->reviewer.reset();
    context_->close();
    return code;
  }

 private:
  ConnectionEvents session_over(std::function<void(std::string)> send,
                                std::function<void(int)> on_exit,
                                std::function<void(int)> on_closed) {
    auto session = Session::create(context_, std::move(send), std::move(on_exit));
    ConnectionEvents events;
    events.on_frame = [session](const Frame& frame) { session->receive(frame); };
    events.on_closed = [session, on_closed = std::move(on_closed)] {
      const int code = session->exit_code();
      session->disconnected();
      if (on_closed) on_closed(code);
    };
    return events;
  }

  int serve_stdio() {
    std::optional<int> code;
    std::shared_ptr<Connection> connection;
    // The connection may still have answers to write when the session says exit: it closes when
    // they are out.
    auto events = session_over([&](std::string body) { connection->send(std::move(body)); },
                               [&](int exit_code) {
                                 code = exit_code;
                                 connection->close();
                               },
                               [&](int exit_code) {
                                 if (!code) code = exit_code;
                                 io_.stop();
                               });
    connection = open_stdio(context_->strand, options_.max_message_bytes, std::move(events));
    boost::asio::signal_set signals(io_, SIGINT, SIGTERM);
    signals.async_wait([&](boost::system::error_code error, int) {
      if (!error) connection->close();
    });
    io_.run();
    return code.value_or(1);
  }

  int serve_sockets() {
    std::vector<std::shared_ptr<Listener>> listeners;
    for (const std::string& address : options_.listen) {
      auto listener = listen(context_->strand, address, options_.max_message_bytes,
                             [this](const std::shared_ptr<Connection>& connection) {
                               const std::weak_ptr<Connection> weak = connection;
                               return session_over(
                                   [weak](std::string body) {
                                     if (const auto open = weak.lock()) open->send(std::move(body));
                                   },
                                   [weak](int) {
                                     if (const auto open = weak.lock()) open->close();
                                   },
                                   nullptr);
                             });
      if (!listener) {
        context_->log->error("{}", listener.error().message);
        return 2;
      }
      context_->log->info("listening at {}", (*listener)->address());
      if (options_.on_listening) options_.on_listening((*listener)->address());
      listeners.push_back(std::move(*listener));
    }
    boost::asio::signal_set signals(io_, SIGINT, SIGTERM);
    signals.async_wait([this](boost::system::error_code error, int) {
      if (!error) io_.stop();
    });
    io_.run();
    for (const auto& listener : listeners) listener->stop();
    return 0;
  }

  boost::asio::io_context io_{1};
  ServerOptions options_;
  std::shared_ptr<ServerContext> context_;
};

}  // namespace

int run_server(ServerOptions options) {
  const Config& config = options.settings.config();
  auto log = make_logger(config.log_file, config.log_level);
  if (!log) {
    if (auto to_stderr = make_logger("", "info")) (*to_stderr)->error("{}", log.error().message);
    return 2;
  }
  return Server(std::move(options), std::move(*log)).run();
}

}  // namespace cambium::lsp
