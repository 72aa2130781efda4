#include "lsp/protocol/basics.h"

namespace cambium::lsp {

bool read(const Json& json, Position& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("line", out.line) && object.required("character", out.character);
}

bool read(const Json& json, Range& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("start", out.start) && object.required("end", out.end);
}

Json to_json(const Position& position) {
  return {{"line", position.line}, {"character", position.character}};
}

Json to_json(const Range& range) {
  return {{"start", to_json(range.start)}, {"end", to_json(range.end)}};
}

bool read(const Json& json, TextDocumentIdentifier& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri);
}

bool read(const Json& json, TextDocumentPosition& out, Path path) {
  const ObjectReader object(json, path);
  TextDocumentIdentifier document;
  if (!object || !object.required("textDocument", document)) return false;
  out.uri = std::move(document.uri);
  return object.required("position", out.position);
}

bool read(const Json& json, WorkDoneCancelParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("token", out.token);
}

bool read(const Json& json, ExecuteCommandParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("command", out.command) &&
         object.optional("arguments", out.arguments) &&
         object.optional("workDoneToken", out.work_done_token);
}

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace

std::string path_part_of_uri(std::string_view uri) {
  const size_t colon = uri.find(':');
  if (colon == std::string_view::npos) return {};
  std::string_view rest = uri.substr(colon + 1);
  rest = rest.substr(0, rest.find_first_of("?#"));
  if (rest.starts_with("//")) {
    const size_t slash = rest.find('/', 2);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  }
  std::string path = percent_decoded(rest);
  // A NUL would cut the name short for the operating system, but not for us.
  return path.find('\0') == std::string::npos ? path : std::string();
}

std::string path_of_uri(std::string_view uri) {
  return uri.starts_with("file:") ? path_part_of_uri(uri) : std::string();
}

std::string uri_of_path(std::string_view path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "file://";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= '0' && byte <= '9') || c == '/' || c == '-' || c == '_' ||
                       c == '.' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

}  // namespace cambium::lsp
