// Decoding far into a long answer on a GPU, with dense attention and with SparseRule.
#include <array>
#include <numeric>

#include "engine/config.h"
#include "engine/device.h"
#include "engine/gpu_bench_parts.h"
#include "engine/models/model.h"
#include "engine/sparse_rule.h"

namespace cambium::engine {
namespace {

constexpr std::array<int32_t, 2> kLengths = {16384, 32768};
constexpr int32_t kSteps = 48;

/// Random keys and values in every cell: a prompt of that length would take longer than all steps.
Result<void> fill(Model& model, KvStore& kv) {
  Backend& b = model.backend();
  const KvShape& s = kv.shape;
  constexpr int32_t kChunk = 4096;
  const int32_t row = s.n_kv_head * std::max(s.head_dim_k, s.head_dim_v);
  std::vector<float> values(static_cast<size_t>(kChunk) * static_cast<size_t>(row));
  uint32_t state = 7;
  for (float& v : values)
    v = static_cast<float>(static_cast<int32_t>(state = state * 1664525u + 1013904223u)) /
        1073741824.0f;
  auto buffer = b.allocate(values.size() * sizeof(float));
  if (!buffer) return tl::unexpected(buffer.error());
  b.upload((*buffer)->data(), values.data(), values.size() * sizeof(float));
  for (int32_t l = 0; l < s.n_layer; ++l)
    for (int32_t at = 0; at < s.n_cells; at += kChunk)
      b.kv_write(kv, l, at, std::min(kChunk, s.n_cells - at), (*buffer)->f32(), (*buffer)->f32());
  return b.synchronize();
}

}  // namespace

Result<void> add_long(const std::shared_ptr<const GgufFile>& file, const std::string& device,
                      const std::string& name, double weight_bytes, GpuReport& report) {
  std::array<double, kLengths.size()> dense_ms{};
  for (const bool sparse : {false, true}) {
    auto config = ModelConfig::from_gguf(*file);
    if (!config) return tl::unexpected(config.error());
    config->sparse.from = sparse ? kSparseFrom : 0;
    EngineOptions engine;
    engine.device = device;
    engine.context = kLengths.back() + 64;
    engine.slots = 1;
    auto placed = place_model(file, *config, engine, nullptr);
    if (!placed) return tl::unexpected(placed.error());
    Model& model = *placed->model;
    report.device = placed->device;
    if (report.copy_bandwidth == 0) {
      if (auto rate = model.backend().copy_bandwidth()) report.copy_bandwidth = *rate;
    }
    auto kv = model.create_kv(placed->options.context);
    if (!kv) return tl::unexpected(kv.error());
    if (auto filled = fill(model, **kv); !filled) return filled;
    for (size_t i = 0; i < kLengths.size(); ++i) {
      const int32_t at = kLengths[i];
      if (at + kSteps > placed->options.context) continue;
      Result<PassResult> result;
      const Timing t = repeated(7, [&] {
        const auto start = Clock::now();
        for (int32_t step = 0; step < kSteps; ++step) {
          const TokenId token = 32 + step;
          const int32_t only = 0;
          Pass pass{{&token, 1}, at + step, kv->get(), nullptr, {&only, 1}, nullptr};
          pass.greedy = true;
          result = model.forward(pass);
          if (!result) return -1.0;
        }
        return ms_since(start) / kSteps;
      });
      if (!result) return tl::unexpected(result.error());
      const int32_t block = model.backend().key_block();
      const SparseRange range = sparse_range(config->sparse, at, block);
      const double cell_bytes = static_cast<double>(config->kv_bytes_per_cell());
      double bytes = weight_bytes + cell_bytes * range.n_read() * block;
      // To choose, a key in 32 bits is read of each block.
      if (range.best > 0)
        bytes += 4.0 * config->n_layer * config->n_kv_head * config->head_dim_k *
                 (range.last - range.first);
      GpuFigure figure;
      figure.name =
          format("%s: decode at %d cells, %s", name.c_str(), at, sparse ? "sparse" : "dense");
      figure.value = 1e3 / t.median;
      figure.unit = "tok/s";
      figure.spread = t.spread;
      if (report.copy_bandwidth > 0)
        figure.share = bytes / (t.median * 1e-3) / report.copy_bandwidth;
      figure.note = format("%.3f ms", t.median);
      if (sparse)
        figure.note += format(", %.0f %% of the blocks read, %.2f times as fast as dense",
                              100.0 * range.n_read() / range.end, dense_ms[i] / t.median);
      dense_ms[i] = t.median;
      report.figures.push_back(std::move(figure));
    }
  }
  return {};
}

}  // namespace cambium::engine
