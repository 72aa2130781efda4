// What block-sparse attention (SparseRule) saves over a long answer, and what it costs in agreement
// with attention over every cell. Blocks; one thread calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/request.h"
#include "engine/result.h"
#include "engine/sparse_rule.h"

namespace cambium::engine {

/// Attention of one layer for one new token, milliseconds, the best of several.
struct LongStep {
  int32_t cells = 0;
  double dense_ms = 0, sparse_ms = 0;
};
/// At the shape of R1-Distill-Llama-8B (32 heads over 8 of 128 elements), random keys and values, on
/// the CPU.
Result<std::vector<LongStep>> bench_long_steps(std::span<const int32_t> lengths, int threads);

/// A model reads all but the last `steps` tokens of each text with dense attention and those one by
/// one, with dense attention and by a SparseRule, on the CPU.
struct LongAgreementOptions {
  int32_t context =
      2048;  ///< tokens of a text; more than the model was made for: ModelConfig::stretch
  int32_t steps = 128;  ///< at most half of them
  SparseRule rule;
};
struct LongAgreement {
  int32_t texts = 0, steps = 0;  ///< texts long enough; steps in all
  double stretch = 1;            ///< context over what the model was made for
  double read = 0;               ///< share of the blocks that sparse attention reads, 0..1
  double same_best = 0;          ///< share of steps with the same most likely token, 0..1
  double divergence = 0;  ///< mean of KL(dense || sparse) of the next token's distribution, nats
  double dense_nats = 0;  ///< mean loss of the text's own tokens
  double loss_difference = 0, loss_interval = 0;  ///< sparse - dense, and half its 95 % interval
  double dense_ms = 0, sparse_ms = 0;             ///< of a step, medians
};
/// Fails as load_model() does, or with invalid_argument where no text is long enough.
Result<LongAgreement> bench_long_agreement(const std::string& path, const LoadOptions& load,
                                           std::span<const std::string> texts,
                                           const LongAgreementOptions& options);

}  // namespace cambium::engine
