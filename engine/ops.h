// Every operation a model's forward pass is made of, declared once. engine/cpu/ implements them for
// the CPU, engine/cuda/ for a GPU; engine/cpu/reference.* is the plain twin both are tested against.
//
// Contract
// - A Backend is used from one thread (the engine thread of its device). Work may be asynchronous:
//   ops are enqueued in order, errors surface at synchronize() or download().
// - `float*` and KvStore arguments are memory of this backend, from allocate() and create_kv().
//   Matrices are row-major; [n, d] means n rows of d contiguous floats.
// - Shapes are the caller's promise: checked by assert in debug builds, validated once at model load.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/attention_mask.h"
#include "engine/result.h"
#include "engine/tensor.h"

namespace cambium::engine {

/// Memory of a backend, freed with the object. The backend outlives its buffers.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual size_t bytes() const = 0;
  float* f32() { return static_cast<float*>(data()); }
};

/// A weight matrix as the backend holds it (mapped as it is, or repacked at load).
class Weight {
 public:
  virtual ~Weight() = default;
  DType type = DType::f32;
  int64_t rows = 0;  ///< outputs
  int64_t cols = 0;  ///< inputs
};

/// How a weight will be read; decides whether and how it is repacked.
enum class WeightUse : uint8_t {
  matmul,     ///< y = W·x
  embedding,  ///< rows are gathered
  both,       ///< tied: an embedding that is also the output matrix
  vector,     ///< a norm or bias, kept as f32
};

/// Keys and values of one slot, all layers; layout is the backend's own.
/// Cell i holds the token at index i of the slot's sequence.
struct KvShape {
  int32_t n_layer = 0, n_kv_head = 0, head_dim_k = 0, head_dim_v = 0, n_cells = 0;
  DType type = DType::f16;  ///< f16 or q8_0
};
class KvStore {
 public:
  virtual ~KvStore() = default;
  KvShape shape;
};

enum class RopeLayout : uint8_t {
  interleaved,  ///< pairs (2i, 2i+1): the `llama` architecture's files
  split,        ///< pairs (i, i + n/2): qwen2, qwen3 ("NeoX")
};

/// Rotary position embedding (Su et al. 2021). The angle of pair i at position p is
/// p · freq[i]; `freq` already holds linear, llama3 or YaRN scaling.
struct RopeTable {
  RopeLayout layout = RopeLayout::interleaved;
  std::span<const float> freq;  ///< [n_rot / 2], host memory
  float magnitude = 1.0f;       ///< YaRN's mscale, multiplies cos and sin
};

struct MatmulTarget {
  const Weight* weight = nullptr;
  float* y = nullptr;             ///< [n_tokens, weight->rows]
  const Weight* bias = nullptr;   ///< [rows], or null
  bool accumulate = false;        ///< y += W·x: the residual connection
};

struct AttentionArgs {
  const float* q = nullptr;  ///< [n_tokens, n_head, head_dim_k], rotated
  float* out = nullptr;      ///< [n_tokens, n_head, head_dim_v]
  const KvStore* kv = nullptr;
  int32_t layer = 0;
  int32_t n_tokens = 0;   ///< queries; query i sits in cell first_cell + i and sees cells <= its own
  int32_t first_cell = 0;
  int32_t n_head = 0;     ///< a multiple of kv->shape.n_kv_head
  float scale = 0;        ///< usually 1/sqrt(head_dim_k)

  /// Structure. With mode off everything below is ignored.
  StructureMode mode = StructureMode::off;
  const TokenStructure* cells = nullptr;   ///< labels of cells [0, first_cell + n_tokens), host memory
  const VisibleBlocks* visible = nullptr;  ///< prune: computed once a step, shared by all layers
  PruneRule prune;
  uint64_t prune_heads = ~0ull;      ///< prune: bit h set if head h prunes; the others see all
  const float* emphasis_scale = nullptr;  ///< emphasis: α[3, n_head], host memory
  const float* emphasis_bias = nullptr;   ///< emphasis: β[3, n_head]; score·(1+α)+β
};

/// A whole decoder of the llama shape, for a backend that runs a step as one. Everything pointed to
/// outlives the program; an optional weight is null.
struct DecoderOps {
  struct Layer {
    const Weight *attn_norm = nullptr, *wq = nullptr, *wk = nullptr, *wv = nullptr, *wo = nullptr;
    const Weight *bq = nullptr, *bk = nullptr, *bv = nullptr, *bo = nullptr;
    const Weight *q_norm = nullptr, *k_norm = nullptr;
    const Weight *ffn_norm = nullptr, *w_gate = nullptr, *w_up = nullptr, *w_down = nullptr;
    StructureMode mode = StructureMode::off;
    uint64_t prune_heads = ~0ull;
    const float* emphasis_scale = nullptr;  ///< host, [3, n_head]
    const float* emphasis_bias = nullptr;
  };
  const Weight *token_embd = nullptr, *output_norm = nullptr, *output = nullptr;
  std::vector<Layer> layers;
  int32_t n_head = 0;
  float norm_eps = 0, attention_scale = 0;
  RopeTable rope;
  PruneRule prune;
  KvShape kv;  ///< of the caches it will run on; n_cells is an upper bound
};

