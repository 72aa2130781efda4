// Attention for prefill and decode on tensor cores. Keys and values go from memory into operands
// with 16-byte loads and no shared memory in between: a dot product does not care about the order
// of its terms, so the lanes' shares of a key (8 neighbouring dims) are taken as the operand's
// dims, and likewise 8 neighbouring cells of a transposed value.
#include <climits>
#include <cmath>

#include "engine/cuda/attention.cuh"
#include "engine/cuda/launch.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxSplitTokens = 64;  // up to here the keys of a query tile are shared out

template <bool kOnce>
__device__ __forceinline__ uint4 load16(const void* p) {
  return kOnce ? __ldcg(static_cast<const uint4*>(p)) : *static_cast<const uint4*>(p);
}
template <bool kOnce>
__device__ __forceinline__ uint2 load8(const void* p) {
  return kOnce ? __ldcg(static_cast<const uint2*>(p)) : *static_cast<const uint2*>(p);
}

__device__ __forceinline__ __half2 as_half2(uint32_t v) { return *reinterpret_cast<__half2*>(&v); }
__device__ __forceinline__ uint32_t as_bits(__half2 v) { return *reinterpret_cast<uint32_t*>(&v); }

/// Eight int8 -> four pairs of exact F16 integers: 0x6400 | byte is 1024 + byte.
__device__ __forceinline__ void int8_to_half(uint2 v, __half2 (&h)[4]) {
  const uint32_t a = v.x ^ 0x80808080u, b = v.y ^ 0x80808080u;
  const __half2 offset = __float2half2_rn(1152.0f);
  h[0] = __hsub2(as_half2(__byte_perm(a, 0x64646464u, 0x4140u)), offset);
  h[1] = __hsub2(as_half2(__byte_perm(a, 0x64646464u, 0x4342u)), offset);
  h[2] = __hsub2(as_half2(__byte_perm(b, 0x64646464u, 0x4140u)), offset);
  h[3] = __hsub2(as_half2(__byte_perm(b, 0x64646464u, 0x4342u)), offset);
}

/// Eight dims (d..d+7) of key `cell`.
template <bool kQ8, bool kOnce>
__device__ __forceinline__ uint4 load_key(const KvCells& kv, int head, int cell, int d) {
  const int64_t at = k_offset(kv, head, cell, d);
  if constexpr (!kQ8) return load16<kOnce>(static_cast<const __half*>(kv.k) + at);
  __half2 h[4];
  int8_to_half(load8<kOnce>(static_cast<const int8_t*>(kv.k) + at), h);
  const __half* scales = reinterpret_cast<const __half*>(static_cast<const uint8_t*>(kv.k) +
                                                         kv_values_bytes(kv, kv.head_dim_k));
  const __half2 s = __half2half2(scales[k_scale_offset(kv, head, cell, d)]);
  return make_uint4(as_bits(__hmul2(h[0], s)), as_bits(__hmul2(h[1], s)), as_bits(__hmul2(h[2], s)),
                    as_bits(__hmul2(h[3], s)));
}

/// Eight cells (cell..cell+7, cell a multiple of 8) of value dim d.
template <bool kQ8, bool kOnce>
__device__ __forceinline__ uint4 load_value(const KvCells& kv, int head, int cell, int d) {
  const int64_t at = v_offset(kv, head, cell, d);
  if constexpr (!kQ8) return load16<kOnce>(static_cast<const __half*>(kv.v) + at);
  __half2 h[4];
  int8_to_half(load8<kOnce>(static_cast<const int8_t*>(kv.v) + at), h);
  const __half* scales = reinterpret_cast<const __half*>(static_cast<const uint8_t*>(kv.v) +
                                                         kv_values_bytes(kv, kv.head_dim_v));
  const uint4 s = load16<kOnce>(scales + v_scale_offset(kv, head, cell, d));
  return make_uint4(as_bits(__hmul2(h[0], as_half2(s.x))), as_bits(__hmul2(h[1], as_half2(s.y))),
                    as_bits(__hmul2(h[2], as_half2(s.z))), as_bits(__hmul2(h[3], as_half2(s.w))));
}

