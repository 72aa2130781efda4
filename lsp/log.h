// Logging: one spdlog logger a session, to stderr or a file, and to the session's client. Document
// text and request parameters are never logged.
#pragma once

#include <spdlog/logger.h>
#include <functional>
#include <memory>
#include <string>

#include "engine/result.h"

namespace cambium::lsp {

using Logger = std::shared_ptr<spdlog::logger>;

/// To stderr, or appended to `file` where that is not empty. Errors: io.
Result<Logger> make_logger(const std::string& file, const std::string& level);

/// `base`'s sinks and level, and `to_client` for everything from "info" up. It is called on the
/// thread that logs, with the message alone.
Logger with_client(const Logger& base,
                   std::function<void(spdlog::level::level_enum, std::string)> to_client);

/// For tests: logs nowhere.
Logger null_logger();

}  // namespace cambium::lsp
