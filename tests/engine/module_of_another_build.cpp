// A GPU module as they were when they told the interface's number alone; cuda_loader_test.cpp.
#include <cstddef>
#include <cstdio>

#include "engine/ops.h"
#include "engine/result.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int cambium_cuda_interface() { return cambium::engine::kBackendInterface; }
EXPORT cambium::engine::Backend* cambium_cuda_create(int, char* error, size_t n, int* code) {
  std::snprintf(error, n, "it was asked for a backend");
  *code = static_cast<int>(cambium::ErrorCode::device);
  return nullptr;
}