/// The running state of a warp's 16 rows: this lane's rows are g = lane / 4 and g + 8.
template <int DV>
struct Running {
  float largest[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};      // this lane's share of the row's sum
  float out[DV / 8][4] = {};  // dims 8·m + 2t, + 1
};

/// What the rows of a warp do not see.
struct HidesOfTile {
  Hides rows[2];       ///< this lane's
  Hides all;           ///< cells that no row sees
  int from = INT_MAX;  ///< the first cell that some row does not see
};

/// One key block into the running state.
template <int DK, int DV, bool kQ8, bool kOnce, bool kHides>
__device__ __forceinline__ void attend_block(const Params& p, const uint32_t (&q)[DK / 16][4],
                                             const Row (&rows)[2], const HidesOfTile& hides,
                                             int min_cell, int kv_head, int block, bool whole,
                                             Running<DV>& state) {
  const KvCells& kv = p.a.kv;
  const StructureArgs& s = p.a.structure;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int cell0 = block * kKeyBlock;
  float score[4][4] = {};
  {
    // Column n of product j is key 8·(n / 2) + 2j + n % 2: lane t then holds the scores of keys
    // 8t..8t+7, which is how it loads the values.
    const int key = cell0 + 8 * (g / 2) + g % 2;
    uint4 k[4][DK / 32];
#pragma unroll
    for (int c = 0; c < DK / 32; ++c)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        k[j][c] = load_key<kQ8, kOnce>(kv, kv_head, key + 2 * j, c * 32 + t * 8);
#pragma unroll
    for (int c = 0; c < DK / 32; ++c)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t(&q0)[4] = q[2 * c];
        const uint32_t(&q1)[4] = q[2 * c + 1];
        mma_f16_k16(score[j], q0[0], q0[1], q0[2], q0[3], k[j][c].x, k[j][c].y);
        mma_f16_k16(score[j], q1[0], q1[1], q1[2], q1[3], k[j][c].z, k[j][c].w);
      }
  }
  const float to_log2 = p.a.scale * kLog2e;
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) score[j][i] *= to_log2;
  if (s.mode == StructureMode::emphasis || (s.mode == StructureMode::prune && !whole)) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int key = cell0 + 8 * t + 2 * j + e;
        const int scope = s.scope[key], last = s.last[key], place = s.place[key];
        score[j][e] = structured(s, rows[0], p.a.n_head, key, scope, last, place, score[j][e]);
        score[j][2 + e] =
            structured(s, rows[1], p.a.n_head, key, scope, last, place, score[j][2 + e]);
      }
  }
  if (cell0 + kKeyBlock - 1 > min_cell) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (cell0 + 8 * t + 2 * j + i % 2 > rows[i / 2].cell) score[j][i] = -INFINITY;
  }
  if constexpr (kHides) {
    if (cell0 + kKeyBlock > hides.from) {
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (hides.rows[i / 2].has(cell0 + 8 * t + 2 * j + i % 2)) score[j][i] = -INFINITY;
    }
  }

  uint32_t weights[2][4];  // A operand of the two products over 16 cells
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float largest = state.largest[r];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      largest = fmaxf(largest, fmaxf(score[j][2 * r], score[j][2 * r + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
    // Nothing visible yet: any finite base gives exp2(-inf) = 0.
    const float base = largest == -INFINITY ? 0.0f : largest;
    const float correction = exp2f(state.largest[r] - base);
    state.largest[r] = largest;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float w0 = exp2f(score[j][2 * r] - base), w1 = exp2f(score[j][2 * r + 1] - base);
      sum += w0 + w1;
      weights[j / 2][r + j % 2 * 2] = pack_half2(w0, w1);
    }
    state.sum[r] = fmaf(state.sum[r], correction, sum);
#pragma unroll
    for (int m = 0; m < DV / 8; ++m) {
      state.out[m][2 * r] *= correction;
      state.out[m][2 * r + 1] *= correction;
    }
  }
#pragma unroll
  for (int m = 0; m < DV / 8; ++m) {
    const uint4 v = load_value<kQ8, kOnce>(kv, kv_head, cell0 + 8 * t, m * 8 + g);
    mma_f16_k16(state.out[m], weights[0][0], weights[0][1], weights[0][2], weights[0][3], v.x, v.y);
    mma_f16_k16(state.out[m], weights[1][0], weights[1][1], weights[1][2], weights[1][3], v.z, v.w);
  }
}

