// Weights of the CPU backend and their products: what is repacked at load, how columns are cut into
// tiles, and how panels are handed to threads.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/cpu/host_buffer.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/thread_pool.h"
#include "engine/ops.h"

namespace cambium::engine::cpu {

struct CpuWeight final : Weight {
  TensorView view;  ///< the file's bytes; read by embed() and by types kept as rows
  PanelLayout layout;
  std::byte* panels = nullptr;        ///< null unless repacked
  std::shared_ptr<HostMemory> owner;  ///< of panels
  std::vector<float> vector;          ///< WeightUse::vector only
};

/// Targets that share an input: y = W·x for each.
struct MatmulGroup {
  std::span<const MatmulTarget> targets;
  const float* x = nullptr;  ///< [n_tokens, cols]
  int32_t n_tokens = 0;
};

class Matmul {
 public:
  Matmul(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  Result<std::unique_ptr<Weight>> load(const TensorView& view, WeightUse use, size_t* in_use);
  /// Backend::matmul.
  void run(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) {
    const MatmulGroup only{targets, x, n_tokens};
    run({&only, 1});
  }
  /// Several at once, which the threads share: the experts of a layer, the heads of a projection.
  void run(std::span<const MatmulGroup> groups);
  size_t bytes() const;

 private:
  struct Task;
  /// Where the tiles of a group are in byte_tiles_ and float_tiles_, which run in step.
  struct Input {
    size_t first = 0, last = 0;
    bool bytes = false, floats = false;
  };
  void cut_tiles(int32_t n_tokens);
  void lay_out(std::span<const MatmulGroup> groups);
  void fill_byte_tile(const MatmulGroup& group, const Tile& tile);
  void fill_float_tile(const MatmulGroup& group, const Tile& tile);
  void run_task(const MatmulTarget& target, const Task& task, int thread);
  void run_rows(const MatmulTarget& target, const Task& task, int thread);

  const Kernels& kernels_;
  ThreadPool& pool_;
  Arena arena_;
  std::vector<Input> inputs_;
  std::vector<Tile> byte_tiles_, float_tiles_;
  std::vector<std::byte> byte_data_, float_data_;
  std::vector<std::vector<float>> rows_;  // a thread: one panel of dequantized rows
};

}  // namespace cambium::engine::cpu
