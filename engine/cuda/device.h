// Owning handles of the CUDA runtime and the translation of its errors into ours.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/result.h"

namespace cambium::engine::cuda {

/// "out of memory" gets its own code, so that a caller can retry with a smaller context.
inline Error to_error(cudaError_t e, const std::string& what) {
  const ErrorCode code =
      e == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory
      : e == cudaErrorNoDevice || e == cudaErrorInvalidDevice || e == cudaErrorInsufficientDriver
          ? ErrorCode::not_found
          : ErrorCode::device;
  std::string message = "GPU: " + what + ": " + cudaGetErrorString(e);
  if (e == cudaErrorInsufficientDriver)
    message += " (this build needs a driver for CUDA 13, version 580 or newer)";
  if (e == cudaErrorNoKernelImageForDevice)
    message += " (this build has kernels for compute capability 7.5 to 12.0)";
  return {code, message};
}

inline Result<void> check(cudaError_t e, const std::string& what) {
  if (e != cudaSuccess) return tl::unexpected(to_error(e, what));
  return {};
}

/// Device memory, freed with the object.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory() {
    if (data_ != nullptr) {
      cudaFree(data_);
      if (counter_ != nullptr) *counter_ -= bytes_;
    }
  }
  /// `counter` is kept up to date with what is held; may be null.
  static Result<DeviceMemory> allocate(size_t bytes, size_t* counter) {
    DeviceMemory m;
    if (const cudaError_t e = cudaMalloc(&m.data_, bytes > 0 ? bytes : 1); e != cudaSuccess) {
      m.data_ = nullptr;
      cudaGetLastError();  // an allocation that fails is not sticky; clear it
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      return tl::unexpected(to_error(e, "wanted " + std::to_string(bytes >> 20) + " MiB, " +
                                            std::to_string(free >> 20) + " MiB of " +
                                            std::to_string(total >> 20) + " are free"));
    }
    m.bytes_ = bytes;
    m.counter_ = counter;
    if (counter != nullptr) *counter += bytes;
    return m;
  }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(counter_, other.counter_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t* counter_ = nullptr;
};

}  // namespace cambium::engine::cuda
