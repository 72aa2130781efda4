// Scopes of a text: bodies, their pre-order intervals, headers and names.
//
// Which bytes a body has is told by body_reader.h, alike for a whole text, for one that is broken and for
// one that is being written; what a body *is* (its kind, its header, its name) is told by the syntax
// tree, where there is one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cambium::syntax {

struct Language;
struct ReadBody;
class Tree;

enum class ScopeKind : uint8_t {
  file,
  function,
  method,
  class_,
  struct_,
  interface_,
  enum_,
  namespace_,
  module,
  loop,
  branch,
  try_,
  switch_,
  case_,
  lambda,
  block,
  object,
  element,  ///< of HTML
  section,  ///< under a heading
  code,     ///< between fences
  table,    ///< of TOML
  key,      ///< what stands under a key of YAML
  entry,    ///< what an entry of a sequence has below its first line
};
const char* to_string(ScopeKind kind);

struct ByteRange {
  uint32_t begin = 0, end = 0;  ///< [begin, end)
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// A body. The file is scope 0 of every map; children lie inside their parent, siblings are disjoint.
struct Scope {
  ByteRange body;       ///< from the line after its opener to the end of its closer
  ByteRange header;     ///< the signature or condition outside the body; empty where there is none
  std::string name;     ///< of the thing whose body this is; empty where it has none
  int32_t number = 0;   ///< pre-order, with gaps
  int32_t last = 0;     ///< largest number that may appear inside
  int32_t parent = -1;  ///< index into scopes(); -1 for the file
  uint32_t opener = 0;  ///< the byte that opened it: '{', ':' or the first letter of a word
  ScopeKind kind = ScopeKind::file;

  friend bool operator==(const Scope&, const Scope&) = default;
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
  /// Index of the innermost scope whose body holds the byte, by the white-space rule (body_reader.h).
  /// A byte past the end takes the scope at the end. O(log n).
  size_t index_at(uint32_t byte) const;
  ScopeLabel label_at(uint32_t byte) const;
  /// Labels of many ascending byte offsets in one sweep; O(offsets + scopes).
  void labels_at(const std::vector<uint32_t>& offsets, std::vector<ScopeLabel>& out) const;
  /// The map after replacing [begin, old_end) by `new_size` bytes, without a parse: bodies are moved, cut or
  /// stretched, none is added. A body that began in the replaced bytes is gone.
  ScopeMap shifted(uint32_t begin, uint32_t old_end, uint32_t new_size) const;
  ScopeMap shifted(uint32_t begin, uint32_t old_end, std::string_view inserted) const {
    return shifted(begin, old_end, static_cast<uint32_t>(inserted.size()));
  }
  uint32_t size() const { return size_; }
  ScopeLabel label_of(size_t index) const { return {scopes_[index].number, scopes_[index].last}; }
  /// "function parse", "class Tree", "file": for a person.
  std::string describe(size_t index) const;

  // Built by scopes.cpp and middle_labeler.cpp.
  std::vector<Scope> scopes_;
  /// Label changes in byte order: from `byte` on, the innermost scope is `scope` (an index).
  struct Change {
    uint32_t byte;
    uint32_t scope;
    friend bool operator==(const Change&, const Change&) = default;
  };
  std::vector<Change> changes_;
  uint32_t size_ = 0;

  friend bool operator==(const ScopeMap&, const ScopeMap&) = default;
};

/// Texts larger than this have no scopes and no tree: nobody writes them by hand.
inline constexpr size_t kMaxText = 8u << 20;

/// Scopes of a text read left to right, without a tree: kinds are `block`, names and headers empty. The
/// label of a byte follows from the bytes up to and including it, so this is also the rule for text that
/// is read without a hole. `language` may be null. About 5 ns a byte.
ScopeMap read_scopes(const Language* language, std::string_view text);

/// The same with kinds, headers and names from the tree of that text.
ScopeMap scopes_of(const Tree& tree, std::string_view text);

}  // namespace cambium::syntax
