// RMSNorm and int8 quantization of activations: of 32 columns by eight lanes, which is what all kernels
// do alike, and of a row by a block of 256 threads, for a kernel of its own and as the prologue of
// others, so that both give the same bits.
#pragma once

#include "engine/cuda/device.cuh"
#include "engine/cuda/kernels.h"

namespace cambium::engine::cuda {

inline constexpr int kRowThreads = 256;

/// Sum over the block, the same in every thread; `scratch` holds 8 floats.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int i = 0; i < kRowThreads / 32; ++i) total += scratch[i];
  return total;
}

/// Loads of a thread that are under way at once: their latency is what a prologue costs. So many of a
/// row and of its norm's weights, or twice as many of a row alone.
inline constexpr int kRowLoads = 4;

/// Columns k..k+3 of a row; beyond `cols` zeros.
__device__ __forceinline__ float4 load_four(const float* x, int k, int cols) {
  return k < cols ? __ldcg(reinterpret_cast<const float4*>(x + k)) : make_float4(0, 0, 0, 0);
}

/// A thread's fours of a row from column `first` on, kRowThreads apart; beyond `cols` zeros.
template <int kLoads>
__device__ __forceinline__ void load_row(const float* x, int first, int cols, float4 (&v)[kLoads]) {
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int k = first + i * kRowThreads * 4;
    v[i] = x != nullptr && k < cols ? __ldcg(reinterpret_cast<const float4*>(x + k))
                                    : make_float4(0, 0, 0, 0);
  }
}

__device__ __forceinline__ float add_squares(const float4 (&v)[kRowLoads], float sum) {
#pragma unroll
  for (int i = 0; i < kRowLoads; ++i)
    sum =
        fmaf(v[i].x, v[i].x, fmaf(v[i].y, v[i].y, fmaf(v[i].z, v[i].z, fmaf(v[i].w, v[i].w, sum))));
  return sum;
}

/// 1 / sqrt(mean(x²) + eps) of the thread's own sum of squares.
__device__ __forceinline__ float inverse_of(float sum, int cols, float eps, float* scratch) {
  return rsqrtf(block_sum(sum, scratch) / static_cast<float>(cols) + eps);
}

/// 1 / sqrt(mean(x²) + eps)
__device__ __forceinline__ float inverse_rms(const float* x, int cols, float eps, float* scratch) {
  float sum = 0;
  if (cols % 4 == 0) {
    for (int first = threadIdx.x * 4; first < cols; first += kRowThreads * 4 * kRowLoads) {
      float4 v[kRowLoads];
      load_row(x, first, cols, v);
      sum = add_squares(v, sum);
    }
  } else {
    for (int k = threadIdx.x; k < cols; k += kRowThreads) sum = fmaf(x[k], x[k], sum);
  }
  return inverse_of(sum, cols, eps, scratch);
}

/// Four neighbouring columns k..k+3 of a row into block `block` of a buffer; called by the lanes of
/// `mask`, neighbouring eights that share a block of 32.
__device__ __forceinline__ void store_quantized(float4 y, int k, int64_t block, int8_t* values,
                                                float2* scales, unsigned mask = ~0u) {
  float largest = fmaxf(fmaxf(fabsf(y.x), fabsf(y.y)), fmaxf(fabsf(y.z), fabsf(y.w)));
#pragma unroll
  for (int m = 1; m < 8; m <<= 1) largest = fmaxf(largest, __shfl_xor_sync(mask, largest, m));
  const float d = largest / 127.0f;
  const float to_int = largest > 0 ? 127.0f / largest : 0.0f;
  const int q0 = __float2int_rn(y.x * to_int), q1 = __float2int_rn(y.y * to_int);
  const int q2 = __float2int_rn(y.z * to_int), q3 = __float2int_rn(y.w * to_int);
  int sum = q0 + q1 + q2 + q3;
#pragma unroll
  for (int m = 1; m < 8; m <<= 1) sum += __shfl_xor_sync(mask, sum, m);
  const int u = k % 32 / 4;  // h = u / 4, t = u % 4
  *reinterpret_cast<uint32_t*>(values + block * 32 + u % 4 * 8 + u / 4 * 4) =
      (q0 & 255u) | (q1 & 255u) << 8 | (q2 & 255u) << 16 | (q3 & 255u) << 24;
  if (u == 0) scales[block] = make_float2(d, d * static_cast<float>(sum));
}