/// Decode steps of one model, fused. Gives the same bits for a token whatever number runs with it.
class DecodeProgram {
 public:
  virtual ~DecodeProgram() = default;
  /// Runs 1..8 tokens in cells first_cell...; waits for the end. `cells` and `visible` as in
  /// AttentionArgs, null without structure. best[i] gets the most likely token after ids[i].
  virtual Result<void> step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                            const TokenStructure* cells, const VisibleBlocks* visible,
                            std::span<int32_t> best) = 0;
  /// Logits of the last step, [n_tokens, n_vocab].
  virtual Result<void> logits(std::span<float> host) = 0;
  /// Greedy decoding without the host in between, no structure: `id` goes to first_cell, and
  /// out.size() tokens follow, each fed to the next cell.
  virtual Result<void> run_ahead(int32_t id, KvStore& kv, int32_t first_cell,
                                 std::span<int32_t> out) = 0;
};

/// Counts changes of the classes here that a module built before one would not know.
inline constexpr int kBackendInterface = 2;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string description() const = 0;  ///< "CPU, AVX-512 VNNI, 2 threads"

  // --- memory -------------------------------------------------------------------------------
  virtual Result<std::unique_ptr<Buffer>> allocate(size_t bytes) = 0;
  /// `view` must stay mapped as long as the weight lives.
  virtual Result<std::unique_ptr<Weight>> load_weight(const TensorView& view, WeightUse use) = 0;
  virtual Result<std::unique_ptr<KvStore>> create_kv(const KvShape& shape) = 0;
  virtual void upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual Result<void> download(void* to_host, const void* from, size_t bytes) = 0;
  virtual Result<void> synchronize() = 0;
  /// Bytes held now: weights (repacked copies; mapped files excluded), KV, workspaces.
  virtual size_t bytes_in_use() const = 0;
  /// Of memory that is the device's own, for planning before a model is loaded; 0 where the backend
  /// shares the machine's: what is free now, what a weight will take, what ops need beside the
  /// caller's buffers.
  virtual uint64_t free_bytes() const { return 0; }
  virtual uint64_t weight_bytes(const TensorView&) const { return 0; }
  virtual uint64_t work_bytes() const { return 0; }

  // --- forward ------------------------------------------------------------------------------
  /// x[i, :] = table[ids[i], :]; ids in host memory, each < table.rows.
  virtual void embed(const Weight& table, std::span<const int32_t> ids, float* x) = 0;
  /// y = x / sqrt(mean(x²) + eps) · w, over each of n_rows rows of w.cols elements (Zhang & Sennrich
  /// 2019). y may be x. Also q/k-norm, with n_rows = n_tokens · n_head.
  virtual void rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) = 0;
  /// All targets share the input x [n_tokens, cols], so that it is quantized once. The result of a
  /// column does not depend on n_tokens for n_tokens in 1..8 (speculation's identical output).
  virtual void matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) = 0;
  /// Rotates the first 2·freq.size() elements of every head in place; x [n_tokens, n_head, head_dim];
  /// token i is at position first_pos + i.
  virtual void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens,
                    int32_t n_head, int32_t head_dim) = 0;
  /// Stores k [n_tokens, n_kv_head, head_dim_k] and v in cells first_cell...
  virtual void kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens,
                        const float* k, const float* v) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  /// y = silu(gate) · up, n elements; y may be gate (SwiGLU, Shazeer 2020).
  virtual void silu_mul(const float* gate, const float* up, float* y, int64_t n) = 0;
  /// y += x, n elements.
  virtual void add(const float* x, float* y, int64_t n) = 0;

  // --- optional -------------------------------------------------------------------------------
  /// ErrorCode::unsupported where the backend has nothing faster than the ops above.
  virtual Result<std::unique_ptr<DecodeProgram>> compile_decode(const DecoderOps&) {
    return fail(ErrorCode::unsupported, "this backend has no fused decode step");
  }

  // --- geometry the attention kernel wants ----------------------------------------------------
  /// Tile sizes `visible_blocks` should be computed with for a pass over n_tokens queries.
  virtual int32_t query_tile(int32_t n_tokens) const = 0;
  virtual int32_t key_block() const = 0;
};

/// The CPU backend; `threads` 0 takes the number of physical cores. `isa` forces a narrower
/// instruction set than the machine has (tests): "avx512", "avx2", "scalar", "" for the best.
std::unique_ptr<Backend> make_cpu_backend(int threads = 0, const std::string& isa = "");

}  // namespace cambium::engine
