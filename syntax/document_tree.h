// The tree and the scopes of one open document, kept fresh under edits without ever delaying a request.
//
// apply_edit() shifts the last good scopes by the edit (microseconds) and schedules a reparse; scopes()
// returns the best map there is now: that of the current text if the parse is done, else the last good
// one shifted. Parsing runs with a time limit on the parse thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cambium::syntax {

struct Language;  // languages.h

enum class ScopeKind : uint8_t {
  file, function, method, class_, struct_, interface_, enum_, namespace_, module,
  loop, branch, try_, switch_, case_, lambda, block, object, element,
};
const char* to_string(ScopeKind kind);

struct ByteRange {
  uint32_t begin = 0, end = 0;  ///< [begin, end)
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// A body. The file is scope 0 of every map; children lie inside their parent, siblings are disjoint.
struct Scope {
  ByteRange body;
  ByteRange header;       ///< the signature or condition outside the body; empty where there is none
  std::string name;       ///< of the thing whose body this is; empty where it has none
  int32_t number = 0;     ///< pre-order, with gaps
  int32_t last = 0;       ///< largest number that may appear inside
  int32_t parent = -1;    ///< index into scopes(); -1 for the file
  ScopeKind kind = ScopeKind::file;
};

struct ScopeLabel {
  int32_t scope = 0, last = INT32_MAX;
  friend bool operator==(const ScopeLabel&, const ScopeLabel&) = default;
};

/// Immutable; may be shared between threads.
class ScopeMap {
 public:
  /// A single file scope over `size` bytes: a language without a grammar.
  static ScopeMap whole_file(uint32_t size);

  const std::vector<Scope>& scopes() const { return scopes_; }  ///< in pre-order, [0] is the file
  /// Index of the innermost scope whose body holds the byte, by the white-space rule (design 3): white
  /// space takes the scope that was open before it. O(log n).
  size_t index_at(uint32_t byte) const;
  ScopeLabel label_at(uint32_t byte) const;
  /// Labels of many ascending byte offsets in one sweep; O(offsets + scopes).
  void labels_at(const std::vector<uint32_t>& offsets, std::vector<ScopeLabel>& out) const;
  /// The map after replacing [begin, old_end) by `new_size` bytes, without a parse. `inserted` are the
  /// new bytes.
  ScopeMap shifted(uint32_t begin, uint32_t old_end, std::string_view inserted) const;
  uint32_t size() const { return size_; }

  // Built by scopes.cpp; see there for the representation of label changes.
  std::vector<Scope> scopes_;
  /// Label changes in byte order: from `byte` on, the innermost scope is `scope` (an index).
  struct Change { uint32_t byte; uint32_t scope; };
  std::vector<Change> changes_;
  uint32_t size_ = 0;
};

}  // namespace cambium::syntax
