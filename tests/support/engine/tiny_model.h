// Small models with random weights in files of their own, for tests that need a real model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/gguf.h"
#include "engine/gguf_writer.h"
#include "engine/models/model.h"

namespace cambium::test {

/// A file in a temporary folder, removed with the object.
class TempFile {
 public:
  explicit TempFile(std::string path) : path_(std::move(path)) {}
  TempFile(TempFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A path nobody else uses, ending in `name`.
TempFile temp_file(const std::string& name);

/// Query and key weights are large enough for attention scores to spread (a standard deviation of
/// about 2), so that a mistake in RoPE or in a mask shows.
struct TinyModel {
  TinyModel();
  engine::ModelShape
      shape;  ///< byte vocabulary of 320, 3 layers, width 64, 4 heads over 2, context 512
  engine::DType type = engine::DType::f32;
  uint64_t seed = 1;
  std::vector<uint32_t> structure;  ///< cambium.structure.mode a layer; empty: none written
  engine::PruneRule rule{.window = 6, .sinks = 2};
  std::vector<uint32_t> prune_heads;  ///< bit masks a layer; empty: none written
  bool tree = false;          ///< attn_tree_bias in layers of mode off; `structure` is given
  bool biases = false;        ///< on every matrix of a layer
  bool qk_norm = false;       ///< only the `cambium` architecture has them
  bool rope_factors = false;  ///< rope_freqs.weight, as Llama 3 files have it
};

engine::GgufWriter tiny_model_writer(const TinyModel& model);
/// The file; unlike the writer's, it gives every token that is not a byte a logit of 0, which is
/// never the largest: text goes on until something else ends it.
TempFile write_tiny_model(const TinyModel& model);

/// The model behind the file, on the plain CPU backend unless `isa` says otherwise.
std::unique_ptr<engine::Model> open_model(const std::string& path,
                                          const std::string& isa = "scalar");

/// Logits [tokens.size(), n_vocab] of a llama-shaped F32 file by straightforward loops in double,
/// one token after the other: shares nothing with the engine but the file reader and the mask's
/// definition.
std::vector<std::vector<double>> naive_logits(const engine::GgufFile& file,
                                              const std::vector<engine::TokenId>& tokens,
                                              const engine::TokenStructure& labels);

}  // namespace cambium::test
