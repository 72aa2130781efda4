// Mixtures of experts and projections by head on the CPU: many small products at once, so that the
// threads meet once for all of them and not once for each.
#pragma once

#include <memory>
#include <vector>

#include "engine/cpu/kernels.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/thread_pool.h"
#include "engine/ops.h"

namespace cambium::engine::cpu {

/// Matrices of one shape; rows and cols are those of one.
struct CpuStack final : Weight {
  std::vector<std::unique_ptr<Weight>> parts;  ///< each a CpuWeight
};

class Experts {
 public:
  Experts(const Kernels& kernels, ThreadPool& pool, Matmul& matmul)
      : kernels_(kernels), pool_(pool), matmul_(matmul) {}

  /// Backend::load_stack, `n` matrices.
  Result<std::unique_ptr<Weight>> load(const TensorView& view, int32_t n, size_t* in_use);
  /// Backend::experts.
  void run(const ExpertsArgs& args);
  /// Backend::head_matmul.
  void run_heads(const HeadMatmulArgs& args);
  size_t bytes() const;

 private:
  void sort_by_expert(const ExpertsArgs& args, size_t n_expert);

  const Kernels& kernels_;
  ThreadPool& pool_;
  Matmul& matmul_;
  std::vector<int32_t> first_;  // [n_expert + 1] of an expert's rows below
  std::vector<int32_t> row_;    // [n_tokens, n_used] where a choice went
  std::vector<float> x_, gate_, up_, y_;
  std::vector<MatmulTarget> targets_;
  std::vector<MatmulGroup> groups_;
};

}  // namespace cambium::engine::cpu
