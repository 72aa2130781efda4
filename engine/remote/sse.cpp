#include "engine/remote/sse.h"

namespace cambium::engine {

bool SseReader::feed(std::string_view bytes,
                     const std::function<bool(std::string_view data)>& on_data) {
  constexpr size_t kLongest = 1 << 20;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > kLongest) {
      too_long_ = true;
      return false;
    }
    if (end == bytes.npos) return true;
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    if (line_.empty()) {  // the event is complete
      const bool dispatch = has_data_;
      const std::string data = std::move(data_);
      data_.clear();
      has_data_ = false;
      if (dispatch && !on_data(data)) return false;
    } else if (line_.starts_with("data:")) {
      std::string_view value = std::string_view(line_).substr(5);
      if (value.starts_with(' ')) value.remove_prefix(1);
      if (has_data_) data_ += '\n';
      data_ += value;
      has_data_ = true;
    }
    line_.clear();
  }
  return true;
}

}  // namespace cambium::engine
