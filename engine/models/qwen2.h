// The qwen2 family (Qwen2 and Qwen2.5, R1-Distill-Qwen): the llama shape with biases on queries,
// keys and values, rotated in halves.
#pragma once

#include "engine/models/model.h"

namespace cambium::engine {

Result<std::unique_ptr<Model>> load_qwen2(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress);

}  // namespace cambium::engine
