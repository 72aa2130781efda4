#include "lsp/assist/suggestion_cache.h"

#include <functional>
#include <utility>

namespace cambium::assist {
namespace {

uint64_t hash(std::string_view text) { return std::hash<std::string_view>{}(text); }

}  // namespace

void SuggestionCache::put(uint64_t document, uint64_t kind, std::string_view text, size_t cursor,
                          std::string suggestion, double confidence) {
  const std::string_view after = text.substr(cursor);
  entries_.push_front({document, kind, cursor, after.size(), hash(text.substr(0, cursor)),
                       hash(after), std::move(suggestion), confidence});
  if (entries_.size() > limit_) entries_.pop_back();
}

std::optional<SuggestionCache::Found> SuggestionCache::find(uint64_t document, uint64_t kind,
                                                            std::string_view text,
                                                            size_t cursor) const {
  std::optional<uint64_t> after;
  for (const Entry& entry : entries_) {
    if (entry.document != document || entry.kind != kind || entry.cursor > cursor) continue;
    if (text.size() - cursor != entry.after_size) continue;
    const std::string_view typed = text.substr(entry.cursor, cursor - entry.cursor);
    if (typed.size() >= entry.suggestion.size() ||
        std::string_view(entry.suggestion).substr(0, typed.size()) != typed) {
      continue;
    }
    if (!after) after = hash(text.substr(cursor));
    if (*after != entry.after || hash(text.substr(0, entry.cursor)) != entry.before) continue;
    std::string left = entry.suggestion.substr(typed.size());
    if (left.find_first_not_of(" \t\r\n") == left.npos) continue;
    return Found{std::move(left), entry.confidence};
  }
  return std::nullopt;
}

}  // namespace cambium::assist
