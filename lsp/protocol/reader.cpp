#include "lsp/protocol/reader.h"

namespace cambium::lsp {

bool Path::fail(std::string_view expected) const {
  if (!problem_->empty()) return false;
  std::string where;
  for (const Path* at = this; at->parent_ != nullptr; at = at->parent_) {
    const bool joins_by_dot = !where.empty() && where.front() != '[';
    where.insert(0, joins_by_dot ? at->segment_ + "." : at->segment_);
  }
  if (where.empty()) where = "params";
  *problem_ = where + ": expected " + std::string(expected);
  return false;
}

bool read(const Json& json, bool& out, Path path) {
  if (!json.is_boolean()) return path.fail("true or false");
  out = json.get<bool>();
  return true;
}

bool read(const Json& json, std::string& out, Path path) {
  if (!json.is_string()) return path.fail("a string");
  out = json.get_ref<const std::string&>();
  return true;
}

namespace {

/// Some clients send whole numbers as 3.0.
std::optional<int64_t> whole_number(const Json& json) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<uint64_t>();
    if (value > INT64_MAX) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number_float()) {
    const double value = json.get<double>();
    if (value >= -9e15 && value <= 9e15 &&
        value == static_cast<double>(static_cast<int64_t>(value))) {
      return static_cast<int64_t>(value);
    }
  }
  return std::nullopt;
}

}  // namespace

bool read(const Json& json, int32_t& out, Path path) {
  const auto value = whole_number(json);
  if (!value || *value < INT32_MIN || *value > INT32_MAX) return path.fail("a 32-bit number");
  out = static_cast<int32_t>(*value);
  return true;
}

bool read(const Json& json, uint32_t& out, Path path) {
  const auto value = whole_number(json);
  if (!value || *value < 0 || *value > INT32_MAX) {
    return path.fail("a number from 0 to 2147483647");
  }
  out = static_cast<uint32_t>(*value);
  return true;
}

}  // namespace cambium::lsp
