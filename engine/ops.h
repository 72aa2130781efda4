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
#include "engine/hidden_cells.h"
#include "engine/result.h"
#include "engine/sparse_rule.h"
#include "engine/tensor.h"

namespace cambium::engine {

class TreePaths;  // engine/tree_paths.h

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
  /// Multi-head latent attention (DeepSeek-V2): a cell's value is the last head_dim_v elements of
  /// its key, so kv_write() gets v = nullptr and a backend need not keep them twice.
  bool latent = false;
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
  float* y = nullptr;            ///< [n_tokens, weight->rows]
  const Weight* bias = nullptr;  ///< [rows], or null
  bool accumulate = false;       ///< y += W·x: the residual connection
};

struct AttentionArgs {
  const float* q = nullptr;  ///< [n_tokens, n_head, head_dim_k], rotated
  float* out = nullptr;      ///< [n_tokens, n_head, head_dim_v]
  const KvStore* kv = nullptr;
  int32_t layer = 0;
  int32_t n_tokens = 0;  ///< queries; query i sits in cell first_cell + i and sees cells <= its own
  int32_t first_cell = 0;
  int32_t n_head = 0;  ///< a multiple of kv->shape.n_kv_head
  float scale = 0;     ///< usually 1/sqrt(head_dim_k)
  SparseRule sparse;   ///< with a structure mode on, or hidden cells, it is ignored
  /// [n_tokens], host memory: cells that query i does not see; null: none. Not of a latent cache on a
  /// GPU. With structure, `visible` may list blocks that are hidden.
  const HiddenCells* hidden = nullptr;

  /// Structure. With mode off everything below is ignored.
  StructureMode mode = StructureMode::off;
  const TokenStructure* cells =
      nullptr;  ///< labels of cells [0, first_cell + n_tokens), host memory
  const VisibleBlocks* visible = nullptr;  ///< prune: computed once a step, shared by all layers
  PruneRule prune;
  uint64_t prune_heads = ~0ull;           ///< prune: bit h set if head h prunes; the others see all
  const float* emphasis_scale = nullptr;  ///< emphasis: α[3, n_head], host memory
  const float* emphasis_bias = nullptr;   ///< emphasis: β[3, n_head]; score·(1+α)+β
  const TreePaths* tree = nullptr;        ///< tree: of `cells` and of those to come
  const float* tree_bias = nullptr;       ///< tree: [kTreeClasses, n_head], host memory; score + it
};

enum class Gating : uint8_t {
  softmax,  ///< DeepSeek-V2: a group's score is that of its best expert
  sigmoid,  ///< DeepSeek-V3: a group's score is the sum of its two best, the bias included
};

/// How a mixture-of-experts layer chooses (DeepSeek-V2, section 2.2; DeepSeek-V3, section 2.1.2):
/// scores = gating(logits); of the `n_group_used` best groups the `n_used` experts with the largest
/// score + bias; weight = score, without bias, divided by their sum if `normalise`, times `scale`.
/// Of equals the lower index is taken.
struct ExpertRule {
  int32_t n_expert = 0, n_used = 0;
  int32_t n_group = 1, n_group_used = 1;  ///< n_expert is a multiple of n_group
  Gating gating = Gating::softmax;
  bool normalise = false;
  float scale = 1.0f;
  const Weight* bias = nullptr;  ///< [n_expert], or null
};

/// y += Σ_j weights[t, j] · W_down[e]·(silu(W_gate[e]·x) · W_up[e]·x), e = ids[t, j]. Only the
/// experts named in `ids` are read. Stacks are of load_stack().
struct ExpertsArgs {
  const Weight *gate = nullptr, *up = nullptr;  ///< n_expert of [n_ff, n_embd]
  const Weight* down = nullptr;                 ///< n_expert of [n_embd, n_ff]
  const float* x = nullptr;                     ///< [n_tokens, n_embd]
  const int32_t* ids = nullptr;                 ///< [n_tokens, n_used], of route()
  const float* weights = nullptr;               ///< [n_tokens, n_used]
  int32_t n_tokens = 0, n_used = 0;
  float* y = nullptr;  ///< [n_tokens, n_embd]
};

/// y[t, h, :] = W[h] · x[t, h, :]: a matrix of its own for each head. Strides in floats.
struct HeadMatmulArgs {
  const Weight* weight = nullptr;  ///< load_stack() of n_head
  int32_t n_tokens = 0, n_head = 0;
  const float* x = nullptr;
  int64_t x_token = 0, x_head = 0;  ///< strides
  float* y = nullptr;
  int64_t y_token = 0, y_head = 0;
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
  SparseRule sparse;  ///< of steps without structure
  KvShape kv;         ///< of the caches it will run on; n_cells is an upper bound
};

