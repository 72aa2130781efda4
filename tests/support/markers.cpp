#include "tests/support/markers.h"

namespace cambium::test {

MarkedText parse_markers(std::string_view source) {
  MarkedText out;
  std::vector<size_t> open;  // indices of ranges not yet closed
  for (size_t i = 0; i < source.size(); ++i) {
    const std::string_view two = source.substr(i, 2);
    if (two == "\\^") {
      out.text.push_back('^');
      ++i;
    } else if (source[i] == '^') {
      out.cursors.push_back(out.text.size());
    } else if (two == "[[") {
      open.push_back(out.ranges.size());
      out.ranges.emplace_back(out.text.size(), out.text.size());
      ++i;
    } else if (two == "]]" && !open.empty()) {
      out.ranges[open.back()].second = out.text.size();
      open.pop_back();
      ++i;
    } else {
      out.text.push_back(source[i]);
    }
  }
  return out;
}

}  // namespace cambium::test
