// Reads plain structs from JSON without exceptions; the first problem is told with its place:
// "textDocument.position.line: expected a number from 0 to 2147483647".
//
// A struct is readable when a function `bool read(const Json&, T&, Path)` exists for it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cambium::lsp {

using Json = nlohmann::json;

/// Where in a document a value stands. Lives on the stack of the reading functions.
class Path {
 public:
  /// `problem` gets the first failure.
  static Path root(std::string& problem) { return Path(nullptr, {}, problem); }
  Path field(std::string_view name) const { return Path(this, std::string(name), *problem_); }
  Path index(size_t i) const { return Path(this, "[" + std::to_string(i) + "]", *problem_); }
  /// Always false, so that a reader can end with it.
  bool fail(std::string_view expected) const;

 private:
  Path(const Path* parent, std::string segment, std::string& problem)
      : parent_(parent), segment_(std::move(segment)), problem_(&problem) {}
  const Path* parent_;
  std::string segment_;
  std::string* problem_;
};

/// For handlers that look at their parameters themselves, or not at all.
struct NoParams {};
inline bool read(const Json&, NoParams&, Path) { return true; }
inline bool read(const Json& json, Json& out, Path) {
  out = json;
  return true;
}

bool read(const Json& json, bool& out, Path path);
bool read(const Json& json, std::string& out, Path path);
bool read(const Json& json, int32_t& out, Path path);
/// LSP's uinteger: 0 to 2^31 - 1.
bool read(const Json& json, uint32_t& out, Path path);

template <class T>
bool read(const Json& json, std::optional<T>& out, Path path) {
  if (json.is_null()) {
    out.reset();
    return true;
  }
  return read(json, out.emplace(), path);
}

template <class T>
bool read(const Json& json, std::vector<T>& out, Path path) {
  if (!json.is_array()) return path.fail("an array");
  out.clear();
  out.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    if (!read(json[i], out.emplace_back(), path.index(i))) return false;
  }
  return true;
}

/// Reads the fields of an object. False in a bool context when the value is no object.
class ObjectReader {
 public:
  ObjectReader(const Json& json, const Path& path) : json_(json), path_(path) {
    if (!json.is_object()) path_.fail("an object");
  }
  explicit operator bool() const { return json_.is_object(); }

  template <class T>
  bool required(const char* name, T& out) const {
    const auto it = json_.find(name);
    if (it == json_.end()) return path_.field(name).fail("this field");
    return read(*it, out, path_.field(name));
  }
  /// Missing or null: `out` stays as it is.
  template <class T>
  bool optional(const char* name, T& out) const {
    const auto it = json_.find(name);
    if (it == json_.end() || it->is_null()) return true;
    return read(*it, out, path_.field(name));
  }

 private:
  const Json& json_;
  const Path& path_;
};

}  // namespace cambium::lsp