/// Shared memory of a block that joins its warps' parts.
template <int DV>
struct Parts {
  float out[kWarps][16][DV];
  float largest[kWarps][16];
  float sum[kWarps][16];
};

// kSplit: the four warps of a block are streams of one query tile, blockIdx.z counts further ones.
// Otherwise every warp has a query tile of its own. kHides: queries have cells that they do not see.
template <int DK, int DV, bool kQ8, bool kSplit, bool kHides>
__global__ void __launch_bounds__(kWarps * 32, 2)
    attention_kernel(const __grid_constant__ Params p) {
  launch_dependents();
  const AttentionKernelArgs& a = p.a;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int kv_head = blockIdx.y / p.map.parts;
  const int group = a.n_head / a.kv.n_kv_head;
  const int head0 = kv_head * group + blockIdx.y % p.map.parts * p.map.heads;
  // Late tiles see most keys and go first.
  const int tile = kSplit ? blockIdx.x : p.tiles - 1 - (blockIdx.x * kWarps + warp);
  const int stream = kSplit ? blockIdx.z * kWarps + warp : 0;
  const int first = first_cell(p);  // not of the kernel before this one: may be read at once
  const int query0 = tile * p.map.queries;
  const int last_query = min(query0 + p.map.queries, a.n_tokens) - 1;
  const int n_blocks = (first + last_query) / kKeyBlock + 1;
  // By SparseRule, a tile is a query and reads a list of its own.
  const SparseRange range = kSplit && a.sparse.rule.from > 0
                                ? sparse_range(a.sparse.rule, first + query0, kKeyBlock)
                                : SparseRange{};
  const bool sparse = range.best > 0;
  const int n_read = sparse ? range.n_read() : n_blocks;
  // Block b (of a sparse list: the b-th) belongs to stream b % streams: while the context is short,
  // later blocks of streams have nothing, and would add nothing. They make room before the kernel
  // ahead is done.
  const int active = kSplit ? min(p.splits, (n_read + kWarps - 1) / kWarps) : 1;
  if (kSplit && blockIdx.z >= active) return;
  const auto prefetch_block = [&](int block, bool values) {
    const int width = values ? DV : DK;
    const char* from = reinterpret_cast<const char*>(
        values
            ? static_cast<const __half*>(a.kv.v) + v_offset(a.kv, kv_head, block * kKeyBlock, 0)
            : static_cast<const __half*>(a.kv.k) + k_offset(a.kv, kv_head, block * kKeyBlock, 0));
    for (int i = lane * 128; i < kKeyBlock * width * 2; i += 32 * 128) prefetch_l2(from + i);
  };
  if constexpr (kSplit && !kQ8) {
    // All but the newest cells are long written. Of a list that is still being made, the sinks and
    // the window are known.
    const int known = !sparse                ? stream
                      : stream < range.first ? stream
                      : stream >= range.first + range.best
                          ? stream - range.first - range.best + range.last
                          : n_blocks;
    if (known < n_blocks) {
      prefetch_block(known, false);
      prefetch_block(known, true);
    }
  }
  grid_wait();
  if (!kSplit && tile < 0) return;
  const auto query_of = [&](int r) { return query0 + r / p.map.heads; };
  const auto valid = [&](int r) {
    return r < p.map.heads * p.map.queries && query_of(r) < a.n_tokens;
  };
  Row rows[2];
  uint32_t q[DK / 16][4];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = g + 8 * r;
    const int head = head0 + i % p.map.heads;
    rows[r] = make_row(a.structure, valid(i) ? first + query_of(i) : -1, head);
    const float* source = a.q + (static_cast<int64_t>(query_of(i)) * a.n_head + head) * DK;
#pragma unroll
    for (int c = 0; c < DK / 32; ++c) {
      float4 v0 = make_float4(0, 0, 0, 0), v1 = v0;
      if (valid(i)) {
        v0 = __ldcg(reinterpret_cast<const float4*>(source + c * 32 + t * 8));
        v1 = __ldcg(reinterpret_cast<const float4*>(source + c * 32 + t * 8 + 4));
      }
      q[2 * c][r] = pack_half2(v0.x, v0.y);
      q[2 * c][r + 2] = pack_half2(v0.z, v0.w);
      q[2 * c + 1][r] = pack_half2(v1.x, v1.y);
      q[2 * c + 1][r + 2] = pack_half2(v1.z, v1.w);
    }
  }

  HidesOfTile hides;
  if constexpr (kHides) {
    hides.all = {INT_MIN, INT_MAX, INT_MIN, INT_MAX};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (!valid(g + 8 * r)) continue;
      const Hides h = hides.rows[r] = hides_of(a, query_of(g + 8 * r));
      hides.all = {max(hides.all.first, h.first), min(hides.all.end, h.end),
                   max(hides.all.first2, h.first2), min(hides.all.end2, h.end2)};
      if (h.first < h.end) hides.from = min(hides.from, h.first);
      if (h.first2 < h.end2) hides.from = min(hides.from, h.first2);
    }
    const auto least = [](int& v, int m) { v = min(v, __shfl_xor_sync(~0u, v, m)); };
    const auto most = [](int& v, int m) { v = max(v, __shfl_xor_sync(~0u, v, m)); };
    for (int m = 16; m >= 4; m >>= 1) {  // the lanes of a quad have the same rows
      most(hides.all.first, m);
      least(hides.all.end, m);
      most(hides.all.first2, m);
      least(hides.all.end2, m);
      least(hides.from, m);
    }
  }
  const auto skipped = [&](int block) {
    return kHides && hides.all.covers(block * kKeyBlock, kKeyBlock);
  };

  const int min_cell = first + query0;
  bool listed = a.structure.mode == StructureMode::prune && a.structure.offsets != nullptr;
  for (int h = 0; listed && h < p.map.heads; ++h) listed = head_prunes(a.structure, head0 + h);

  Running<DV> state;
  if (listed || sparse) {
    const uint32_t* list = a.structure.blocks;
    int i = stream, end = n_read, step = p.streams;
    if (listed) {
      const int32_t* offsets =
          a.structure.offsets + query0 / a.structure.query_tile * p.streams + stream;
      i = offsets[0];
      end = offsets[1];
      step = 1;
    } else {
      list = a.sparse.blocks +
             (static_cast<int64_t>(query0) * a.kv.n_kv_head + kv_head) * a.sparse.capacity;
    }
    for (; i < end; i += step) {
      const uint32_t entry = list[i];
      const int block = static_cast<int>(entry & 0x7fffffffu);
      if constexpr (kSplit && !kQ8) {
        if (sparse && i + step < end) {
          prefetch_block(static_cast<int>(list[i + step]), false);
          prefetch_block(static_cast<int>(list[i + step]), true);
        }
      }
      if (block >= n_blocks) break;  // seen by a later query of the list's tile only
      if (skipped(block)) continue;
      attend_block<DK, DV, kQ8, kSplit, kHides>(p, q, rows, hides, min_cell, kv_head, block,
                                                entry >> 31 != 0, state);
    }
  } else {
    for (int block = stream; block < n_blocks; block += p.streams) {
      if constexpr (kSplit && !kQ8) {
        // The next block starts on its way to the L2.
        if (block + p.streams < n_blocks) {
          prefetch_block(block + p.streams, false);
          prefetch_block(block + p.streams, true);
        }
      }
      if (skipped(block)) continue;
      attend_block<DK, DV, kQ8, kSplit, kHides>(p, q, rows, hides, min_cell, kv_head, block, false,
                                                state);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    state.sum[r] += __shfl_xor_sync(~0u, state.sum[r], 1);
    state.sum[r] += __shfl_xor_sync(~0u, state.sum[r], 2);
  }

  if constexpr (!kSplit) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int i = g + 8 * r;
      if (!valid(i)) continue;
      const float inverse = state.sum[r] > 0 ? 1.0f / state.sum[r] : 0.0f;
      float* out = a.out + (static_cast<int64_t>(query_of(i)) * a.n_head + rows[r].head) * DV;
#pragma unroll
      for (int m = 0; m < DV / 8; ++m)
        *reinterpret_cast<float2*>(out + m * 8 + 2 * t) =
            make_float2(state.out[m][2 * r] * inverse, state.out[m][2 * r + 1] * inverse);
    }
    return;
  }

  // Join the block's four streams, then the blocks: the last to arrive does it.
  extern __shared__ __align__(16) uint8_t shared[];
  Parts<DV>& parts = *reinterpret_cast<Parts<DV>*>(shared);
  // Of 16 rows; one token of a model without grouped queries has one.
  const int n_rows = p.map.heads * (last_query - query0 + 1);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = g + 8 * r;
    if (i >= n_rows) continue;
