#include "lsp/assist/json_constraint.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/gguf_writer.h"
#include "engine/tokenizer.h"
#include "tests/support/engine/blocking.h"

using namespace cambium;
using namespace cambium::assist;
using Json = nlohmann::json;
using engine::TokenId;
using Thinking = AnswerState::Thinking;
using Verdict = engine::StepDecision::Verdict;

namespace {

std::shared_ptr<const JsonSchema> schema_of(const std::string& text) {
  auto schema = JsonSchema::compile(text);
  REQUIRE_MESSAGE(schema.has_value(), schema.error().message);
  return *schema;
}

/// "dead", "alive", "complete" or "closed" after a text.
std::string reads(const JsonSchema& schema, const std::string& text) {
  JsonState state(schema), next(schema);
  for (const char c : text) {
    if (!state.step(schema, static_cast<uint8_t>(c), next)) return "dead";
    std::swap(state, next);
  }
  return state.closed() ? "closed" : state.complete() ? "complete" : "alive";
}

const char* type_name(const Json& value) {
  return value.is_number_integer() ? "integer" : value.type_name();
}

size_t characters(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

/// A validator of the subset, from JSON Schema's own words.
bool valid(const Json& schema, const Json& value) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("anyOf")) {
    return std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                       [&](const Json& choice) { return valid(choice, value); });
  }
  if (schema.contains("const") && schema["const"] != value) return false;
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return false;
  }
  if (schema.contains("type")) {
    const std::string own = type_name(value);
    const auto is = [&](const Json& name) {
      return name == own || (name == "number" && own == "integer");
    };
    const Json& type = schema["type"];
    if (!(type.is_array() ? std::any_of(type.begin(), type.end(), is) : is(type))) return false;
  }
  const auto bound = [&](const char* name, size_t otherwise) {
    return schema.value(name, otherwise);
  };
  if (value.is_string()) {
    const size_t n = characters(value.get<std::string>());
    return n >= bound("minLength", 0) && n <= bound("maxLength", SIZE_MAX);
  }
  if (value.is_array()) {
    if (value.size() < bound("minItems", 0) || value.size() > bound("maxItems", SIZE_MAX))
      return false;
    return std::all_of(value.begin(), value.end(), [&](const Json& item) {
      return !schema.contains("items") || valid(schema["items"], item);
    });
  }
  if (!value.is_object()) return true;
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return false;
  }
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [key, inside] : value.items()) {
    if (properties.contains(key) ? !valid(properties[key], inside)
                                 : !valid(schema.value("additionalProperties", Json(true)), inside))
      return false;
  }
  return true;
}

/// Any bytes as tokens.
class Tokens final : public engine::Tokenizer {
 public:
  explicit Tokens(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  std::vector<TokenId> encode(std::string_view) const override { return {}; }
  std::vector<TokenId> encode(std::string_view, std::vector<uint32_t>&) const override {
    return {};
  }
  std::string_view piece(TokenId id) const override { return pieces_[static_cast<size_t>(id)]; }
  std::string decode(std::span<const TokenId>) const override { return {}; }
  int32_t size() const override { return static_cast<int32_t>(pieces_.size()); }
  std::optional<TokenId> special(std::string_view) const override { return std::nullopt; }
  bool is_control(TokenId id) const override { return piece(id).empty(); }
  std::vector<TokenId> compatible_with(std::string_view) const override { return {}; }

 private:
  std::vector<std::string> pieces_;
};

/// The bytes of UTF-8, pieces of JSON as models have them, and random strings of all of that.
std::vector<std::string> random_vocabulary(std::mt19937& random) {
  std::vector<std::string> out{""};  // a control token
  for (int b = 0; b < 0xf5; ++b) out.emplace_back(1, static_cast<char>(b));
  const std::vector<std::string> parts = {
      "{\"",      "\":",      "\",",      "\"}",     "}]",   "},{\"", "[",    "]",
      "\\\"",     "\\u",      "\\ud83d",  "\\ude00", "true", "null",  "12",   "é",
      "\xf0\x9f", "\x98\x80", "\xe2\x82", " ",       "\n  ", "a",     "line", "</",
      "think>",   "findings", "-0",       ".5",      "e+",   "\t",    "€",    "\\"};
  for (const std::string& part : parts) out.push_back(part);
  for (int i = 0; i < 400; ++i) {
    std::string token;
    for (size_t n = 1 + random() % 4; n > 0; --n) token += parts[random() % parts.size()];
    out.push_back(token.substr(0, 1 + random() % token.size()));
  }
  std::shuffle(out.begin() + 1, out.end(), random);
  return out;
}

const char* const kFindings = R"({"type": "object", "required": ["findings"],
  "additionalProperties": false, "properties": {"findings": {"type": "array", "maxItems": 3,
    "items": {"type": "object", "additionalProperties": false, "required": ["line", "quote"],
      "properties": {"line": {"type": "integer"},
        "quote": {"type": "string", "minLength": 1, "maxLength": 12},
        "severity": {"enum": ["error", "warning", "é\"\\"]},
        "replacement": {"type": ["string", "null"], "maxLength": 5}}}}}})";