/// The same of x·weight, and the sum of the squares of x's 32 columns to `squares`: a ready row under
/// a norm.
__device__ __forceinline__ void store_normed(float4 x, float4 weight, int k, int64_t block,
                                             int8_t* values, float2* scales, float* squares,
                                             unsigned mask = ~0u) {
  store_quantized(make_float4(x.x * weight.x, x.y * weight.y, x.z * weight.z, x.w * weight.w), k,
                  block, values, scales, mask);
  float sum = fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, x.w * x.w)));
#pragma unroll
  for (int m = 1; m < 8; m <<= 1) sum += __shfl_xor_sync(mask, sum, m);
  if (k % 32 == 0) *squares = sum;
}

/// 1 / sqrt(mean(x²) + eps) of a row, by a warp, from the squares of its blocks (a multiple of four);
/// `load` reads four of them. Whoever asks adds in the same order.
template <class Load>
__device__ __forceinline__ float inverse_of_blocks(int n_blocks, int cols, float eps, Load&& load) {
  float sum = 0;
  for (int b = threadIdx.x % 32 * 4; b < n_blocks; b += 128) {
    const float4 s = load(b);
    sum += (s.x + s.y) + (s.z + s.w);
  }
  return rsqrtf(warp_sum(sum) / static_cast<float>(cols) + eps);
}

/// Column `column` of `width` of an activation buffer; x null writes zeros. cols must be a multiple
/// of 4 (GGUF's quantized rows are multiples of 32); columns to the next 256 become zero. Under a
/// norm `parts` blocks may share what is stored; each works out the norm of the whole row.
__device__ __forceinline__ void quantize_row(const float* x, const float* norm, float eps, int cols,
                                             int column, int width, int8_t* values, float2* scales,
                                             float* scratch, int part = 0, int parts = 1) {
  const int padded = (cols + kTileCols - 1) / kTileCols * kTileCols;
  // Eight neighbouring threads hold the 32 columns of a block, four each.
  const auto store = [&](int k, float4 y) {
    store_quantized(y, k, static_cast<int64_t>(k / 32) * width + column, values, scales);
  };
  constexpr int kApart = kRowThreads * 4;
  if (norm == nullptr || x == nullptr) {
    constexpr int kLoads = 2 * kRowLoads;
    for (int first = threadIdx.x * 4; first < padded; first += kApart * kLoads) {
      float4 v[kLoads];
      load_row(x, first, cols, v);
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        // The same for the eight threads of a block, and for whole warps.
        if (first + i * kApart >= padded) break;
        store(first + i * kApart, v[i]);
      }
    }
    return;
  }
  // A row that one batch of loads holds is read once, for its norm and for its values.
  const bool once = padded <= kApart * kRowLoads;
  float inverse = once ? 0.0f : inverse_rms(x, cols, eps, scratch);
  for (int first = threadIdx.x * 4; first < padded || once; first += kApart * kRowLoads) {
    float4 v[kRowLoads], w[kRowLoads];
    load_row(x, first, cols, v);
    load_row(norm, first, cols, w);
    if (once) inverse = inverse_of(add_squares(v, 0), cols, eps, scratch);
#pragma unroll
    for (int i = 0; i < kRowLoads; ++i) {
      if (first + i * kApart >= padded) break;
      if (i % parts != part) continue;
      store(first + i * kApart, make_float4(v[i].x * inverse * w[i].x, v[i].y * inverse * w[i].y,
                                            v[i].z * inverse * w[i].z, v[i].w * inverse * w[i].w));
    }
    if (once) break;
  }
}

}  // namespace cambium::engine::cuda
