// The table of kernels an instruction set provides. Each *_avx2.cpp / *_avx512.cpp fills one from
// the same templates; backend.cpp picks one at run time and does all threading. Kernels are plain
// functions of their arguments, callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/attention_mask.h"
#include "engine/cpu/kv_layout.h"
#include "engine/cpu/panels.h"
#include "engine/hidden_cells.h"

namespace cambium::engine::cpu {

/// Columns of a matmul's input, `width` side by side so that a kernel reads one stream.
/// Bytes, per group of 32 inputs: i8 q[width][32]; f32 d[width]: x ≈ d·q; f32 d·Σq; i32 −128·Σq;
/// i32 −32·Σq of the first 16; i32 −32·Σq of the last 16: see tile_group_bytes.
/// Floats: f32 x[cols][width]. Columns past `columns` are zero.
struct Tile {
  const std::byte* data = nullptr;
  int32_t first_column = 0;
  int32_t columns = 0;  ///< that exist
  int32_t width = 0;    ///< one of Kernels::widths
};
constexpr size_t tile_group_bytes(int32_t width) { return static_cast<size_t>(width) * 52; }

/// y[column, row] for the rows of panels [first, last) and all columns of `tiles`.
struct MatmulJob {
  PanelFormat format = PanelFormat::f32;  ///< not rows
  const std::byte* panels = nullptr;      ///< panel `first`
  size_t panel_bytes = 0;
  int64_t units = 0;
  int64_t first = 0, last = 0;
  int64_t rows = 0;  ///< of the whole weight; y's row stride
  const Tile* tiles = nullptr;
  int32_t n_tiles = 0;
  float* y = nullptr;
  const float* bias = nullptr;
  bool accumulate = false;
};

inline constexpr int32_t kAttentionRows = 8;
/// Running softmax of up to kAttentionRows rows: out = o / l at the end, weights relative to e^m.
/// o is [rows, dv] with KvHead's padded dv.
struct AttentionState {
  float m[kAttentionRows];
  float l[kAttentionRows];
  float* o;
};

/// Up to kAttentionRows rows (a query of a head each) that share one head of keys.
struct AttentionTile {
  KvHead kv;
  int32_t head_dim = 0;  ///< of q; kv.dk is this rounded up
  int32_t n_rows = 0;
  const float* q[kAttentionRows];  ///< [head_dim]
  int32_t cell[kAttentionRows];    ///< the row sees cells <= its own
  bool hides = false;              ///< and of those not `hidden`
  HiddenCells hidden[kAttentionRows];
  float scale = 1;

  StructureMode mode = StructureMode::off;
  TokenLabel label[kAttentionRows];
  const int32_t* scope = nullptr;  ///< labels of the cells, readable to the end of the last block
  const int32_t* last = nullptr;
  const int32_t* place = nullptr;
  PruneRule prune;
  float factor[3][kAttentionRows];  ///< emphasis: score·factor + offset, by relation
  float offset[3][kAttentionRows];
  const float* scope_bias[kAttentionRows];  ///< tree: added to the score of a key by its `scope`

  const int32_t* blocks = nullptr;  ///< ascending, those to visit; null: all of [first, last)
  const uint8_t* full = nullptr;    ///< a flag a block of `blocks`: the prune rule masks nothing
  int32_t n_blocks = 0;
  int32_t first_block = 0, last_block = 0;  ///< of this call; first a multiple of kChunkBlocks

  float* scratch = nullptr;  ///< attention_scratch_floats()
};

constexpr size_t attention_scratch_floats(int32_t dk, int32_t dv) {
  return static_cast<size_t>(kAttentionRows) *
             static_cast<size_t>(kChunkBlocks * kKeyBlock + dk + dv) +
         static_cast<size_t>(dv) + 256;
}

struct Kernels {
  const char* name;
  int lanes;
  uint8_t byte_bias;
  const int32_t* widths;  ///< tile widths in ascending order, 0 after the last
  /// Quantizes `columns` columns of x [.., cols] into a tile; groups >= ceil(cols / 32), the rest
  /// zero.
  void (*quantize_tile)(const float* x, int64_t cols, int64_t groups, int32_t columns,
                        int32_t width, std::byte* tile);
  void (*matmul)(const MatmulJob& job);

  void (*rms_norm)(const float* x, const float* w, float eps, int32_t n_rows, int64_t n_cols,
                   float* y);
  void (*silu_mul)(const float* gate, const float* up, float* y, int64_t n);
  void (*add)(const float* x, float* y, int64_t n);

  /// Stores a key [head_dim_k] and a value [head_dim_v] in a cell.
  void (*kv_store)(const KvHead& head, int32_t cell, const float* k, int32_t head_dim_k,
                   const float* v, int32_t head_dim_v);
  /// Adds the tile's blocks to the state (m = -infinity, l = 0, o = anything before the first).
  void (*attend)(const AttentionTile& tile, AttentionState& state);
  /// Adds rows [0, n_rows) of `from` to `to`.
  void (*merge)(const AttentionState& from, AttentionState& to, int32_t n_rows, int32_t dv);
};

/// Call only on a processor that has the instruction set (see backend.cpp).
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace cambium::engine::cpu
