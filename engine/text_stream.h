// Text as it grows, and how much of it may be shown: never half a character, never the beginning of
// a stop string that may still complete. Belongs to one request.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generator.h"

namespace cambium::engine {

class TextStream {
 public:
  /// `on_text` may be null. Empty stop strings are ignored.
  TextStream(std::vector<std::string> stop, OnText on_text);

  /// Adds bytes and hands on what is certain. True if a stop string is now complete: the text ends
  /// before it and nothing may be added any more.
  bool append(std::string_view bytes);
  /// The end: drops a trailing partial character and hands on the rest.
  void finish();
  /// Everything so far, held-back bytes included.
  const std::string& text() const { return text_; }

 private:
  void show(size_t end);

  std::vector<std::string> stop_;
  OnText on_text_;
  std::string text_;
  size_t shown_ = 0;
};

/// Bytes at the end of `text` that begin a UTF-8 character and do not complete it: 0 to 3.
size_t partial_character(std::string_view text);

}  // namespace cambium::engine
