// The small ops: norms, rotary embedding, the cache writes of prefill, SwiGLU, argmax.
#include <cuda_bf16.h>

#include <cfloat>

#include "engine/cuda/kv.cuh"
#include "engine/cuda/launch.cuh"
#include "engine/cuda/quantize.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGrid = 65535;

__global__ void __launch_bounds__(kRowThreads)
    rms_norm_kernel(const float* x, const float* w, float eps, int64_t cols, float* y) {
  __shared__ float scratch[kRowThreads / 32];
  launch_dependents();
  grid_wait();
  x += blockIdx.x * cols;
  y += blockIdx.x * cols;
  const float inverse = inverse_rms(x, static_cast<int>(cols), eps, scratch);
  for (int64_t k = threadIdx.x; k < cols; k += kRowThreads) y[k] = x[k] * inverse * w[k];
}

// Short rows (the q- and k-norm of a head): a warp a row.
__global__ void __launch_bounds__(kThreads)
    rms_norm_short_kernel(const float* x, const float* w, float eps, int64_t cols, int64_t n_rows,
                          float* y) {
  launch_dependents();
  grid_wait();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= n_rows) return;
  x += row * cols;
  y += row * cols;
  float sum = 0;
  for (int64_t k = threadIdx.x % 32; k < cols; k += 32) sum = fmaf(x[k], x[k], sum);
  const float inverse = rsqrtf(warp_sum(sum) / static_cast<float>(cols) + eps);
  for (int64_t k = threadIdx.x % 32; k < cols; k += 32) y[k] = x[k] * inverse * w[k];
}

__global__ void silu_mul_kernel(const float* gate, const float* up, float* y, int64_t n) {
  launch_dependents();
  grid_wait();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    y[i] = gate[i] / (1.0f + __expf(-gate[i])) * up[i];
}

__global__ void add_kernel(const float* x, float* y, int64_t n, int64_t period) {
  launch_dependents();
  grid_wait();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    y[i] += x[period == n ? i : i % period];
}

__global__ void to_half_kernel(const float* x, uint16_t* y, int64_t n, bool bf16) {
  launch_dependents();
  grid_wait();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    if (bf16)
      y[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
    else
      y[i] = __half_as_ushort(__float2half_rn(fminf(fmaxf(x[i], -65504.0f), 65504.0f)));
  }
}

__device__ __forceinline__ int position_of(const Cell& first, int token) {
  return first.read() + token;
}
__device__ __forceinline__ int position_of(const int32_t* positions, int token) {
  return positions[token];
}

// A thread a pair. Position: a Cell, of the first token, or those of all.
template <class Position>
__global__ void rope_kernel(float* x, RopeArgs rope, Position position, int64_t pairs, int n_head,
                            int head_dim) {
  launch_dependents();
  grid_wait();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= pairs) return;
  const int half = rope.n_rot / 2;
  const int pair = static_cast<int>(i % half);
  const int64_t head = i / half;  // token · n_head + head
  const int pos = position_of(position, static_cast<int>(head / n_head));
  float sine, cosine;
  sincosf(static_cast<float>(pos) * rope.freq[pair], &sine, &cosine);
  sine *= rope.magnitude;
  cosine *= rope.magnitude;
  float* a = x + head * head_dim + (rope.interleaved ? 2 * pair : pair);
  float* b = a + (rope.interleaved ? 1 : half);
  const float first = *a, second = *b;
  *a = first * cosine - second * sine;
  *b = first * sine + second * cosine;
}

// K: a warp takes 32 dims of one head and token, which is also the block of a Q8_0 cache.
// V: likewise; consecutive tokens are consecutive in memory, so their stores meet in the L2.
__global__ void __launch_bounds__(kThreads)
    kv_write_kernel(KvCells kv, Cell first_cell, int n_tokens, const float* k, const float* v) {
  launch_dependents();
  grid_wait();
  const int first = first_cell.read();
  const int k_groups = (kv.head_dim_k + 31) / 32,
            v_groups = kv.latent ? 0 : (kv.head_dim_v + 31) / 32;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  const int64_t per_token = static_cast<int64_t>(kv.n_kv_head) * (k_groups + v_groups);
  if (group >= per_token * n_tokens) return;
  const int token = static_cast<int>(group / per_token);
  int g = static_cast<int>(group % per_token);
  const bool is_v = g >= kv.n_kv_head * k_groups;
  if (is_v) g -= kv.n_kv_head * k_groups;
  const int groups = is_v ? v_groups : k_groups, dim = is_v ? kv.head_dim_v : kv.head_dim_k;
  const int head = g / groups, d = g % groups * 32 + threadIdx.x % 32;
  const float* source = (is_v ? v : k) + (static_cast<int64_t>(token) * kv.n_kv_head + head) * dim;
  const float value = d < dim ? source[d] : 0.0f;
  const int cell = first + token;
  uint8_t* base = static_cast<uint8_t*>(is_v ? kv.v : kv.k);
  if (!kv.q8) {
    if (d < dim)
      reinterpret_cast<__half*>(
          base)[is_v ? v_offset(kv, head, cell, d) : k_offset(kv, head, cell, d)] =
          __float2half_rn(value);
    return;
  }
  float largest = fabsf(value);
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, m));
  // The stored scale is rounded to F16 first, so that the values match it.
  const __half scale = __float2half_rn(largest / 127.0f);
  const float s = __half2float(scale);
  const int q = s > 0 ? min(127, max(-127, __float2int_rn(value / s))) : 0;
  base[is_v ? v_offset(kv, head, cell, d) : k_offset(kv, head, cell, d)] = static_cast<uint8_t>(q);
  if (threadIdx.x % 32 == 0) {
    __half* scales = reinterpret_cast<__half*>(base + kv_values_bytes(kv, dim));
    scales[is_v ? v_scale_offset(kv, head, cell, d) : k_scale_offset(kv, head, cell, d)] = scale;
  }
}

