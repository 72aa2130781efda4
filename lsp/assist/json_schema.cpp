#include "lsp/assist/json_schema.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace cambium::assist {

namespace {

/// Keeps the order of members, which is the order they are generated in.
using Json = nlohmann::ordered_json;
using NodeId = JsonSchema::NodeId;
using Kind = JsonSchema::Kind;

constexpr size_t kMostText = 64 * 1024;
constexpr size_t kMostNodes = 4096;
constexpr size_t kMostChoices = 100;  ///< of one place: all are followed at once
constexpr uint32_t kMostLength = 1 << 20;

constexpr std::array<std::string_view, 12> kDescriptions = {
    "title", "description", "default",  "examples",    "format", "$schema",
    "$id",   "$anchor",     "$comment", "definitions", "$defs",  "deprecated"};
constexpr std::array<std::string_view, 13> kKeywords = {
    "type",      "properties", "required", "additionalProperties",
    "items",     "minItems",   "maxItems", "minLength",
    "maxLength", "enum",       "const",    "anyOf",
    "$ref"};

template <size_t n>
bool among(const std::array<std::string_view, n>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const char* type_of(const Json& value) {
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_null()) return "null";
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  return value.is_array() ? "array" : "object";
}

}  // namespace

class JsonSchemaCompiler {
 public:
  Result<std::shared_ptr<const JsonSchema>> run(std::string_view text) {
    if (text.size() > kMostText) {
      return fail(ErrorCode::invalid_argument, "the schema has more than 64 KiB; shorten it");
    }
    const Json schema = Json::parse(text.begin(), text.end(), nullptr, false);
    if (schema.is_discarded()) {
      return fail(ErrorCode::invalid_argument, "the schema is no JSON");
    }
    whole_ = &schema;
    out_->text_ = text;
    add_any();
    auto root = compile(schema, "#", 0);
    if (!root) return tl::unexpected(root.error());
    out_->root_ = *root;
    return std::shared_ptr<const JsonSchema>(std::move(out_));
  }

  std::shared_ptr<const JsonSchema> object() {
    out_->text_ = R"({"type":"object"})";
    add_any();
    out_->root_ = map_;
    return std::move(out_);
  }

 private:
  using Compiled = Result<NodeId>;

  NodeId add(JsonSchema::Node node) {
    out_->nodes_.push_back(std::move(node));
    return static_cast<NodeId>(out_->nodes_.size() - 1);
  }
  NodeId literal(std::string bytes) {
    return add({Kind::literal, 0, 0, std::move(bytes), {}, {}, 0});
  }
  NodeId any_of(std::vector<NodeId> choices) {
    if (choices.size() == 1) return choices.front();
    return add({Kind::any_of, 0, 0, {}, {}, std::move(choices), 0});
  }

  /// The nodes of "anything", which refer to themselves; the automaton bounds their depth. Node 0 is the
  /// string that keys of maps are.
  void add_any() {
    constexpr uint32_t kNone = JsonSchema::kUnbounded;
    string_ = add({Kind::string, 0, kNone, {}, {}, {}, 0});
    number_ = add({Kind::number, 0, 0, {}, {}, {}, 0});
    integer_ = add({Kind::integer, 0, 0, {}, {}, {}, 0});
    null_ = literal("null");
    boolean_ = any_of({literal("true"), literal("false")});
    map_ = add({Kind::map, 0, 0, {}, {}, {}, 0});
    array_ = add({Kind::array, 0, kNone, {}, {}, {}, 0});
    any_ = any_of({map_, array_, string_, number_, boolean_, null_});
    out_->nodes_[map_].child = out_->nodes_[array_].child = any_;
  }

  tl::unexpected<Error> refuse(const std::string& at, const std::string& what) {
    return fail(ErrorCode::unsupported, "the schema at " + at + ": " + what);
  }

