#include "engine/cuda/cublas.h"

#include <cublas_v2.h>
#include <dlfcn.h>

#include <array>

namespace cambium::engine::cuda {
namespace {

// Spelled out, since the header overloads the name.
using GemmEx = cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n,
                              int k, const void* alpha, const void* a, cudaDataType_t a_type,
                              int lda, const void* b, cudaDataType_t b_type, int ldb,
                              const void* beta, void* c, cudaDataType_t c_type, int ldc,
                              cublasComputeType_t, cublasGemmAlgo_t);

using GemmStridedEx = cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m,
                                     int n, int k, const void* alpha, const void* a,
                                     cudaDataType_t a_type, int lda, long long stride_a,
                                     const void* b, cudaDataType_t b_type, int ldb,
                                     long long stride_b, const void* beta, void* c,
                                     cudaDataType_t c_type, int ldc, long long stride_c, int batch,
                                     cublasComputeType_t, cublasGemmAlgo_t);

struct Functions {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  decltype(&cublasSetWorkspace_v2) set_workspace = nullptr;
  GemmEx* gemm_ex = nullptr;
  GemmStridedEx* gemm_strided_ex = nullptr;
  decltype(&cublasGetStatusString) status_string = nullptr;
};

class LoadedCublas : public Cublas {
 public:
  LoadedCublas(const Functions& functions, cublasHandle_t handle)
      : f_(functions), handle_(handle) {}
  ~LoadedCublas() override { f_.destroy(handle_); }

  Result<void> gemm(DType type, const void* w, const void* x, float* y, int rows, int cols, int n,
                    int y_stride, bool accumulate) override {
    // Row-major [a, b] is cuBLAS's column-major [b, a].
    Gemm g;
    g.type = type;
    g.m = rows;
    g.n = n;
    g.k = cols;
    g.a = w;
    g.lda = g.ldb = cols;
    g.b = x;
    g.c = y;
    g.ldc = y_stride;
    g.accumulate = accumulate;
    return gemm(g);
  }

  Result<void> gemm(const Gemm& g) override {
    const cudaDataType_t data = g.type == DType::f32    ? CUDA_R_32F
                                : g.type == DType::bf16 ? CUDA_R_16BF
                                                        : CUDA_R_16F;
    const float alpha = 1.0f, beta = g.accumulate ? 1.0f : 0.0f;
    const cublasOperation_t op = g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int lda = static_cast<int>(g.lda), ldb = static_cast<int>(g.ldb),
              ldc = static_cast<int>(g.ldc);
    const cublasStatus_t status =
        g.batch == 1
            ? f_.gemm_ex(handle_, op, CUBLAS_OP_N, g.m, g.n, g.k, &alpha, g.a, data, lda, g.b, data,
                         ldb, &beta, g.c, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT)
            : f_.gemm_strided_ex(handle_, op, CUBLAS_OP_N, g.m, g.n, g.k, &alpha, g.a, data, lda,
                                 g.stride_a, g.b, data, ldb, g.stride_b, &beta, g.c, CUDA_R_32F,
                                 ldc, g.stride_c, g.batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS)
      return fail(ErrorCode::device, "cuBLAS failed in " + std::to_string(g.batch) +
                                         " product(s) of " + std::to_string(g.m) + "x" +
                                         std::to_string(g.k) + " by " + std::to_string(g.n) +
                                         " tokens: " + f_.status_string(status));
    return {};
  }

 private:
  Functions f_;
  cublasHandle_t handle_;
};

}  // namespace

Result<std::unique_ptr<Cublas>> Cublas::open(cudaStream_t stream, void* workspace,
                                             size_t workspace_bytes) {
  // The library stays open for the life of the process, as the CUDA runtime does.
  void* library = nullptr;
  for (const char* name : std::array{"libcublas.so.13", "libcublas.so"})
    if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return fail(ErrorCode::not_found,
                "cuBLAS 13 was not found (libcublas.so.13): long prompts are "
                "read with slower kernels; installing the CUDA Toolkit's cuBLAS "
                "makes them fast");
  Functions f;
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    return function != nullptr;
  };
  if (!load(f.create, "cublasCreate_v2") || !load(f.destroy, "cublasDestroy_v2") ||
      !load(f.set_stream, "cublasSetStream_v2") ||
      !load(f.set_workspace, "cublasSetWorkspace_v2") || !load(f.gemm_ex, "cublasGemmEx") ||
      !load(f.gemm_strided_ex, "cublasGemmStridedBatchedEx") ||
      !load(f.status_string, "cublasGetStatusString"))
    return fail(ErrorCode::unsupported,
                "libcublas.so lacks a function this build needs; version 13 "
                "is expected");
  cublasHandle_t handle = nullptr;
  cublasStatus_t status = f.create(&handle);
  if (status == CUBLAS_STATUS_SUCCESS) status = f.set_stream(handle, stream);
  if (status == CUBLAS_STATUS_SUCCESS) status = f.set_workspace(handle, workspace, workspace_bytes);
  if (status != CUBLAS_STATUS_SUCCESS) {
    if (handle != nullptr) f.destroy(handle);
    return fail(ErrorCode::device, std::string("cuBLAS did not start: ") + f.status_string(status));
  }
  return std::make_unique<LoadedCublas>(f, handle);
}

}  // namespace cambium::engine::cuda
