// Latent attention on tensor cores. All heads read the same cell, so 16 heads are the rows of a
// product and a key block is brought in once for them: scores by the warp's eight cells, values by
// the warp's quarter of the dims, both out of shared memory.
#include "engine/cuda/latent.cuh"

#include <cmath>

#include "engine/cuda/kv.cuh"
#include "engine/cuda/launch.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr float kLog2e = 1.4426950408889634f;
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = 16;
constexpr int kDK = kLatentKey, kDV = kLatentValue, kShift = kDK - kDV;
constexpr int kStride = kDK + 8;  // halves a row: rows start 4 banks apart
constexpr int kScoreStride = kKeyBlock + 4;
constexpr int kWarpDims = kDV / kWarps;
static_assert(kDK % 32 == 0 && kKeyBlock == 8 * kWarps && kWarpDims % 8 == 0);

struct Shared {
  __half q[kRows][kStride];
  __half cells[kKeyBlock][kStride];
  float scores[kRows][kScoreStride];
};

struct Params {
  AttentionKernelArgs a;
  LatentParts parts;
  Prefetch next;
};

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p))
               : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p))
               : "memory");
}

__global__ void __launch_bounds__(kThreads, 2)
    latent_attention_kernel(const __grid_constant__ Params p) {
  extern __shared__ __align__(16) uint8_t bytes[];
  Shared& shared = *reinterpret_cast<Shared*>(bytes);
  launch_dependents();
  const AttentionKernelArgs& a = p.a;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int split = blockIdx.x, group = blockIdx.y, token = blockIdx.z;
  // Not of the kernel before this one: may be read at once.
  const int cell = a.first_cell.read() + token;
  const int n_blocks = cell / kKeyBlock + 1;
  const int active = latent_active(cell, p.parts.splits);
  if (split >= active) {
    if (group == 0 && token == 0)
      prefetch_range(p.next, static_cast<int64_t>(split - active) * kThreads + threadIdx.x,
                     static_cast<int64_t>(p.parts.splits - active) * kThreads);
    return;
  }
  const auto* cache = static_cast<const __half*>(a.kv.k);
  // All but the newest cells are long written: they start on their way to the L2 while the kernel
  // before this one ends.
  for (int block = split; block < n_blocks; block += p.parts.splits)
    for (int i = threadIdx.x * 64; i < kKeyBlock * kDK; i += kThreads * 64)
      prefetch_l2(cache + static_cast<int64_t>(block) * kKeyBlock * kDK + i);
  grid_wait();

  for (int i = threadIdx.x; i < kRows * kDK / 4; i += kThreads) {
    const int row = i / (kDK / 4), d = i % (kDK / 4) * 4, head = group * kRows + row;
    float4 v = make_float4(0, 0, 0, 0);
    if (head < a.n_head)
      v = __ldcg(reinterpret_cast<const float4*>(
          a.q + (static_cast<int64_t>(token) * a.n_head + head) * kDK + d));
    *reinterpret_cast<uint2*>(&shared.q[row][d]) =
        make_uint2(pack_half2(v.x, v.y), pack_half2(v.z, v.w));
  }

  float out[kWarpDims / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  const float to_log2 = a.scale * kLog2e;
  for (int block = split; block < n_blocks; block += p.parts.splits) {
    const int cell0 = block * kKeyBlock;
    __syncthreads();                              // the block before it is done with
    constexpr int kPieces = kKeyBlock * kDK / 8;  // of 16 bytes
#pragma unroll 6
    for (int i = threadIdx.x; i < kPieces; i += kThreads) {
      const int row = i / (kDK / 8), d = i % (kDK / 8) * 8;
      *reinterpret_cast<uint4*>(&shared.cells[row][d]) = __ldcg(
          reinterpret_cast<const uint4*>(cache + static_cast<int64_t>(cell0 + row) * kDK + d));
    }
    __syncthreads();

    float score[4] = {};
#pragma unroll 6
    for (int k = 0; k < kDK; k += 32) {
      uint32_t q0[4], q1[4], key[4];
      load_matrices(q0, &shared.q[lane % 16][k + lane / 16 * 8]);
      load_matrices(q1, &shared.q[lane % 16][k + 16 + lane / 16 * 8]);
      load_matrices(key, &shared.cells[warp * 8 + lane % 8][k + lane / 8 * 8]);
      mma_f16_k16(score, q0[0], q0[1], q0[2], q0[3], key[0], key[1]);
      mma_f16_k16(score, q1[0], q1[1], q1[2], q1[3], key[2], key[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = warp * 8 + 2 * t + i % 2;
      shared.scores[g + i / 2 * 8][key] = cell0 + key <= cell ? score[i] * to_log2 : -INFINITY;
    }
    __syncthreads();

    // Every warp works the softmax out for itself; it needs all scores as an operand anyway.
    uint32_t weights[2][4];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float s[8];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 v = *reinterpret_cast<const float2*>(&shared.scores[g + 8 * r][8 * j + 2 * t]);
        s[2 * j] = v.x;
        s[2 * j + 1] = v.y;
      }
      float most = largest[r];
#pragma unroll
      for (int j = 0; j < 8; ++j) most = fmaxf(most, s[j]);
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      // A block of a split always has a cell that is seen: its first.
      const float correction = exp2f(largest[r] - most);
      largest[r] = most;
      float added = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j) added += s[j] = exp2f(s[j] - most);
      sum[r] = fmaf(sum[r], correction, added);
      weights[0][r] = pack_half2(s[0], s[1]);
      weights[0][2 + r] = pack_half2(s[2], s[3]);
      weights[1][r] = pack_half2(s[4], s[5]);
      weights[1][2 + r] = pack_half2(s[6], s[7]);
#pragma unroll
      for (int m = 0; m < kWarpDims / 8; ++m) {
        out[m][2 * r] *= correction;
        out[m][2 * r + 1] *= correction;
      }
    }
#pragma unroll
    for (int m = 0; m < kWarpDims / 8; ++m) {
      uint32_t v[4];
      load_transposed(v, &shared.cells[lane][kShift + warp * kWarpDims + m * 8]);
      mma_f16_k16(out[m], weights[0][0], weights[0][1], weights[0][2], weights[0][3], v[0], v[1]);
      mma_f16_k16(out[m], weights[1][0], weights[1][1], weights[1][2], weights[1][3], v[2], v[3]);
    }
  }

  const int64_t slot =
      ((static_cast<int64_t>(token) * p.parts.n_group + group) * p.parts.splits + split) * kRows;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
    sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
    const int64_t row = slot + g + 8 * r;
    float* to = p.parts.out + row * kDV + warp * kWarpDims + 2 * t;
#pragma unroll
    for (int m = 0; m < kWarpDims / 8; ++m)
      *reinterpret_cast<float2*>(to + m * 8) = make_float2(out[m][2 * r], out[m][2 * r + 1]);
    if (warp == 0 && t == 0) p.parts.stats[row] = make_float2(largest[r], sum[r]);
  }
}

