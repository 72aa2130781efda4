// The symbols the engine looks for in libcambium_cuda.so.
#include <cstdio>

#include "engine/cuda/backend.h"
#include "engine/cuda_loader.h"

#define CAMBIUM_EXPORT extern "C" __attribute__((visibility("default")))

/// Which Backend this module implements.
CAMBIUM_EXPORT int cambium_cuda_interface() { return cambium::engine::backend_build(); }

/// A new backend on GPU `device`, owned by the caller, or null with a message in `error` [n bytes].
/// `code` gets the ErrorCode.
CAMBIUM_EXPORT cambium::engine::Backend* cambium_cuda_create(int device, char* error, size_t n,
                                                             int* code) {
  auto backend = cambium::engine::cuda::CudaBackend::create(device);
  if (backend) return backend->release();
  *code = static_cast<int>(backend.error().code);
  std::snprintf(error, n, "%s", backend.error().message.c_str());
  return nullptr;
}
