// Text as the protocol counts it: line and character of a negotiated encoding <-> byte offsets.
//
// A line ends at "\n", "\r\n" or a lone "\r", as LSP has it; line ends are never changed.
// Characters past the end of a line mean the end of that line (LSP); an offset inside a character
// means its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cambium::lsp {

/// 0-based; `character` counts code units of the session's encoding.
struct Position {
  uint32_t line = 0, character = 0;
  friend bool operator==(const Position&, const Position&) = default;
  friend auto operator<=>(const Position&, const Position&) = default;
};

/// [start, end)
struct Range {
  Position start, end;
  friend bool operator==(const Range&, const Range&) = default;
};

enum class PositionEncoding : uint8_t { utf8, utf16, utf32 };
const char* to_string(PositionEncoding encoding);

/// Byte offset of the first byte that is no valid UTF-8 (overlong forms and surrogates included),
/// or nothing if all of it is.
std::optional<size_t> first_invalid_utf8(std::string_view text);

/// Where the lines of a text begin. Holds no text; every call takes the text it was made for.
class LineIndex {
 public:
  LineIndex() = default;
  explicit LineIndex(std::string_view text);

  /// At least 1: an empty text has one empty line.
  uint32_t line_count() const { return static_cast<uint32_t>(starts_.size()); }
  size_t line_start(uint32_t line) const { return starts_[line]; }
  /// Without its line end.
  std::string_view line(std::string_view text, uint32_t line) const;
  /// The line that holds the byte `offset` <= text.size(). O(log lines).
  uint32_t line_of(size_t offset) const;

  /// Nothing if the line does not exist.
  std::optional<size_t> offset(std::string_view text, Position position,
                               PositionEncoding encoding) const;
  Position position(std::string_view text, size_t offset, PositionEncoding encoding) const;

  /// Brings the index to `text`, which came from the old text by replacing [begin, old_end) with
  /// `new_size` bytes. O(lines + new_size).
  void replaced(std::string_view text, size_t begin, size_t old_end, size_t new_size);

 private:
  std::vector<size_t> starts_{0};
};

/// Code units of `text` in the encoding.
size_t count_units(std::string_view text, PositionEncoding encoding);

}  // namespace cambium::lsp