// A block a token. Each thread keeps the largest of its logits and the sum of exp(logit - largest).
__global__ void __launch_bounds__(1024)
    choose_kernel(const float* logits, int64_t n_vocab, BestToken* best) {
  __shared__ float values[32], totals[32];
  __shared__ int32_t indices[32];
  launch_dependents();
  grid_wait();
  logits += blockIdx.x * n_vocab;
  float largest = -FLT_MAX, total = 0;
  int32_t index = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < n_vocab; i += blockDim.x) {
    const float value = logits[i];
    if (value > largest) {
      total *= __expf(largest - value);
      largest = value;
      index = static_cast<int32_t>(i);
    }
    total += __expf(value - largest);
  }
  const auto join = [&](float v, float t, int32_t i) {
    const float most = fmaxf(v, largest);
    total = total * __expf(largest - most) + t * __expf(v - most);
    if (v > largest || (v == largest && i < index)) index = i;
    largest = most;
  };
  const auto join_lanes = [&] {
    for (int m = 16; m > 0; m >>= 1)
      join(__shfl_xor_sync(~0u, largest, m), __shfl_xor_sync(~0u, total, m),
           __shfl_xor_sync(~0u, index, m));
  };
  join_lanes();
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = largest;
    totals[threadIdx.x / 32] = total;
    indices[threadIdx.x / 32] = index;
  }
  __syncthreads();
  if (threadIdx.x >= 32) return;
  largest = values[threadIdx.x];
  total = totals[threadIdx.x];
  index = indices[threadIdx.x];
  join_lanes();
  if (threadIdx.x == 0) best[blockIdx.x] = {index, -logf(total)};
}

// A block a row: the sum of exp(logit - largest) in one reading, then a reading for each of the best, which
// finds the next one after the last. Rows lie in the L2.
constexpr int kRankThreads = 512;

/// Whether (v, i) comes before (w, j), from best to worst.
__device__ __forceinline__ bool better(float v, int i, float w, int j) {
  return v > w || (v == w && i < j);
}

/// The best of the block's pairs, known to every thread.
__device__ __forceinline__ void best_of_block(float& value, int& index, float* values,
                                              int* indices) {
  for (int m = 16; m > 0; m >>= 1) {
    const float v = __shfl_xor_sync(~0u, value, m);
    const int i = __shfl_xor_sync(~0u, index, m);
    if (better(v, i, value, index)) value = v, index = i;
  }
  __syncthreads();  // the last round's values were read
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = value;
    indices[threadIdx.x / 32] = index;
  }
  __syncthreads();
  for (int w = 0; w < kRankThreads / 32; ++w)
    if (better(values[w], indices[w], value, index)) value = values[w], index = indices[w];
}

__global__ void __launch_bounds__(kRankThreads)
    rank_kernel(const float* logits, int64_t n_vocab, const int32_t* wanted, int top,
                float* logprobs, BestToken* best) {
  __shared__ float values[kRankThreads / 32];
  __shared__ int indices[kRankThreads / 32];
  __shared__ float sums[kRankThreads / 32];
  launch_dependents();
  grid_wait();
  const int row = blockIdx.x;
  logits += row * n_vocab;
  const int n = static_cast<int>(n_vocab);
  float value = -INFINITY;
  int index = n;
#pragma unroll 8
  for (int i = threadIdx.x; i < n; i += kRankThreads) {
    const float v = logits[i];
    if (v > value) value = v, index = i;
  }
  best_of_block(value, index, values, indices);
  const float largest = value;
  float sum = 0;
#pragma unroll 8
  for (int i = threadIdx.x; i < n; i += kRankThreads) sum += __expf(logits[i] - largest);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < kRankThreads / 32; ++w) sum += sums[w];
  const float log_sum = largest + logf(sum);
  if (threadIdx.x == 0) logprobs[row] = logits[wanted[row]] - log_sum;
  for (int k = 0; k < top; ++k) {
    if (threadIdx.x == 0)
      best[row * top + k] = {index < n ? index : 0, index < n ? value - log_sum : -INFINITY};
    if (k + 1 == top) return;
    const float last_value = value;
    const int last = index;
    value = -INFINITY;
    index = n;
#pragma unroll 8
    for (int i = threadIdx.x; i < n; i += kRankThreads) {
      const float v = logits[i];
      if (better(last_value, last, v, i) && better(v, i, value, index)) value = v, index = i;
    }
    best_of_block(value, index, values, indices);
  }
}

