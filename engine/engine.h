// Loads model files and hands out generators. Owns the memory budget and one thread a device.
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/generator.h"
#include "engine/result.h"

namespace cambium::engine {

struct EngineOptions {
  int threads = 0;              ///< compute threads; 0: physical cores
  std::string device = "auto";  ///< "auto", "cpu", "cuda", "cuda:1"
  int32_t context = 4096;       ///< cells a slot
  int32_t slots = 2;            ///< sequences kept warm; memory is touched only as it is used
  int32_t prefill_chunk = 256;  ///< tokens between two looks at the cancel flag; a GPU takes >= 512
  /// What the user should know, a sentence: before a GPU is loaded what it will hold, and that a GPU
  /// failed and the CPU goes on. On the calling or the engine thread; may be null.
  std::function<void(const std::string&)> on_notice = nullptr;
};

/// Cells from which block-sparse attention is used, where a setting turns it on: about where it
/// begins to save time on a CPU. One H200 gains from some 20,000 on (engine/cuda/README.md).
inline constexpr int32_t kSparseFrom = 8192;

struct LoadOptions {
  EngineOptions engine;
  /// A step in this cell or a later one reads the first cells, the last ones and the most promising
  /// blocks between (SparseRule); 0: every cell. Not with a structure mode, nor for latent attention
  /// on a GPU.
  int32_t sparse_from = 0;
  /// Overrides of the file's structure metadata; unset: as the file says.
  std::optional<StructureMode> structure;
  std::optional<PruneRule> prune;
  std::string
      adapter;  ///< GGUF file of type adapter, laid over the model (engine/adapter.h); or empty
  std::function<void(double fraction)> on_progress;  ///< 0..1, on the calling thread
};

/// A loaded model with its scheduler thread; the thread ends with the object.
Result<std::shared_ptr<Generator>> load_model(const std::string& path, const LoadOptions& options);

}  // namespace cambium::engine
