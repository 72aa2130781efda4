// y = W·x on F32, F16 and BF16 weights for 1 to 8 tokens: a warp for two rows, products in F32. The
// order of the additions of a token is the same for every number of tokens.
#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int kRows = 2;  // rows a warp
constexpr int kWarps = 4;
constexpr int kVector = 8;  // columns a lane takes at once

template <DType T>
__device__ __forceinline__ float element(const void* w, int64_t i) {
  if constexpr (T == DType::f32) return static_cast<const float*>(w)[i];
  if constexpr (T == DType::f16) return __half2float(static_cast<const __half*>(w)[i]);
  return __uint_as_float(static_cast<uint32_t>(static_cast<const uint16_t*>(w)[i]) << 16);
}

template <DType T>
__device__ __forceinline__ void load_vector(const void* w, int64_t i, float (&v)[kVector]) {
  if constexpr (T == DType::f32) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint4 u = load_stream(static_cast<const float*>(w) + i + 4 * h);
      v[4 * h] = __uint_as_float(u.x);
      v[4 * h + 1] = __uint_as_float(u.y);
      v[4 * h + 2] = __uint_as_float(u.z);
      v[4 * h + 3] = __uint_as_float(u.w);
    }
  } else {
    const uint4 u = load_stream(static_cast<const uint16_t*>(w) + i);
    const uint32_t words[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (T == DType::f16) {
        const float2 f = __half22float2(*reinterpret_cast<const __half2*>(&words[j]));
        v[2 * j] = f.x;
        v[2 * j + 1] = f.y;
      } else {
        v[2 * j] = __uint_as_float(words[j] << 16);
        v[2 * j + 1] = __uint_as_float(words[j] & 0xffff0000u);
      }
    }
  }
}

template <DType T, int kTokens>
__global__ void __launch_bounds__(kWarps * 32) matmul_float_kernel(FloatMatmulArgs a) {
  launch_dependents();
  grid_wait();
  const int lane = threadIdx.x % 32;
  const int64_t row0 = (static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32) * kRows;
  float sum[kRows][kTokens] = {};
  // Vectors need rows that start on 16 bytes; what is left over goes element by element.
  const bool aligned = a.cols % kVector == 0;
  const int64_t vectors = aligned ? a.cols : 0;
#pragma unroll 2
  for (int64_t k = lane * kVector; k < vectors; k += 32 * kVector) {
    float w[kRows][kVector];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      load_vector<T>(a.weight, min(row0 + r, static_cast<int64_t>(a.rows) - 1) * a.cols + k, w[r]);
#pragma unroll
    for (int c = 0; c < kTokens; ++c) {
      if (c >= a.n_tokens) break;
      const float4* x = reinterpret_cast<const float4*>(a.x + static_cast<int64_t>(c) * a.cols + k);
      const float4 x0 = x[0], x1 = x[1];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float s = sum[r][c];
        s = fmaf(w[r][0], x0.x, s);
        s = fmaf(w[r][1], x0.y, s);
        s = fmaf(w[r][2], x0.z, s);
        s = fmaf(w[r][3], x0.w, s);
        s = fmaf(w[r][4], x1.x, s);
        s = fmaf(w[r][5], x1.y, s);
        s = fmaf(w[r][6], x1.z, s);
        sum[r][c] = fmaf(w[r][7], x1.w, s);
      }
    }
  }
  for (int64_t k = vectors + lane; k < a.cols; k += 32)
#pragma unroll
    for (int c = 0; c < kTokens; ++c) {
      if (c >= a.n_tokens) break;
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        sum[r][c] =
            fmaf(element<T>(a.weight, min(row0 + r, static_cast<int64_t>(a.rows) - 1) * a.cols + k),
                 a.x[static_cast<int64_t>(c) * a.cols + k], sum[r][c]);
    }
#pragma unroll
  for (int c = 0; c < kTokens; ++c) {
    if (c >= a.n_tokens) break;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float s = warp_sum(sum[r][c]);
      if (lane != 0 || row0 + r >= a.rows) continue;
      if (a.bias != nullptr) s += a.bias[row0 + r];
      float* y = a.y + static_cast<int64_t>(c) * a.rows + row0 + r;
      *y = a.accumulate ? *y + s : s;
    }
  }
}

template <DType T>
cudaError_t launch_type(const Launch& l, const FloatMatmulArgs& a) {
  const dim3 grid(static_cast<unsigned>(ceil_div(a.rows, kWarps * kRows)));
  return a.n_tokens == 1
             ? launch(l, matmul_float_kernel<T, 1>, grid, dim3(kWarps * 32), 0, a)
             : launch(l, matmul_float_kernel<T, kMaxColumns>, grid, dim3(kWarps * 32), 0, a);
}

}  // namespace

cudaError_t matmul_float(const Launch& l, const FloatMatmulArgs& a) {
  switch (a.type) {
    case DType::f32:
      return launch_type<DType::f32>(l, a);
    case DType::f16:
      return launch_type<DType::f16>(l, a);
    case DType::bf16:
      return launch_type<DType::bf16>(l, a);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace cambium::engine::cuda
