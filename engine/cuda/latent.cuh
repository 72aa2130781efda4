// Joining the parts that the splits of latent attention leave.
#pragma once

#include "engine/cuda/device.cuh"
#include "engine/cuda/latent.h"

namespace cambium::engine::cuda {

inline constexpr int kMaxLatentSplits = 64;

/// Splits that have anything for a query in `cell`.
__host__ __device__ inline int latent_active(int cell, int splits) {
  const int n_blocks = cell / kKeyBlock + 1;
  return n_blocks < splits ? n_blocks : splits;
}

/// Row of a token and head in split 0; splits are 16 rows apart.
__device__ __forceinline__ int64_t part_row(const LatentParts& p, int token, int head) {
  return (static_cast<int64_t>(token) * p.n_group + head / 16) * p.splits * 16 + head % 16;
}

/// factor[s]: what split s counts in the whole. Called by the first warp's threads and others alike;
/// the caller synchronizes.
__device__ __forceinline__ void join_factors(const LatentParts& p, int token, int head, int active,
                                             float* factor) {
  if (threadIdx.x >= 32) return;
  const float2* stats = p.stats + part_row(p, token, head);
  float largest = -INFINITY;
  for (int s = threadIdx.x; s < active; s += 32) largest = fmaxf(largest, __ldcg(stats + s * 16).x);
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, m));
  float sum = 0;
  for (int s = threadIdx.x; s < active; s += 32) {
    const float2 stat = __ldcg(stats + s * 16);
    factor[s] = exp2f(stat.x - largest);
    sum = fmaf(factor[s], stat.y, sum);
  }
  sum = warp_sum(sum);
  for (int s = threadIdx.x; s < active; s += 32) factor[s] /= sum;
}

/// Dims d..d+3 of a head's result.
__device__ __forceinline__ float4 joined(const LatentParts& p, int token, int head, int active,
                                         int d, const float* factor) {
  const float* part = p.out + part_row(p, token, head) * kLatentValue + d;
  float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
  for (int s = 0; s < active; ++s) {
    const float4 v =
        __ldcg(reinterpret_cast<const float4*>(part + static_cast<int64_t>(s) * 16 * kLatentValue));
    const float f = factor[s];
    sum = make_float4(fmaf(f, v.x, sum.x), fmaf(f, v.y, sum.y), fmaf(f, v.z, sum.z),
                      fmaf(f, v.w, sum.w));
  }
  return sum;
}

}  // namespace cambium::engine::cuda
