// Hyperparameters of a model, read once from its file and checked; after that no code asks the file
// for a number again. Plain values, immutable after from_gguf().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

class GgufFile;

/// How each layer uses the tree (design: the parent mask).
struct StructureConfig {
  std::vector<StructureMode> mode;    ///< [n_layer]
  std::vector<uint64_t> prune_heads;  ///< [n_layer] bit h: head h prunes (in layers of mode prune)
  PruneRule rule;

  bool uses(StructureMode which) const;
  /// False: attention sees every earlier token, labels change nothing.
  bool any() const { return uses(StructureMode::emphasis) || uses(StructureMode::prune); }
  /// The rule by which two label sequences are compared for reuse: without a pruning layer, places
  /// matter to nobody and the window is endless.
  PruneRule reuse_rule() const;
};

/// Overrides of the file's structure metadata.
struct StructureOverride {
  std::optional<StructureMode> mode;  ///< for every layer
  std::optional<PruneRule> rule;
};

struct ModelConfig {
  std::string architecture;  ///< "llama", "cambium"
  std::string name;          ///< general.name, or the file's name
  int32_t n_layer = 0;
  int32_t n_embd = 0;
  int32_t n_ff = 0;
  int32_t n_head = 0;
  int32_t n_kv_head = 0;
  int32_t head_dim_k = 0;
  int32_t head_dim_v = 0;
  int32_t n_vocab = 0;
  int32_t context = 0;  ///< tokens the model was made for
  float norm_eps = 0;
  float attention_scale = 0;  ///< 1/sqrt(head_dim_k)
  RopeLayout rope_layout = RopeLayout::interleaved;
  std::vector<float> rope_freq;  ///< [n_rot / 2] radians a position, scaling included
  StructureConfig structure;

  /// Reads the keys of a `llama`-family file. Errors: unsupported (architecture, a kind of RoPE
  /// scaling or of layer this build lacks), bad_format (a missing or absurd value); the message
  /// names file, key, expected and found.
  static Result<ModelConfig> from_gguf(const GgufFile& file,
                                       const StructureOverride& structure = {});

  RopeTable rope() const { return {rope_layout, rope_freq, 1.0f}; }
  KvShape kv_shape(int32_t n_cells) const;
  /// Bytes of keys and values a cell takes over all layers.
  size_t kv_bytes_per_cell() const;
};

/// "llama, cambium": what from_gguf() reads, for messages.
std::string supported_architectures();

}  // namespace cambium::engine
