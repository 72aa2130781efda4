#include "lsp/models_config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <system_error>

#include "lsp/environment.h"
#include "lsp/protocol/reader.h"
#include "lsp/settings.h"

namespace cambium {

namespace {

namespace fs = std::filesystem;
using lsp::Json;
using lsp::ObjectReader;
using lsp::Path;

constexpr const char* kFimStyles[] = {"none", "suffix", "raw", "infill"};
constexpr const char* kSourceKeys[] = {
    "file",      "url",    "model",          "key",    "fim",     "context",
    "fimTokens", "thinks", "timeoutSeconds", "caFile", "adapter", "sparseAttention"};
constexpr const char* kCascadeKeys[] = {"larger", "threshold"};
constexpr const char* kTopKeys[] = {
    "$schema", "roles", "memoryGB", "unloadAfterMinutes", "classifyBy", "conversationTokens"};

/// A misspelt key must not be a setting silently lost.
template <class... Lists>
bool only_known(const Json& json, const Path& path, const Lists&... lists) {
  for (const auto& [name, value] : json.items()) {
    const auto in = [&name = name](const auto& list) {
      for (const char* key : list) {
        if (name == key) return true;
      }
      return false;
    };
    if (!(in(lists) || ...)) return path.field(name).fail("one of the keys of the schema");
  }
  return true;
}

std::string with_home(const std::string& path) {
  if (!path.starts_with("~/")) return path;
  const auto home = environment("HOME");
  return home ? *home + path.substr(1) : path;
}

bool read_key(const Json& json, ModelSource& out, const Path& path) {
  const auto it = json.find("key");
  if (it == json.end() || it->is_null()) return true;
  const Path at = path.field("key");
  if (!it->is_object()) {
    return at.fail("{\"file\": PATH} or {\"env\": NAME}; a key itself does not belong here");
  }
  const ObjectReader object(*it, at);
  if (!object.optional("file", out.key_file) || !object.optional("env", out.key_env)) return false;
  if (out.key_file.empty() == out.key_env.empty()) {
    return at.fail("{\"file\": PATH} or {\"env\": NAME}");
  }
  out.key_file = with_home(out.key_file);
  return true;
}

bool read_source(const Json& json, ModelSource& out, const Path& path) {
  const ObjectReader object(json, path);
  int32_t timeout = static_cast<int32_t>(out.timeout.count());
  if (!object || !object.optional("file", out.file) || !object.optional("url", out.url) ||
      !object.optional("adapter", out.adapter) || !object.optional("model", out.model) ||
      !read_key(json, out, path) || !object.optional("fim", out.fim) ||
      !object.optional("fimTokens", out.fim_tokens) || !object.optional("thinks", out.thinks) ||
      !object.optional("context", out.context) || !object.optional("timeoutSeconds", timeout) ||
      !object.optional("caFile", out.ca_file)) {
    return false;
  }
  if (out.file.empty() == out.url.empty()) {
    return path.fail("\"file\", a GGUF file, or \"url\", an endpoint");
  }
  if (!out.file.empty() && (!out.model.empty() || !out.key_file.empty() || !out.key_env.empty())) {
    return path.fail("no \"model\" and no \"key\" beside \"file\"");
  }
  if (out.file.empty() && !out.adapter.empty()) {
    return path.field("adapter").fail("a \"file\" to lay it over");
  }
  bool known = out.fim.empty();
  for (const char* style : kFimStyles) known = known || out.fim == style;
  if (!known) return path.field("fim").fail("none, suffix, raw or infill");
  if (!out.fim_tokens.empty() && out.fim_tokens.size() != 3) {
    return path.field("fimTokens").fail("three strings: prefix, suffix, middle");
  }
  if (timeout < 1 || timeout > 3600) return path.field("timeoutSeconds").fail("1 to 3600");
  if (out.context < 0) return path.field("context").fail("a number of tokens");
  if (const auto sparse = json.find("sparseAttention"); sparse != json.end()) {
    if (!sparse->is_boolean()) return path.field("sparseAttention").fail("true or false");
    if (out.file.empty()) {
      return path.field("sparseAttention").fail("a \"file\"; an endpoint has its own attention");
    }
    out.sparse_attention = sparse->get<bool>();
  }
  out.timeout = std::chrono::seconds(timeout);
  out.file = with_home(out.file);
  out.adapter = with_home(out.adapter);
  out.ca_file = with_home(out.ca_file);
  return true;
}

/// A role's model, and the larger one behind it. `role_named` is set where that is another role's.
bool read_role(const Json& json, ModelSource& out, std::optional<assist::Role>& role_named,
               const Path& path) {
  if (!read_source(json, out, path) || !only_known(json, path, kSourceKeys, kCascadeKeys)) {
    return false;
  }
  const auto threshold = json.find("threshold"), larger = json.find("larger");
  if (threshold != json.end()) {
    const Path at = path.field("threshold");
    if (!threshold->is_number() || *threshold < 0 || *threshold > 1) {
      return at.fail("a mean token probability, 0 to 1");
    }
    if (larger == json.end()) return at.fail("a \"larger\" model to ask below it");
    out.threshold = threshold->get<double>();
  }
  if (larger == json.end()) return true;
  const Path at = path.field("larger");
  if (larger->is_string()) {
    for (const assist::Role role : assist::kRoles) {
      if (*larger == assist::to_string(role)) role_named = role;
    }
    return role_named || at.fail("a model, or one of the roles completion, reasoning, general");
  }
  ModelSource source;
  if (!read_source(*larger, source, at) || !only_known(*larger, at, kSourceKeys)) return false;
  out.larger = std::make_shared<const ModelSource>(std::move(source));
  return true;
}

bool read_config(const Json& json, ModelsConfig& out, const Path& path) {
  const ObjectReader object(json, path);
  if (!object || !only_known(json, path, kTopKeys)) return false;
  if (const auto roles = json.find("roles"); roles != json.end()) {
    const Path at = path.field("roles");
    if (!roles->is_object()) return at.fail("an object of roles");
    std::array<std::optional<assist::Role>, assist::kRoles.size()> larger;
    for (const auto& [name, value] : roles->items()) {
      bool found = false;
      for (const assist::Role role : assist::kRoles) {
        if (name != assist::to_string(role)) continue;
        found = true;
        auto& slot = out.roles[static_cast<size_t>(role)];
        const Path role_at = at.field(name);
        if (!read_role(value, slot.emplace(), larger[static_cast<size_t>(role)], role_at)) {
          return false;
        }
      }
      if (!found) return at.field(name).fail("one of the roles completion, reasoning, general");
    }
    for (const assist::Role role : assist::kRoles) {
      auto& source = out.roles[static_cast<size_t>(role)];
      if (!source) continue;
      const Path role_at = at.field(assist::to_string(role)), larger_at = role_at.field("larger");
      if (const auto named = larger[static_cast<size_t>(role)]) {
        if (!out.role(*named)) return larger_at.fail("a role that has a model");
        ModelSource other = *out.role(*named);
        other.larger = nullptr;
        source->larger = std::make_shared<const ModelSource>(std::move(other));
      }
      if (source->larger && source->larger->id() == source->id()) {
        return larger_at.fail("another model than the role's own");
      }
    }
  }
  if (const auto memory = json.find("memoryGB"); memory != json.end()) {
    if (!memory->is_number() || *memory <= 0 || *memory > 1e6) {
      return path.field("memoryGB").fail("a number of gigabytes");
    }
    out.memory_bytes = static_cast<uint64_t>(memory->get<double>() * 1e9);
  }
  int32_t minutes = static_cast<int32_t>(out.unload_after.count());
  std::string by = "rule";
  if (!object.optional("unloadAfterMinutes", minutes) || !object.optional("classifyBy", by) ||
      !object.optional("conversationTokens", out.conversation_tokens)) {
    return false;
  }
  if (minutes < 0) return path.field("unloadAfterMinutes").fail("0 (never) or more");
  if (by != "rule" && by != "model") return path.field("classifyBy").fail("rule or model");
  if (out.conversation_tokens < 0) return path.field("conversationTokens").fail("0 or more");
  out.unload_after = std::chrono::minutes(minutes);
  out.classify_by_model = by == "model";
  return true;
}

Result<engine::FimStyle> fim_style(const ModelSource& source) {
  if (source.fim == "none") return engine::FimStyle::none;
  if (source.fim == "suffix") return engine::FimStyle::suffix;
  if (source.fim == "infill") return engine::FimStyle::infill;
  if (source.fim == "raw" || !source.fim_tokens.empty()) return engine::FimStyle::raw;
  // Spelling the tokens out works with every server; only the model must be a known one.
  return engine::known_fim_spellings(source.model) ? engine::FimStyle::raw : engine::FimStyle::none;
}

}  // namespace

std::string ModelSource::id() const {
  if (remote()) return url + "\n" + model;
  std::error_code ignored;
  return fs::weakly_canonical(file, ignored).string() + "\n" + adapter;
}

std::string ModelSource::name() const {
  if (!remote()) return fs::path(file).filename().string();
  return model.empty() ? url : model;
}

bool ModelsConfig::any() const {
  return std::any_of(roles.begin(), roles.end(), [](const auto& role) { return role.has_value(); });
}

fs::path models_config_path() {
  const fs::path config = user_config_path();
  return config.empty() ? config : config.parent_path() / "models.json";
}

Result<ModelsConfig> read_models_config(const fs::path& path) {
  auto json = read_config_file(path);
  if (!json) return tl::unexpected(json.error());
  ModelsConfig config;
  std::string problem;
  if (!read_config(*json, config, Path::root(problem))) {
    return fail(ErrorCode::bad_format, path.string() + ": " + problem);
  }
  return config;
}

Result<std::string> read_key_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(ErrorCode::not_found, path + ": no key file there; write the key into it");
  }
  if (info.st_uid != ::geteuid() || (info.st_mode & 077) != 0) {
    return fail(ErrorCode::invalid_argument,
                path + ": others may read this key; run chmod 600 on it");
  }
  std::ifstream file(path);
  std::string key;
  std::getline(file, key);
  while (!key.empty() && static_cast<unsigned char>(key.back()) <= ' ') key.pop_back();
  if (key.empty()) return fail(ErrorCode::not_found, path + ": holds no key in its first line");
  return key;
}

