#include "lsp/assist/line_diff.h"

#include <algorithm>
#include <cstdint>

namespace cambium::assist {
namespace {

constexpr int kMostDifference = 1000;

struct Line {
  std::string_view text;  ///< without its end
  uint32_t begin = 0, end = 0;
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t newline = text.find('\n', at);
    const size_t end = newline == text.npos ? text.size() : newline + 1;
    std::string_view line = text.substr(at, (newline == text.npos ? end : newline) - at);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back({line, static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
    at = end;
  }
  return lines;
}

/// Marks what of `after` the shortest script inserts, and the places where it only deletes. False if
/// the script is longer than kMostDifference.
bool shortest_script(const std::vector<Line>& before, const std::vector<Line>& after, size_t first,
                     size_t before_end, size_t after_end, std::vector<char>& changed) {
  const auto n = static_cast<int>(before_end - first), m = static_cast<int>(after_end - first);
  const int most = std::min(n + m, kMostDifference);
  const auto index = [&](int k) { return static_cast<size_t>(k + most + 1); };
  std::vector<int> furthest(static_cast<size_t>(2 * most + 3), 0);
  std::vector<std::vector<int>> trace;
  for (int d = 0; d <= most; ++d) {
    trace.emplace_back(furthest.begin() + static_cast<std::ptrdiff_t>(index(-d - 1)),
                       furthest.begin() + static_cast<std::ptrdiff_t>(index(d + 1)) + 1);
    for (int k = -d; k <= d; k += 2) {
      const bool down = k == -d || (k != d && furthest[index(k - 1)] < furthest[index(k + 1)]);
      int x = down ? furthest[index(k + 1)] : furthest[index(k - 1)] + 1;
      while (x < n && x - k < m &&
             before[first + static_cast<size_t>(x)].text ==
                 after[first + static_cast<size_t>(x - k)].text) {
        ++x;
      }
      furthest[index(k)] = x;
      if (x < n || x - k < m) continue;
      // Back along the trace: what went down was inserted, what went right was deleted.
      int at_k = k;
      for (int step = d; step > 0; --step) {
        const std::vector<int>& old = trace[static_cast<size_t>(step)];
        const auto old_at = [&](int diagonal) {
          return old[static_cast<size_t>(diagonal + step + 1)];
        };
        const bool inserted =
            at_k == -step || (at_k != step && old_at(at_k - 1) < old_at(at_k + 1));
        const int from_k = inserted ? at_k + 1 : at_k - 1;
        const int y = old_at(from_k) - from_k;
        changed[first + static_cast<size_t>(y)] = 1;
        at_k = from_k;
      }
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<syntax::ByteRange> changed_lines(std::string_view before, std::string_view after) {
  const std::vector<Line> old_lines = lines_of(before), lines = lines_of(after);
  const size_t shorter = std::min(old_lines.size(), lines.size());
  size_t first = 0;
  while (first < shorter && old_lines[first].text == lines[first].text) ++first;
  size_t tail = 0;
  while (tail < shorter - first &&
         old_lines[old_lines.size() - 1 - tail].text == lines[lines.size() - 1 - tail].text) {
    ++tail;
  }
  const size_t old_end = old_lines.size() - tail, end = lines.size() - tail;
  if (first == old_end && first == end) return {};
  // One more than there are lines: a deletion at the end has nothing in its place.
  std::vector<char> changed(lines.size() + 1, 0);
  if (!shortest_script(old_lines, lines, first, old_end, end, changed)) {
    std::fill(changed.begin() + static_cast<std::ptrdiff_t>(first),
              changed.begin() + static_cast<std::ptrdiff_t>(end), 1);
  }
  std::vector<syntax::ByteRange> ranges;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (changed[i] == 0) continue;
    if (!ranges.empty() && ranges.back().end == lines[i].begin) {
      ranges.back().end = lines[i].end;
    } else {
      ranges.push_back({lines[i].begin, lines[i].end});
    }
  }
  return ranges;
}

size_t count_lines(std::string_view text, const std::vector<syntax::ByteRange>& ranges) {
  size_t lines = 0;
  for (const syntax::ByteRange& range : ranges) {
    if (range.begin >= range.end) continue;
    const auto part = text.substr(range.begin, range.end - range.begin);
    lines += static_cast<size_t>(std::count(part.begin(), part.end(), '\n'));
    if (part.back() != '\n') ++lines;
  }
  return lines;
}

bool touches(const std::vector<syntax::ByteRange>& ranges, syntax::ByteRange range) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const syntax::ByteRange& changed) {
    return range.begin < changed.end && changed.begin < std::max(range.end, range.begin + 1);
  });
}

}  // namespace cambium::assist
