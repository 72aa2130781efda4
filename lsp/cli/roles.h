// From settings and models.json to the models of a process.
#pragma once

#include <string>
#include <vector>

#include "lsp/cli/verbs.h"
#include "lsp/model_pool.h"
#include "lsp/models_config.h"

namespace cambium::cli {

/// models.json as --models names it, or the user's; no file there: no roles.
Result<ModelsConfig> configured_models(const Run& run);
/// Every model the user gave a role, each once, and one that completes: the role's, the one of
/// settings, or the one that ships. --model and --adapter count more than the role. What a load has to remark
/// goes to run.err, from the loading thread.
std::vector<lsp::PooledModel> pooled_models(Run& run, const Config& config,
                                            const ModelsConfig& models);
/// A line a role: its model, the larger one behind it, and what of it is not the default.
void print_roles(Run& run, const Config& config, const ModelsConfig& models);

/// What completes at a cursor.
struct CompletionModels {
  std::shared_ptr<engine::Generator> generator;        ///< of the role's own model
  std::shared_ptr<assist::CompletionService> service;  ///< a cascade where one is configured
  std::shared_ptr<void> keep;                          ///< the larger model, once it was asked
};
/// Loads the model of the role completion as pooled_models() has it; a larger one is loaded when it is
/// first asked. A models.json that cannot be read is told to run.err, and nothing is taken of it.
Result<CompletionModels> load_completion(Run& run, const Config& config);

lsp::PoolOptions pool_options(const ModelsConfig& models);
/// Bytes of a GGUF file with all its parts; 0 if it is not there.
uint64_t model_file_bytes(const std::string& path);

}  // namespace cambium::cli
