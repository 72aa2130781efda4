#include "lsp/assist/finding.h"

#include <algorithm>
#include <array>

#include "lsp/assist/completion_plan.h"

namespace cambium::assist {
namespace {

/// FNV-1a, 64 bits: the same on every machine and in every version, unlike std::hash.
class Hash {
 public:
  void add(std::string_view part) {
    for (const char c : part) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  std::string hex() const {
    std::string out(16, '0');
    uint64_t left = value_;
    for (size_t i = out.size(); i-- > 0; left >>= 4) out[i] = "0123456789abcdef"[left & 15];
    return out;
  }

 private:
  void mix(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3u; }
  uint64_t value_ = 0xcbf29ce484222325u;
};

size_t line_begin(std::string_view text, size_t at) {
  return at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
}

std::string_view line_at(std::string_view text, size_t begin) {
  return trim(text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin));
}

}  // namespace

const char* to_string(FindingSource source) {
  constexpr std::array kNames = {"syntax", "likelihood", "reasoning"};
  return kNames[static_cast<size_t>(source)];
}

const char* to_string(Severity severity) {
  constexpr std::array kNames = {"none", "error", "warning", "information", "hint"};
  return kNames[static_cast<size_t>(severity)];
}

std::optional<std::string> with_changes(std::string_view text,
                                        const std::vector<TextChange>& changes) {
  std::string out;
  size_t at = 0;
  for (const TextChange& change : changes) {
    if (change.range.begin < at || change.range.end < change.range.begin ||
        change.range.end > text.size()) {
      return std::nullopt;
    }
    out.append(text, at, change.range.begin - at);
    out += change.text;
    at = change.range.end;
  }
  out.append(text, at);
  return out;
}

std::string fingerprint_of(const Finding& finding, std::string_view text) {
  const size_t begin = std::min<size_t>(finding.range.begin, text.size());
  const size_t end = std::clamp<size_t>(finding.range.end, begin, text.size());
  const size_t line = line_begin(text, begin);
  Hash hash;
  hash.add(finding.code);
  hash.add(text.substr(begin, end - begin));
  hash.add(line_at(text, line));
  std::string_view above;
  for (size_t at = line; at > 0 && above.empty();) {
    at = line_begin(text, at - 1);
    above = line_at(text, at);
  }
  hash.add(above);
  return hash.hex();
}

bool follow_edit(std::vector<Finding>& findings, std::string_view before, std::string_view after) {
  const size_t shorter = std::min(before.size(), after.size());
  const auto parted = std::mismatch(
      before.begin(), before.begin() + static_cast<std::ptrdiff_t>(shorter), after.begin());
  const auto begin = static_cast<size_t>(parted.first - before.begin());
  size_t tail = 0;
  while (tail < shorter - begin &&
         before[before.size() - 1 - tail] == after[after.size() - 1 - tail])
    ++tail;
  const size_t old_end = before.size() - tail, new_end = after.size() - tail;
  if (begin == old_end && begin == new_end) return false;

  /// False if the edit lies in or at the range.
  const auto moved = [&](syntax::ByteRange& range) {
    if (range.end < begin) return true;
    if (range.begin <= old_end) return false;
    range.begin = static_cast<uint32_t>(range.begin - old_end + new_end);
    range.end = static_cast<uint32_t>(range.end - old_end + new_end);
    return true;
  };
  const size_t had = findings.size();
  std::erase_if(findings, [&](Finding& finding) {
    if (!moved(finding.range)) return true;
    std::erase_if(finding.related, [&](RelatedPlace& place) { return !moved(place.range); });
    if (finding.fix) {
      for (TextChange& change : finding.fix->changes) {
        if (!moved(change.range)) return true;
      }
    }
    return false;
  });
  return findings.size() < had;
}

void sort_findings(std::vector<Finding>& findings) {
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return a.range.begin != b.range.begin ? a.range.begin < b.range.begin
                                          : a.range.end < b.range.end;
  });
  findings.erase(std::unique(findings.begin(), findings.end(),
                             [](const Finding& a, const Finding& b) {
                               return a.source == b.source && a.range == b.range;
                             }),
                 findings.end());
}

}  // namespace cambium::assist