dim3 blocks_for(int64_t n) {
  const int64_t blocks = ceil_div(n, kThreads);
  return dim3(static_cast<unsigned>(blocks < kMaxGrid ? blocks : kMaxGrid));
}

}  // namespace

cudaError_t rms_norm(const Launch& l, const float* x, const float* w, float eps, int64_t cols,
                     int64_t n_rows, float* y) {
  if (cols <= 256)
    return launch(l, rms_norm_short_kernel,
                  dim3(static_cast<unsigned>(ceil_div(n_rows, kThreads / 32))), dim3(kThreads), 0,
                  x, w, eps, cols, n_rows, y);
  return launch(l, rms_norm_kernel, dim3(static_cast<unsigned>(n_rows)), dim3(kRowThreads), 0, x, w,
                eps, cols, y);
}
cudaError_t silu_mul(const Launch& l, const float* gate, const float* up, float* y, int64_t n) {
  return launch(l, silu_mul_kernel, blocks_for(n), dim3(kThreads), 0, gate, up, y, n);
}
cudaError_t add(const Launch& l, const float* x, float* y, int64_t n) {
  return launch(l, add_kernel, blocks_for(n), dim3(kThreads), 0, x, y, n, n);
}
cudaError_t add_bias(const Launch& l, const float* bias, float* y, int64_t cols, int64_t n_rows) {
  return launch(l, add_kernel, blocks_for(cols * n_rows), dim3(kThreads), 0, bias, y, cols * n_rows,
                cols);
}
cudaError_t to_half(const Launch& l, const float* x, uint16_t* y, int64_t n, bool bf16) {
  return launch(l, to_half_kernel, blocks_for(n), dim3(kThreads), 0, x, y, n, bf16);
}
cudaError_t rope(const Launch& l, float* x, const RopeArgs& args, Cell first_pos, int n_tokens,
                 int n_head, int head_dim) {
  const int64_t pairs = static_cast<int64_t>(n_tokens) * n_head * (args.n_rot / 2);
  return launch(l, rope_kernel<Cell>, dim3(static_cast<unsigned>(ceil_div(pairs, kThreads))),
                dim3(kThreads), 0, x, args, first_pos, pairs, n_head, head_dim);
}
cudaError_t rope_at(const Launch& l, float* x, const RopeArgs& args, const int32_t* positions,
                    int n_tokens, int n_head, int head_dim) {
  const int64_t pairs = static_cast<int64_t>(n_tokens) * n_head * (args.n_rot / 2);
  return launch(l, rope_kernel<const int32_t*>,
                dim3(static_cast<unsigned>(ceil_div(pairs, kThreads))), dim3(kThreads), 0, x, args,
                positions, pairs, n_head, head_dim);
}
cudaError_t kv_write(const Launch& l, const KvCells& kv, Cell first_cell, int n_tokens,
                     const float* k, const float* v) {
  const int64_t groups =
      static_cast<int64_t>(n_tokens) * kv.n_kv_head *
      (ceil_div(kv.head_dim_k, 32) + (kv.latent ? 0 : ceil_div(kv.head_dim_v, 32)));
  return launch(l, kv_write_kernel, dim3(static_cast<unsigned>(ceil_div(groups, kThreads / 32))),
                dim3(kThreads), 0, kv, first_cell, n_tokens, k, v);
}
cudaError_t choose(const Launch& l, const float* logits, int64_t n_vocab, int n_tokens,
                   BestToken* best) {
  return launch(l, choose_kernel, dim3(static_cast<unsigned>(n_tokens)), dim3(1024), 0, logits,
                n_vocab, best);
}

cudaError_t rank(const Launch& l, const float* logits, int64_t n_vocab, int n_rows,
                 const int32_t* wanted, int top, float* logprobs, BestToken* best) {
  return launch(l, rank_kernel, dim3(static_cast<unsigned>(n_rows)), dim3(kRankThreads), 0, logits,
                n_vocab, wanted, top, logprobs, best);
}

}  // namespace cambium::engine::cuda
