// Timing and printing of cambium_cuda_check's bench.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {

/// Median and half the distance between the 10th and 90th percentile, of device time in ms.
struct Timing {
  double median = 0, spread = 0;
};

template <class F>
Timing time_device(CudaBackend& b, int repeats, F&& work) {
  cudaEvent_t start, stop;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  std::vector<double> ms;
  for (int i = -2; i < repeats; ++i) {
    cudaEventRecord(start, b.launch().stream);
    work();
    cudaEventRecord(stop, b.launch().stream);
    cudaEventSynchronize(stop);
    float t = 0;
    cudaEventElapsedTime(&t, start, stop);
    if (i >= 0) ms.push_back(t);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  std::sort(ms.begin(), ms.end());
  const size_t n = ms.size();
  return {ms[n / 2], (ms[n * 9 / 10] - ms[n / 10]) / 2};
}

template <class F>
Timing time_host(int repeats, F&& work) {
  std::vector<double> ms;
  for (int i = -1; i < repeats; ++i) {
    const auto t0 = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> d = std::chrono::steady_clock::now() - t0;
    if (i >= 0) ms.push_back(d.count());
  }
  std::sort(ms.begin(), ms.end());
  const size_t n = ms.size();
  return {ms[n / 2], (ms[n * 9 / 10] - ms[n / 10]) / 2};
}

inline void row(const std::string& name, const std::string& value, const std::string& note) {
  std::printf("%-44s %-24s %s\n", name.c_str(), value.c_str(), note.c_str());
  std::fflush(stdout);
}
inline std::string format(const char* f, double a, double b = 0, double c = 0) {
  char text[128];
  std::snprintf(text, sizeof text, f, a, b, c);
  return text;
}

inline bool fine(CudaBackend& b) {
  if (auto r = b.synchronize(); !r) {
    std::printf("%s\n", r.error().message.c_str());
    return false;
  }
  return true;
}

/// Quantizing is slow; 64 drawn rows are repeated to fill a matrix.
HostMatrix repeated_matrix(Random& random, DType type, int64_t rows, int64_t cols);
/// Layers of V2-Lite's shape and their kernels.
void bench_latent(CudaBackend& b, double bandwidth);

}  // namespace cambium::engine::cuda::verify
