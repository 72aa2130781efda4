// What the fused decode steps of all families share: a step captured as a graph for a number of
// tokens and a cache, the host's mailbox, and projections of a few tokens.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "engine/cuda/backend.h"

namespace cambium::engine::cuda {

inline const CudaWeight& of(const Weight* w) { return static_cast<const CudaWeight&>(*w); }
inline const float* values_of(const Weight* w) { return w != nullptr ? of(w).f32() : nullptr; }

class StepProgram : public DecodeProgram {
 public:
  ~StepProgram() override;
  StepProgram(const StepProgram&) = delete;
  StepProgram& operator=(const StepProgram&) = delete;
  Result<void> step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                    const TokenStructure* cells, const VisibleBlocks* visible,
                    std::span<BestToken> best) final;
  Result<void> logits(std::span<float> host) final;

 protected:
  struct Projection {
    const Weight* weight;
    float* y;
    const Weight* bias = nullptr;
  };

  StepProgram(CudaBackend& backend, const Weight* token_embd, const Weight* output_norm,
              const Weight* output, float norm_eps)
      : b_(backend),
        token_embd_(token_embd),
        output_norm_(output_norm),
        output_(output),
        norm_eps_(norm_eps) {}

  /// Floats for kMaxColumns rows in the arena; the pointer is set by take_arena().
  void floats(float*& pointer, int64_t row) {
    bytes(pointer, row * kMaxColumns * static_cast<int64_t>(sizeof(float)));
  }
  template <class T>
  void bytes(T*& pointer, int64_t n) {
    parts_.emplace_back(reinterpret_cast<void**>(&pointer), arena_bytes_);
    arena_bytes_ += static_cast<size_t>(ceil_div(n, 256)) * 256;
  }
  /// One piece of memory for all that was asked for, and what every step needs. `widest`: of the
  /// rows that project() reads.
  Result<void> take_arena(int64_t widest);

  /// What else than tokens and cache a graph is captured for.
  struct Kind {
    bool structured = false;
    bool sparse = false;  ///< some query may leave blocks out
    bool operator==(const Kind&) const = default;
  };
  /// The layers, from x_ to x_.
  virtual cudaError_t enqueue_layers(const CudaKv& kv, int32_t n, Kind kind) = 0;
  /// Labels of the step to come; what a graph reads of them is part of its key.
  virtual Result<void> update_structure(const TokenStructure&, int32_t /*n_cells*/,
                                        const VisibleBlocks*, int32_t /*n*/) {
    return {};
  }
  virtual StructureArgs structure_args() const { return {}; }
  /// Of steps without structure.
  virtual SparseRule sparse_rule() const { return {}; }

  /// Sets in `args` what products read: norm(x) for n tokens of `cols`. Quantized by the products'
  /// blocks, by a launch that this enqueues, or, where rows leave ready, by the kernel that made x.
  cudaError_t input(const float* x, const Weight* norm, int64_t cols, int32_t n, MatmulArgs& args);
  /// y = W · norm(x) for every target; neighbours of the same type go in one launch. `next_norm`: the
  /// norm under which the next input() will read the only target's y, if rows leave ready.
  cudaError_t project(std::span<const Projection> targets, const float* x, const Weight* norm,
                      int32_t n, bool accumulate, const Weight* next_norm = nullptr);
  /// gate = silu(W_gate · norm(x)) · W_up · norm(x); `up` is scratch of the same size. `next_reads`:
  /// the next input() reads gate and nobody else does; if rows leave ready its floats are left out.
  cudaError_t gate_up(const Weight* w_gate, const Weight* w_up, const float* x, const Weight* norm,
                      int32_t n, float* gate, float* up, bool next_reads);

  CudaBackend& b_;
  const Weight *token_embd_, *output_norm_, *output_;
  float norm_eps_;
  Launch launch_;
  float *x_ = nullptr, *h_ = nullptr;
  StepState* state_ = nullptr;

 private:
  struct Captured {
    uint64_t kv_serial;
    int32_t n_tokens;
    Kind kind;
    const void *labels, *offsets, *blocks;  // what it reads of the structure
    cudaGraphExec_t exec;
  };
  /// What the host reads and writes, page-locked.
  struct Mailbox {
    StepState state;
    BestToken best[kMaxColumns];
  };
  /// Whether the kernel that makes rows of W quantizes them.
  bool makes(const CudaWeight& w) const { return ready_ && can_make(w.rows, w.cols); }
  Result<Kind> start(std::span<const int32_t> ids, CudaKv& kv, int32_t first_cell,
                     const TokenStructure* cells, const VisibleBlocks* visible);
  Result<cudaGraphExec_t> graph(const CudaKv& kv, int32_t n_tokens, Kind kind);
  cudaError_t enqueue(const CudaKv& kv, int32_t n, Kind kind);
  size_t logits_bytes() const {
    return kMaxColumns * static_cast<size_t>(output_->rows) * sizeof(float);
  }

  DeviceMemory arena_;
  size_t arena_bytes_ = 0;
  std::vector<std::pair<void**, size_t>> parts_;
  float* logits_ = nullptr;
  bool ready_ = false;  ///< rows leave their kernels ready
  /// Of whole rows all are plain_. Ready ones go by turns, as no kernel may write what its own other
  /// blocks still read: rows under a norm, with squares, and others.
  Activations plain_, normed_;
  /// What the last product left in one of them, for the next input().
  struct Made {
    const float* x = nullptr;
    const Weight* norm = nullptr;
    bool operator==(const Made&) const = default;
  } made_;
  BestToken* best_ = nullptr;
  Mailbox* mail_ = nullptr;
  std::vector<Captured> graphs_;
};

}  // namespace cambium::engine::cuda
