#include "lsp/assist/thinking.h"

#include <algorithm>
#include <utility>

namespace cambium::assist {

namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";

/// Bytes at the end of `text` that may be the beginning of `tag`.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.ends_with(tag.substr(0, n))) return n;
  }
  return 0;
}

size_t blanks(std::string_view text) {
  return std::min(text.find_first_not_of(" \t\r\n"), text.size());
}

}  // namespace

ThinkingSplitter::Shown ThinkingSplitter::append(std::string_view piece) {
  held_ += piece;
  return take(false);
}

ThinkingSplitter::Shown ThinkingSplitter::finish() {
  Shown shown = take(true);
  const size_t close = text_.find(kClose);
  if (thinks_ && thinking_.empty() && close != text_.npos) {
    thinking_ = text_.substr(0, close);
    text_.erase(0, close + kClose.size());
    text_.erase(0, blanks(text_));
  }
  return shown;
}

ThinkingSplitter::Shown ThinkingSplitter::take(bool last) {
  Shown shown;
  if (phase_ == Phase::undecided) {
    const std::string_view head = std::string_view(held_).substr(blanks(held_));
    if (head.starts_with(kOpen)) {
      held_.erase(0, blanks(held_) + kOpen.size());
      phase_ = Phase::thinking;
    } else if (last || !kOpen.starts_with(head)) {
      phase_ = Phase::text;
    } else {
      return shown;
    }
  }
  if (phase_ == Phase::thinking) {
    if (thinking_.empty()) held_.erase(0, blanks(held_));
    const size_t close = held_.find(kClose);
    const size_t end =
        close != held_.npos ? close : held_.size() - (last ? 0 : begun(held_, kClose));
    shown.thinking = held_.substr(0, end);
    thinking_ += shown.thinking;
    held_.erase(0, close != held_.npos ? close + kClose.size() : end);
    if (close == held_.npos) return shown;
    phase_ = Phase::text;
    begins_ = true;
  }
  // The answer begins at its first character, not at the line ends after the tag.
  if (begins_) held_.erase(0, blanks(held_));
  begins_ = begins_ && held_.empty();
  shown.text = std::exchange(held_, {});
  text_ += shown.text;
  return shown;
}

}  // namespace cambium::assist
