// Launchers of every kernel, plain C++ so that host code needs no nvcc. All are asynchronous on the
// stream in `Launch`; they return the launch's error. Pointers are device memory unless said
// otherwise. Where a position may come from the device (a captured step), `cell` wins if not null.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/cuda/layout.h"
#include "engine/ops.h"

namespace cambium::engine::cuda {

struct Launch {
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
  int64_t shared_bytes = 0;  ///< shared memory of a multiprocessor
  bool dependent = false;    ///< programmatic dependent launch (compute capability >= 9.0)
};

/// The position of a pass: an immediate, or read by the kernel.
struct Cell {
  const int32_t* device = nullptr;
  int32_t value = 0;
#ifdef __CUDACC__
  __device__ int32_t read() const { return device != nullptr ? *device : value; }
#endif
};

/// Weights that a later kernel reads: one that waits more than it loads starts them on their way to
/// the L2.
struct Prefetch {
  const void* data = nullptr;
  int64_t bytes = 0;
};

// --- quantized activations -----------------------------------------------------------------------
// int8 with one scale per 32 columns. Columns are padded to 256, within a block of 32 in the order
// of the B operand: byte 8·t + 4·h + j holds k = 16·h + 4·t + j.
//   values [n_block][width][32], scales [n_block][width] of (d, d·Σq); width 1 or 8.
//
// A row x that is read under a norm is quantized in one of two ways, whose bits differ:
//   whole: norm(x), which asks for all of x first;
//   ready: x·weight, and squares [width][n_block] is Σx² of each block: whoever multiplies them works
//     out 1 / rms from those and multiplies its sums by it, so that whoever makes 32 neighbouring
//     columns of x may quantize them.
struct Activations {
  int8_t* values = nullptr;
  float2* scales = nullptr;
  float* squares = nullptr;  ///< of ready rows under a norm
};
inline constexpr int kMaxColumns = 8;  ///< tokens the quantized kernels take at once

/// x [n_tokens <= 8, cols] -> whole rows of width 8, rms-normed with `norm` [cols] unless null, or of
/// width 1 for one token, which must come without a norm. cols a multiple of 4.
cudaError_t quantize_rows(const Launch&, const float* x, const float* norm, float eps, int cols,
                          int n_tokens, Activations out);
/// The same as ready rows, of one token too; cols under a norm a multiple of 32. Without a norm the
/// bits are those of quantize_rows().
cudaError_t ready_rows(const Launch&, const float* x, const float* norm, int cols, int n_tokens,
                       Activations out);

// --- matmul on quantized weights, 1 to 8 tokens
// ----------------------------------------------------
enum class Epilogue : uint8_t {
  store,     ///< y (+ bias), or y += with `accumulate`
  silu_mul,  ///< targets 0, 1 are gate and up: y0 = silu(gate)·up
  rope_kv,   ///< targets are q, k, v: rotate q and k, write q to y0, k and v to the cache
};

struct MatmulTile {
  const uint8_t* tiles = nullptr;
  float* y = nullptr;  ///< [n_tokens, rows]
  const float* bias = nullptr;
  int32_t rows = 0;
  bool accumulate = false;
};

struct KvCells {
  void* k = nullptr;  ///< of one layer; layouts in kv.cuh
  void* v = nullptr;
  int32_t n_cells = 0, n_kv_head = 0, head_dim_k = 0, head_dim_v = 0;
  bool q8 = false;
  bool latent = false;  ///< v is null: a value is the last head_dim_v elements of its key
};

struct RopeArgs {
  const float* freq = nullptr;  ///< device, [n_rot / 2]
  int32_t n_rot = 0;
  float magnitude = 1;
  bool interleaved = false;
};

struct MatmulArgs {
  TileType type = TileType::q4_k;
  MatmulTile target[3];
  int32_t n_targets = 1;
  int32_t cols = 0;
  int32_t n_tokens = 1;
  /// One token, unless null: every block quantizes x, under `norm` unless null, to the bits that
  /// `activations` would have.
  const float* x = nullptr;
  const float* norm = nullptr;
  /// More, or x null: already quantized; ready and under a norm where squares are there.
  Activations activations;
  float eps = 0;  ///< of the norm
  Epilogue epilogue = Epilogue::store;
  /// Rows are ready ones, also x's; otherwise whole.
  bool ready = false;
  /// Unless its values are null: the result as the next kernel reads it, under `made_norm` unless
  /// null, to the bits that ready_rows() makes of it. Then `ready` and can_make(), one target or
  /// silu_mul, whose y may be null; not what `activations` name.
  Activations made;
  const float* made_norm = nullptr;
  /// rope_kv: which target is q (0), k (1), v (2); F16 cache only; even n_rot == head_dim_k.
  int8_t role[3] = {0, 1, 2};
  RopeArgs rope;
  KvCells kv;
  Cell cell;
};
/// invalid_value: ready rows where whole ones are read, or a result that cannot be made.
cudaError_t matmul_tiles(const Launch&, const MatmulArgs&);
/// Whether matmul_tiles() takes `made` for a result of that size.
inline bool can_make(int64_t rows, int64_t cols) { return rows % 32 == 0 && cols <= 16384; }

// --- float weights, 1 to 8 tokens
// --------------------------------------------------------------------
struct FloatMatmulArgs {
  const void* weight = nullptr;  ///< [rows, cols] row-major
  DType type = DType::f16;       ///< f32, f16, bf16
  const float* x = nullptr;
  float* y = nullptr;
  const float* bias = nullptr;
  int32_t rows = 0, cols = 0, n_tokens = 1;
  bool accumulate = false;
};
cudaError_t matmul_float(const Launch&, const FloatMatmulArgs&);

// --- weights -------------------------------------------------------------------------------------
/// A GGUF matrix -> tiles.
cudaError_t repack(const Launch&, DType source, TileType type, const uint8_t* raw,
                   int64_t row_bytes, int64_t rows, int64_t cols, uint8_t* tiles);
/// Rows [first, first + n) of a tiled matrix as F16 [n, cols]; first a multiple of 16.
cudaError_t dequantize_tiles(const Launch&, TileType type, const uint8_t* tiles, int64_t cols,
                             int64_t first, int64_t n, uint16_t* out);
/// x[i, :] = table[ids[i], :]; ids on the device. `tiled` false: a float matrix of `type`.
cudaError_t embed(const Launch&, bool tiled, TileType tile, DType type, const void* table,
                  int64_t cols, const int32_t* ids, int n_tokens, float* x);

// --- elementwise
// -----------------------------------------------------------------------------------
cudaError_t rms_norm(const Launch&, const float* x, const float* w, float eps, int64_t cols,
                     int64_t n_rows, float* y);
cudaError_t silu_mul(const Launch&, const float* gate, const float* up, float* y, int64_t n);
cudaError_t add(const Launch&, const float* x, float* y, int64_t n);
cudaError_t add_bias(const Launch&, const float* bias, float* y, int64_t cols, int64_t n_rows);
/// y16 = x, clamped to what F16 holds, or rounded to bf16.
cudaError_t to_half(const Launch&, const float* x, uint16_t* y, int64_t n, bool bf16);
cudaError_t rope(const Launch&, float* x, const RopeArgs&, Cell first_pos, int n_tokens, int n_head,
                 int head_dim);
/// Token i at positions[i].
cudaError_t rope_at(const Launch&, float* x, const RopeArgs&, const int32_t* positions,
                    int n_tokens, int n_head, int head_dim);
cudaError_t kv_write(const Launch&, const KvCells&, Cell first_cell, int n_tokens, const float* k,
                     const float* v);
/// What a step runs on, in device memory.
struct StepState {
  int32_t ids[kMaxColumns];
  int32_t first_cell;
  int32_t means_from;  ///< SparseArgs::means_from
};
/// best[i] = the lowest index of the largest of logits[i, :], and its log-probability.
cudaError_t choose(const Launch&, const float* logits, int64_t n_vocab, int n_tokens,
                   BestToken* best);

/// Of each row of logits: the log-probability of wanted[row], and the `top` most likely tokens, best
/// first, of equals the lowest index first.
cudaError_t rank(const Launch&, const float* logits, int64_t n_vocab, int n_rows,
                 const int32_t* wanted, int top, float* logprobs, BestToken* best);

// --- attention
// -------------------------------------------------------------------------------------
struct StructureArgs {
  StructureMode mode = StructureMode::off;
  const int32_t* scope = nullptr;  ///< [cells]
  const int32_t* last = nullptr;
  const int32_t* place = nullptr;
  PruneRule prune;
  uint64_t prune_heads = 0;
  const float* scale = nullptr;  ///< emphasis α [3, n_head]
  const float* bias = nullptr;   ///< emphasis β
  /// prune: visible key blocks of 32, [tile][stream] lists; a set top bit says "wholly visible".
  const int32_t* offsets = nullptr;
  const uint32_t* blocks = nullptr;
  int32_t query_tile = 1;
};

/// SparseRule on the device. The queries of a pass, at most kMostSparseTokens, choose each their own
/// blocks, so that a token's result does not depend on those beside it.
struct SparseArgs {
  SparseRule rule;  ///< from 0: every block is read, and nothing below is needed
  float* means =
      nullptr;      ///< mean keys of this layer's blocks, [n_kv_head][n_cells / 32][head_dim_k]
  Cell means_from;  ///< first block without its mean; choosing adds those it asks for
  float* scores = nullptr;     ///< workspace, [n_tokens][n_head][n_cells / 32]
  uint32_t* blocks = nullptr;  ///< what is chosen, [n_tokens][n_kv_head][capacity], ascending
  int32_t capacity = 0;        ///< most_sparse_blocks()
};

struct AttentionKernelArgs {
  const float* q = nullptr;
  float* out = nullptr;
  KvCells kv;
  int32_t n_tokens = 0, n_head = 0;
  Cell first_cell;
  float scale = 1;
  StructureArgs structure;
  SparseArgs sparse;            ///< without structure only
  float* partial = nullptr;     ///< workspace of attention_partial_floats()
  int32_t* arrivals = nullptr;  ///< zeroed counters, kMaxArrivals; left zero
  /// [n_tokens] cells that each query does not see, or null. Then neither sparse nor latent, and the
  /// lists of `structure` are those of one stream.
  const HiddenCells* hidden = nullptr;
};
inline constexpr int kMaxArrivals = 4096;
inline constexpr int kKeyBlock = 32;

/// Streams that share the keys of one query tile: key block b belongs to stream b % n. It depends
/// on the model and device alone, so that a token's result does not depend on how many run with it.
int attention_streams(int n_tokens, int n_kv_head, int multiprocessors);
int64_t attention_partial_floats(int n_tokens, int n_head, int n_kv_head, int head_dim_v,
                                 bool sparse, int multiprocessors);
/// With a sparse rule choose_blocks() goes before it.
cudaError_t attention(const Launch&, const AttentionKernelArgs&);
/// Fills sparse.blocks, and sparse.means up to the last query's sparse_range().last.
cudaError_t choose_blocks(const Launch&, const AttentionKernelArgs&);
/// Cells of the longest cache that choose_blocks() takes.
inline constexpr int kMostSparseCells = 11264 * kKeyBlock;

}  // namespace cambium::engine::cuda