Result<std::shared_ptr<engine::Generator>> open_endpoint(const ModelSource& source) {
  engine::RemoteOptions options;
  options.url = source.url;
  options.model = source.model;
  options.context = source.context;
  options.thinks = source.thinks;
  options.http.silence = source.timeout;
  options.http.ca_file = source.ca_file;
  options.http.proxy = environment_proxies();
  auto style = fim_style(source);
  if (!style) return tl::unexpected(style.error());
  options.fim = *style;
  if (source.fim_tokens.size() == 3) {
    options.spellings = {source.fim_tokens[0], source.fim_tokens[1], source.fim_tokens[2]};
  }
  if (!source.key_file.empty()) {
    auto key = read_key_file(source.key_file);
    if (!key) return tl::unexpected(key.error());
    options.key = std::move(*key);
  } else if (!source.key_env.empty()) {
    auto key = environment(source.key_env);
    if (!key || key->empty()) {
      return fail(ErrorCode::not_found, "the key of " + source.name() +
                                            " is not in the environment; set " + source.key_env +
                                            " before Cambium starts");
    }
    options.key = std::move(*key);
  }
  return engine::make_remote(std::move(options));
}

Json models_schema() {
  const auto typed = [](const char* type, const char* help) {
    return Json{{"type", type}, {"description", help}};
  };
  Json source = {
      {"file", typed("string", "A GGUF file on this machine.")},
      {"adapter", typed("string", "An adapter (GGUF) laid over the file.")},
      {"url", typed("string", "An OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1.")},
      {"model", typed("string", "The model as the endpoint names it.")},
      {"key",
       {{"type", "object"},
        {"description", "Where the endpoint's key is: a file of mode 0600, or a variable."},
        {"properties", {{"file", {{"type", "string"}}}, {"env", {{"type", "string"}}}}},
        {"additionalProperties", false}}},
      {"fim",
       {{"enum", kFimStyles},
        {"description",
         "How the endpoint fills in the middle: a suffix parameter, the model's special tokens "
         "spelled out (the default where they are known), llama.cpp's /infill, or not at all."}}},
      {"fimTokens",
       {{"type", "array"},
        {"items", {{"type", "string"}}},
        {"minItems", 3},
        {"maxItems", 3},
        {"description", "The spellings before the prefix, the suffix and the middle."}}},
      {"thinks", typed("boolean", "Its answers may begin with <think>.")},
      {"context", typed("integer", "Tokens a sequence can hold.")},
      {"timeoutSeconds",
       {{"type", "integer"}, {"minimum", 1}, {"maximum", 3600}, {"default", 120}}},
      {"caFile", typed("string", "PEM certificates trusted besides the system's.")},
      {"sparseAttention",
       typed(
           "boolean",
           "Past 8,192 tokens each new one reads the start, the last 1,024 and the most promising "
           "blocks of the rest; default: true where the model has the role reasoning.")},
  };
  Json role_names = Json::array();
  for (const assist::Role role : assist::kRoles) role_names.push_back(assist::to_string(role));
  const auto object = [](Json properties) {
    return Json{
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  };
  Json with_larger = source;
  with_larger["larger"] = {
      {"anyOf", {{{"$ref", "#/$defs/larger"}}, {{"enum", role_names}}}},
      {"description", "Asked where this one is not sure: a model, or the role whose model it is."}};
  with_larger["threshold"] = {
      {"type", "number"},
      {"minimum", 0},
      {"maximum", 1},
      {"default", assist::kDefaultThreshold},
      {"description",
       "Mean token probability from which the answer of the small model counts; cambium eval "
       "--cascade finds one."}};
  Json roles = Json::object();
  for (const assist::Role role : assist::kRoles) {
    roles[assist::to_string(role)] = {{"$ref", "#/$defs/model"}};
  }
  Json top = {
      {"$schema", {{"type", "string"}}},
      {"roles", object(std::move(roles))},
      {"memoryGB", typed("number",
                         "What all loaded models may take together; default: three "
                         "quarters of the machine's memory.")},
      {"unloadAfterMinutes",
       {{"type", "integer"}, {"minimum", 0}, {"default", 10}, {"description", "0: never."}}},
      {"classifyBy",
       {{"enum", {"rule", "model"}},
        {"default", "rule"},
        {"description", "Who says what a free question is about: a rule, or the general model."}}},
      {"conversationTokens",
       {{"type", "integer"},
        {"minimum", 0},
        {"default", 0},
        {"description", "Length at which a conversation is compacted; 0: half the context."}}},
  };
  Json schema = object(std::move(top));
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "Cambium's models.json";
  schema["$defs"] = {{"model", object(std::move(with_larger))},
                     {"larger", object(std::move(source))}};
  return schema;
}

}  // namespace cambium
