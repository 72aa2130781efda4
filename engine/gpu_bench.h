// What a GPU reaches against what its memory and its matrix units allow: files with random weights
// at real shapes, each figure beside its physical limit and its goal. Blocks; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/gguf_writer.h"
#include "engine/request.h"
#include "engine/result.h"

namespace cambium::engine {

struct GpuBenchOptions {
  struct File {
    std::string shape;  ///< a name of model_shape()
    DType type = DType::q4_k;
  };
  std::vector<File> files;                   ///< empty: those that goals are set for
  std::string device = "cuda";               ///< "cuda", "cuda:N"; "cpu" works too, without limits
  std::string folder;                        ///< for the files, which are removed again
  bool only_long = false;                    ///< long answers' rows and no others
  std::vector<std::vector<TokenId>> replay;  ///< texts for speculation's row; empty: none
  std::function<void(const std::string&)> on_progress;
};

struct GpuFigure {
  std::string name;
  double value = 0;
  std::string unit;   ///< "tok/s", "ms", "steps", "x", "s"
  double spread = 0;  ///< half the distance of the 10th and 90th percentile over the median
  double share = 0;   ///< of the physical limit; 0: there is none, or it is not known
  double goal = 0, stretch = 0;  ///< 0: none set
  bool less_is_better = false;
  std::string note = {};
  bool met(double bound) const { return less_is_better ? value <= bound : value >= bound; }
};

/// A card that is not here, by its bandwidth and the share of the limit reached on this one.
struct GpuProjection {
  std::string card;
  double gigabytes_per_second = 0;
  double tokens_per_second = 0;
  double line_ms = 0;  ///< a line of 12 tokens, the prompt in the cache
};

struct GpuReport {
  std::string device;
  double copy_bandwidth = 0;  ///< bytes read and written a second
  double matrix_rate = 0;     ///< F16 operations a second of a large product
  std::vector<GpuFigure> figures;
  std::vector<GpuProjection> projections;  ///< of 6.7B Q4_K, where it was measured
};

/// Errors: those of place_model() for the device, io where a file cannot be written.
Result<GpuReport> bench_gpu(const GpuBenchOptions& options);

}  // namespace cambium::engine