  Compiled compile(const Json& schema, const std::string& at, size_t depth) {
    if (schema.is_boolean() && schema.get<bool>()) return any_;
    if (!schema.is_object()) return refuse(at, "expected an object");
    // Room for a value inside, and for a key.
    if (depth + 3 > JsonSchema::kDeepest) {
      return refuse(at, "nested too deeply (or a $ref that leads back to itself)");
    }
    if (out_->nodes_.size() > kMostNodes) return refuse(at, "too large; shorten it");
    for (const auto& [key, value] : schema.items()) {
      if (!among(kDescriptions, key) && !among(kKeywords, key)) {
        return refuse(at, "\"" + key + "\" is not kept to here; take it out");
      }
    }
    if (schema.contains("$ref")) return reference(schema, at, depth);
    if (schema.contains("anyOf")) return alternatives(schema, at, depth);
    if (schema.contains("const")) return values(schema, Json::array({schema["const"]}), at);
    if (schema.contains("enum")) return values(schema, schema["enum"], at);
    const auto type = schema.find("type");
    if (type == schema.end()) {
      return schema.contains("properties") ? one(schema, "object", at, depth)
             : schema.contains("items")    ? one(schema, "array", at, depth)
                                           : Compiled(any_);
    }
    if (type->is_string()) return one(schema, type->get<std::string>(), at, depth);
    if (!type->is_array() || type->empty()) return refuse(at, "type: expected a name or a list");
    std::vector<NodeId> choices;
    for (const Json& name : *type) {
      if (!name.is_string()) return refuse(at, "type: expected names");
      auto choice = one(schema, name.get<std::string>(), at, depth);
      if (!choice) return choice;
      choices.push_back(*choice);
    }
    return any_of(std::move(choices));
  }

  /// What stands beside a keyword that says all by itself would have to hold too.
  std::optional<std::string> beside(const Json& schema, std::string_view keyword) const {
    for (const auto& [key, value] : schema.items()) {
      if (key != keyword && !among(kDescriptions, key)) return key;
    }
    return std::nullopt;
  }

  Compiled reference(const Json& schema, const std::string& at, size_t depth) {
    if (const auto other = beside(schema, "$ref")) {
      return refuse(at, "\"" + *other + "\" beside \"$ref\" is not kept to here; take it out");
    }
    const Json& name = schema["$ref"];
    if (!name.is_string() || !name.get_ref<const std::string&>().starts_with('#')) {
      return refuse(at, "$ref: only places of this schema (\"#/…\") can be referred to");
    }
    const std::string place = name.get<std::string>();
    try {
      return compile(whole_->at(Json::json_pointer(place.substr(1))), place, depth + 1);
    } catch (const Json::exception&) {  // nlohmann offers no other way to ask
      return refuse(at, "$ref: there is nothing at " + place);
    }
  }

  Compiled alternatives(const Json& schema, const std::string& at, size_t depth) {
    if (const auto other = beside(schema, "anyOf")) {
      return refuse(at, "\"" + *other + "\" beside \"anyOf\" is not kept to here; take it out");
    }
    const Json& list = schema["anyOf"];
    if (!list.is_array() || list.empty() || list.size() > kMostChoices) {
      return refuse(at, "anyOf: expected a list of 1 to 100 schemas");
    }
    std::vector<NodeId> choices;
    for (size_t i = 0; i < list.size(); ++i) {
      auto choice = compile(list[i], at + "/anyOf/" + std::to_string(i), depth + 1);
      if (!choice) return choice;
      choices.push_back(*choice);
    }
    return any_of(std::move(choices));
  }

  Compiled values(const Json& schema, const Json& list, const std::string& at) {
    if (!list.is_array() || list.empty() || list.size() > kMostChoices) {
      return refuse(at, "enum: expected a list of 1 to 100 values");
    }
    for (const auto& [key, value] : schema.items()) {
      if (key != "const" && key != "enum" && key != "type" && !among(kDescriptions, key)) {
        return refuse(at, "\"" + key + "\" beside \"enum\" is not kept to here; take it out");
      }
    }
    if (schema.contains("const") && schema.contains("enum")) {
      return refuse(at, "both \"const\" and \"enum\"; take one out");
    }
    const auto type = schema.find("type");
    const auto fits = [&](const Json& value) {
      if (type == schema.end()) return true;
      const std::string own = type_of(value);
      const auto is = [&](const Json& name) {
        return name == own || (name == "number" && own == "integer");
      };
      return type->is_array() ? std::any_of(type->begin(), type->end(), is) : is(*type);
    };
    std::vector<NodeId> choices;
    for (const Json& value : list) {
      if (fits(value)) choices.push_back(literal(dumped(value)));
    }
    if (choices.empty()) return refuse(at, "no value of \"enum\" is of the type");
    return any_of(std::move(choices));
  }

