// The form of a JSON document: a subset of JSON Schema, compiled to nodes that json_automaton.h walks byte
// by byte. What can't be kept to is refused with its name, not passed over: a document made under a
// compiled schema is valid under the whole of it.
//
// Taken: type (also a list), properties in the order they are written, required, additionalProperties,
// items, minItems, maxItems, minLength, maxLength, enum, const, anyOf, $ref to "#/…" that does not lead
// back to itself; and what only describes (title, description, default, examples, format, …).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"

namespace cambium::assist {

class JsonSchema {
 public:
  enum class Kind : uint8_t {
    literal,  ///< `bytes` exactly
    string,
    integer,
    number,
    object,  ///< `members` in their order, optional ones left out or not
    map,     ///< any keys, every value a `child`
    array,   ///< of `child`
    any_of,  ///< one of `choices`
  };
  using NodeId = uint16_t;
  static constexpr NodeId kKey = 0;  ///< the node of a map's keys: any string
  static constexpr uint32_t kUnbounded = UINT32_MAX;

  struct Member {
    std::string key;  ///< as it stands in the document, with its quotes
    NodeId value = 0;
    bool required = false;
  };
  struct Node {
    Kind kind = Kind::string;
    uint32_t least = 0, most = kUnbounded;  ///< characters of a string, items of an array
    std::string bytes;
    std::vector<Member> members;
    std::vector<NodeId> choices;
    NodeId child = 0;
  };
  /// How many values may lie inside each other.
  static constexpr size_t kDeepest = 32;

  /// Errors: unsupported or invalid_argument, with the place in the schema.
  static Result<std::shared_ptr<const JsonSchema>> compile(std::string_view schema);
  /// Any JSON object.
  static std::shared_ptr<const JsonSchema> any_object();

  const Node& node(NodeId id) const { return nodes_[id]; }
  NodeId root() const { return root_; }
  /// As it was given, for an endpoint that keeps to schemas itself.
  const std::string& text() const { return text_; }

 private:
  friend class JsonSchemaCompiler;
  std::vector<Node> nodes_;
  NodeId root_ = 0;
  std::string text_;
};

}  // namespace cambium::assist
