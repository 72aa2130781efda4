// The GPU behind engine/ops.h. One stream, one thread. Ops return nothing, so the first failure is
// kept and comes out of the next synchronize() or download().
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/cuda/cublas.h"
#include "engine/cuda/device.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/mixture.h"
#include "engine/ops.h"

namespace cambium::engine::cuda {

inline constexpr size_t kCublasBytes = size_t{32} << 20;       ///< workspace of cuBLAS
inline constexpr size_t kDequantizedBytes = size_t{96} << 20;  ///< of matrices in F16, for a GEMM

/// How a decode step's rows go from kernel to kernel: each row quantized as a whole by whoever reads
/// it, or left ready by the kernel that makes it (MatmulArgs::ready). The bits differ; within a program
/// a token has the same ones whatever runs beside it.
enum class StepRows : uint8_t {
  by_width,  ///< what rows_leave_ready() says
  whole,
  ready,
};
/// Whether a model's rows should leave their kernels ready: those make them in blocks of two row tiles,
/// a multiprocessor has one such block at a time, and where n_embd has fewer tiles than there are
/// multiprocessors half of the device would have nothing to do.
constexpr bool rows_leave_ready(StepRows rows, int64_t n_embd, int multiprocessors) {
  return rows == StepRows::ready ||
         (rows == StepRows::by_width && n_embd / kTileRows > multiprocessors);
}

class CudaBuffer final : public Buffer {
 public:
  explicit CudaBuffer(DeviceMemory memory) : memory_(std::move(memory)) {}
  void* data() override { return memory_.data(); }
  size_t bytes() const override { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
};

class CudaWeight final : public Weight {
 public:
  bool tiled = false;  ///< tiles of `tile`; otherwise row-major f32, f16 or bf16 as `stored` says
  TileType tile = TileType::q4_k;
  DType stored = DType::f32;
  DeviceMemory memory;

  const uint8_t* tiles() const { return memory.as<uint8_t>(); }
  const float* f32() const { return memory.as<float>(); }
};

/// n matrices of one shape in one piece of memory, each padded to whole row tiles.
class CudaStack final : public Weight {
 public:
  std::unique_ptr<Weight> whole;
  StackView view;
};

class CudaKv final : public KvStore {
 public:
  uint64_t serial = 0;  ///< never used twice by a backend; what captured graphs are kept by
  int32_t n_cells = 0;  ///< shape.n_cells rounded up to whole key blocks
  DeviceMemory k, v;    ///< [n_layer] layers each
  KvCells layer(int32_t l) const;

  // Mean keys of blocks, by which SparseRule chooses. The memory is taken at the first pass that
  // asks for them and not cleared; which blocks have theirs is kept here.
  /// Errors: out_of_memory, and unsupported where the cache is too long to choose from.
  Result<void> reserve_means(size_t* counter);
  float* means(int32_t l) const;
  /// First block of layer l without its mean.
  int32_t means_from(int32_t l) const { return means_from_.empty() ? 0 : means_from_[at(l)]; }
  /// Blocks [0, end) of layer l have them now.
  void keep_means(int32_t l, int32_t end) {
    if (!means_from_.empty()) means_from_[at(l)] = std::max(means_from_[at(l)], end);
  }
  /// Cells from `first` on of layer l are about to change.
  void forget_means(int32_t l, int32_t first) {
    if (!means_from_.empty()) means_from_[at(l)] = std::min(means_from_[at(l)], first / kKeyBlock);
  }

 private:
  static size_t at(int32_t l) { return static_cast<size_t>(l); }
  DeviceMemory means_;               // [n_layer][n_kv_head][n_cells / kKeyBlock][head_dim_k]
  std::vector<int32_t> means_from_;  // [n_layer], empty without memory
};

/// Labels and block lists of the pass under way, on the device.
class DeviceStructure {
 public:
  /// Uploads what changed. `visible` may be null.
  Result<void> update(const TokenStructure& cells, int32_t n_cells, const VisibleBlocks* visible,
                      int32_t streams, cudaStream_t stream, size_t* counter);
  /// The part of the arguments that is the same in all layers.
  StructureArgs args() const;
  /// Room for this many cells and list entries, so that the addresses stay what they are.
  Result<void> reserve(int32_t n_cells, cudaStream_t stream, size_t* counter);

 private:
  int32_t capacity_ = 0;
  DeviceMemory labels_;    // [3][capacity]
  TokenStructure shadow_;  // what labels_ holds
  DeviceMemory offsets_, blocks_;
  bool listed_ = false;
  int32_t query_tile_ = 1;
  std::vector<int32_t> host_offsets_;
  std::vector<uint32_t> host_blocks_;
};

/// What choosing blocks needs beside the cache, in one piece of memory.
struct SparseSpace {
  int64_t score_bytes = 0, bytes = 0;
  int32_t capacity = 0;
  /// For passes of up to n_tokens over a cache of that shape.
  SparseSpace(const SparseRule& rule, const KvShape& kv, int32_t n_head, int32_t n_tokens);
  /// `memory` of `bytes`; the means of layer l.
  SparseArgs args(const SparseRule& rule, const CudaKv& kv, int32_t l, void* memory) const;
};

class CudaBackend final : public Backend {
 public:
  static Result<std::unique_ptr<CudaBackend>> create(int device);
  ~CudaBackend() override;

  std::string description() const override { return description_; }
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Result<std::unique_ptr<Weight>> load_weight(const TensorView& view, WeightUse use) override;
  Result<std::unique_ptr<KvStore>> create_kv(const KvShape& shape) override;
  void upload(void* to, const void* from_host, size_t bytes) override;
  Result<void> download(void* to_host, const void* from, size_t bytes) override;
  Result<void> synchronize() override;
  size_t bytes_in_use() const override { return in_use_; }
  uint64_t free_bytes() const override;
  uint64_t weight_bytes(const TensorView& view) const override;
  uint64_t work_bytes() const override;
  void pace() override;
  Result<double> copy_bandwidth() override;

