// Every setting, where it may come from, and which source won.
//
// Precedence, highest first: command line, the user's config file, the workspace's
// .cambium/config.json, the language client, defaults. The last two sources that a stranger can
// write (workspace and client) reach only keys marked harmless: nothing that loads a file, starts a
// program or names an endpoint.
//
// Not thread-safe; copy it (cheap, a few small maps) to hand it to another thread.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"

namespace cambium {

/// Ordered: a larger one wins.
enum class Origin : uint8_t { defaults, client, workspace, user, command_line };
inline constexpr size_t kOriginCount = 5;
const char* to_string(Origin origin);

enum class SettingKind : uint8_t { boolean, integer, number, text, text_list };

/// One row of the table of settings.
struct SettingKey {
  std::string_view key;  ///< dotted: "completion.maxTokens"
  SettingKind kind = SettingKind::boolean;
  bool harmless = false;  ///< may be set by a workspace file or a language client
  std::string_view help;
  std::string_view default_json;                   ///< the default, as JSON
  double min = 0, max = 0;                         ///< of integer and number; equal: unbounded
  std::span<const std::string_view> choices = {};  ///< of text; empty: any
};
std::span<const SettingKey> setting_keys();

/// The effective values, typed.
struct Config {
  bool completion_enabled = true;
  bool completion_multiline = true;
  int32_t completion_max_tokens = 96;
  int32_t completion_prompt_tokens = 1536;
  std::vector<std::string> completion_disabled_languages;  ///< LSP language ids
  bool review_enabled = true;
  bool review_model = true;
  std::vector<std::string> review_syntax_elsewhere;  ///< LSP language ids
  std::string log_level = "info";
  /// Absolute, "~/" expanded: workspaces in them may steer a review (assist/team_rules.h).
  std::vector<std::string> trusted_folders;

  std::string model;    ///< path of a GGUF file; empty: the bundled one
  std::string adapter;  ///< path of an adapter laid over it; empty: none
  std::string device = "auto";
  int32_t threads = 0;             ///< 0: physical cores
  int32_t context = 4096;          ///< tokens a slot
  std::string structure = "auto";  ///< "auto": as the model file says; or a mode's name
  /// Block-sparse attention past engine::kSparseFrom cells: "auto" (the reasoning role), "on", "off".
  std::string sparse_attention = "auto";
  std::string log_file;  ///< empty: stderr
};

class Settings {
 public:
  Settings();

  /// Replaces all that `origin` said before by `values`: an object of dotted keys, nested objects,
  /// or both; a key set to null is not said. Returns one line for each entry that was not taken
  /// (unknown, wrong type, out of range, or not allowed from there); the rest is taken.
  std::vector<std::string> set_layer(Origin origin, const nlohmann::json& values);

  const Config& config() const { return config_; }
  /// The value that counts and who said it. `key` must be in the table.
  nlohmann::json value(std::string_view key) const;
  Origin origin(std::string_view key) const;

 private:
  void update();

  std::array<std::map<std::string, nlohmann::json, std::less<>>, kOriginCount> layers_;
  Config config_;
};

/// $XDG_CONFIG_HOME/cambium/config.json or ~/.config/cambium/config.json; empty where there is no
/// home.
std::filesystem::path user_config_path();

/// A config file's object. No file: an empty object. Errors: bad_format (not JSON, not an object,
/// larger than 1 MiB), io.
Result<nlohmann::json> read_config_file(const std::filesystem::path& path);

/// Defaults, then the user's file, then `command_line`. What was not taken of the user's file is
/// appended to `warnings`; a wrong value on the command line is an error.
Result<Settings> load_settings(const nlohmann::json& command_line,
                               const std::filesystem::path& user_file,
                               std::vector<std::string>& warnings);

/// JSON Schema (draft 2020-12) of a config file, made from the table.
nlohmann::json config_schema();

}  // namespace cambium
