// The framing half of transport.h.
#include <algorithm>
#include <cctype>
#include <charconv>

#include "lsp/transport.h"

namespace cambium::lsp {

namespace {

constexpr size_t kMaxHeaderBytes = 8192;
/// Taken bytes are dropped from the buffer in pieces of this size.
constexpr size_t kChunk = size_t{1} << 20;

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string_view trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

/// What HTTP allows in a header's name. A request line ("POST / HTTP/1.1") has spaces and is
/// thereby no header: a web page that posts to a listening server gets nowhere.
bool is_header_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

/// Where the headers end, and where the body begins. Lone "\n" line ends are tolerated.
struct HeaderEnd {
  size_t headers, body;
};
std::optional<HeaderEnd> find_header_end(std::string_view text) {
  for (size_t i = text.find('\n'); i != std::string_view::npos; i = text.find('\n', i + 1)) {
    if (text.compare(i + 1, 1, "\n") == 0) return HeaderEnd{i + 1, i + 2};
    if (text.compare(i + 1, 2, "\r\n") == 0) return HeaderEnd{i + 1, i + 3};
  }
  return std::nullopt;
}

/// The length that the headers declare, or what is wrong with them.
Result<size_t> parse_headers(std::string_view headers) {
  std::optional<size_t> length;
  while (!headers.empty()) {
    const size_t end = headers.find('\n');
    std::string_view row = headers.substr(0, end);
    headers.remove_prefix(end == std::string_view::npos ? headers.size() : end + 1);
    if (!row.empty() && row.back() == '\r') row.remove_suffix(1);
    if (row.empty()) continue;
    const size_t colon = row.find(':');
    if (colon == std::string_view::npos || !is_header_name(row.substr(0, colon))) {
      return fail(ErrorCode::bad_format, "expected a header \"Name: value\" before the message");
    }
    const std::string_view value = trimmed(row.substr(colon + 1));
    if (same_word(row.substr(0, colon), "content-type")) {
      const size_t at = value.find("charset=");
      if (at == std::string_view::npos) continue;
      const std::string_view charset = value.substr(at + 8);
      if (!same_word(charset, "utf-8") && !same_word(charset, "utf8")) {
        return fail(ErrorCode::unsupported, "expected charset utf-8 in Content-Type");
      }
    } else if (same_word(row.substr(0, colon), "content-length")) {
      size_t parsed = 0;
      const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
      if (error != std::errc{} || rest != value.data() + value.size()) {
        return fail(ErrorCode::bad_format, "Content-Length is not a whole number of bytes");
      }
      if (length && *length != parsed) {
        return fail(ErrorCode::bad_format, "two different Content-Length headers");
      }
      length = parsed;
    }
  }
  if (!length) return fail(ErrorCode::bad_format, "a message has no Content-Length header");
  return *length;
}

/// The next Content-Length header, also in the middle of a line: junk need not end with one.
size_t find_next_header(std::string_view text, size_t from) {
  constexpr std::string_view kName = "content-length:";
  for (size_t i = from; i + kName.size() <= text.size(); ++i) {
    if ((text[i] == 'C' || text[i] == 'c') && same_word(text.substr(i, kName.size()), kName)) {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

void FrameReader::feed(std::string_view bytes) {
  if (skip_ > 0) {
    const size_t gone = std::min(skip_, bytes.size());
    skip_ -= gone;
    bytes.remove_prefix(gone);
  }
  if (used_ == buffer_.size()) {
    if (buffer_.capacity() > 4 * kChunk) buffer_ = {};  // one huge message must not stay resident
    buffer_.clear();
    used_ = 0;
  } else if (used_ >= kChunk) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
  buffer_.append(bytes);
}

std::optional<Frame> FrameReader::next() {
  if (!body_) {
    if (auto problem = read_headers()) return problem;
    if (!body_) return std::nullopt;
  }
  const size_t length = *body_;
  if (length > max_body_) {
    const size_t here = std::min(length, buffer_.size() - used_);
    used_ += here;
    skip_ = length - here;
    body_.reset();
    return Frame{Frame::Kind::oversized,
                 {},
                 "a message of " + std::to_string(length) + " bytes is over the limit of " +
                     std::to_string(max_body_) + " and was skipped"};
  }
  if (buffer_.size() - used_ < length) return std::nullopt;
  Frame result{Frame::Kind::message, buffer_.substr(used_, length), {}};
  used_ += length;
  body_.reset();
  return result;
}

std::optional<Frame> FrameReader::read_headers() {
  if (skip_ > 0) return std::nullopt;
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  if (lost_) {
    const size_t at = find_next_header(rest, 0);
    if (at == std::string_view::npos) {
      // Keep a tail that may be the first half of a header's name.
      used_ += rest.size() - std::min<size_t>(rest.size(), 14);
      return std::nullopt;
    }
    used_ += at;
    lost_ = false;
    return read_headers();
  }
  // Stray line ends between messages do no harm.
  const size_t first = rest.find_first_not_of("\r\n");
  if (first == std::string_view::npos) {
    used_ = buffer_.size();
    return std::nullopt;
  }
  if (first > 0) {
    used_ += first;
    return read_headers();
  }
  const auto end = find_header_end(rest.substr(0, kMaxHeaderBytes));
  if (!end) {
    // A line that can't be a header is told now: its sender waits for an answer, not for 8 KiB.
    const size_t row_end = rest.find('\n');
    const std::string_view row = rest.substr(0, row_end);
    const size_t colon = row.find(':');
    const bool damaged = colon == std::string_view::npos ? row_end != std::string_view::npos
                                                         : !is_header_name(row.substr(0, colon));
    if (damaged) return resync("expected a header \"Name: value\" before the message");
    if (rest.size() >= kMaxHeaderBytes) return resync("the headers of a message are over 8 KiB");
    return std::nullopt;
  }
  const auto length = parse_headers(rest.substr(0, end->headers));
  if (!length) return resync(length.error().message);
  used_ += end->body;
  body_ = *length;
  return std::nullopt;
}

std::optional<Frame> FrameReader::resync(std::string why) {
  // At least one byte is dropped, so that the same header is not found damaged again.
  ++used_;
  lost_ = true;
  return Frame{Frame::Kind::malformed, {}, std::move(why)};
}

std::string frame_header(size_t body_bytes) {
  return "Content-Length: " + std::to_string(body_bytes) + "\r\n\r\n";
}

}  // namespace cambium::lsp
