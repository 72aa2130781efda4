// models.json beside config.json: which model has which role, where remote ones are, and how much
// memory all may take. Read from the user's own folder or the command line only, never from a
// workspace or over LSP: it loads files and names endpoints.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/remote/remote_generator.h"
#include "engine/result.h"
#include "lsp/assist/models.h"

namespace cambium {

/// One model: a file of this machine or an endpoint.
struct ModelSource {
  std::string file;     ///< a GGUF file; empty: an endpoint
  std::string adapter;  ///< laid over the file; empty: none

  std::string url, model;
  std::string key_file, key_env;  ///< where its key is; both empty: it wants none
  std::string fim;                ///< "", "none", "suffix", "raw", "infill"
  std::vector<std::string> fim_tokens;
  std::optional<bool> thinks;
  int32_t context = 0;  ///< 0: the file's own settings, or not known
  std::chrono::seconds timeout{120};
  std::string ca_file;

  /// Block-sparse attention over long answers; unset: where the model has the role `reasoning`.
  std::optional<bool> sparse_attention;

  /// Asked where this one is not sure (assist/cascade.h); null: none. It has no larger one itself.
  std::shared_ptr<const ModelSource> larger;
  double threshold = assist::kDefaultThreshold;  ///< mean token probability, 0..1

  bool remote() const { return file.empty(); }
  /// The same for the same model, however often and with whatever role it is named.
  std::string id() const;
  /// To show until it says its own name.
  std::string name() const;
};

struct ModelsConfig {
  std::array<std::optional<ModelSource>, assist::kRoles.size()> roles;
  uint64_t memory_bytes = 0;              ///< 0: three quarters of what the machine has
  std::chrono::minutes unload_after{10};  ///< idle time; 0: never
  bool classify_by_model = false;         ///< what a free question is about; else by rule
  int32_t conversation_tokens = 0;        ///< 0: half of the model's context

  bool any() const;  ///< whether a role has a model
  const std::optional<ModelSource>& role(assist::Role role) const {
    return roles[static_cast<size_t>(role)];
  }
};

/// models.json in the user's config folder; empty where there is no home.
std::filesystem::path models_config_path();
/// No file: an empty config. Errors name the file, the key and what is expected.
Result<ModelsConfig> read_models_config(const std::filesystem::path& path);
/// JSON Schema (draft 2020-12) of models.json.
nlohmann::json models_schema();

/// How to reach an endpoint: reads its key now. Errors: not_found (no key there), invalid_argument
/// (a key file that others may read), and those of make_remote().
Result<std::shared_ptr<engine::Generator>> open_endpoint(const ModelSource& source);
/// The key in a file: its first line. The file must belong to the user and be closed to others.
Result<std::string> read_key_file(const std::string& path);

}  // namespace cambium
