// What the parts of cambium_cuda_check share.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/cuda/backend.h"

namespace cambium::engine::cuda::verify {

/// ‖a − b‖ / ‖b‖; infinite where a value is not finite, which is how unwritten (poisoned) outputs
/// show.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

/// Counts cases a group and prints what fails; one line a group at the end.
class Report {
 public:
  void group(std::string name) {
    close();
    name_ = std::move(name);
  }
  /// `error` must not exceed `bound`.
  void expect(double error, double bound, const std::string& what) {
    ++cases_;
    worst_ = std::max(worst_, error / bound);
    if (error <= bound) return;
    ++failures_;
    if (++shown_ <= 60)
      std::printf("FAIL %s: %s: error %.3g > %.3g\n", name_.c_str(), what.c_str(), error, bound);
  }
  void expect(bool ok, const std::string& what) { expect(ok ? 0.0 : 1.0, 0.5, what); }
  template <class T>
  bool expect_value(const Result<T>& r, const std::string& what) {
    expect(r.has_value(), r ? what : what + ": " + r.error().message);
    return r.has_value();
  }
  void close() {
    if (!name_.empty())
      std::printf("%-28s %5d cases, worst error / bound %.3f%s\n", name_.c_str(), cases_, worst_,
                  failures_ > 0 ? "  FAILED" : "");
    std::fflush(stdout);
    total_ += failures_;
    name_.clear();
    cases_ = failures_ = 0;
    worst_ = 0;
  }
  int total() const { return total_; }

 private:
  std::string name_;
  int cases_ = 0, failures_ = 0, total_ = 0, shown_ = 0;
  double worst_ = 0;
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  std::vector<float> normal(size_t n, float scale = 1.0f) {
    std::vector<float> v(n);
    std::normal_distribution<float> d(0, scale);
    for (float& x : v) x = d(engine_);
    return v;
  }
  int32_t below(int32_t n) { return static_cast<int32_t>(engine_() % static_cast<uint64_t>(n)); }

 private:
  std::mt19937_64 engine_;
};

/// A host matrix in GGUF's layout, and a view of it.
struct HostMatrix {
  TensorView view;
  std::vector<std::byte> bytes;
};
HostMatrix random_matrix(Random& random, DType type, int64_t rows, int64_t cols, float scale);

/// Device memory with `values`, or poisoned with NaN.
struct Floats {
  std::unique_ptr<Buffer> buffer;
  size_t n;
  Floats(Backend& b, std::span<const float> values) : n(values.size()) {
    take(b);
    b.upload(buffer->data(), values.data(), values.size_bytes());
  }
  Floats(Backend& b, size_t count) : n(count) {
    take(b);
    const std::vector<float> poison(count, NAN);
    b.upload(buffer->data(), poison.data(), count * sizeof(float));
  }
  float* data() const { return buffer->f32(); }
  std::vector<float> read(Backend& b, Report& report) const {
    std::vector<float> v(n, NAN);
    report.expect_value(b.download(v.data(), buffer->data(), n * sizeof(float)),
                        "reading a result");
    return v;
  }

 private:
  void take(Backend& b) {
    auto r = b.allocate(n * sizeof(float));
    if (!r) {
      std::printf("%s\n", r.error().message.c_str());
      std::exit(1);
    }
    buffer = std::move(*r);
  }
};

/// The two ways of a step's rows: each has bits of its own, and checks take both at every size.
struct StepRowsCase {
  StepRows rows;
  const char* name;
};
inline constexpr StepRowsCase kStepRows[] = {{StepRows::whole, "whole rows"},
                                             {StepRows::ready, "ready rows"}};

void check_matmul(CudaBackend& b, Random& random, Report& report);
/// Rows as int8 under a norm and without, made by each of those who can; `small` for sanitizers.
void check_rows(CudaBackend& b, Random& random, Report& report, bool small);
void check_elementwise(CudaBackend& b, Random& random, Report& report);
void check_attention(CudaBackend& b, Random& random, Report& report);
/// Attention with hidden cells; of check_branches().
void check_hidden(CudaBackend& b, Random& random, Report& report);
/// Scores of continuations beside each other, from kernels to models.
void check_branches(CudaBackend& b, Random& random, Report& report);
void check_sparse(CudaBackend& b, Random& random, Report& report);
void check_sparse_steps(CudaBackend& b, Random& random, Report& report);
void check_decode(CudaBackend& b, Random& random, Report& report);
void check_mixture(CudaBackend& b, Random& random, Report& report);
void check_errors(CudaBackend& b, Report& report);
/// Backends of two devices on one thread, or two of the only device.
void check_devices(Random& random, Report& report);
/// Small fused steps for compute-sanitizer.
void check_sanitize(CudaBackend& b, Random& random, Report& report);
void check_latent_small(Random& random, Report& report);
/// Whole models with random weights against the CPU's engine.
void check_families(Random& random, Report& report);
/// The model of `model_path` through the engine, on prompts cut from the texts.
void check_engine(const std::string& model_path, std::span<const std::string> text_paths,
                  Random& random, Report& report);
/// Steps and, unless told not to, single kernels; `only` picks models whose name contains it.
void bench(CudaBackend& b, const std::string& only, bool kernels);

}  // namespace cambium::engine::cuda::verify
