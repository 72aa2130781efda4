// Suggestions that were shown, so that typing along one of them is answered without the model.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace cambium::assist {

class SuggestionCache {
 public:
  explicit SuggestionCache(size_t entries = 64) : limit_(entries) {}

  /// `kind` distinguishes settings that lead to different suggestions.
  void put(uint64_t document, uint64_t kind, std::string_view text, size_t cursor,
           std::string suggestion, double confidence = -1);

  struct Found {
    std::string rest;
    double confidence = -1;  ///< as it was put
  };

  /// What is left of a suggestion that was made at an earlier cursor of the same text and whose first
  /// characters have been typed since. Nothing where it was typed to its end.
  std::optional<Found> find(uint64_t document, uint64_t kind, std::string_view text,
                            size_t cursor) const;

 private:
  struct Entry {
    uint64_t document, kind;
    size_t cursor, after_size;
    uint64_t before, after;  ///< hashes of the text on both sides of the cursor
    std::string suggestion;
    double confidence;
  };
  size_t limit_;
  std::deque<Entry> entries_;  ///< newest first
};

}  // namespace cambium::assist