__global__ void __launch_bounds__(kThreads)
    join_kernel(LatentParts parts, Cell first_cell, int n_head, float* out) {
  __shared__ float factor[kMaxLatentSplits];
  launch_dependents();
  grid_wait();
  const int head = blockIdx.x, token = blockIdx.y;
  const int cell = first_cell.read() + token;
  const int active = latent_active(cell, parts.splits);
  join_factors(parts, token, head, active, factor);
  __syncthreads();
  static_assert(kThreads * 4 == kDV);
  *reinterpret_cast<float4*>(out + (static_cast<int64_t>(token) * n_head + head) * kDV +
                             threadIdx.x * 4) =
      joined(parts, token, head, active, threadIdx.x * 4, factor);
}

constexpr int kSoftmaxThreads = 256;

__device__ __forceinline__ float block_reduce(float v, bool sum, float* scratch) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) {
    const float other = __shfl_xor_sync(~0u, v, m);
    v = sum ? v + other : fmaxf(v, other);
  }
  __syncthreads();  // scratch may still be read
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  v = scratch[0];
#pragma unroll
  for (int i = 1; i < kSoftmaxThreads / 32; ++i) v = sum ? v + scratch[i] : fmaxf(v, scratch[i]);
  return v;
}

// A block a row. stride is a multiple of 4.
__global__ void __launch_bounds__(kSoftmaxThreads)
    softmax_kernel(const float* scores, float to_log2, int first_cell, int n_head, int stride,
                   uint16_t* weights) {
  __shared__ float scratch[kSoftmaxThreads / 32];
  launch_dependents();
  grid_wait();
  const int64_t row = blockIdx.x;
  const int seen = first_cell + static_cast<int>(row / n_head) + 1;
  scores += row * stride;
  weights += row * stride;
  float largest = -INFINITY;
  for (int i = threadIdx.x * 4; i < seen; i += kSoftmaxThreads * 4) {
    const float4 v = *reinterpret_cast<const float4*>(scores + i);
    largest = fmaxf(largest, v.x);
    if (i + 1 < seen) largest = fmaxf(largest, v.y);
    if (i + 2 < seen) largest = fmaxf(largest, v.z);
    if (i + 3 < seen) largest = fmaxf(largest, v.w);
  }
  const float base = block_reduce(largest, false, scratch) * to_log2;
  const auto weight = [&](int i, float v) { return i < seen ? exp2f(v * to_log2 - base) : 0.0f; };
  float sum = 0;
  for (int i = threadIdx.x * 4; i < seen; i += kSoftmaxThreads * 4) {
    const float4 v = *reinterpret_cast<const float4*>(scores + i);
    sum += weight(i, v.x) + weight(i + 1, v.y) + weight(i + 2, v.z) + weight(i + 3, v.w);
  }
  const float inverse = 1.0f / block_reduce(sum, true, scratch);
  for (int i = threadIdx.x * 4; i < stride; i += kSoftmaxThreads * 4) {
    const float4 v = *reinterpret_cast<const float4*>(scores + i);
    *reinterpret_cast<uint2*>(weights + i) =
        make_uint2(pack_half2(weight(i, v.x) * inverse, weight(i + 1, v.y) * inverse),
                   pack_half2(weight(i + 2, v.z) * inverse, weight(i + 3, v.w) * inverse));
  }
}

