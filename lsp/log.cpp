#include "lsp/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <mutex>

namespace cambium::lsp {

namespace {

class ClientSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ClientSink(std::function<void(spdlog::level::level_enum, std::string)> to_client)
      : to_client_(std::move(to_client)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    to_client_(message.level, std::string(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  std::function<void(spdlog::level::level_enum, std::string)> to_client_;
};

}  // namespace

Result<Logger> make_logger(const std::string& file, const std::string& level) {
  spdlog::sink_ptr sink;
  if (file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    try {  // spdlog has no other way to say that a file can't be opened
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    } catch (const spdlog::spdlog_ex& error) {
      return fail(ErrorCode::io, "cannot write the log file '" + file + "': " + error.what());
    }
  }
  auto logger = std::make_shared<spdlog::logger>("cambium", std::move(sink));
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::warn);
  return logger;
}

Logger with_client(const Logger& base,
                   std::function<void(spdlog::level::level_enum, std::string)> to_client) {
  auto sinks = base->sinks();
  auto client = std::make_shared<ClientSink>(std::move(to_client));
  client->set_level(spdlog::level::info);
  sinks.push_back(std::move(client));
  auto logger = std::make_shared<spdlog::logger>("cambium", sinks.begin(), sinks.end());
  logger->set_level(base->level());
  logger->flush_on(spdlog::level::warn);
  return logger;
}

Logger null_logger() {
  return std::make_shared<spdlog::logger>("cambium",
                                          std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace cambium::lsp