  void embed(const Weight& table, std::span<const int32_t> ids, float* x) override;
  void rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) override;
  void matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) override;
  void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens, int32_t n_head,
            int32_t head_dim) override;
  void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions, int32_t n_head,
               int32_t head_dim) override;
  void kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens, const float* k,
                const float* v) override;
  void attention(const AttentionArgs& args) override;
  void silu_mul(const float* gate, const float* up, float* y, int64_t n) override;
  void add(const float* x, float* y, int64_t n) override;
  Result<std::unique_ptr<Weight>> load_stack(const TensorView& view, int32_t n) override;
  void route(const float* logits, const ExpertRule& rule, int32_t n_tokens, int32_t* ids,
             float* weights, uint32_t* counts) override;
  void experts(const ExpertsArgs& args) override;
  void head_matmul(const HeadMatmulArgs& args) override;
  void copy_rows(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                 int64_t n_rows) override;
  Result<void> rank(const float* logits, int64_t n_vocab, std::span<const int32_t> wanted,
                    int32_t top, std::span<float> logprobs, std::span<BestToken> best) override;
  int32_t query_tile(int32_t n_tokens) const override { return n_tokens <= kMaxColumns ? 8 : 16; }
  int32_t key_block() const override { return kKeyBlock; }
  Result<std::unique_ptr<DecodeProgram>> compile_decode(const DecoderOps& model) override;
  Result<std::unique_ptr<DecodeProgram>> compile_decode(const LatentDecoderOps& model) override;

  // --- for the decode program ------------------------------------------------------------------
  /// Makes the device the calling thread's: a model is loaded on one thread and run on another, and
  /// backends of several devices may share a thread. Every entry does it.
  void bind() const { cudaSetDevice(device_); }
  const Launch& launch() const { return launch_; }
  bool dependent_launch() const { return dependent_launch_; }
  size_t* counter() { return &in_use_; }
  /// Device copy of a rotary table, kept for the backend's life.
  Result<RopeArgs> rope_args(const RopeTable& table);
  int32_t* arrivals() { return arrivals_.as<int32_t>(); }
  /// Of programs compiled from now on; by_width unless a check or a measurement wants one of the two.
  void set_step_rows(StepRows rows) { step_rows_ = rows; }
  StepRows step_rows() const { return step_rows_; }

 private:
  CudaBackend() = default;
  /// Keeps the first failure. True if there was none so far and `e` is none.
  bool note(cudaError_t e, const char* what);
  bool note(Result<void> r);
  /// A workspace of at least `bytes`, or null after noting the failure. Grows by replacing.
  void* workspace(DeviceMemory& memory, size_t bytes);
  void matmul_few(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens);
  void matmul_many(const MatmulTarget& target, const float* x, int32_t n_tokens);
  /// cuBLAS for a pass of so many tokens, or null: too few for it, or it is not there.
  Cublas* cublas_for(int32_t n_tokens);
  /// A workspace's bytes as T, or null after noting the failure.
  template <class T>
  T* space(DeviceMemory& memory, int64_t count) {
    return static_cast<T*>(workspace(memory, static_cast<size_t>(count) * sizeof(T)));
  }
  /// A copy of `values` on the device, or null after noting the failure. Layer after layer asks for the
  /// same: `held` is what `memory` has.
  template <class T>
  const T* kept_copy(std::span<const T> values, std::vector<T>& held, DeviceMemory& memory);
  void latent_attention(const AttentionArgs& args);
  void latent_attention_many(const AttentionArgs& args, Cublas& cublas);
  void experts_few(const ExpertsArgs& args);
  void experts_some(const ExpertsArgs& args);
  void experts_many(const ExpertsArgs& args, Cublas& cublas);
  void head_matmul_many(const HeadMatmulArgs& args, Cublas& cublas);
  /// Matrices [first, first + n) of a stack in F16, row-major with the padded rows between them.
  const uint16_t* stack_half(const StackView& stack, int32_t first, int32_t n);

  std::string description_;
  int device_ = 0;
  size_t in_use_ = 0;
  Launch launch_;
  cudaEvent_t paces_[2] = {};  // recorded by turns
  unsigned pace_ = 0;
  bool long_layers_ = false;  // the last call of pace() had to wait
  bool dependent_launch_ = false;
  StepRows step_rows_ = StepRows::by_width;
  Result<void> pending_;
  std::unique_ptr<Cublas> cublas_;
  bool cublas_tried_ = false;
  uint64_t kv_serial_ = 0;
  struct RopeCopy {
    std::vector<float> freq;
    DeviceMemory memory;
  };
  std::vector<RopeCopy> ropes_;
  DeviceStructure structure_;
  struct {
    const void* cells = nullptr;
    int32_t layer = 0, first_cell = 0, n_tokens = 0;
  } structure_of_;  // the pass `structure_` was filled for
  std::vector<HiddenCells> hidden_of_;
  std::vector<int32_t> positions_of_;
  DeviceMemory hidden_, positions_, ranked_;
  DeviceMemory arrivals_, ids_, emphasis_, staging_, activations_, half_, dequantized_, partial_,
      sparse_, cublas_workspace_;
  // Of mixtures and latent attention.
  DeviceMemory expert_gate_, expert_up_, expert_half_, expert_rows_, expert_order_, scores_;
  std::vector<int32_t> expert_counts_, expert_base_;
};

}  // namespace cambium::engine::cuda
