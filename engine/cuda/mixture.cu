// Choosing experts, and moving rows between the tokens' order and the experts'.
#include "engine/cuda/mixture.h"

#include <cfloat>

#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.cuh"
#include "engine/cuda/quantize.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRouteWarps = 2;

/// Shared memory of one token's choice.
struct Choice {
  double score[kMaxExperts];
  uint64_t key[kMaxExperts];  // orders experts; 0: not to be chosen
  double group[kMaxExperts];
  int32_t chosen[kMaxExperts];
};

/// Doubles in their order as integers, none of them 0, with the index in the lowest bits so that of
/// equals the lower index is the larger: 2^-43 of a score is not told apart.
__device__ __forceinline__ uint64_t ordered(double value, int index) {
  static_assert(kMaxExperts == 512);
  const auto bits = static_cast<uint64_t>(__double_as_longlong(value));
  const uint64_t key = bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
  return (key & ~uint64_t{511}) | static_cast<uint64_t>(511 - index);
}

/// How many of keys[0, n) are larger.
__device__ __forceinline__ int larger(const uint64_t* keys, int n, uint64_t key) {
  int count = 0;
#pragma unroll 8
  for (int i = 0; i < n; ++i) count += keys[i] > key ? 1 : 0;
  return count;
}

/// One token by `kTeam` threads, a warp or a whole block. Experts are not picked one after the
/// other: each finds out how many are better, which is its place.
template <int kTeam>
__device__ void route_token(const RouteArgs& r, const float* logits, int token, Choice& c) {
  const int self = threadIdx.x % kTeam, n = r.n_expert;
  const auto meet = [] {
    if constexpr (kTeam == 32)
      __syncwarp();
    else
      __syncthreads();
  };
  if (r.sigmoid) {
    for (int e = self; e < n; e += kTeam)
      c.score[e] = 1.0 / (1.0 + exp(-static_cast<double>(__ldcg(logits + e))));
  } else {
    // Every warp works out the largest and the sum for itself, in the same order.
    const int lane = threadIdx.x % 32;
    float top = -FLT_MAX;
    for (int e = lane; e < n; e += 32) top = fmaxf(top, __ldcg(logits + e));
    for (int m = 16; m > 0; m >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, m));
    for (int e = self; e < n; e += kTeam)
      c.score[e] = exp(static_cast<double>(__ldcg(logits + e)) - static_cast<double>(top));
    meet();
    double sum = 0;
    for (int e = lane; e < n; e += 32) sum += c.score[e];
    for (int m = 16; m > 0; m >>= 1) sum += __shfl_xor_sync(~0u, sum, m);
    meet();
    for (int e = self; e < n; e += kTeam) c.score[e] /= sum;
  }
  const auto rank_of = [&](int e) {
    return c.score[e] + (r.bias == nullptr ? 0.0 : static_cast<double>(r.bias[e]));
  };
  meet();
  const int per_group = n / r.n_group;
  const bool limited = r.n_group_used < r.n_group;
  if (limited) {
    for (int g = self; g < r.n_group; g += kTeam) {
      double first = -INFINITY, second = -INFINITY;
      for (int i = 0; i < per_group; ++i) {
        const double v = rank_of(g * per_group + i);
        if (v > first) {
          second = first;
          first = v;
        } else if (v > second) {
          second = v;
        }
      }
      c.key[g] = ordered(first + (r.sigmoid && per_group > 1 ? second : 0.0), g);
    }
    meet();
    for (int g = self; g < r.n_group; g += kTeam)
      c.group[g] = larger(c.key, r.n_group, c.key[g]) < r.n_group_used ? 1.0 : 0.0;
    meet();
  }
  for (int e = self; e < n; e += kTeam)
    c.key[e] = limited && c.group[e / per_group] == 0.0 ? 0 : ordered(rank_of(e), e);
  meet();
  for (int e = self; e < n; e += kTeam) {
    const uint64_t key = c.key[e];
    if (key == 0) continue;
    const int place = larger(c.key, n, key);
    if (place >= r.n_used) continue;
    c.chosen[place] = e;
    if (r.counts != nullptr) atomicAdd(r.counts + e, 1u);
  }
  meet();
  double sum = 0;
  for (int j = 0; j < r.n_used; ++j) sum += c.score[c.chosen[j]];
  // As the model's own code: the sum of chosen scores can be 0 in float, never by much.
  const double factor =
      r.normalise ? static_cast<double>(r.scale) / (sum + 1e-20) : static_cast<double>(r.scale);
  for (int j = self; j < r.n_used; j += kTeam) {
    const int64_t at = static_cast<int64_t>(token) * r.n_used + j;
    r.ids[at] = c.chosen[j];
    r.weights[at] = static_cast<float>(static_cast<float>(c.score[c.chosen[j]]) * factor);
  }
}

