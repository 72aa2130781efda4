#include "engine/models/qwen2.h"

#include <utility>

#include "engine/models/llama.h"

namespace cambium::engine {

Result<std::unique_ptr<Model>> load_qwen2(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress) {
  return load_dense(std::move(file), std::move(config), {.qkv_bias = DecoderTraits::Has::yes},
                    std::move(backend), progress);
}

}  // namespace cambium::engine