#pragma unroll
    for (int m = 0; m < DV / 8; ++m)
      *reinterpret_cast<float2*>(&parts.out[warp][i][m * 8 + 2 * t]) =
          make_float2(state.out[m][2 * r], state.out[m][2 * r + 1]);
    if (t == 0) {
      parts.largest[warp][i] = state.largest[r];
      parts.sum[warp][i] = state.sum[r];
    }
  }
  __syncthreads();
  constexpr int kStride = DV + 2;
  const int64_t slot = (static_cast<int64_t>(blockIdx.y) * p.tiles + tile) * p.splits;
  float* mine = a.partial + (slot + blockIdx.z) * 16 * kStride;
  for (int i = threadIdx.x; i < n_rows * DV; i += kWarps * 32) {
    const int r = i / DV, d = i % DV;
    float largest = -INFINITY;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, parts.largest[w][r]);
    float sum = 0, out = 0;
    if (largest != -INFINITY) {
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        const float f = exp2f(parts.largest[w][r] - largest);
        sum = fmaf(f, parts.sum[w][r], sum);
        out = fmaf(f, parts.out[w][r][d], out);
      }
    }
    if (active == 1) {
      if (valid(r))
        a.out[(static_cast<int64_t>(query_of(r)) * a.n_head + head0 + r % p.map.heads) * DV + d] =
            sum > 0 ? out / sum : 0.0f;
      continue;
    }
    mine[r * kStride + d] = out;
    if (d == 0) {
      mine[r * kStride + DV] = largest;
      mine[r * kStride + DV + 1] = sum;
    }
  }
  if (active == 1) return;
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* arrivals = a.arrivals + static_cast<int64_t>(blockIdx.y) * p.tiles + tile;
    last = atomicAdd(arrivals, 1) == active - 1;
    if (last) *arrivals = 0;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  const float* all = a.partial + slot * 16 * kStride;
  for (int i = threadIdx.x; i < n_rows * DV; i += kWarps * 32) {
    const int r = i / DV, d = i % DV;
    if (!valid(r)) continue;
    // Eight parts' loads are under way at once.
    constexpr int kAtOnce = 8;
    float largest = -INFINITY;
    for (int z0 = 0; z0 < active; z0 += kAtOnce) {
      float part[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        part[i] = z0 + i < active ? __ldcg(all + ((z0 + i) * 16 + r) * kStride + DV) : -INFINITY;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) largest = fmaxf(largest, part[i]);
    }
    float sum = 0, out = 0;
    if (largest != -INFINITY) {
      for (int z0 = 0; z0 < active; z0 += kAtOnce) {
        float base[kAtOnce], weight[kAtOnce], value[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          const float* part = all + ((z0 + i) * 16 + r) * kStride;
          const bool there = z0 + i < active;
          base[i] = there ? __ldcg(part + DV) : -INFINITY;
          weight[i] = there ? __ldcg(part + DV + 1) : 0.0f;
          value[i] = there ? __ldcg(part + d) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          const float f = exp2f(base[i] - largest);
          sum = fmaf(f, weight[i], sum);
          out = fmaf(f, value[i], out);
        }
      }
    }
    a.out[(static_cast<int64_t>(query_of(r)) * a.n_head + head0 + r % p.map.heads) * DV + d] =
        sum > 0 ? out / sum : 0.0f;
  }
}

