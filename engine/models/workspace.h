// What forward passes of every family need besides their layers: buffers that grow with the longest
// pass, and the logits of the rows asked for.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <utility>
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
  /// `result` with the rows that `pass` asks for, ranked or as logits. Waits for the pass.
  /// x [n_tokens, n_embd]; h is scratch of the same size. The rows live until the next call.
  Result<PassResult> answer(Backend& backend, const Weights& weights, const float* x, float* h,
                            const Pass& pass, PassResult result);
  /// Room for n floats of logits that came another way.
  std::span<float> host(size_t n);

 private:
  /// The logits of `rows`, ascending, at most as many as prepared.
  Result<std::span<const float>> compute(Backend& backend, const Weights& weights, const float* x,
                                         float* h, std::span<const int32_t> rows);
  /// The rows ranked as `pass` wants them, in pieces.
  Result<void> rank(Backend& backend, const Weights& weights, const float* x, float* h,
                    const Pass& pass, PassResult& result);
  Result<void> rank_piece(Backend& backend, int64_t n_vocab, std::span<const TokenId> wanted,
                          int32_t top, size_t first);

  int32_t n_rows_ = 0;
  BufferPtr logits_;         // [n_rows, n_vocab]
  std::vector<float> host_;  // the same, for the sampler
  std::vector<float> logprobs_;
  std::vector<BestToken> best_;
};

/// Asked twice a layer: keeps the device at most about half a layer behind, then asks.
inline bool given_up(const Pass& pass, Backend& backend) {
  if (!pass.give_up) return false;
  backend.pace();
  return pass.give_up();
}

/// The captured step of a backend that has one for the model's ops, and what its last run was asked for.
class FusedStep {
 public:
  /// Ops: DecoderOps or LatentDecoderOps. A backend without such a step leaves this one out.
  template <class Ops>
  Result<void> compile(Backend& backend, const Ops& ops) {
    auto program = backend.compile_decode(ops);
    if (!program && program.error().code == ErrorCode::unsupported) return {};
    if (!program) return tl::unexpected(program.error());
    program_ = std::move(*program);
    return {};
  }
  /// Whether it can run a pass of so many tokens.
  bool takes(int32_t n_tokens) const { return program_ && n_tokens <= kMostTokens; }
  /// The pass in one step; `attention` has its cells and visible blocks, null without structure. Adds
  /// its rows to `result`; those of logits are in `output`'s memory.
  Result<PassResult> run(const Pass& pass, const AttentionArgs& attention, int32_t n_vocab,
                         OutputRows& output, PassResult result);
  /// A pass went another way: there are no rows of it here.
  void forget() { rows_.clear(); }
  bool has_rows() const { return program_ && !rows_.empty(); }
  /// Logits of the last pass's rows, side by side in `output`'s memory; has_rows().
  Result<std::span<const float>> logits(int32_t n_vocab, OutputRows& output);

 private:
  static constexpr int32_t kMostTokens = 8;  // what DecodeProgram::step takes at once
  std::unique_ptr<DecodeProgram> program_;   // null: none
  std::array<BestToken, kMostTokens> best_;  // of the last pass
  std::vector<int32_t> rows_;                // whose logits the program still has, ascending
};

}  // namespace cambium::engine
