// Source texts with marks: "^" is a cursor, "[[" and "]]" enclose a range. Marks are taken out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cambium::test {

struct MarkedText {
  std::string text;
  std::vector<size_t> cursors;                    ///< byte offsets in `text`
  std::vector<std::pair<size_t, size_t>> ranges;  ///< [begin, end), by where they open

  size_t cursor() const { return cursors.at(0); }  ///< the first; throws where there is none
};

/// `\^` is a plain "^".
MarkedText parse_markers(std::string_view source);

}  // namespace cambium::test
