// Which blocks the queries of a step read (SparseRule), without the host. First every block's mean
// key is multiplied with the queries, by as many thread blocks as fill the chip; what is new since
// the last step gets its mean on the way. Then a thread block for each query and head of keys adds
// up what the heads make of it and picks.
#include "engine/cuda/attention.cuh"
#include "engine/cuda/launch.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kScoreWarps = 8;
constexpr int kChooseThreads = 1024;
constexpr int kSharedBytes = 48 << 10;  // what a kernel gets without asking

/// Of the keys in the block at cell0.
__device__ __forceinline__ float mean_element(const KvCells& kv, int head, int cell0, int d) {
  const int64_t first = k_offset(kv, head, cell0, d);
  const int dk = kv.head_dim_k;
  float sum = 0;
  if (!kv.q8) {
    const __half* key = static_cast<const __half*>(kv.k) + first;
#pragma unroll 8
    for (int c = 0; c < kKeyBlock; ++c) sum += __half2float(key[c * dk]);
  } else {
    const int8_t* key = static_cast<const int8_t*>(kv.k) + first;
    const __half* scale = reinterpret_cast<const __half*>(static_cast<const uint8_t*>(kv.k) +
                                                          kv_values_bytes(kv, dk)) +
                          k_scale_offset(kv, head, cell0, d);
#pragma unroll 8
    for (int c = 0; c < kKeyBlock; ++c)
      sum += __half2float(scale[c * (dk / 32)]) * static_cast<float>(key[c * dk]);
  }
  return sum / kKeyBlock;
}

/// A warp takes every n-th block: its mean key, times the queries of a group of heads.
__global__ void __launch_bounds__(kScoreWarps * 32, 4)
    score_blocks_kernel(const __grid_constant__ AttentionKernelArgs a) {
  extern __shared__ float shared_floats[];
  launch_dependents();
  grid_wait();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int kv_head = blockIdx.y, token = blockIdx.z;
  const int group = a.n_head / a.kv.n_kv_head, dk = a.kv.head_dim_k;
  const int n_blocks = a.kv.n_cells / kKeyBlock;
  const SparseRange range = sparse_range(a.sparse.rule, a.first_cell.read() + token, kKeyBlock);
  // The last query's blocks include those of the queries before it: it is the one to keep means.
  const bool keeps = token == a.n_tokens - 1;
  if (range.best == 0 && !keeps) return;
  float* queries = shared_floats;                     // [group][dk]
  float* mean = shared_floats + (group + warp) * dk;  // this warp's
  const float* q = a.q + (static_cast<int64_t>(token) * a.n_head + kv_head * group) * dk;
  for (int i = threadIdx.x; i < group * dk; i += kScoreWarps * 32) queries[i] = q[i];
  __syncthreads();
  const int known = a.sparse.means_from.read();
  float* scores =
      a.sparse.scores + (static_cast<int64_t>(token) * a.n_head + kv_head * group) * n_blocks;
  for (int block = range.first + blockIdx.x * kScoreWarps + warp; block < range.last;
       block += gridDim.x * kScoreWarps) {
    float* kept = a.sparse.means + (static_cast<int64_t>(kv_head) * n_blocks + block) * dk;
    if (block < known) {
      for (int d = lane; d < dk; d += 32) mean[d] = kept[d];
    } else {
#pragma unroll 1
      for (int d = lane; d < dk; d += 32) {
        mean[d] = mean_element(a.kv, kv_head, block * kKeyBlock, d);
        if (keeps) kept[d] = mean[d];
      }
    }
    // A lane reads what it wrote itself.
    if (range.best == 0) continue;
    for (int h = 0; h < group; ++h) {
      float sum = 0;
      for (int d = lane; d < dk; d += 32) sum = fmaf(queries[h * dk + d], mean[d], sum);
      sum = warp_sum(sum);
      if (lane == 0) scores[static_cast<int64_t>(h) * n_blocks + block] = sum * a.scale;
    }
  }
}

/// The largest and the sum of exp(· − largest) of some of a head's scores.
struct Spread {
  float largest, sum;
};

