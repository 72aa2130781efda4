// Attention over one head of keys for up to eight rows, for the instruction set of the including
// file.
//
// Keys come in chunks of 256 cells. Within a chunk: scores of all blocks to visit, their maximum,
// weights, weighted sum of values; then the chunk is merged into the running softmax (Milakov &
// Gimelshein 2018, Dao et al. 2022). A score is one chain of additions over the dimensions, a sum
// one chain over the cells, and a masked cell adds an exact zero: a row's result has the same bits
// whichever rows go with it and however the chunks are spread over threads.
#pragma once

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/vector_kernels.h"

namespace cambium::engine::cpu::CAMBIUM_SIMD {

inline constexpr float kMasked = -__builtin_inff();
inline constexpr int kKeyVectors = kKeyBlock / kLanes;
inline constexpr int kChunkCells = kChunkBlocks * kKeyBlock;

/// The arrays of AttentionTile::scratch.
struct AttentionScratch {
  float* scores;   // [rows, kChunkCells], packed: only visited blocks
  float* q;        // [rows, dk], scaled; q8: levels of 32 dimensions instead, see quantize_query
  float* o;        // [rows, dv]
  float* v_scale;  // [dv / 32, 32]
};

/// q8: a query row as two bytes a dimension, d·(high + low/254) with d per 32 dimensions, so that
/// the product with byte keys is exact to about 15 bits. Fits the dk floats of the row.
struct QuantizedQuery {
  const std::byte* row;
  int32_t dk;
  const std::byte* high(int32_t group) const { return row + group * 32; }
  const std::byte* low(int32_t group) const { return row + dk + group * 32; }
  float scale(int32_t group) const { return reinterpret_cast<const float*>(row + 2 * dk)[group]; }
  int32_t start_high(int32_t group) const {
    return reinterpret_cast<const int32_t*>(row + 2 * dk)[dk / 32 + group];
  }
  int32_t start_low(int32_t group) const {
    return reinterpret_cast<const int32_t*>(row + 2 * dk)[dk / 32 * 2 + group];
  }
};

inline void quantize_query(const float* q, int32_t dk, std::byte* row) {
  auto* floats = reinterpret_cast<float*>(row + 2 * dk);
  auto* ints = reinterpret_cast<int32_t*>(row + 2 * dk);
  for (int32_t g = 0; g < dk / 32; ++g) {
    F top = zero();
    for (int i = 0; i < 32; i += kLanes) top = max(top, abs(load(q + g * 32 + i)));
    const float largest = reduce_max(top);
    const float to_level = largest > 0 ? 127.0f / largest : 0.0f;
    F high_sum = zero(), low_sum = zero();
    for (int i = 0; i < 32; i += kLanes) {
      const F level = mul(load(q + g * 32 + i), set1(to_level));
      const F high = round(level);
      const F low = round(mul(sub(level, high), set1(254.0f)));
      store_i8(row + g * 32 + i, high);
      store_i8(row + dk + g * 32 + i, low);
      high_sum = add(high_sum, high);
      low_sum = add(low_sum, low);
    }
    floats[g] = largest / 127.0f;
    ints[dk / 32 + g] = -kByteBias * static_cast<int32_t>(reduce_add(high_sum));
    ints[dk / 32 * 2 + g] = -kByteBias * static_cast<int32_t>(reduce_add(low_sum));
  }
}

/// Scores of R rows with N blocks: one accumulator a row and key vector.
template <int R, int N>
void score_f16(const float* q, int32_t dk, int32_t head_dim, const std::byte* const* k,
               float* const* out) {
  F acc[R][N * kKeyVectors];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < N * kKeyVectors; ++v) acc[r][v] = zero();
  }
  for (int32_t d = 0; d < head_dim; ++d) {
    F key[N * kKeyVectors];
#pragma GCC unroll 8
    for (int v = 0; v < N * kKeyVectors; ++v) {
      key[v] = load_half(k[v / kKeyVectors] + d * kKeyBlock * 2 + v % kKeyVectors * kLanes * 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F value = set1(q[r * dk + d]);
#pragma GCC unroll 8
      for (int v = 0; v < N * kKeyVectors; ++v) acc[r][v] = fma(value, key[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < N * kKeyVectors; ++v) {
      store(out[v / kKeyVectors] + r * kChunkCells + v % kKeyVectors * kLanes, acc[r][v]);
    }
  }
}

template <int R>
void score_q8(const float* q, int32_t dk, const std::byte* k, float* out) {
  const std::byte* scales = k + dk * kKeyBlock;
  for (int v = 0; v < kKeyVectors; ++v) {
    F acc[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int32_t g = 0; g < dk / 32; ++g) {
      B key[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        key[j] = load_bytes(k + ((g * 8 + j) * kKeyBlock + v * kLanes) * 4);
      }
      const F d = load_half(scales + (g * kKeyBlock + v * kLanes) * 2);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const QuantizedQuery query{reinterpret_cast<const std::byte*>(q + r * dk), dk};
        I high = set1_int(query.start_high(g)), low = set1_int(query.start_low(g));
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
          high = dot_s8(high, key[j], broadcast_4(query.high(g) + j * 4));
          low = dot_s8(low, key[j], broadcast_4(query.low(g) + j * 4));
        }
        const F level = fma(to_float(low), set1(1.0f / 254.0f), to_float(high));
        acc[r] = fma(level, mul(d, set1(query.scale(g))), acc[r]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) store(out + r * kChunkCells + v * kLanes, acc[r]);
  }
}

template <class Function>
[[gnu::always_inline]] inline void with_rows(int32_t n, Function&& f) {
  if (n == 1)
    f(std::integral_constant<int, 1>{});
  else if (n == 2)
    f(std::integral_constant<int, 2>{});
  else if (n <= 4)
    f(std::integral_constant<int, 4>{});
  else
    f(std::integral_constant<int, 8>{});
}

/// Rows that with_rows computes for n: rows past the last repeat it and are dropped.
inline int32_t padded_rows(int32_t n) { return n <= 2 ? n : (n <= 4 ? 4 : 8); }

/// A chunk's blocks to visit.
struct Chunk {
  int32_t block[kChunkBlocks];
  bool full[kChunkBlocks];  // the prune rule masks nothing
  int32_t n = 0;
};

inline void score_chunk(const AttentionTile& t, const AttentionScratch& s, const Chunk& chunk) {
  with_rows(
      t.n_rows, [&](auto rows) __attribute__((always_inline)) {
        constexpr int R = rows;
        int32_t i = 0;
        if (t.kv.q8) {
          for (; i < chunk.n; ++i) {
            score_q8<R>(s.q, t.kv.dk, t.kv.k_block(chunk.block[i]), s.scores + i * kKeyBlock);
          }
          return;
        }
        // With 16 registers eight rows go in two halves.
        constexpr int kTogether = kManyRegisters ? R : (R < 2 ? R : 2);
        constexpr int kBlocks = kTogether * kKeyVectors <= 4 ? 2 : 1;
        if constexpr (kManyRegisters && kBlocks == 2) {
          for (; i + 2 <= chunk.n; i += 2) {
            const std::byte* k[2] = {t.kv.k_block(chunk.block[i]),
                                     t.kv.k_block(chunk.block[i + 1])};
            float* out[2] = {s.scores + i * kKeyBlock, s.scores + (i + 1) * kKeyBlock};
            score_f16<R, 2>(s.q, t.kv.dk, t.head_dim, k, out);
          }
        }
        for (; i < chunk.n; ++i) {
          const std::byte* k[1] = {t.kv.k_block(chunk.block[i])};
          for (int r = 0; r < R; r += kTogether) {
            float* out[1] = {s.scores + r * kChunkCells + i * kKeyBlock};
            score_f16<kTogether, 1>(s.q + r * t.kv.dk, t.kv.dk, t.head_dim, k, out);
          }
        }
      });
}

struct Relations {
  M same, path;  // path: same or ancestor
};
inline Relations relations(const AttentionTile& t, int32_t row, int32_t cell) {
  const I scope = load_int(t.scope + cell), own = set1_int(t.label[row].scope);
  return {equal(scope, own),
          both(less_equal(scope, own), less_equal(own, load_int(t.last + cell)))};
}

inline M prune_visible(const AttentionTile& t, int32_t row, int32_t cell, I cells) {
  const I distance = abs_int(sub_int(set1_int(t.label[row].place), load_int(t.place + cell)));
  const Relations r = relations(t, row, cell);
  const M related =
      both(either(r.same, r.path), less_equal(distance, set1_int(t.prune.scope_window)));
  return either(either(related, less_equal(distance, set1_int(t.prune.window))),
                less_equal(cells, set1_int(t.prune.sinks - 1)));
}

/// Cells of one of the row's hidden ranges.
inline M in_range(I cells, CellRange range) {
  return both(less_equal(set1_int(range.first), cells), less_equal(cells, set1_int(range.end - 1)));
}

/// Whether no row sees any cell of the block.
inline bool hidden_from_all(const AttentionTile& t, int32_t block) {
  if (!t.hides) return false;
  for (int32_t r = 0; r < t.n_rows; ++r) {
    if (!t.hidden[r].covers({block * kKeyBlock, (block + 1) * kKeyBlock})) return false;
  }
  return true;
}

/// Structure and causality for one row of a chunk's scores, then weights in place. Returns the
/// maximum, −infinity where nothing is visible; *sum is the sum of the weights.
inline float weigh_row(const AttentionTile& t, const Chunk& chunk, int32_t row, float* scores,
                       float* sum) {
  F top = set1(kMasked);
  for (int32_t i = 0; i < chunk.n; ++i) {
    const int32_t first = chunk.block[i] * kKeyBlock;
    const bool causal = first + kKeyBlock - 1 > t.cell[row];
    const bool prune = t.mode == StructureMode::prune && !chunk.full[i];
    const bool hides = t.hides && t.hidden[row].begins_before(first + kKeyBlock);
    for (int v = 0; v < kKeyVectors; ++v) {
      const int32_t cell = first + v * kLanes;
      float* place = scores + i * kKeyBlock + v * kLanes;
      F s = load(place);
      if (t.mode == StructureMode::emphasis) {
        const Relations r = relations(t, row, cell);
        const F factor = select(r.same, set1(t.factor[0][row]),
                                select(r.path, set1(t.factor[1][row]), set1(t.factor[2][row])));
        const F offset = select(r.same, set1(t.offset[0][row]),
                                select(r.path, set1(t.offset[1][row]), set1(t.offset[2][row])));
        s = fma(s, factor, offset);
      }
      if (t.mode == StructureMode::tree) {
        alignas(64) float bias[kLanes];
        for (int lane = 0; lane < kLanes; ++lane)
          bias[lane] = t.scope_bias[row][t.scope[cell + lane]];
        s = add(s, load(bias));
      }
      if (causal || prune || hides) {
        const I cells = add_int(set1_int(cell), lane_numbers());
        if (causal) s = select(less_equal(cells, set1_int(t.cell[row])), s, set1(kMasked));
        if (prune) s = select(prune_visible(t, row, cell, cells), s, set1(kMasked));
        if (hides) {
          const auto& [a, b] = t.hidden[row].ranges;
          s = select(either(in_range(cells, a), in_range(cells, b)), set1(kMasked), s);
        }
      }
      top = max(s, top);
      store(place, s);
    }
  }
  const float m = reduce_max(top);
  const F base = set1(m == kMasked ? 0.0f : m);
  F sums[kKeyVectors];
  for (int v = 0; v < kKeyVectors; ++v) sums[v] = zero();
  for (int32_t i = 0; i < chunk.n; ++i) {
    for (int v = 0; v < kKeyVectors; ++v) {
      float* place = scores + i * kKeyBlock + v * kLanes;
      const F p = exp(sub(load(place), base));
      sums[v] = add(sums[v], p);
      store(place, p);
    }
  }
  for (int v = 1; v < kKeyVectors; ++v) sums[0] = add(sums[0], sums[v]);
  *sum = reduce_add(sums[0]);
  return m;
}

/// o[R, N vectors] = weights · values for dimensions from `d`.
template <bool q8, int R, int N>
void sum_values(const AttentionTile& t, const AttentionScratch& s, const Chunk& chunk,
                const float* weights, int32_t n_cells, int32_t d, float* o) {
  F acc[R][N];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) acc[r][v] = zero();
  }
  for (int32_t i = 0; i < chunk.n; ++i) {
    const std::byte* block = t.kv.v_block(chunk.block[i]);
    const int32_t rest = n_cells - chunk.block[i] * kKeyBlock;
    const int32_t keys = rest < kKeyBlock ? rest : kKeyBlock;
    if constexpr (q8) {
      const std::byte* scales = block + t.kv.dv * kKeyBlock;
      for (int32_t x = 0; x < (N * kLanes + 31) / 32 * kKeyBlock; x += kLanes) {
        store(s.v_scale + x, load_half(scales + (d / 32 * kKeyBlock + x) * 2));
      }
    }
    const float* w = weights + i * kKeyBlock;
    for (int32_t key = 0; key < keys; ++key) {
      F value[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) {
        if constexpr (q8) {
          // d is a multiple of 32 unless fewer than 32 dimensions are taken at a time.
          const int group = (d % 32 + v * kLanes) / 32;
          value[v] = mul(load_i8(block + key * t.kv.dv + d + v * kLanes),
                         set1(s.v_scale[group * kKeyBlock + key]));
        } else {
          value[v] = load_half(block + (key * t.kv.dv + d + v * kLanes) * 2);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const F weight = set1(w[r * kChunkCells + key]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) acc[r][v] = fma(weight, value[v], acc[r][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) store(o + r * t.kv.dv + d + v * kLanes, acc[r][v]);
  }
}

template <bool q8>
void sum_chunk(const AttentionTile& t, const AttentionScratch& s, const Chunk& chunk,
               int32_t n_cells) {
  const int32_t rows = padded_rows(t.n_rows);
  constexpr int kMost = kManyRegisters ? 4 : 2;
  for (int32_t r = 0; r < rows;) {
    const int32_t n = rows - r < kMost ? rows - r : kMost;
    const float* weights = s.scores + r * kChunkCells;
    float* o = s.o + r * t.kv.dv;
    const auto run = [&](auto count) __attribute__((always_inline)) {
      int32_t d = 0;
      for (; d + 4 * kLanes <= t.kv.dv; d += 4 * kLanes) {
        sum_values<q8, count, 4>(t, s, chunk, weights, n_cells, d, o);
      }
      for (; d < t.kv.dv; d += 2 * kLanes) {
        sum_values<q8, count, 2>(t, s, chunk, weights, n_cells, d, o);
      }
    };
    if (n == 1)
      run(std::integral_constant<int, 1>{});
    else if (n == 2)
      run(std::integral_constant<int, 2>{});
    else if constexpr (kMost == 4)
      run(std::integral_constant<int, 4>{});
    r += n;
  }
}

inline void merge_row(const AttentionState& from, int32_t row, AttentionState& to, int32_t dv) {
  if (from.m[row] == kMasked) return;
  const float* a = from.o + row * dv;
  float* b = to.o + row * dv;
  if (to.m[row] == kMasked) {
    to.m[row] = from.m[row];
    to.l[row] = from.l[row];
    for (int32_t d = 0; d < dv; d += kLanes) store(b + d, load(a + d));
    return;
  }
  const float m = from.m[row] > to.m[row] ? from.m[row] : to.m[row];
  alignas(64) float weight[kLanes];
  store(weight, exp(sub(set1(from.m[row]), set1(m))));
  const float wa = weight[0];
  store(weight, exp(sub(set1(to.m[row]), set1(m))));
  const float wb = weight[0];
  to.m[row] = m;
  to.l[row] = __builtin_fmaf(from.l[row], wa, to.l[row] * wb);
  for (int32_t d = 0; d < dv; d += kLanes) {
    store(b + d, fma(load(a + d), set1(wa), mul(load(b + d), set1(wb))));
  }
}

inline void merge(const AttentionState& from, AttentionState& to, int32_t n_rows, int32_t dv) {
  for (int32_t r = 0; r < n_rows; ++r) merge_row(from, r, to, dv);
}

inline void attend(const AttentionTile& t, AttentionState& state) {
  const int32_t rows = padded_rows(t.n_rows);
  AttentionScratch s;
  s.scores = t.scratch;
  s.q = s.scores + kAttentionRows * kChunkCells;
  s.o = s.q + kAttentionRows * t.kv.dk;
  s.v_scale = s.o + kAttentionRows * t.kv.dv;

  int32_t n_cells = 0;
  for (int32_t r = 0; r < rows; ++r) {
    const int32_t from = r < t.n_rows ? r : t.n_rows - 1;
    if (t.cell[from] + 1 > n_cells) n_cells = t.cell[from] + 1;
    float* q = s.q + r * t.kv.dk;
    float* plain = t.kv.q8 ? s.o : q;  // s.o is free until the first sum
    for (int32_t d = 0; d < t.kv.dk; ++d) {
      plain[d] = d < t.head_dim ? t.q[from][d] * t.scale : 0.0f;
    }
    if (t.kv.q8) quantize_query(plain, t.kv.dk, reinterpret_cast<std::byte*>(q));
  }

  int32_t at_list = 0;
  for (int32_t c = t.first_block; c < t.last_block; c += kChunkBlocks) {
    const int32_t end = c + kChunkBlocks < t.last_block ? c + kChunkBlocks : t.last_block;
    Chunk chunk;
    if (t.blocks == nullptr) {
      for (int32_t b = c; b < end; ++b) {
        if (hidden_from_all(t, b)) continue;
        chunk.full[chunk.n] = false;
        chunk.block[chunk.n++] = b;
      }
    } else {
      while (at_list < t.n_blocks && t.blocks[at_list] < c) ++at_list;
      for (; at_list < t.n_blocks && t.blocks[at_list] < end; ++at_list) {
        if (hidden_from_all(t, t.blocks[at_list])) continue;
        chunk.full[chunk.n] = t.full != nullptr && t.full[at_list] != 0;
        chunk.block[chunk.n++] = t.blocks[at_list];
      }
    }
    if (chunk.n == 0) continue;
    score_chunk(t, s, chunk);
    AttentionState result;
    result.o = s.o;
    for (int32_t r = 0; r < t.n_rows; ++r) {
      result.m[r] = weigh_row(t, chunk, r, s.scores + r * kChunkCells, &result.l[r]);
    }
    if (t.kv.q8)
      sum_chunk<true>(t, s, chunk, n_cells);
    else
      sum_chunk<false>(t, s, chunk, n_cells);
    merge(result, state, t.n_rows, t.kv.dv);
  }
}

/// Bytes of 32 values at distance 1 in `out`; returns their scale.
inline float quantize_32(const float* x, std::byte* out) {
  F top = zero();
  for (int i = 0; i < 32; i += kLanes) top = max(top, abs(load(x + i)));
  const float largest = reduce_max(top);
  const float to_level = largest > 0 ? 127.0f / largest : 0.0f;
  for (int i = 0; i < 32; i += kLanes) {
    store_i8(out + i, round(mul(load(x + i), set1(to_level))));
  }
  return largest / 127.0f;
}

/// One scale as binary16, as a vector store of which the first is used.
inline void put_scale(std::byte* to, float d) {
  alignas(64) std::byte halves[kLanes * 2];
  store_half(halves, set1(d));
  __builtin_memcpy(to, halves, 2);
}

inline void kv_store(const KvHead& head, int32_t cell, const float* k, int32_t head_dim_k,
                     const float* v, int32_t head_dim_v) {
  const int32_t slot = cell % kKeyBlock;
  std::byte* kb = head.k_block(cell / kKeyBlock);
  std::byte* vb = head.v_block(cell / kKeyBlock);
  for (int32_t d = 0; d < head.dk; d += 32) {
    alignas(64) float x[32] = {};
    for (int i = 0; i < 32 && d + i < head_dim_k; ++i) x[i] = k[d + i];
    alignas(64) std::byte bytes[64];
    if (head.q8) {
      const float scale = quantize_32(x, bytes);
      for (int j = 0; j < 8; ++j) {
        uint32_t word;
        __builtin_memcpy(&word, bytes + j * 4, 4);
        word ^= kByteBias * 0x01010101u;
        __builtin_memcpy(kb + ((d / 4 + j) * kKeyBlock + slot) * 4, &word, 4);
      }
      put_scale(kb + head.dk * kKeyBlock + (d / 32 * kKeyBlock + slot) * 2, scale);
    } else {
      for (int i = 0; i < 32; i += kLanes) store_half(bytes + i * 2, load(x + i));
      for (int i = 0; i < 32; ++i) {
        __builtin_memcpy(kb + ((d + i) * kKeyBlock + slot) * 2, bytes + i * 2, 2);
      }
    }
  }
  for (int32_t d = 0; d < head.dv; d += 32) {
    alignas(64) float x[32] = {};
    for (int i = 0; i < 32 && d + i < head_dim_v; ++i) x[i] = v[d + i];
    if (head.q8) {
      const float scale = quantize_32(x, vb + slot * head.dv + d);
      put_scale(vb + head.dv * kKeyBlock + (d / 32 * kKeyBlock + slot) * 2, scale);
    } else {
      for (int i = 0; i < 32; i += kLanes) {
        store_half(vb + (slot * head.dv + d + i) * 2, load(x + i));
      }
    }
  }
}

}  // namespace cambium::engine::cpu::CAMBIUM_SIMD
