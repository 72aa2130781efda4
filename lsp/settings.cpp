#include "lsp/settings.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include "lsp/environment.h"

namespace cambium {

using nlohmann::json;

namespace {

constexpr std::string_view kLogLevels[] = {"trace", "debug", "info", "warn", "error", "off"};
constexpr std::string_view kStructures[] = {"auto", "off", "emphasis", "prune", "own", "tree"};
constexpr std::string_view kSparse[] = {"auto", "on", "off"};

constexpr bool kHarmless = true, kTrustedOnly = false;
constexpr SettingKey kKeys[] = {
    {"completion.enabled", SettingKind::boolean, kHarmless, "Suggest while typing.", "true"},
    {"completion.multiline", SettingKind::boolean, kHarmless,
     "Let a suggestion span several lines; otherwise it ends with its line.", "true"},
    {"completion.maxTokens", SettingKind::integer, kHarmless,
     "Longest suggestion, in tokens of the model.", "96", 1, 1024},
    {"completion.promptTokens", SettingKind::integer, kHarmless,
     "Text around the cursor that the model sees, in tokens.", "1536", 64, 131072},
    {"completion.disabledLanguages", SettingKind::text_list, kHarmless,
     "Language ids in which nothing is suggested, such as \"markdown\".", "[]"},
    {"review.enabled", SettingKind::boolean, kHarmless,
     "Report findings on changed lines, as diagnostics.", "true"},
    {"review.model", SettingKind::boolean, kHarmless,
     "Let the model judge what was saved; otherwise only what does not parse is reported.", "true"},
    {"review.syntaxElsewhere", SettingKind::text_list, kHarmless,
     "Language ids in which another server reports syntax errors, so that Cambium does not.",
     R"(["c","cpp","csharp","css","go","html","java","javascript","javascriptreact","json",)"
     R"("jsonc","kotlin","php","python","rust","scala","swift","typescript","typescriptreact"])"},
    {"log.level", SettingKind::text, kHarmless, "Least severe messages that are logged.",
     "\"info\"", 0, 0, kLogLevels},
    {"trustedFolders", SettingKind::text_list, kTrustedOnly,
     "Folders (absolute, or from \"~/\") whose workspaces' .cambium/review.md may tell a model "
     "that "
     "reviews what your team cares about.",
     "[]"},
    {"log.file", SettingKind::text, kTrustedOnly, "File to append the log to; empty: stderr.",
     "\"\""},
    {"model", SettingKind::text, kTrustedOnly,
     "Model file (GGUF) that completes; empty: the one that ships with Cambium.", "\"\""},
    {"adapter", SettingKind::text, kTrustedOnly,
     "Adapter (GGUF) laid over the model: structure and low-rank updates; empty: none.", "\"\""},
    {"device", SettingKind::text, kTrustedOnly, "\"auto\", \"cpu\", \"cuda\" or \"cuda:1\".",
     "\"auto\""},
    {"threads", SettingKind::integer, kTrustedOnly, "Compute threads; 0: one a physical core.", "0",
     0, 1024},
    {"context", SettingKind::integer, kTrustedOnly, "Tokens a sequence can hold.", "4096", 256,
     1048576},
    {"structure", SettingKind::text, kTrustedOnly,
     "How the syntax tree steers attention; auto: as the model file says.", "\"auto\"", 0, 0,
     kStructures},
    {"sparseAttention", SettingKind::text, kTrustedOnly,
     "Whether a model reads only the most promising blocks past 8,192 tokens; auto: the one with "
     "the "
     "role reasoning.",
     "\"auto\"", 0, 0, kSparse},
};

const SettingKey* find_key(std::string_view name) {
  for (const SettingKey& key : kKeys) {
    if (key.key == name) return &key;
  }
  return nullptr;
}

std::string in_quotes(std::string_view text) { return "'" + std::string(text) + "'"; }

/// What is wrong with a value, or empty.
std::string check_value(const SettingKey& key, const json& value) {
  const auto in_range = [&](double number) {
    return key.min == key.max || (number >= key.min && number <= key.max);
  };
  const auto range_text = [&] {
    return " from " + std::to_string(static_cast<long long>(key.min)) + " to " +
           std::to_string(static_cast<long long>(key.max));
  };
  switch (key.kind) {
    case SettingKind::boolean:
      return value.is_boolean() ? "" : "expected true or false";
    case SettingKind::integer:
      return value.is_number() && std::floor(value.get<double>()) == value.get<double>() &&
                     in_range(value.get<double>())
                 ? ""
                 : "expected a whole number" + range_text();
    case SettingKind::number:
      return value.is_number() && in_range(value.get<double>())
                 ? ""
                 : "expected a number" + range_text();
    case SettingKind::text: {
      if (!value.is_string()) return "expected a string";
      if (key.choices.empty()) return "";
      std::string known;
      for (const std::string_view choice : key.choices) {
        if (choice == value.get_ref<const std::string&>()) return "";
        known += (known.empty() ? "" : ", ") + std::string(choice);
      }
      return "expected one of " + known;
    }
    case SettingKind::text_list:
      if (!value.is_array()) return "expected an array of strings";
      for (const json& item : value) {
        if (!item.is_string()) return "expected an array of strings";
      }
      return "";
  }
  return "";
}

/// Flattens {"completion": {"enabled": true}, "log.level": "info"} into dotted keys. Depth is
/// bounded by the table's own: deeper objects match no key.
void flatten(const json& object, const std::string& prefix, int depth,
             std::vector<std::pair<std::string, json>>& out) {
  for (const auto& [name, value] : object.items()) {
    const std::string key = prefix.empty() ? name : prefix + "." + name;
    if (value.is_object() && depth < 3) {
      flatten(value, key, depth + 1, out);
    } else if (!value.is_null()) {
      out.emplace_back(key, value.is_object() ? json::object() : value);
    }
  }
}

}  // namespace

const char* to_string(Origin origin) {
  switch (origin) {
    case Origin::defaults:
      return "default";
    case Origin::client:
      return "editor";
    case Origin::workspace:
      return "workspace";
    case Origin::user:
      return "user file";
    case Origin::command_line:
      return "command line";
  }
  return "default";
}

std::span<const SettingKey> setting_keys() { return kKeys; }

Settings::Settings() {
  auto& defaults = layers_[static_cast<size_t>(Origin::defaults)];
  for (const SettingKey& key : kKeys) {
    defaults.emplace(std::string(key.key), json::parse(key.default_json));
  }
  update();
}

std::vector<std::string> Settings::set_layer(Origin origin, const json& values) {
  std::vector<std::string> problems;
  auto& layer = layers_[static_cast<size_t>(origin)];
  layer.clear();
  const bool trusted = origin >= Origin::user;
  if (!values.is_object()) {
    if (!values.is_null()) problems.emplace_back("expected an object of settings");
    update();
    return problems;
  }
  std::vector<std::pair<std::string, json>> flat;
  flatten(values, "", 0, flat);
  for (auto& [name, value] : flat) {
    if (name == "$schema") continue;
    const SettingKey* key = find_key(name);
    if (key == nullptr) {
      problems.push_back("there is no setting " + in_quotes(name));
    } else if (!trusted && !key->harmless) {
      problems.push_back(in_quotes(name) +
                         " is taken from the command line and the user's config file only");
    } else if (const std::string wrong = check_value(*key, value); !wrong.empty()) {
      problems.push_back(in_quotes(name) + ": " + wrong);
    } else {
      layer.insert_or_assign(name, std::move(value));
    }
  }
  update();
  return problems;
}

json Settings::value(std::string_view key) const {
  const auto& layer = layers_[static_cast<size_t>(origin(key))];
  const auto found = layer.find(key);
  return found == layer.end() ? json() : found->second;
}

Origin Settings::origin(std::string_view key) const {
  for (size_t i = kOriginCount; i-- > 1;) {
    if (layers_[i].find(key) != layers_[i].end()) return static_cast<Origin>(i);
  }
  return Origin::defaults;
}

void Settings::update() {
  config_.completion_enabled = value("completion.enabled").get<bool>();
  config_.completion_multiline = value("completion.multiline").get<bool>();
  config_.completion_max_tokens = value("completion.maxTokens").get<int32_t>();
  config_.completion_prompt_tokens = value("completion.promptTokens").get<int32_t>();
  config_.completion_disabled_languages =
      value("completion.disabledLanguages").get<std::vector<std::string>>();
  config_.review_enabled = value("review.enabled").get<bool>();
  config_.review_model = value("review.model").get<bool>();
  config_.review_syntax_elsewhere = value("review.syntaxElsewhere").get<std::vector<std::string>>();
  config_.trusted_folders = value("trustedFolders").get<std::vector<std::string>>();
  for (std::string& folder : config_.trusted_folders) {
    if (folder != "~" && !folder.starts_with("~/")) continue;
    if (const auto home = environment("HOME")) folder.replace(0, 1, *home);
  }
  config_.log_level = value("log.level").get<std::string>();
  config_.log_file = value("log.file").get<std::string>();
  config_.model = value("model").get<std::string>();
  config_.adapter = value("adapter").get<std::string>();
  config_.device = value("device").get<std::string>();
  config_.threads = value("threads").get<int32_t>();
  config_.context = value("context").get<int32_t>();
  config_.structure = value("structure").get<std::string>();
  config_.sparse_attention = value("sparseAttention").get<std::string>();
}

// The one place that reads the environment: where a user's folders are, which proxies there are and
// what a key is are the system's to say.
std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

namespace {
/// In the folder that `variable` names, else in `below_home` of the user's home; empty without either.
std::filesystem::path user_folder(const char* variable, const char* below_home) {
  const auto said = environment(variable);
  if (said && said->starts_with('/')) return std::filesystem::path(*said) / "cambium";
  const auto home = environment("HOME");
  if (home && home->starts_with('/')) return std::filesystem::path(*home) / below_home / "cambium";
  return {};
}
}  // namespace

std::filesystem::path user_config_path() {
  const auto folder = user_folder("XDG_CONFIG_HOME", ".config");
  return folder.empty() ? folder : folder / "config.json";
}

std::filesystem::path user_models_folder() {
  const auto folder = user_folder("XDG_DATA_HOME", ".local/share");
  return folder.empty() ? folder : folder / "models";
}

engine::ProxySettings environment_proxies() {
  // HTTP_PROXY in capitals is not read, since a web server's client can set it.
  const auto first_of = [](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (auto value = environment(name); value && !value->empty()) return *value;
    }
    return std::string();
  };
  engine::ProxySettings proxies;
  proxies.http = first_of({"http_proxy", "all_proxy", "ALL_PROXY"});
  proxies.https = first_of({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
  proxies.no_proxy = first_of({"no_proxy", "NO_PROXY"});
  return proxies;
}

Result<json> read_config_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return json::object();
  if (!std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::bad_format, path.string() + ": expected a file with settings");
  }
  constexpr uintmax_t kMaxBytes = 1 << 20;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorCode::io, path.string() + ": " + error.message());
  if (size > kMaxBytes) {
    return fail(ErrorCode::bad_format, path.string() + ": larger than 1 MiB, which no config is");
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(ErrorCode::io, path.string() + ": cannot be read");
  json parsed = json::parse(text.str(), nullptr, false, /*ignore_comments=*/true);
  if (parsed.is_discarded()) {
    return fail(ErrorCode::bad_format, path.string() + ": not valid JSON");
  }
  if (!parsed.is_object()) {
    return fail(ErrorCode::bad_format, path.string() + ": expected an object {\"key\": value}");
  }
  return parsed;
}