__global__ void __launch_bounds__(kRouteWarps * 32)
    route_kernel(const float* logits, const __grid_constant__ RouteArgs r, int n_tokens) {
  __shared__ Choice choices[kRouteWarps];
  launch_dependents();
  grid_wait();
  const int warp = threadIdx.x / 32, token = blockIdx.x * kRouteWarps + warp;
  if (token >= n_tokens) return;
  route_token<32>(r, logits + static_cast<int64_t>(token) * r.n_expert, token, choices[warp]);
}

// A warp an expert; the token's last block chooses.
__global__ void __launch_bounds__(kRowThreads) router_kernel(const __grid_constant__ RouterArgs a) {
  __shared__ float scratch[kRowThreads / 32];
  __shared__ Choice choice;
  __shared__ bool last;
  launch_dependents();
  const int lane = threadIdx.x % 32, token = blockIdx.y;
  const int e = blockIdx.x * (kRowThreads / 32) + threadIdx.x / 32;
  // The weights are on their way to the L2 while the kernel before this one ends.
  if (e < a.route.n_expert)
    for (int k = lane * 32; k < a.cols; k += 32 * 32)
      prefetch_l2(a.weight + static_cast<int64_t>(e) * a.cols + k);
  if (token == 0)
    for (const Prefetch& next : a.next)
      prefetch_range(next, static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x,
                     static_cast<int64_t>(gridDim.x) * kRowThreads);
  grid_wait();
  const float* x = a.x + static_cast<int64_t>(token) * a.cols;
  const float inverse = inverse_rms(x, a.cols, a.eps, scratch);
  if (e < a.route.n_expert) {
    const float* w = a.weight + static_cast<int64_t>(e) * a.cols;
    float sum = 0;
#pragma unroll 8
    for (int k = lane * 4; k < a.cols; k += 128) {
      const float4 u = *reinterpret_cast<const float4*>(w + k);
      const float4 v = __ldcg(reinterpret_cast<const float4*>(x + k));
      const float4 norm = *reinterpret_cast<const float4*>(a.norm + k);
      sum = fmaf(u.x, v.x * inverse * norm.x, sum);
      sum = fmaf(u.y, v.y * inverse * norm.y, sum);
      sum = fmaf(u.z, v.z * inverse * norm.z, sum);
      sum = fmaf(u.w, v.w * inverse * norm.w, sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      a.logits[static_cast<int64_t>(token) * a.route.n_expert + e] = sum;
      __threadfence();
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(a.arrivals + token, 1) == static_cast<int>(gridDim.x) - 1;
    if (last) a.arrivals[token] = 0;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  route_token<kRowThreads>(a.route, a.logits + static_cast<int64_t>(token) * a.route.n_expert,
                           token, choice);
}

// A block an expert, its warps take consecutive parts of the list: first they count, then they know
// where each part's ranks begin.
__global__ void __launch_bounds__(kThreads)
    rank_kernel(const int32_t* ids, int n, int32_t* counts, int32_t* rank) {
  __shared__ int32_t found[kThreads / 32];
  launch_dependents();
  grid_wait();
  const int expert = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  constexpr int kWarps = kThreads / 32;
  const int part = (n + kWarps * 32 - 1) / (kWarps * 32) * 32;
  const int first = warp * part, end = min(n, first + part);
  int32_t count = 0;
  for (int i = first; i < end; i += 32)
    count +=
        __popc(__ballot_sync(~0u, i + lane < end && __ldcg(ids + min(i + lane, n - 1)) == expert));
  if (lane == 0) found[warp] = count;
  __syncthreads();
  int32_t before = 0, all = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += found[w];
    all += found[w];
  }
  for (int i = first; i < end; i += 32) {
    const bool mine = i + lane < end && __ldcg(ids + min(i + lane, n - 1)) == expert;
    const unsigned votes = __ballot_sync(~0u, mine);
    if (mine) rank[i + lane] = before + __popc(votes & ((1u << lane) - 1));
    before += __popc(votes);
  }
  if (threadIdx.x == 0) counts[expert] = all;
}

__device__ __forceinline__ float in_half(float x) { return fminf(fmaxf(x, -65504.0f), 65504.0f); }
__device__ __forceinline__ uint2 to_half4(float4 v) {
  return make_uint2(pack_half2(in_half(v.x), in_half(v.y)), pack_half2(in_half(v.z), in_half(v.w)));
}

// A block a pair.
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const float* x, const int32_t* ids, const int32_t* base, const int32_t* rank,
                  int n_used, int64_t cols, uint16_t* out) {
  launch_dependents();
  grid_wait();
  const int pair = blockIdx.x;
  const int64_t row = base[ids[pair]] + rank[pair];
  x += pair / n_used * cols;
  out += row * cols;
  for (int64_t k = threadIdx.x * 4; k < cols; k += kThreads * 4)
    *reinterpret_cast<uint2*>(out + k) = to_half4(*reinterpret_cast<const float4*>(x + k));
}

// A block a token.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const float* rows, const int32_t* ids, const float* weights, const int32_t* base,
                   const int32_t* rank, int n_used, int64_t cols, float* y) {
  launch_dependents();
  grid_wait();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * n_used;
  y += blockIdx.x * cols;
  for (int64_t k = threadIdx.x * 4; k < cols; k += kThreads * 4) {
    float4 sum = *reinterpret_cast<const float4*>(y + k);
    for (int j = 0; j < n_used; ++j) {
      const int64_t row = base[ids[first + j]] + rank[first + j];
      const float w = weights[first + j];
      const float4 v = *reinterpret_cast<const float4*>(rows + row * cols + k);
      sum = make_float4(fmaf(w, v.x, sum.x), fmaf(w, v.y, sum.y), fmaf(w, v.z, sum.z),
                        fmaf(w, v.w, sum.w));
    }
    *reinterpret_cast<float4*>(y + k) = sum;
  }
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

__global__ void __launch_bounds__(kThreads)
    activation_kernel(float* gate, const float* up, const float* weights, int64_t n_ff, int64_t n) {
  launch_dependents();
  grid_wait();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  gate[i] = (weights != nullptr ? weights[i / n_ff] : 1.0f) * silu(gate[i]) * up[i];
}

__global__ void __launch_bounds__(kThreads)
    silu_mul_half_kernel(const float* gate, const float* up, int64_t n, uint16_t* half) {
  launch_dependents();
  grid_wait();
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (i >= n) return;
  const float4 g = *reinterpret_cast<const float4*>(gate + i),
               u = *reinterpret_cast<const float4*>(up + i);
  *reinterpret_cast<uint2*>(half + i) =
      to_half4(make_float4(silu(g.x) * u.x, silu(g.y) * u.y, silu(g.z) * u.z, silu(g.w) * u.w));
}

__global__ void __launch_bounds__(kThreads)
    copy_rows_kernel(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                     int64_t n) {
  launch_dependents();
  grid_wait();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) y[i / width * y_stride + i % width] = x[i / width * x_stride + i % width];
}

