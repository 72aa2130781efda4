// Server-sent events (the WHATWG's event stream): bytes in any pieces to the data of events.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace cambium::engine {

class SseReader {
 public:
  /// Calls `on_data` with each event's data that `bytes` completes, until it says false. False: it
  /// did, or an event was longer than a mebibyte, which no sane stream has.
  bool feed(std::string_view bytes, const std::function<bool(std::string_view data)>& on_data);
  bool too_long() const { return too_long_; }

 private:
  std::string line_, data_;
  bool has_data_ = false, too_long_ = false;
};

}  // namespace cambium::engine