// Any head size, one warp a query and head; slow, and there so that no model is refused for it.
constexpr int kPlainDims = 20;  // dims a lane: head_dim_v up to 640
__device__ float plain_element(const KvCells& kv, bool is_v, int head, int cell, int d) {
  if (kv.latent && is_v) {
    is_v = false;
    d += kv.head_dim_k - kv.head_dim_v;
  }
  const void* base = is_v ? kv.v : kv.k;
  const int64_t at = is_v ? v_offset(kv, head, cell, d) : k_offset(kv, head, cell, d);
  if (!kv.q8) return __half2float(static_cast<const __half*>(base)[at]);
  const __half* scales =
      reinterpret_cast<const __half*>(static_cast<const uint8_t*>(base) +
                                      kv_values_bytes(kv, is_v ? kv.head_dim_v : kv.head_dim_k));
  const float s = __half2float(
      scales[is_v ? v_scale_offset(kv, head, cell, d) : k_scale_offset(kv, head, cell, d)]);
  return s * static_cast<float>(static_cast<const int8_t*>(base)[at]);
}

template <bool kHides>
__global__ void __launch_bounds__(kWarps * 32)
    plain_attention_kernel(const __grid_constant__ Params p) {
  launch_dependents();
  grid_wait();
  const AttentionKernelArgs& a = p.a;
  const int lane = threadIdx.x % 32;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (index >= static_cast<int64_t>(a.n_tokens) * a.n_head) return;
  const int head = static_cast<int>(index % a.n_head), query = static_cast<int>(index / a.n_head);
  const int kv_head = head / (a.n_head / a.kv.n_kv_head), dk = a.kv.head_dim_k,
            dv = a.kv.head_dim_v;
  const Row row = make_row(a.structure, first_cell(p) + query, head);
  Hides hides;
  if constexpr (kHides) hides = hides_of(a, query);
  const float* q = a.q + index * dk;
  float largest = -INFINITY, sum = 0, out[kPlainDims] = {};
  const SparseRange range =
      a.sparse.rule.from > 0 ? sparse_range(a.sparse.rule, row.cell, kKeyBlock) : SparseRange{};
  const uint32_t* list =
      a.sparse.blocks +
      (static_cast<int64_t>(query) * a.kv.n_kv_head + kv_head) * a.sparse.capacity;
  const int n_read = range.best > 0 ? range.n_read() * kKeyBlock : row.cell + 1;
  for (int i = 0; i < n_read; ++i) {
    const int cell =
        range.best > 0 ? static_cast<int>(list[i / kKeyBlock]) * kKeyBlock + i % kKeyBlock : i;
    if (cell > row.cell) break;
    if (kHides && hides.has(cell)) continue;
    float score = 0;
    for (int d = lane; d < dk; d += 32)
      score = fmaf(q[d], plain_element(a.kv, false, kv_head, cell, d), score);
    score = warp_sum(score) * a.scale * kLog2e;
    if (a.structure.mode != StructureMode::off)
      score = structured(a.structure, row, a.n_head, cell, a.structure.scope[cell],
                         a.structure.last[cell], a.structure.place[cell], score);
    if (score == -INFINITY) continue;
    const float now = fmaxf(largest, score);
    const float correction = exp2f(largest - now), weight = exp2f(score - now);
    largest = now;
    sum = fmaf(sum, correction, weight);
#pragma unroll
    for (int i = 0; i < kPlainDims; ++i)
      if (i * 32 + lane < dv)
        out[i] = fmaf(out[i], correction,
                      weight * plain_element(a.kv, true, kv_head, cell, i * 32 + lane));
  }
#pragma unroll
  for (int i = 0; i < kPlainDims; ++i)
    if (i * 32 + lane < dv) a.out[index * dv + i * 32 + lane] = sum > 0 ? out[i] / sum : 0.0f;
}

