#include "lsp/assist/copied_line.h"

#include <algorithm>
#include <cmath>

#include "lsp/assist/completion_plan.h"

namespace cambium::assist {
namespace {

constexpr size_t kLeastMatch = 4, kLongestMatch = 1024;
constexpr size_t kReach = 256u << 10;  ///< bytes looked at on either side

/// How much of the ends of `a` and `b` is the same.
size_t common_end(std::string_view a, std::string_view b) {
  const size_t most = std::min({a.size(), b.size(), kLongestMatch});
  size_t length = 0;
  while (length < most && a[a.size() - 1 - length] == b[b.size() - 1 - length]) ++length;
  return length;
}

}  // namespace

std::optional<CopiedLine> copied_line(std::string_view text, size_t cursor,
                                      std::string_view rest_of_line) {
  if (cursor < kLeastMatch) return std::nullopt;
  const size_t begin = cursor - std::min(cursor, kReach);
  const std::string_view before = text.substr(begin, cursor - begin);
  const std::string_view after = text.substr(cursor, kReach);
  const std::string_view key = before.substr(before.size() - kLeastMatch);
  CopiedLine best;
  const auto consider = [&](std::string_view source, size_t at) {
    const size_t match = common_end(source.substr(0, at), before);
    if (match <= best.match) return;
    const size_t end = source.find('\n', at);
    if (end == source.npos) return;  // the cursor's own line, or one that is cut off
    std::string_view line = trim_right(source.substr(at, end - at));
    if (line.ends_with(rest_of_line))
      line = trim_right(line.substr(0, line.size() - rest_of_line.size()));
    if (trim(line).empty()) return;
    best = {std::string(line), match};
  };
  for (size_t at = before.size() - kLeastMatch; at > 0 && best.match < kLongestMatch;) {
    at = before.rfind(key, at - 1);
    if (at == before.npos) break;
    consider(before, at + kLeastMatch);
  }
  for (size_t at = after.find(key); at != after.npos && best.match < kLongestMatch;
       at = after.find(key, at + 1)) {
    consider(after, at + kLeastMatch);
  }
  if (best.match == 0) return std::nullopt;
  return best;
}

double copied_line_prior(size_t match) {
  // Fitted on lines of 16 languages; anything from nothing at all to twice this does much the same.
  const double bits = std::log2(static_cast<double>(std::max<size_t>(match, 1)));
  return std::clamp(0.5 * (bits - 6), -1.5, 1.0);
}

}  // namespace cambium::assist
