// The qwen3 family (R1-0528-Qwen3): the llama shape whose queries and keys are normalised by head
// before they are rotated, in halves.
#pragma once

#include "engine/models/model.h"

namespace cambium::engine {

Result<std::unique_ptr<Model>> load_qwen3(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress);

}  // namespace cambium::engine
