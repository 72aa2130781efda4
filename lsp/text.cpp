#include "lsp/text.h"

#include <algorithm>

namespace cambium::lsp {

namespace {

/// Bytes of the character that begins with `lead`; 1 for a byte that begins none, so that a scan
/// over damaged text always moves on.
size_t character_bytes(unsigned char lead) {
  if (lead < 0xC0) return 1;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return 4;
}

size_t units_of(unsigned char lead, PositionEncoding encoding) {
  switch (encoding) {
    case PositionEncoding::utf8:
      return character_bytes(lead);
    case PositionEncoding::utf16:
      return lead >= 0xF0 ? 2 : 1;
    case PositionEncoding::utf32:
      return 1;
  }
  return 1;
}

/// Appends the start of every line that begins in (from, to]: after a line end inside [from, to).
void scan_line_starts(std::string_view text, size_t from, size_t to, std::vector<size_t>& out) {
  for (size_t i = from; i < to; ++i) {
    const char c = text[i];
    if (c == '\n') {
      out.push_back(i + 1);
    } else if (c == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) {
      out.push_back(i + 1);
    }
  }
}

}  // namespace

const char* to_string(PositionEncoding encoding) {
  switch (encoding) {
    case PositionEncoding::utf8:
      return "utf-8";
    case PositionEncoding::utf16:
      return "utf-16";
    case PositionEncoding::utf32:
      return "utf-32";
  }
  return "utf-16";
}

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t i = 0;
  while (i < text.size()) {
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if (lead < 0xC2 || lead > 0xF4) return i;
    const size_t n = character_bytes(lead);
    if (text.size() - i < n) return i;
    // The second byte's range excludes overlong forms, surrogates and what lies past U+10FFFF
    // (Unicode 15, table 3-7).
    const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i + 1) < low || byte(i + 1) > high) return i;
    for (size_t k = 2; k < n; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    i += n;
  }
  return std::nullopt;
}

size_t count_units(std::string_view text, PositionEncoding encoding) {
  if (encoding == PositionEncoding::utf8) return text.size();
  size_t units = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80) units += units_of(byte, encoding);
  }
  return units;
}

LineIndex::LineIndex(std::string_view text) { scan_line_starts(text, 0, text.size(), starts_); }

std::string_view LineIndex::line(std::string_view text, uint32_t line) const {
  const size_t begin = starts_[line];
  size_t end = line + 1 < starts_.size() ? starts_[line + 1] : text.size();
  if (line + 1 < starts_.size()) {
    if (end > begin && text[end - 1] == '\n') --end;
    if (end > begin && text[end - 1] == '\r') --end;
  }
  return text.substr(begin, end - begin);
}

uint32_t LineIndex::line_of(size_t offset) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), offset);
  return static_cast<uint32_t>(after - starts_.begin()) - 1;
}

std::optional<size_t> LineIndex::offset(std::string_view text, Position position,
                                        PositionEncoding encoding) const {
  if (position.line >= line_count()) return std::nullopt;
  const std::string_view row = line(text, position.line);
  size_t units = 0;
  size_t i = 0;
  while (i < row.size()) {
    const auto lead = static_cast<unsigned char>(row[i]);
    units += units_of(lead, encoding);
    if (units > position.character) break;
    i = std::min(i + character_bytes(lead), row.size());
  }
  return starts_[position.line] + i;
}

Position LineIndex::position(std::string_view text, size_t offset,
                             PositionEncoding encoding) const {
  const uint32_t number = line_of(offset);
  const std::string_view row = line(text, number);
  // An offset between "\r" and "\n" is on neither side of them that LSP can name: the line's end.
  size_t column = std::min(offset - starts_[number], row.size());
  while (column > 0 && column < row.size() &&
         (static_cast<unsigned char>(row[column]) & 0xC0) == 0x80) {
    --column;
  }
  return {number, static_cast<uint32_t>(count_units(row.substr(0, column), encoding))};
}

void LineIndex::replaced(std::string_view text, size_t begin, size_t old_end, size_t new_size) {
  // The byte before the edit belongs to the rescan: a "\r" there ends a line or not by what follows
  // it.
  const size_t from = begin == 0 ? 0 : begin - 1;
  const size_t to = begin + new_size;  // in the new text
  const auto first = std::upper_bound(starts_.begin(), starts_.end(), from);
  // Starts at old_end itself came from a line end inside the replaced text (or before it):
  // rescanned.
  const auto last = std::upper_bound(first, starts_.end(), old_end);
  std::vector<size_t> fresh;
  scan_line_starts(text, from, to, fresh);
  const size_t first_index = static_cast<size_t>(first - starts_.begin());
  const size_t removed = static_cast<size_t>(last - first);
  for (auto it = last; it != starts_.end(); ++it) *it = *it - old_end + to;
  const size_t kept = std::min(removed, fresh.size());
  std::copy_n(fresh.begin(), kept, starts_.begin() + static_cast<ptrdiff_t>(first_index));
  if (fresh.size() > removed) {
    starts_.insert(starts_.begin() + static_cast<ptrdiff_t>(first_index + kept),
                   fresh.begin() + static_cast<ptrdiff_t>(kept), fresh.end());
  } else {
    starts_.erase(starts_.begin() + static_cast<ptrdiff_t>(first_index + kept),
                  starts_.begin() + static_cast<ptrdiff_t>(first_index + removed));
  }
}

}  // namespace cambium::lsp
