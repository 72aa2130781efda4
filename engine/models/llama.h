// The llama family: LLaMA (Touvron et al. 2023) and what has its shape: DeepSeek-Coder,
// R1-Distill-Llama, and the project's own `cambium` models, which add structure to attention and
// may normalise queries and keys.
#pragma once

#include "engine/models/model.h"
#include "engine/weights.h"

namespace cambium::engine {

Result<std::unique_ptr<Model>> load_llama(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress);

/// A decoder of that shape whose files hold what `traits` says: what qwen2 and qwen3 are made of.
Result<std::unique_ptr<Model>> load_dense(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          const DecoderTraits& traits,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress);

}  // namespace cambium::engine
