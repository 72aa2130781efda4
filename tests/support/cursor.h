// Sources with the cursor marked: "return <|>;".
#pragma once

#include <string>
#include <string_view>

namespace cambium::test {

struct Marked {
  std::string text;
  size_t cursor = 0;
};

/// Takes the marker out. A text without one has its cursor at the end.
inline Marked marked(std::string_view source) {
  constexpr std::string_view kMark = "<|>";
  Marked out{std::string(source), source.size()};
  if (const size_t at = source.find(kMark); at != source.npos) {
    out.text.erase(at, kMark.size());
    out.cursor = at;
  }
  return out;
}

}  // namespace cambium::test
