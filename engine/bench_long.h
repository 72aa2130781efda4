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

namespace cambium::engine {

/// Attention of one layer for one new token, milliseconds, the best of several.
struct LongStep {
  int32_t cells = 0;
  double dense_ms = 0, sparse_ms = 0;
};
/// At the shape of R1-Distill-Llama-8B (32 heads over 8 of 128 elements), random keys and values, on
/// the CPU.
Result<std::vector<LongStep>> bench_long_steps(std::span<const int32_t> lengths, int threads);

/// The model reads all but the last `steps` tokens of a text with dense attention and those one by
/// one, with dense attention and with sparse (32 sinks, a window of 128: of a short context the usual
/// window would leave nothing out).
struct LongAgreement {
  int32_t cells = 0;  ///< tokens read before
  int32_t steps = 0;
  double same_best = 0;   ///< share of steps with the same most likely token, 0..1
  double dense_nats = 0;  ///< mean loss of the text's own tokens
  double sparse_nats = 0;
  double read = 0;  ///< share of the cells that sparse attention reads, 0..1
};
/// The text is cut to the model's context. Fails as load_model() does, or with invalid_argument if
/// it is too short.
Result<LongAgreement> bench_long_agreement(const std::string& path, const LoadOptions& options,
                                           const std::string& text, int32_t steps);

}  // namespace cambium::engine
