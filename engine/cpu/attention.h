// Attention of the CPU backend: how the work of one call is cut into tiles and spread over threads.
//
// A tile is up to eight rows (queries of heads that share a head of keys). Few queries are split
// over chunks of cells as well, so that decoding with few heads still uses every thread; the
// chunks' results are merged in the order of the cells, which gives the same bits as one pass.
#pragma once

#include <span>
#include <vector>

#include "engine/cpu/host_buffer.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/thread_pool.h"
#include "engine/ops.h"

namespace cambium::engine::cpu {

class CpuKv final : public KvStore {
 public:
  /// data() of the memory is null if there was none.
  CpuKv(const KvShape& kv_shape, size_t* in_use);
  bool ok() const { return memory_.data() != nullptr; }
  KvHead head(int32_t layer, int32_t kv_head) const;

  /// Mean keys of a head's blocks [0, n_blocks), all of whose cells were written: [n_blocks, dk].
  /// Kept from call to call; one thread a head. `byte_bias`: Kernels::byte_bias of what wrote them.
  const float* block_means(int32_t layer, int32_t kv_head, int32_t n_blocks, uint8_t byte_bias);
  /// Cells from `first` on of a layer are about to change.
  void forget_means(int32_t layer, int32_t first);

 private:
  struct Means {
    int32_t n_blocks = 0;
    std::vector<float> mean;
  };
  HostMemory memory_;
  std::vector<Means> means_;  // [n_layer, n_kv_head], empty until asked for
};

/// Queries of a VisibleBlocks tile this kernel wants.
constexpr int32_t attention_query_tile(int32_t n_tokens) { return n_tokens < 8 ? 1 : 8; }

class Attention {
 public:
  Attention(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  /// Backend::attention.
  void run(const AttentionArgs& args);
  size_t bytes() const;

 private:
  struct HeadSet;
  void copy_labels(const AttentionArgs& args);
  void choose_blocks(const AttentionArgs& args, CpuKv& kv, int32_t kv_head);
  void run_heads(const AttentionArgs& args, const CpuKv& kv, int32_t kv_head, const HeadSet& heads,
                 int32_t first_token, int32_t last_token, int32_t first_block, int32_t last_block,
                 float* partial, int thread, std::span<const int32_t> chosen = {});
  void merge_chunks(const AttentionArgs& args, const CpuKv& kv, int32_t n_chunks);
  void bias_of_scopes(const AttentionArgs& args, int32_t cell, int32_t head, float* out) const;
  float* scratch(int thread, size_t floats);

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<int32_t> scope_, last_, place_;  // labels, padded to whole key blocks
  std::vector<std::vector<int32_t>> chosen_;   // [n_kv_head, n_tokens] blocks; empty: all
  std::vector<std::vector<float>> scratch_;    // a thread
  std::vector<float> partial_;                 // [chunk][query][head]: m, l, o[dv]
};

}  // namespace cambium::engine::cpu
