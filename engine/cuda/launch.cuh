// One way to launch a kernel, with or without programmatic dependence on the one before it.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "engine/cuda/device.cuh"
#include "engine/cuda/kernels.h"

namespace cambium::engine::cuda {

template <class... P, class... A>
cudaError_t launch(const Launch& l, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                   A&&... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = l.stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = l.dependent ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...);
}

/// Thread `self` of `n` takes its share.
__device__ __forceinline__ void prefetch_range(const Prefetch& p, int64_t self, int64_t n) {
  for (int64_t at = self * 128; at < p.bytes; at += n * 128)
    prefetch_l2(static_cast<const uint8_t*>(p.data) + at);
}

}  // namespace cambium::engine::cuda
