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
/// settings, or the one that ships. --model counts more than the role. What a load has to remark
/// goes to run.err, from the loading thread.
std::vector<lsp::PooledModel> pooled_models(Run& run, const Config& config,
                                            const ModelsConfig& models);
lsp::PoolOptions pool_options(const ModelsConfig& models);
/// Bytes of a GGUF file with all its parts; 0 if it is not there.
uint64_t model_file_bytes(const std::string& path);

}  // namespace cambium::cli