/// The same for a decoder with latent attention and mixtures of experts (DeepSeek-V2).
struct LatentDecoderOps {
  struct Ffn {
    const Weight *gate = nullptr, *up = nullptr, *down = nullptr;
  };
  struct Layer {
    const Weight* attn_norm = nullptr;
    const Weight* wq = nullptr;  ///< or, where queries are compressed, the next three
    const Weight *wq_a = nullptr, *q_a_norm = nullptr, *wq_b = nullptr;
    const Weight *wkv_a = nullptr, *kv_a_norm = nullptr;
    const Weight *wk_b = nullptr, *wv_b = nullptr;  ///< stacks of n_head
    const Weight *wo = nullptr, *ffn_norm = nullptr;
    Ffn dense;                                               ///< of a layer without experts
    const Weight *router = nullptr, *router_bias = nullptr;  ///< router null: no experts
    Ffn experts, shared;                                     ///< stacks; shared may be null
  };
  const Weight *token_embd = nullptr, *output_norm = nullptr, *output = nullptr;
  std::vector<Layer> layers;
  int32_t n_head = 0, nope = 0, rope_dims = 0, kv_rank = 0, head_dim_v = 0;
  float norm_eps = 0, attention_scale = 0;
  RopeTable rope;
  KvShape kv;                  ///< latent
  ExpertRule rule;             ///< its bias is the layer's
  uint32_t* counts = nullptr;  ///< [n_expert], memory of the backend; as of route()
};

/// What a backend chooses by itself from a row of logits: the most likely token (of equals the
/// lowest id) and the natural log of its probability.
struct BestToken {
  int32_t id = 0;
  float logprob = 0;
};

/// Most tokens of a row that Backend::rank() tells.
inline constexpr int32_t kMostRanked = 32;

/// Decode steps of one model, fused. Gives the same bits for a token whatever number runs with it.
class DecodeProgram {
 public:
  virtual ~DecodeProgram() = default;
  /// Runs 1..8 tokens in cells first_cell...; waits for the end. `cells` and `visible` as in
  /// AttentionArgs, null without structure. best[i] gets the most likely token after ids[i]; the
  /// logits stay on the device for logits().
  virtual Result<void> step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                            const TokenStructure* cells, const VisibleBlocks* visible,
                            std::span<BestToken> best) = 0;
  /// Logits of the last step, [n_tokens, n_vocab].
  virtual Result<void> logits(std::span<float> host) = 0;
};

/// Counts changes of the classes here that a module built before one would not know.
inline constexpr int kBackendInterface = 8;

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
  /// Waits until no more than about the work since the last call is under way, or since the call
  /// before it where that is little. Called before a pass asks whether to go on, so that one that is
  /// given up leaves a device little to finish.
  virtual void pace() {}
  /// Bytes read and written a second by a large copy from the device's memory to itself.
  virtual Result<double> copy_bandwidth() {
    return fail(ErrorCode::unsupported, description() + " has no memory of its own");
  }

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
  /// The same for tokens that stand anywhere: token i is at positions[i]; host memory.
  virtual void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions,
                       int32_t n_head, int32_t head_dim) = 0;
  /// Stores k [n_tokens, n_kv_head, head_dim_k] and v (null: KvShape::latent) in cells
  /// first_cell...
  virtual void kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens,
                        const float* k, const float* v) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  /// y = silu(gate) · up, n elements; y may be gate (SwiGLU, Shazeer 2020).
  virtual void silu_mul(const float* gate, const float* up, float* y, int64_t n) = 0;
  /// y += x, n elements.
  virtual void add(const float* x, float* y, int64_t n) = 0;

  // --- mixtures of experts and latent attention -----------------------------------------------
  // A backend without them fails in load_stack(), which comes first, and is then asked for none of
  // the others.

  /// n matrices of one shape, [view.rows / n, view.cols] each, one after the other in `view`; rows
  /// and cols of the result are those of one.
  virtual Result<std::unique_ptr<Weight>> load_stack(const TensorView&, int32_t /*n*/) {
    return fail(ErrorCode::unsupported,
                description() + " has no ops for mixtures of experts and latent attention");
  }
  /// logits [n_tokens, n_expert] to ids and weights [n_tokens, n_used], best first. Adds 1 to
  /// counts[e] (may be null) for each token that is sent to expert e.
  virtual void route(const float* /*logits*/, const ExpertRule&, int32_t /*n_tokens*/,
                     int32_t* /*ids*/, float* /*weights*/, uint32_t* /*counts*/) {}
  virtual void experts(const ExpertsArgs&) {}
  /// Each result, as of matmul(), does not depend on n_tokens for n_tokens in 1..8.
  virtual void head_matmul(const HeadMatmulArgs&) {}
  /// y[r, 0..width) = x[r, 0..width) of rows `x_stride` and `y_stride` floats apart.
  virtual void copy_rows(const float* /*x*/, int64_t /*x_stride*/, float* /*y*/,
                         int64_t /*y_stride*/, int64_t /*width*/, int64_t /*n_rows*/) {}

  // --- optional -------------------------------------------------------------------------------
  /// Of each row of logits [wanted.size(), n_vocab] the natural log of the probability of wanted[i]
  /// (host memory) and the `top` <= kMostRanked most likely tokens, best first, of equals the lowest
  /// id first. Waits. ErrorCode::unsupported where rows are as well read by the host.
  virtual Result<void> rank(const float* /*logits*/, int64_t /*n_vocab*/,
                            std::span<const int32_t> /*wanted*/, int32_t /*top*/,
                            std::span<float> /*logprobs*/, std::span<BestToken> /*best*/) {
    return fail(ErrorCode::unsupported, description() + " does not rank rows of logits");
  }
  /// ErrorCode::unsupported where the backend has nothing faster than the ops above.
  virtual Result<std::unique_ptr<DecodeProgram>> compile_decode(const DecoderOps&) {
    return fail(ErrorCode::unsupported, "this backend has no fused decode step");
  }
  virtual Result<std::unique_ptr<DecodeProgram>> compile_decode(const LatentDecoderOps&) {
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
