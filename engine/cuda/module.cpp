// The one symbol the engine looks for in libcambium_cuda.so.
#include <cstdio>

#include "engine/cuda/backend.h"

/// A new backend on GPU `device`, owned by the caller, or null with a message in `error` [n bytes].
extern "C" __attribute__((visibility("default"))) cambium::engine::Backend* cambium_cuda_create(
    int device, char* error, size_t n) {
  auto backend = cambium::engine::cuda::CudaBackend::create(device);
  if (backend) return backend->release();
  std::snprintf(error, n, "%s", backend.error().message.c_str());
  return nullptr;
}