int groups_of(int n_head) { return static_cast<int>(ceil_div(n_head, kRows)); }

}  // namespace

int latent_splits(int n_head, int multiprocessors) {
  int splits = 4;
  while (splits < kMaxLatentSplits && 2 * splits * groups_of(n_head) <= multiprocessors)
    splits *= 2;
  return splits;
}

int64_t latent_partial_floats(int n_tokens, int n_head, int multiprocessors) {
  return static_cast<int64_t>(n_tokens) * groups_of(n_head) *
         latent_splits(n_head, multiprocessors) * kRows * (kDV + 2);
}

LatentParts latent_parts(float* partial, int n_tokens, int n_head, int multiprocessors) {
  LatentParts p;
  p.splits = latent_splits(n_head, multiprocessors);
  p.n_group = groups_of(n_head);
  p.out = partial;
  p.stats = reinterpret_cast<float2*>(partial + static_cast<int64_t>(n_tokens) * p.n_group *
                                                    p.splits * kRows * kDV);
  return p;
}

cudaError_t latent_attention(const Launch& l, const AttentionKernelArgs& a,
                             const LatentParts& parts, const Prefetch& next) {
  if (a.kv.q8 || a.kv.head_dim_k != kDK || a.kv.head_dim_v != kDV) return cudaErrorInvalidValue;
  if (cudaError_t e =
          cudaFuncSetAttribute(latent_attention_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(sizeof(Shared)));
      e != cudaSuccess)
    return e;
  return launch(l, latent_attention_kernel,
                dim3(static_cast<unsigned>(parts.splits), static_cast<unsigned>(parts.n_group),
                     static_cast<unsigned>(a.n_tokens)),
                dim3(kThreads), sizeof(Shared), Params{a, parts, next});
}

cudaError_t latent_join(const Launch& l, const LatentParts& parts, Cell first_cell, int n_tokens,
                        int n_head, float* out) {
  return launch(l, join_kernel,
                dim3(static_cast<unsigned>(n_head), static_cast<unsigned>(n_tokens)),
                dim3(kThreads), 0, parts, first_cell, n_head, out);
}

cudaError_t latent_softmax(const Launch& l, const float* scores, float scale, int first_cell,
                           int n_tokens, int n_head, int stride, uint16_t* weights) {
  return launch(l, softmax_kernel, dim3(static_cast<unsigned>(n_tokens * n_head)),
                dim3(kSoftmaxThreads), 0, scores, scale * kLog2e, first_cell, n_head, stride,
                weights);
}

}  // namespace cambium::engine::cuda
