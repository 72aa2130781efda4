// Where keys and values lie. Both are read straight from memory into tensor-core operands with
// 16-byte loads, so values are stored transposed in groups of 32 cells.
//   K, F16:  [kv head][cell][dim]
//   V, F16:  [kv head][cell / 32][dim][cell % 32]
//   Q8_0:    the same order in int8, followed by F16 scales, one per 32 dims of a cell:
//            K [kv head][cell][dim / 32], V [kv head][cell / 32][dim / 32][cell % 32]
// n_cells is a multiple of 32.
#pragma once

#include "engine/cuda/kernels.h"

namespace cambium::engine::cuda {

CAMBIUM_HD inline int64_t k_offset(const KvCells& kv, int head, int cell, int d) {
  return (static_cast<int64_t>(head) * kv.n_cells + cell) * kv.head_dim_k + d;
}
CAMBIUM_HD inline int64_t v_offset(const KvCells& kv, int head, int cell, int d) {
  return (static_cast<int64_t>(head) * kv.n_cells + cell / 32 * 32) * kv.head_dim_v + d * 32 +
         cell % 32;
}
CAMBIUM_HD inline int64_t k_scale_offset(const KvCells& kv, int head, int cell, int d) {
  return (static_cast<int64_t>(head) * kv.n_cells + cell) * (kv.head_dim_k / 32) + d / 32;
}
CAMBIUM_HD inline int64_t v_scale_offset(const KvCells& kv, int head, int cell, int d) {
  return (static_cast<int64_t>(head) * kv.n_cells + cell / 32 * 32) * (kv.head_dim_v / 32) +
         d / 32 * 32 + cell % 32;
}
/// Bytes of one layer's K or V, and where its Q8_0 scales begin.
CAMBIUM_HD inline int64_t kv_values_bytes(const KvCells& kv, int dim) {
  return static_cast<int64_t>(kv.n_kv_head) * kv.n_cells * dim * (kv.q8 ? 1 : 2);
}
CAMBIUM_HD inline int64_t kv_layer_bytes(const KvCells& kv, int dim) {
  return kv_values_bytes(kv, dim) + (kv.q8 ? kv_values_bytes(kv, dim) / 32 * 2 : 0);
}

}  // namespace cambium::engine::cuda
