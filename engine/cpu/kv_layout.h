// Where a key or a value lies in the CPU's KV cache.
//
// Keys are kept for score vectors whose lanes are keys: blocks of 32 cells, dimension by dimension.
// Values are kept for sums whose lanes are dimensions: row by row.
//
//   f16    k block: h[dk][32]                         v block: h[32][dv]
//   q8_0   k block: i8[dk/4][32][4], h d[dk/32][32]   v block: i8[32][dv], h d[dv/32][32]
//
// h is binary16; q8_0's keys carry Kernels::byte_bias. dk and dv are the head's dimensions rounded
// up to 32, the rest zero. Order: [layer][head][block]; k and v in areas of their own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/ops.h"

namespace cambium::engine::cpu {

inline constexpr int32_t kKeyBlock = 32;
/// Key blocks whose scores are weighted together; results of chunks are merged. Chunks begin at
/// multiples of it, so that the order of additions depends on the cells only.
inline constexpr int32_t kChunkBlocks = 8;

/// One head of one layer.
struct KvHead {
  bool q8 = false;
  int32_t dk = 0, dv = 0;      ///< padded
  std::byte* chunk = nullptr;  ///< of this head and layer, the first
  size_t chunk_stride = 0;     ///< to the next

  size_t k_block_bytes() const { return block_bytes(dk); }
  size_t v_block_bytes() const { return block_bytes(dv); }
  size_t chunk_bytes() const { return kChunkBlocks * (k_block_bytes() + v_block_bytes()); }
  std::byte* k_block(int32_t b) const {
    return chunk + static_cast<size_t>(b / kChunkBlocks) * chunk_stride +
           static_cast<size_t>(b % kChunkBlocks) * k_block_bytes();
  }
  std::byte* v_block(int32_t b) const {
    return chunk + static_cast<size_t>(b / kChunkBlocks) * chunk_stride +
           kChunkBlocks * k_block_bytes() + static_cast<size_t>(b % kChunkBlocks) * v_block_bytes();
  }

 private:
  size_t block_bytes(int32_t dim) const {
    const auto d = static_cast<size_t>(dim);
    return q8 ? d * kKeyBlock + d / 32 * kKeyBlock * 2 : d * kKeyBlock * 2;
  }
};

}  // namespace cambium::engine::cpu
