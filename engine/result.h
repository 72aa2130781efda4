// Errors are values. A message says what was expected, what was found, where, and what to do;
// it is shown to the user as it is.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace cambium {

enum class ErrorCode {
  invalid_argument,  // the caller's request makes no sense
  not_found,         // a file, a model, a device that is not there
  bad_format,        // a file that is damaged, truncated or of an unknown kind
  unsupported,       // well-formed, but not something this build can do
  out_of_memory,     // host or device
  cancelled,         // the caller's cancel flag was raised
  io,                // the operating system said no
  device,            // a driver or kernel launch failed
  unavailable,       // a remote engine that cannot be reached now
};

struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace cambium