RowMap row_map(int n_head, int n_kv_head, bool sparse) {
  const int group = n_head / n_kv_head;
  RowMap m{1, 1, group};
  for (int h = 2; h <= 16 && h <= group; ++h)
    if (group % h == 0) m.heads = h;
  m.parts = group / m.heads;
  while (!sparse && m.queries * 2 * m.heads <= 16) m.queries *= 2;
  return m;
}

template <int DK, int DV, bool kQ8>
cudaError_t launch_sizes(const Launch& l, const Params& p) {
  const auto y = static_cast<unsigned>(p.a.kv.n_kv_head * p.map.parts);
  if (p.splits == 0)
    return launch(l,
                  p.a.hidden != nullptr ? attention_kernel<DK, DV, kQ8, false, true>
                                        : attention_kernel<DK, DV, kQ8, false, false>,
                  dim3(static_cast<unsigned>(ceil_div(p.tiles, kWarps)), y), dim3(kWarps * 32), 0,
                  p);
  return launch(l, attention_kernel<DK, DV, kQ8, true, false>,
                dim3(static_cast<unsigned>(p.tiles), y, static_cast<unsigned>(p.splits)),
                dim3(kWarps * 32), sizeof(Parts<DV>), p);
}

cudaError_t launch_plain(const Launch& l, const Params& p) {
  return launch(
      l, p.a.hidden != nullptr ? plain_attention_kernel<true> : plain_attention_kernel<false>,
      dim3(
          static_cast<unsigned>(ceil_div(static_cast<int64_t>(p.a.n_tokens) * p.a.n_head, kWarps))),
      dim3(kWarps * 32), 0, p);
}

}  // namespace