const std::vector<std::string> kSchemas = {
    kFindings,
    std::string(R"({"anyOf": [)") + kFindings + R"(, {"type": "object",
      "properties": {"tool": {"enum": ["definition", "find"]}, "argument": {"type": "string"}},
      "required": ["tool", "argument"], "additionalProperties": false}]})",
    R"({"type": "object"})",
    R"({})",
    R"({"type": "array", "minItems": 2, "maxItems": 4, "items": {"type": "number"}})",
    R"({"type": ["integer", "string", "null"], "minLength": 2, "maxLength": 3})",
    R"({"enum": [1, 12, "a", "ab", null, {"x": [1, 2.5]}, true]})",
    R"({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"},
        {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}]}})",
    R"({"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "boolean"},
        "abc": {"type": "object", "properties": {}, "additionalProperties": false}}})",
    R"({"const": "x"})",
};

}  // namespace

TEST_CASE("what a document may look like") {
  const auto any = schema_of("{}");
  for (const char* text :
       {R"({"a": [1, -0.5e+10, true, false, null, "x\n\"\u00e9"]})", "[]", "{}",
        R"("\ud83d\ude00")", "\"é€😀\"", " [ 1 , 2 ] \n", R"("\/")", "\"\x7f\""}) {
    CAPTURE(text);
    CHECK(reads(*any, text) == "closed");
    CHECK(Json::accept(std::string(text)));
  }
  for (const char* text : {"01",
                           "1.",
                           "-",
                           "1e",
                           "[1,]",
                           "{,}",
                           R"({"a"})",
                           R"({"a":1,})",
                           "tru",
                           R"("\x")",
                           R"("\u12)",
                           R"("\ud83d")",
                           R"("\ude00")",
                           R"("\ud83dx")",
                           "\"\n\"",
                           "\"\xc0\xaf\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\"\xe0\x80\x80\"",
                           "\"\xff\"",
                           "[1] 2",
                           "nul1",
                           "'a'"}) {
    CAPTURE(text);
    const std::string state = reads(*any, text);
    CHECK((state == "dead" || state == "alive"));
    CHECK_FALSE(Json::accept(std::string(text)));
  }
  CHECK(reads(*any, "12") == "complete");
  CHECK(reads(*any, std::string(24, ' ') + "1") == "complete");
  CHECK(reads(*any, std::string(25, ' ')) == "dead");
  CHECK(reads(*any, "1234567890123456") == "dead");
  CHECK(reads(*any, std::string(31, '[')) == "alive");
  CHECK(reads(*any, std::string(32, '[')) == "dead");

  const auto findings = schema_of(kFindings);
  CHECK(reads(*findings, R"({"findings": []})") == "closed");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"a"}]})") == "closed");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"a","replacement":null}]})") ==
        "closed");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"a","replacement":null,)") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"quote")") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"line":1})") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":""})") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"line":1.5)") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"123456789012)") == "alive");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"1234567890123)") == "dead");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"ééééééé)") == "alive");
  CHECK(reads(*findings, R"({"findings":[{"line":1,"quote":"a","severity":"bad)") == "dead");
  CHECK(reads(*findings, R"({"other)") == "dead");
}

TEST_CASE("schemas: what can't be kept to is refused by its name") {
  const struct {
    const char *schema, *says;
  } cases[] = {
      {"{", "no JSON"},
      {"[]", "#: expected an object"},
      {R"({"type": "text"})", "no type \"text\""},
      {R"({"type": "string", "pattern": "a+"})", "\"pattern\" is not kept to"},
      {R"({"type": "integer", "minimum": 1})", "\"minimum\""},
      {R"({"properties": {"a": {"oneOf": []}}})", "#/properties/a: \"oneOf\""},
      {R"({"anyOf": [{}], "type": "string"})", "\"type\" beside \"anyOf\""},
      {R"({"anyOf": []})", "anyOf: expected a list"},
      {R"({"required": ["a"], "type": "object"})", "required names \"a\""},
      {R"({"enum": []})", "enum: expected"},
      {R"({"enum": [1], "type": "string"})", "no value of \"enum\""},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "minLength"},
      {R"({"type": "array", "maxItems": -1})", "minItems and maxItems"},
      {R"({"type": "array", "items": [{}]})", "#/items: expected an object"},
      {R"({"$ref": "http://example.com/x"})", "$ref: only places of this schema"},
      {R"({"$ref": "#/$defs/a"})", "there is nothing at"},
      {R"({"$ref": "#~"})", "there is nothing at"},
      {R"({"type": "array", "items": {"$ref": "#"}})", "leads back to itself"},
      {R"({"type": []})", "type: expected"},
      {R"({"properties": 1})", "properties: expected"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.schema);
    const auto schema = JsonSchema::compile(one.schema);
    REQUIRE_FALSE(schema);
    CAPTURE(schema.error().message);
    CHECK(schema.error().message.find(one.says) != std::string::npos);
  }
  const auto referred = schema_of(
      R"({"$defs": {"n": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/n"}})");
  CHECK(reads(*referred, "[1,2]") == "closed");
  CHECK(reads(*referred, "[\"") == "dead");
}

TEST_CASE("random walks through the allowed tokens give documents that parse and hold") {
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    const Tokens tokenizer(random_vocabulary(random));
    const auto vocabulary = std::make_shared<const SortedVocabulary>(tokenizer);
    for (const std::string& text : kSchemas) {
      CAPTURE(text);
      const auto schema = schema_of(text);
      const auto allowed = std::make_shared<AllowedTokens>(vocabulary, schema);
      JsonConstraint constraint(allowed, Thinking::none, 0);
      std::string written;
      bool ended = false;
      for (int step = 0; step < 4000 && !ended; ++step) {
        const auto list = *constraint.allowed();
        if (constraint.may_end() && (list.empty() || random() % 4 == 0)) {
          ended = true;
          break;
        }
        REQUIRE_FALSE(list.empty());
        CHECK(std::is_sorted(list.begin(), list.end()));
        // Late in the walk by the tokens that close, so that it ends.
        std::vector<TokenId> closing;
        if (step > 60) {
          std::copy_if(list.begin(), list.end(), std::back_inserter(closing), [&](TokenId other) {
            const std::string_view piece = tokenizer.piece(other);
            return piece == "\"" || piece == "}" || piece == "]";
          });
        }
        const auto& choice = closing.empty() ? list : closing;
        const TokenId id = choice[random() % choice.size()];
        const auto decision = constraint.on_token({id, tokenizer.piece(id), written, 0});
        REQUIRE(decision.verdict != Verdict::reject);
        written += tokenizer.piece(id).substr(0, decision.keep_bytes);
        ended = decision.verdict == Verdict::stop_after;
        CHECK((!ended || (!std::isspace(static_cast<unsigned char>(written.back())))));
      }
      CAPTURE(written);
      CHECK(ended);
      const Json document = Json::parse(written, nullptr, false);
      REQUIRE_FALSE(document.is_discarded());
      CHECK(valid(Json::parse(text), document));
    }
  }
}

TEST_CASE("the list of allowed tokens is what would be taken one by one") {
  std::mt19937 random(3);
  for (int round = 0; round < 6; ++round) {
    const Tokens tokenizer(random_vocabulary(random));
    const auto vocabulary = std::make_shared<const SortedVocabulary>(tokenizer);
    for (const std::string& text : kSchemas) {
      for (const Thinking thinking : {Thinking::none, Thinking::may, Thinking::begun}) {
        const auto schema = schema_of(text);
        AllowedTokens allowed(vocabulary, schema);
        AnswerState state(*schema, thinking);
        if (round % 2 == 1) state.stop_thinking();
        for (int step = 0; step < 40; ++step) {
          std::vector<TokenId> expected;
          for (TokenId id = 0; id < tokenizer.size(); ++id) {
            AnswerState at = state, next = state;
            const std::string_view piece = tokenizer.piece(id);
            bool alive = !piece.empty();
            for (const char c : piece) {
              alive = alive && at.step(*schema, static_cast<uint8_t>(c), next);
              std::swap(at, next);
            }
            if (alive) expected.push_back(id);
          }
          REQUIRE(allowed.at(state) == expected);
          if (expected.empty()) break;
          AnswerState next = state;
          for (const char c : tokenizer.piece(expected[random() % expected.size()])) {
            REQUIRE(state.step(*schema, static_cast<uint8_t>(c), next));
            std::swap(state, next);
          }
        }
      }
    }
  }
}

TEST_CASE("a model thinks first, within its budget, and ends only after its answer") {
  const Tokens tokenizer({"", "<think>", "</think>", "{}", "x", "<", "/", "think", ">", "hm", "{",
                          "}", "}\n\n", "\n", "</thin"});
  const auto tokens = std::make_shared<AllowedTokens>(
      std::make_shared<const SortedVocabulary>(tokenizer), JsonSchema::any_object());
  const auto says = [&](Thinking thinking, int32_t budget, const std::vector<TokenId>& ids) {
    JsonConstraint constraint(tokens, thinking, budget);
    std::string out;
    for (const TokenId id : ids) {
      CHECK_FALSE(constraint.may_end());
      const auto decision = constraint.on_token({id, tokenizer.piece(id), "", 0});
      if (decision.verdict == Verdict::reject) return out + "!";
      out += tokenizer.piece(id).substr(0, decision.keep_bytes);
      if (decision.verdict == Verdict::stop_after) return out + ".";
    }
    return out;
  };
  CHECK(says(Thinking::none, 9, {4}) == "!");
  CHECK(says(Thinking::none, 9, {1}) == "!");
  CHECK(says(Thinking::none, 9, {0}) == "!");
  CHECK(says(Thinking::none, 9, {10, 12}) == "{}.");
  CHECK(says(Thinking::may, 9, {3}) == "{}.");
  CHECK(says(Thinking::may, 9, {13, 10, 11}) == "\n{}.");
  CHECK(says(Thinking::may, 9, {1, 9, 4, 5, 2, 13, 3}) == "<think>hmx<</think>\n{}.");
  CHECK(says(Thinking::may, 9, {5, 7, 8, 9, 5, 6, 7, 8, 4}) == "<think>hm</think>!");
  CHECK(says(Thinking::may, 9, {4}) == "!");
  CHECK(says(Thinking::begun, 9, {4, 2, 3}) == "x</think>{}.");
  CHECK(says(Thinking::begun, 2, {4, 4, 4}) == "xx!");
  CHECK(says(Thinking::begun, 2, {4, 14, 9}) == "x</thin!");
  CHECK(says(Thinking::begun, 2, {4, 4, 2, 3}) == "xx</think>{}.");
}

TEST_CASE("a model with random weights, constrained, writes valid JSON") {
  namespace fs = std::filesystem;
  const fs::path file = fs::temp_directory_path() / ("json-" + std::to_string(getpid()) + ".gguf");
  engine::RandomModelOptions options;
  options.shape = *engine::model_shape("tiny");
  REQUIRE(engine::write_random_model(file.string(), options).has_value());
  const auto model = test::load(file.string());
  JsonConstraints constraints;
  for (const std::string& text : kSchemas) {
    const auto schema = schema_of(text);
    int whole = 0;
    for (const float temperature : {0.0f, 1.0f, 1.5f}) {
      for (uint64_t seed = 1; seed <= (temperature > 0 ? 4u : 1u); ++seed) {
        engine::Request request;
        request.text = engine::RawPrompt{"int main() {", false};
        request.max_tokens = 240;
        request.sampling.temperature = temperature;
        request.sampling.seed = seed;
        constraints.apply(request, model, schema);
        REQUIRE(request.controller);
        const engine::Generated out = test::generate(*model, request);
        CAPTURE(text);
        CAPTURE(out.text);
        // Where strings are endless the limit cuts, and the reason says so.
        if (out.stop == engine::StopReason::max_tokens) continue;
        ++whole;
        const Json document = Json::parse(out.text, nullptr, false);
        REQUIRE_FALSE(document.is_discarded());
        CHECK(valid(Json::parse(text), document));
      }
    }
    if (text == kFindings) CHECK(whole > 0);
  }
  fs::remove(file);
}
