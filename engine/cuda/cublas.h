// cuBLAS, opened at run time: a machine without it still decodes, and prefills through the decode
// kernels, eight tokens at a time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "engine/result.h"
#include "engine/tensor.h"

namespace cambium::engine::cuda {

/// c[i] (+)= alpha · op(a[i]) · b[i] for `batch` matrices `stride_*` elements apart, column-major as
/// cuBLAS has them: op(a) [m, k], b [k, n], c [m, n]; a and b of `type`, c f32.
struct Gemm {
  DType type = DType::f16;
  bool transpose_a = true;  ///< a is stored [k, m]: a row-major matrix of m rows
  int m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t lda = 0, stride_a = 0;
  const void* b = nullptr;
  int64_t ldb = 0, stride_b = 0;
  float* c = nullptr;
  int64_t ldc = 0, stride_c = 0;
  int batch = 1;
  bool accumulate = false;
};

class Cublas {
 public:
  /// `workspace` [workspace_bytes] is device memory that outlives the object.
  static Result<std::unique_ptr<Cublas>> open(cudaStream_t stream, void* workspace,
                                              size_t workspace_bytes);
  virtual ~Cublas() = default;
  /// y [n, rows] (+)= x [n, cols] · wᵀ, w [rows, cols]; row-major, w and x of `type` (f16, bf16,
  /// f32), y f32 with `y_stride` floats from one token to the next. Accumulates in f32.
  virtual Result<void> gemm(DType type, const void* w, const void* x, float* y, int rows, int cols,
                            int n, int y_stride, bool accumulate) = 0;
  virtual Result<void> gemm(const Gemm&) = 0;
};

}  // namespace cambium::engine::cuda