__global__ void __launch_bounds__(kThreads)
    pack_half_kernel(const float* x, int64_t x_token, int64_t x_head, int n_head, int cols,
                     int64_t n, uint16_t* out) {
  launch_dependents();
  grid_wait();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t row = i / cols;
  out[i] = __half_as_ushort(
      __float2half_rn(in_half(x[row / n_head * x_token + row % n_head * x_head + i % cols])));
}

/// Whether there are enough experts to choose from.
bool can_choose(const RouteArgs& r) {
  return r.n_expert <= kMaxExperts && r.n_group > 0 && r.n_expert % r.n_group == 0 &&
         r.n_used <=
             r.n_expert / r.n_group * (r.n_group_used < r.n_group ? r.n_group_used : r.n_group);
}

dim3 blocks(int64_t n) { return dim3(static_cast<unsigned>(ceil_div(n, kThreads))); }

}  // namespace

RouteArgs route_args(const ExpertRule& rule, const float* bias, int32_t* ids, float* weights,
                     uint32_t* counts) {
  RouteArgs r;
  r.n_expert = rule.n_expert;
  r.n_used = rule.n_used;
  r.n_group = rule.n_group;
  r.n_group_used = rule.n_group_used;
  r.sigmoid = rule.gating == Gating::sigmoid;
  r.normalise = rule.normalise;
  r.scale = rule.scale;
  r.bias = bias;
  r.ids = ids;
  r.weights = weights;
  r.counts = counts;
  return r;
}

