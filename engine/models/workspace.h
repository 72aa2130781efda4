// What forward passes of every family need besides their layers: buffers that grow with the longest
// pass, and the logits of the rows asked for.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/models/model.h"
#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

using BufferPtr = std::unique_ptr<Buffer>;

/// A buffer of so many floats a row.
struct WantedBuffer {
  BufferPtr* buffer = nullptr;
  int64_t cols = 0;
};
/// Makes each [rows, cols] floats, its old contents lost.
Result<void> grow_buffers(Backend& backend, int64_t rows, std::span<const WantedBuffer> wanted);

/// The last step of a pass: norm(x[rows]) · output, brought to the host.
class OutputRows {
 public:
  struct Weights {
    const Weight* norm = nullptr;    ///< [n_embd]
    const Weight* matrix = nullptr;  ///< [n_vocab, n_embd]
    float norm_eps = 0;
  };
  /// Room for `n_rows` rows.
  Result<void> prepare(Backend& backend, int32_t n_rows, int32_t n_vocab);
  /// Waits for the pass. x [n_tokens, n_embd]; h is scratch of the same size; `rows` ascending, at
  /// most as many as prepared. The result lives until the next call.
  Result<std::span<const float>> compute(Backend& backend, const Weights& weights, const float* x,
                                         float* h, std::span<const int32_t> rows);
  /// Room for n floats of logits that came another way.
  std::span<float> host(size_t n);

 private:
  int32_t n_rows_ = 0;
  BufferPtr logits_;         // [n_rows, n_vocab]
  std::vector<float> host_;  // the same, for the sampler
};

/// Asked twice a layer: keeps the device at most about half a layer behind, then asks.
inline bool given_up(const Pass& pass, Backend& backend) {
  if (!pass.give_up) return false;
  backend.pace();
  return pass.give_up();
}

/// Logits of `rows` (ascending, not empty) of a program's last step, side by side in `output`'s
/// memory.
Result<std::span<const float>> program_rows(DecodeProgram& program, std::span<const int32_t> rows,
                                            int32_t n_vocab, OutputRows& output);

}  // namespace cambium::engine
