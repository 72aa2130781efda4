// Hyperparameters of a model, read once from its file and checked; after that no code asks the file
// for a number again. Plain values, immutable after from_gguf().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

class GgufFile;

/// How each layer uses the tree (design: the parent mask).
struct StructureConfig {
  std::vector<StructureMode> mode;  ///< [n_layer]
  std::vector<uint64_t>
      prune_heads;  ///< [n_layer] bit h: head h prunes (in layers of mode prune or own)
  PruneRule rule;

  bool uses(StructureMode which) const;
  /// Heads that prune in layers of `which`, over all layers of n_head each.
  int64_t heads_of(StructureMode which, int32_t n_head) const;
  /// False: attention sees every earlier token, labels change nothing.
  bool any() const {
    return uses(StructureMode::emphasis) || uses(StructureMode::tree) || prunes();
  }
  /// True if some layer leaves keys out.
  bool prunes() const { return uses(StructureMode::prune) || uses(StructureMode::own); }
  /// The rule by which two label sequences are compared for reuse: without a pruning layer, places
  /// matter to nobody and the window is endless.
  PruneRule reuse_rule() const;
};

/// The mode a person calls so: off, emphasis, prune, own or tree.
std::optional<StructureMode> structure_mode(std::string_view name);

/// Overrides of the file's structure metadata.
struct StructureOverride {
  std::optional<StructureMode> mode;  ///< for every layer
  std::optional<PruneRule> rule;
};

/// Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values of all heads are
/// projections of one vector a token, which is what the cache keeps.
struct LatentConfig {
  int32_t q_rank = 0;   ///< of compressed queries; 0: queries are projected at once
  int32_t kv_rank = 0;  ///< elements of the latent vector
  int32_t rope = 0;     ///< elements of a key that are rotated, shared by all heads
  int32_t nope = 0;     ///< elements of a head's key that are not
  bool by_head = true;  ///< attn_k_b and attn_v_b; false: one attn_kv_b, as older files have it
};

/// Mixture of experts in the layers from n_dense on.
struct ExpertConfig {
  ExpertRule rule;       ///< its bias differs from layer to layer and is not set here
  int32_t n_ff = 0;      ///< of an expert
  int32_t n_shared = 0;  ///< experts every token goes through, as one of n_shared · n_ff
  int32_t n_dense = 0;   ///< leading layers without experts
};

struct ModelConfig {
  std::string architecture;  ///< "llama", "cambium", "qwen2", "qwen3", "deepseek2"
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
  float attention_scale = 0;  ///< 1/sqrt(head_dim_k), in deepseek2 times YaRN's factor squared
  RopeLayout rope_layout = RopeLayout::interleaved;
  std::vector<float> rope_freq;  ///< [n_rot / 2] radians a position, scaling included
  float rope_magnitude = 1.0f;   ///< YaRN's factor of rotated queries and keys
  std::optional<LatentConfig> latent;
  std::optional<ExpertConfig> experts;
  SparseRule sparse;  ///< of long answers; no file asks for it
  StructureConfig structure;

  /// Reads the keys of a supported family's file. Errors: unsupported (architecture, a kind of RoPE
  /// scaling or of layer this build lacks), bad_format (a missing or absurd value); the message
  /// names file, key, expected and found.
  static Result<ModelConfig> from_gguf(const GgufFile& file,
                                       const StructureOverride& structure = {});

  /// Lets a model be tried on `wanted` tokens, more than it was made for: its plain rotary
  /// frequencies are scaled by YaRN, without the training that belongs to it.
  void stretch(int32_t wanted);

  RopeTable rope() const { return {rope_layout, rope_freq, rope_magnitude}; }
  KvShape kv_shape(int32_t n_cells) const;
  /// Bytes of keys and values a cell takes over all layers.
  size_t kv_bytes_per_cell() const;
};

/// "llama, qwen2, …": what from_gguf() reads, for messages.
std::string supported_architectures();

}  // namespace cambium::engine
