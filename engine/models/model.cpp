#include "engine/models/model.h"

#include <string_view>

#include "engine/models/deepseek2.h"
#include "engine/models/llama.h"
#include "engine/models/qwen2.h"
#include "engine/models/qwen3.h"

namespace cambium::engine {

Result<std::unique_ptr<Model>> load_model_weights(std::shared_ptr<const GgufFile> file,
                                                  ModelConfig config,
                                                  std::unique_ptr<Backend> backend,
                                                  const std::function<void(double)>& progress) {
  using Load = Result<std::unique_ptr<Model>> (*)(std::shared_ptr<const GgufFile>, ModelConfig,
                                                  std::unique_ptr<Backend>,
                                                  const std::function<void(double)>&);
  constexpr std::pair<std::string_view, Load> families[] = {{"llama", load_llama},
                                                            {"cambium", load_llama},
                                                            {"qwen2", load_qwen2},
                                                            {"qwen3", load_qwen3},
                                                            {"deepseek2", load_deepseek2}};
  for (const auto& [architecture, load] : families) {
    if (config.architecture == architecture) {
      return load(std::move(file), std::move(config), std::move(backend), progress);
    }
  }
  return fail(ErrorCode::unsupported,
              file->path() + ": architecture \"" + config.architecture +
                  "\" is not supported; supported: " + supported_architectures());
}

}  // namespace cambium::engine