Result<Settings> load_settings(const json& command_line, const std::filesystem::path& user_file,
                               std::vector<std::string>& warnings) {
  Settings settings;
  if (!user_file.empty()) {
    auto file = read_config_file(user_file);
    if (!file) return tl::unexpected(file.error());
    for (const std::string& problem : settings.set_layer(Origin::user, *file)) {
      warnings.push_back(user_file.string() + ": " + problem);
    }
  }
  const auto problems = settings.set_layer(Origin::command_line, command_line);
  if (!problems.empty()) return fail(ErrorCode::invalid_argument, problems.front());
  return settings;
}

json config_schema() {
  json properties = json::object();
  for (const SettingKey& key : kKeys) {
    json row = {{"description", key.help}, {"default", json::parse(key.default_json)}};
    switch (key.kind) {
      case SettingKind::boolean:
        row["type"] = "boolean";
        break;
      case SettingKind::integer:
        row["type"] = "integer";
        break;
      case SettingKind::number:
        row["type"] = "number";
        break;
      case SettingKind::text:
        row["type"] = "string";
        break;
      case SettingKind::text_list:
        row["type"] = "array";
        row["items"] = {{"type", "string"}};
        break;
    }
    if (key.min != key.max) {
      row["minimum"] = static_cast<int64_t>(key.min);
      row["maximum"] = static_cast<int64_t>(key.max);
    }
    if (!key.choices.empty()) row["enum"] = key.choices;
    properties[std::string(key.key)] = std::move(row);
  }
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "Cambium's config.json"},
          {"type", "object"},
          {"properties", std::move(properties)}};
}

}  // namespace cambium
