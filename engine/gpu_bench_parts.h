// What the parts of the GPU bench share.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/gguf.h"
#include "engine/gpu_bench.h"
#include "engine/ops.h"

namespace cambium::engine {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Timing {
  double median = 0, spread = 0;  ///< ms; share of the median
};

/// `work` gives milliseconds, negative for an error. One run warms up.
template <class F>
Timing repeated(int times, F&& work) {
  std::vector<double> ms;
  for (int i = -1; i < times; ++i) {
    const double one = work();
    if (one < 0) return {};
    if (i >= 0) ms.push_back(one);
  }
  std::sort(ms.begin(), ms.end());
  const size_t n = ms.size();
  return {ms[n / 2], (ms[n * 9 / 10] - ms[n / 10]) / 2 / ms[n / 2]};
}

template <class... T>
std::string format(const char* text, T... values) {
  std::array<char, 192> buffer;
  std::snprintf(buffer.data(), buffer.size(), text, values...);
  return buffer.data();
}

/// Rows for attention of one layer of the 6.7B shape by context, mask off and pruning, whole prompts
/// and single steps.
Result<void> add_attention(Backend& backend, GpuReport& report);

/// Rows `name` for decode steps far into a long answer, dense and sparse; loads `file` on `device`
/// twice. `weight_bytes`: read by a step.
Result<void> add_long(const std::shared_ptr<const GgufFile>& file, const std::string& device,
                      const std::string& name, double weight_bytes, GpuReport& report);

}  // namespace cambium::engine
