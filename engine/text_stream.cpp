#include "engine/text_stream.h"

#include <algorithm>

namespace cambium::engine {

size_t partial_character(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // a continuation: its lead is further back
    const size_t length = byte >= 0xF0 && byte < 0xF8 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return byte < 0xF8 && length > back ? back : 0;
  }
  return 0;
}

TextStream::TextStream(std::vector<std::string> stop, OnText on_text)
    : stop_(std::move(stop)), on_text_(std::move(on_text)) {
  std::erase(stop_, "");
}

bool TextStream::append(std::string_view bytes) {
  const size_t before = text_.size();
  text_ += bytes;
  // The stop string that begins first wins; it can only have begun where it was not complete
  // before.
  size_t found = std::string::npos;
  for (const std::string& stop : stop_) {
    const size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
    found = std::min(found, text_.find(stop, from));
  }
  if (found != std::string::npos) {
    text_.resize(found);
    return true;
  }
  size_t held = partial_character(text_);
  for (const std::string& stop : stop_) {
    for (size_t n = std::min(stop.size() - 1, text_.size()); n > held; --n) {
      if (text_.compare(text_.size() - n, n, stop, 0, n) == 0) {
        held = n;
        break;
      }
    }
  }
  show(text_.size() - held);
  return false;
}

void TextStream::finish() {
  text_.resize(text_.size() - partial_character(text_));
  show(text_.size());
}

void TextStream::show(size_t end) {
  // What is held back may start inside a character; wait for its beginning then.
  while (end > shown_ && end < text_.size() &&
         (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) {
    --end;
  }
  if (end <= shown_) return;
  if (on_text_) on_text_(std::string_view(text_).substr(shown_, end - shown_));
  shown_ = end;
}

}  // namespace cambium::engine
