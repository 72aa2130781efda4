#include "lsp/assist/json_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace cambium::assist {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

/// Where the object that begins at `begin` ends, past its bracket; npos if the text ends first.
size_t end_of_object(std::string_view text, size_t begin) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return text.npos;
}

/// Reads tokens off the front of a text, blanks before them left out.
class Front {
 public:
  explicit Front(std::string_view text) : left_(text) {}

  bool take(std::string_view token) {
    skip_blanks();
    if (!left_.starts_with(token)) return false;
    left_.remove_prefix(token.size());
    return true;
  }
  /// The object that stands next and is whole; empty if none is.
  std::string_view take_object() {
    const size_t end = at('{') ? end_of_object(left_, 0) : left_.npos;
    const std::string_view object = end == left_.npos ? "" : left_.substr(0, end);
    if (!nlohmann::json::accept(object)) return {};
    left_.remove_prefix(end);
    return object;
  }
  bool at(char c) {
    skip_blanks();
    return left_.starts_with(c);
  }
  bool at_end() {
    skip_blanks();
    return left_.empty();
  }
  /// An object stands next that the text ends inside of.
  bool at_half_object() { return at('{') && end_of_object(left_, 0) == left_.npos; }

 private:
  void skip_blanks() {
    left_.remove_prefix(std::min(left_.find_first_not_of(kBlanks), left_.size()));
  }

  std::string_view left_;
};

/// Reads the list's whole items; whether the text ends inside of the document.
bool read_items(Front text, std::string_view key, std::vector<std::string_view>& items) {
  const auto quoted = '"' + std::string(key) + '"';
  if (!text.take("{") || !text.take(quoted) || !text.take(":") || !text.take("[")) return false;
  for (bool more = !text.at(']'); more; more = text.take(",")) {
    const std::string_view object = text.take_object();
    if (object.empty()) return text.at_end() || text.at_half_object();
    items.push_back(object);
  }
  // Behind the list nothing is looked at: what could stand there is no finding.
  return text.at_end() || text.take("]");
}

}  // namespace

std::string_view first_object(std::string_view answer) {
  for (size_t begin = answer.find('{'); begin != answer.npos; begin = answer.find('{', begin + 1)) {
    const size_t end = end_of_object(answer, begin);
    if (end == answer.npos) continue;
    const std::string_view object = answer.substr(begin, end - begin);
    if (nlohmann::json::accept(object)) return object;
  }
  return {};
}

std::optional<HalfDocument> half_document(std::string_view answer, std::string_view key) {
  answer = answer.substr(0, answer.find_last_not_of("`\n\r\t ") + 1);
  for (size_t begin = answer.find('{'); begin != answer.npos; begin = answer.find('{', begin + 1)) {
    if (end_of_object(answer, begin) != answer.npos) continue;
    HalfDocument half{answer.substr(begin), {}};
    if (read_items(Front(half.text), key, half.items)) return half;
  }
  return std::nullopt;
}

}  // namespace cambium::assist