__global__ void __launch_bounds__(kChooseThreads)
    choose_blocks_kernel(const __grid_constant__ AttentionKernelArgs a) {
  extern __shared__ __align__(8) uint8_t shared_bytes[];
  __shared__ int warp_counts[2][kChooseThreads / 32];
  launch_dependents();
  grid_wait();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int kv_head = blockIdx.x, token = blockIdx.y;
  const int group = a.n_head / a.kv.n_kv_head;
  const int n_blocks = a.kv.n_cells / kKeyBlock;
  const SparseRange range = sparse_range(a.sparse.rule, a.first_cell.read() + token, kKeyBlock);
  if (range.best == 0) return;
  const int n = range.last - range.first;
  const float* scores = a.sparse.scores + range.first +
                        (static_cast<int64_t>(token) * a.n_head + kv_head * group) * n_blocks;

  // The softmax of each head: its scores are shared out to a few warps.
  constexpr int kWarps = kChooseThreads / 32;
  const int slices = max(1, kWarps / group);
  Spread* spreads = reinterpret_cast<Spread*>(shared_bytes);                 // [group][slices]
  uint32_t* shares = reinterpret_cast<uint32_t*>(spreads + group * slices);  // [n], floats >= 0
  for (int i = warp; i < group * slices; i += kWarps) {
    const float* row = scores + static_cast<int64_t>(i / slices) * n_blocks;
    Spread s{-INFINITY, 0};
    for (int b = i % slices * 32 + lane; b < n; b += slices * 32)
      s.largest = fmaxf(s.largest, row[b]);
#pragma unroll
    for (int m = 16; m > 0; m >>= 1)
      s.largest = fmaxf(s.largest, __shfl_xor_sync(~0u, s.largest, m));
    for (int b = i % slices * 32 + lane; b < n; b += slices * 32) s.sum += expf(row[b] - s.largest);
    s.sum = warp_sum(s.sum);
    if (lane == 0) spreads[i] = s;
  }
  __syncthreads();
  if (threadIdx.x < group) {
    Spread* own = spreads + threadIdx.x * slices;
    Spread all = own[0];
    for (int i = 1; i < slices; ++i) all.largest = fmaxf(all.largest, own[i].largest);
    all.sum = 0;
    for (int i = 0; i < slices; ++i) all.sum += own[i].sum * expf(own[i].largest - all.largest);
    own[0] = all;
  }
  __syncthreads();
  for (int b = threadIdx.x; b < n; b += kChooseThreads) {
    float share = 0;
    for (int h = 0; h < group; ++h) {
      const Spread s = spreads[h * slices];
      share += expf(scores[static_cast<int64_t>(h) * n_blocks + b] - s.largest) / s.sum;
    }
    shares[b] = __float_as_uint(share);
  }
  // A thread reads what it wrote itself from here on.

  // The bits of floats >= 0 are in the order of the floats: the least share that is chosen, bit by
  // bit from the top.
  const auto count = [&](uint32_t least) {
    int sum = 0;
    for (int first = 0; first < n; first += kChooseThreads) {
      const int b = first + threadIdx.x;
      sum += __syncthreads_count(b < n && shares[b] >= least);
    }
    return sum;
  };
  uint32_t least = 0;
  for (int bit = 30; bit >= 0; --bit)
    if (count(least | 1u << bit) >= range.best) least |= 1u << bit;
  // Of those that are equal to it, the first.
  const int of_equals = range.best - count(least + 1);

  uint32_t* chosen = a.sparse.blocks +
                     (static_cast<int64_t>(token) * a.kv.n_kv_head + kv_head) * a.sparse.capacity;
  for (int b = threadIdx.x; b < range.first; b += kChooseThreads) chosen[b] = b;
  for (int b = range.last + threadIdx.x; b < range.end; b += kChooseThreads)
    chosen[range.first + range.best + b - range.last] = b;
  // In the order of the blocks. Two counts at once: larger ones in the upper half, equals in the
  // lower.
  int before = 0;
  for (int first = 0, turn = 0; first < n; first += kChooseThreads, turn ^= 1) {
    const int b = first + threadIdx.x;
    const uint32_t share = b < n ? shares[b] : 0;
    const bool larger = b < n && share > least, equal = b < n && share == least;
    const uint32_t all_larger = __ballot_sync(~0u, larger), all_equal = __ballot_sync(~0u, equal);
    if (lane == 0) warp_counts[turn][warp] = __popc(all_larger) << 16 | __popc(all_equal);
    __syncthreads();
    const int counted = warp_counts[turn][lane];
    const uint32_t lanes_before = (1u << lane) - 1;
    const int here = before + warp_sum(lane < warp ? counted : 0);
    const int larger_before = (here >> 16) + __popc(all_larger & lanes_before),
              equal_before = (here & 0xffff) + __popc(all_equal & lanes_before);
    if (larger || (equal && equal_before < of_equals))
      chosen[range.first + larger_before + min(equal_before, of_equals)] = range.first + b;
    before += warp_sum(counted);
  }
}

int64_t choose_shared_bytes(int64_t n_cells, int group) {
  constexpr int kWarps = kChooseThreads / 32;
  const int64_t slices = group < kWarps ? kWarps / group : 1;
  return group * slices * static_cast<int64_t>(sizeof(Spread)) + n_cells / kKeyBlock * 4;
}

}  // namespace

cudaError_t choose_blocks(const Launch& l, const AttentionKernelArgs& a) {
  const int group = a.n_head / a.kv.n_kv_head, dk = a.kv.head_dim_k;
  const int64_t score_bytes = static_cast<int64_t>(group + kScoreWarps) * dk * 4,
                choose_bytes = choose_shared_bytes(a.kv.n_cells, group);
  if (score_bytes > kSharedBytes || a.kv.n_cells > kMostSparseCells ||
      choose_bytes > kSharedBytes - 512)
    return cudaErrorInvalidValue;
  // A grid that is captured once, for caches that are nearly empty and full ones.
  const int64_t wanted = ceil_div(a.kv.n_cells / kKeyBlock, kScoreWarps),
                room = 8 * l.multiprocessors / (int64_t{a.kv.n_kv_head} * a.n_tokens);
  const int64_t x = wanted < room ? wanted : room > 1 ? room : 1;
  const cudaError_t e = launch(l, score_blocks_kernel,
                               dim3(static_cast<unsigned>(x), static_cast<unsigned>(a.kv.n_kv_head),
                                    static_cast<unsigned>(a.n_tokens)),
                               dim3(kScoreWarps * 32), static_cast<size_t>(score_bytes), a);
  if (e != cudaSuccess) return e;
  return launch(l, choose_blocks_kernel,
                dim3(static_cast<unsigned>(a.kv.n_kv_head), static_cast<unsigned>(a.n_tokens)),
                dim3(kChooseThreads), static_cast<size_t>(choose_bytes), a);
}

}  // namespace cambium::engine::cuda