int attention_streams(int n_tokens, int n_kv_head, int multiprocessors) {
  if (n_tokens > kMaxSplitTokens) return 1;
  // About two blocks of four streams for every multiprocessor, a power of two, 4 to 256 streams.
  int streams = kWarps;
  while (streams < 256 && streams * n_kv_head < 2 * kWarps * multiprocessors * 3 / 4) streams *= 2;
  return streams;
}

int64_t attention_partial_floats(int n_tokens, int n_head, int n_kv_head, int head_dim_v,
                                 bool sparse, int multiprocessors) {
  const int streams = attention_streams(n_tokens, n_kv_head, multiprocessors);
  if (streams == 1) return 0;
  const RowMap m = row_map(n_head, n_kv_head, sparse);
  return ceil_div(n_tokens, m.queries) * n_kv_head * m.parts * (streams / kWarps) * 16 *
         (head_dim_v + 2);
}

cudaError_t attention(const Launch& l, const AttentionKernelArgs& a) {
  const bool sparse = a.sparse.rule.from > 0;
  if (a.hidden != nullptr && (sparse || a.kv.latent)) return cudaErrorInvalidValue;
  if (sparse) {
    if (a.n_tokens > kMostSparseTokens || a.structure.mode != StructureMode::off || a.kv.latent)
      return cudaErrorInvalidValue;
    if (const cudaError_t e = choose_blocks(l, a); e != cudaSuccess) return e;
  }
  Params p;
  p.a = a;
  p.map = row_map(a.n_head, a.kv.n_kv_head, sparse);
  p.tiles = static_cast<int32_t>(ceil_div(a.n_tokens, p.map.queries));
  p.streams =
      a.hidden != nullptr ? 1 : attention_streams(a.n_tokens, a.kv.n_kv_head, l.multiprocessors);
  p.splits = p.streams == 1 ? 0 : p.streams / kWarps;
  const int dk = a.kv.head_dim_k, dv = a.kv.head_dim_v;
  if (a.kv.latent) return dv > kPlainDims * 32 ? cudaErrorInvalidValue : launch_plain(l, p);
  if (p.splits > 0 && static_cast<int64_t>(p.tiles) * a.kv.n_kv_head * p.map.parts > kMaxArrivals)
    return cudaErrorInvalidConfiguration;
  if (dk == 128 && dv == 128)
    return a.kv.q8 ? launch_sizes<128, 128, true>(l, p) : launch_sizes<128, 128, false>(l, p);
  if (dk == 64 && dv == 64)
    return a.kv.q8 ? launch_sizes<64, 64, true>(l, p) : launch_sizes<64, 64, false>(l, p);
  if (dk == 192 && dv == 128 && !a.kv.q8) return launch_sizes<192, 128, false>(l, p);
  if (dv > kPlainDims * 32) return cudaErrorInvalidValue;
  return launch_plain(l, p);
}

}  // namespace cambium::engine::cuda