cudaError_t route(const Launch& l, const float* logits, const RouteArgs& r, int n_tokens) {
  if (!can_choose(r)) return cudaErrorInvalidValue;
  return launch(l, route_kernel, dim3(static_cast<unsigned>(ceil_div(n_tokens, kRouteWarps))),
                dim3(kRouteWarps * 32), 0, logits, r, n_tokens);
}
cudaError_t router(const Launch& l, const RouterArgs& a) {
  if (!can_choose(a.route) || a.cols % 4 != 0) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(ceil_div(a.route.n_expert, kRowThreads / 32)),
                  static_cast<unsigned>(a.n_tokens));
  return launch(l, router_kernel, grid, dim3(kRowThreads), 0, a);
}
cudaError_t rank_by_expert(const Launch& l, const int32_t* ids, int n, int n_expert,
                           int32_t* counts, int32_t* rank) {
  return launch(l, rank_kernel, dim3(static_cast<unsigned>(n_expert)), dim3(kThreads), 0, ids, n,
                counts, rank);
}
cudaError_t gather_rows(const Launch& l, const float* x, const int32_t* ids, const int32_t* base,
                        const int32_t* rank, int n, int n_used, int64_t cols, uint16_t* out) {
  return launch(l, gather_kernel, dim3(static_cast<unsigned>(n)), dim3(kThreads), 0, x, ids, base,
                rank, n_used, cols, out);
}
cudaError_t combine_rows(const Launch& l, const float* rows, const int32_t* ids,
                         const float* weights, const int32_t* base, const int32_t* rank,
                         int n_tokens, int n_used, int64_t cols, float* y) {
  return launch(l, combine_kernel, dim3(static_cast<unsigned>(n_tokens)), dim3(kThreads), 0, rows,
                ids, weights, base, rank, n_used, cols, y);
}
cudaError_t expert_activation(const Launch& l, float* gate, const float* up, const float* weights,
                              int64_t n_ff, int64_t n_rows) {
  return launch(l, activation_kernel, blocks(n_ff * n_rows), dim3(kThreads), 0, gate, up, weights,
                n_ff, n_ff * n_rows);
}
cudaError_t silu_mul_half(const Launch& l, const float* gate, const float* up, int64_t n,
                          uint16_t* half) {
  return launch(l, silu_mul_half_kernel, blocks(n / 4), dim3(kThreads), 0, gate, up, n, half);
}
cudaError_t copy_rows(const Launch& l, const float* x, int64_t x_stride, float* y, int64_t y_stride,
                      int64_t width, int64_t n_rows) {
  return launch(l, copy_rows_kernel, blocks(width * n_rows), dim3(kThreads), 0, x, x_stride, y,
                y_stride, width, width * n_rows);
}
cudaError_t pack_half(const Launch& l, const float* x, int64_t x_token, int64_t x_head,
                      int n_tokens, int n_head, int cols, uint16_t* out) {
  const int64_t n = static_cast<int64_t>(n_tokens) * n_head * cols;
  return launch(l, pack_half_kernel, blocks(n), dim3(kThreads), 0, x, x_token, x_head, n_head, cols,
                n, out);
}

}  // namespace cambium::engine::cuda
