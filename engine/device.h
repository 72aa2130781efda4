// Which processor a model runs on, and whether it fits there.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/config.h"
#include "engine/engine.h"
#include "engine/gguf.h"
#include "engine/models/model.h"
#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

/// A loaded model with the options it is run with.
struct PlacedModel {
  std::unique_ptr<Model> model;
  EngineOptions options;  ///< the context is what fits, the chunk what suits the device
  bool on_gpu = false;
  std::string device;  ///< "CPU, AVX2, 2 threads", with what the user should know in parentheses
};

/// Loads `file` onto `options.device`: "auto", "cpu", "cuda", "cuda:N". "auto" takes the first GPU
/// if there is one and the model fits it, otherwise the CPU, with the reason in `device` where a
/// GPU module is installed. A context that does not fit a GPU is shortened, down to 1,024 tokens.
/// Errors: invalid_argument (no such name), unsupported (no module), not_found (no driver or
/// device), out_of_memory (the message says what would be needed), and those of
/// load_model_weights().
Result<PlacedModel> place_model(std::shared_ptr<const GgufFile> file, const ModelConfig& config,
                                const EngineOptions& options,
                                const std::function<void(double)>& progress);

/// What a model takes of a device's memory, in bytes.
struct MemoryPlan {
  uint64_t weights = 0;  ///< as the device holds them
  uint64_t work = 0;     ///< activations of the longest pass, workspaces
  uint64_t kv_cell = 0;  ///< keys and values of one token
  uint64_t bytes(int32_t context, int32_t slots) const {
    return weights + work + kv_cell * static_cast<uint64_t>(context) * static_cast<uint64_t>(slots);
  }
  /// The longest context for which it all fits `free`, a multiple of 32; 0 if not even the weights
  /// do.
  int32_t longest_context(uint64_t free, int32_t slots) const;
  /// "3.9 GiB: 3.5 GiB weights, 0.4 GiB work, ..."
  std::string text(int32_t context, int32_t slots) const;
};
MemoryPlan plan_memory(const GgufFile& file, const ModelConfig& config, const Backend& backend,
                       int32_t pass_tokens);

}  // namespace cambium::engine
