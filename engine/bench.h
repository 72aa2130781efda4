// How fast a model file runs here: the model's forward pass alone, without scheduler, sampler or
// text. The same three figures that tests/bench/llama_cpp.mjs takes of llama.cpp. Blocks; one
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "engine/models/model.h"
#include "engine/result.h"

namespace cambium::engine {

struct BenchOptions {
  LoadOptions load;
  int32_t prompt = 512;    ///< tokens of the prefill
  int32_t decode = 64;     ///< single-token steps
  int32_t context = 1500;  ///< tokens before the second decode figure
  int32_t repeat = 3;      ///< at most
};

/// Rates in tokens a second, the best of the repetitions (of as many as fit in ten seconds a figure):
/// what else the machine did only slows a run.
struct BenchFigures {
  std::string model;    ///< general.name
  std::string backend;  ///< "CPU, AVX-512 VNNI, 2 threads"
  double prefill_tps = 0;
  double decode_tps = 0;          ///< after one token
  double decode_context_tps = 0;  ///< after `context` tokens
  double verify_8_ms = 0;         ///< one pass of 8 columns after `context` tokens (speculation)
  double load_ms = 0;
  ExpertLoads expert_loads;  ///< over the whole bench; empty: a dense model
  uint64_t file_bytes = 0;
  uint64_t resident_bytes = 0;  ///< of the process at the end, its peak; 0 where unknown
};

/// Fails as load_model() does, or with invalid_argument if the model's context is too short.
Result<BenchFigures> bench_model(const std::string& path, const BenchOptions& options);

/// "AMD EPYC, 2 cores, 24 GiB, Linux 6.1": what figures must be read with.
std::string machine_description();

}  // namespace cambium::engine