  Compiled one(const Json& schema, const std::string& type, const std::string& at, size_t depth) {
    if (type == "string") return string(schema, at);
    if (type == "integer") return integer_;
    if (type == "number") return number_;
    if (type == "boolean") return boolean_;
    if (type == "null") return null_;
    if (type == "array") return array(schema, at, depth);
    if (type == "object") return object(schema, at, depth);
    return refuse(at, "there is no type \"" + type + "\"");
  }

  /// False: not a bound.
  static bool bound(const Json& schema, const char* name, uint32_t& out) {
    const auto it = schema.find(name);
    if (it == schema.end()) return true;
    if (!it->is_number_unsigned() || it->get<uint64_t>() > kMostLength) return false;
    out = it->get<uint32_t>();
    return true;
  }

  Compiled string(const Json& schema, const std::string& at) {
    JsonSchema::Node node;
    if (!bound(schema, "minLength", node.least) || !bound(schema, "maxLength", node.most) ||
        node.least > node.most) {
      return refuse(at, "minLength and maxLength: expected 0 to 1048576, the smaller first");
    }
    return add(std::move(node));
  }

  Compiled array(const Json& schema, const std::string& at, size_t depth) {
    JsonSchema::Node node;
    node.kind = Kind::array;
    if (!bound(schema, "minItems", node.least) || !bound(schema, "maxItems", node.most) ||
        node.least > node.most) {
      return refuse(at, "minItems and maxItems: expected 0 to 1048576, the smaller first");
    }
    node.child = any_;
    if (schema.contains("items")) {
      auto items = compile(schema["items"], at + "/items", depth + 1);
      if (!items) return items;
      node.child = *items;
    }
    return add(std::move(node));
  }

  Compiled object(const Json& schema, const std::string& at, size_t depth) {
    const Json none = Json::object();
    const Json& properties = schema.contains("properties") ? schema["properties"] : none;
    const Json required = schema.contains("required") ? schema["required"] : Json::array();
    if (!properties.is_object() || !required.is_array()) {
      return refuse(at, "properties: expected an object; required: a list");
    }
    for (const Json& name : required) {
      if (!name.is_string() || !properties.contains(name.get<std::string>())) {
        return refuse(at, "required names " + dumped(name) +
                              ", which is not among the properties; describe it there");
      }
    }
    if (properties.empty()) return open_object(schema, at, depth);
    if (properties.size() > kMostChoices) return refuse(at, "more than 100 properties");
    JsonSchema::Node node;
    node.kind = Kind::object;
    for (const auto& [key, value] : properties.items()) {
      auto inside = compile(value, at + "/properties/" + key, depth + 1);
      if (!inside) return inside;
      const bool wanted = std::find(required.begin(), required.end(), Json(key)) != required.end();
      node.members.push_back({dumped(Json(key)), *inside, wanted});
    }
    return add(std::move(node));
  }

  Compiled open_object(const Json& schema, const std::string& at, size_t depth) {
    JsonSchema::Node node;
    const auto more = schema.find("additionalProperties");
    if (more != schema.end() && more->is_boolean() && !more->get<bool>()) {
      node.kind = Kind::object;  // without members: {}
      return add(std::move(node));
    }
    node.kind = Kind::map;
    node.child = any_;
    if (more != schema.end()) {
      auto inside = compile(*more, at + "/additionalProperties", depth + 1);
      if (!inside) return inside;
      node.child = *inside;
    }
    return add(std::move(node));
  }

  std::shared_ptr<JsonSchema> out_ = std::make_shared<JsonSchema>();
  const Json* whole_ = nullptr;
  NodeId string_ = 0, number_ = 0, integer_ = 0, boolean_ = 0, null_ = 0;
  NodeId map_ = 0, array_ = 0, any_ = 0;
};

Result<std::shared_ptr<const JsonSchema>> JsonSchema::compile(std::string_view schema) {
  return JsonSchemaCompiler().run(schema);
}

std::shared_ptr<const JsonSchema> JsonSchema::any_object() { return JsonSchemaCompiler().object(); }

}  // namespace cambium::assist
