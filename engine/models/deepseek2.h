// The deepseek2 family: DeepSeek-V2, V2-Lite, Coder-V2, V2.5, V3 and R1. Multi-head latent attention
// (the cache keeps one latent vector a token, and the projections of keys and values are absorbed
// into queries and outputs) and mixtures of experts with shared ones.
// Papers: DeepSeek-V2 (2024), sections 2.1 and 2.2; DeepSeek-V3 (2024), section 2.1.
#pragma once

#include "engine/models/model.h"

namespace cambium::engine {

/// unsupported on a backend without Backend::load_stack().
Result<std::unique_ptr<Model>> load_deepseek2(std::shared_ptr<const GgufFile> file,
                                              ModelConfig config, std::unique_ptr<Backend> backend,
                                              const std::function<void(double)>& progress);

}  // namespace cambium::engine
