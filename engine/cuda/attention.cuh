// The parent mask and the softmax bookkeeping, shared by the attention kernels.
//
// Work is cut by warps. A warp holds 16 rows of queries: `queries` tokens × `heads` heads of one KV
// head's group, so that grouped-query models read a key once. It walks key blocks of 32, scores
// them with the tensor core and keeps the running maximum and sum of its rows (Dao 2022). In a pass
// over few tokens the key blocks are dealt out to many warps ("streams") and the parts are joined
// at the end, in a fixed order; block b always goes to stream b % n, and a block that a row does
// not see changes nothing in it, so a token's result does not depend on the tokens beside it.
#pragma once

#include "engine/cuda/device.cuh"
#include "engine/cuda/kv.cuh"

namespace cambium::engine::cuda {

inline constexpr float kLog2e = 1.4426950408889634f;

/// How the rows of a warp map to tokens and heads.
struct RowMap {
  int32_t heads;    ///< heads of a row group: the largest divisor of the GQA group up to 16
  int32_t queries;  ///< tokens: a power of two, heads · queries <= 16
  int32_t parts;    ///< row groups of a KV head: group / heads
};

struct Params {
  AttentionKernelArgs a;
  RowMap map;
  int32_t tiles;    ///< query tiles
  int32_t streams;  ///< streams that share the key blocks of a tile
  int32_t splits;   ///< blocks of these: streams / 4
};

__device__ __forceinline__ int first_cell(const Params& p) { return p.a.first_cell.read(); }

__device__ __forceinline__ bool head_prunes(const StructureArgs& s, int head) {
  return head < 64 ? (s.prune_heads >> head & 1) != 0 : s.prune_heads == ~0ull;
}

/// What a row knows of its query.
struct Row {
  int cell = -1;  ///< -1: no such row, sees nothing
  int head = 0, scope = 0, place = 0;
  bool prunes = false;
};

__device__ __forceinline__ Row make_row(const StructureArgs& s, int cell, int head) {
  Row r;
  r.cell = cell;
  r.head = head;
  if (s.mode != StructureMode::off && cell >= 0) {
    r.scope = s.scope[cell];
    r.place = s.place[cell];
    r.prunes = s.mode == StructureMode::prune && head_prunes(s, head);
  }
  return r;
}

/// A row's HiddenCells as they lie in memory.
struct Hides {
  int first = 0, end = 0, first2 = 0, end2 = 0;
  __device__ __forceinline__ bool has(int cell) const {
    return (first <= cell && cell < end) || (first2 <= cell && cell < end2);
  }
  /// Cells [cell, cell + n) lie in one of the ranges.
  __device__ __forceinline__ bool covers(int cell, int n) const {
    return (first <= cell && cell + n <= end) || (first2 <= cell && cell + n <= end2);
  }
};
static_assert(sizeof(Hides) == sizeof(HiddenCells));

__device__ __forceinline__ Hides hides_of(const AttentionKernelArgs& a, int query) {
  const int4 v = *reinterpret_cast<const int4*>(a.hidden + query);
  return {v.x, v.y, v.z, v.w};
}

/// Relation of a key to a row's query: 0 same, 1 ancestor, 2 other. The two compares of
/// engine/attention_mask.h.
__device__ __forceinline__ int relation_of(const Row& row, int key_scope, int key_last) {
  return key_scope == row.scope ? 0 : key_scope <= row.scope && row.scope <= key_last ? 1 : 2;
}

/// A score in units of log 2 under the structure; -inf where the mask hides the key. `score` has
/// scale · log2(e) in it already.
__device__ __forceinline__ float structured(const StructureArgs& s, const Row& row, int n_head,
                                            int key, int scope, int last, int place, float score) {
  const int relation = relation_of(row, scope, last);
  if (s.mode == StructureMode::emphasis) {
    const int i = relation * n_head + row.head;
    return fmaf(score, 1.0f + __ldg(s.scale + i), __ldg(s.bias + i) * kLog2e);
  }
  const int apart = abs(row.place - place);
  const bool visible = !row.prunes || key < s.prune.sinks || apart <= s.prune.window ||
                       (relation != 2 && apart <= s.prune.scope_window);
  return visible ? score : -INFINITY;
}

}  // namespace cambium::engine::cuda
