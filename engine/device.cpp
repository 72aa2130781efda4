#include "engine/device.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string_view>

#include "engine/cuda_loader.h"

namespace cambium::engine {

namespace {

struct Device {
  std::unique_ptr<Backend> backend;
  EngineOptions options;
  std::string note;
};

constexpr int32_t kLeastContext = 1024;  // below it a completion sees too little of its file
// Tokens a pass: a GPU reads the weights once a chunk, and 512 tokens are over in some 30 ms.
constexpr int32_t kDeviceChunk = 512;

std::string size_text(uint64_t bytes) {
  constexpr std::array<const char*, 4> kUnits = {"B", "KiB", "MiB", "GiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), value < 10 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text.data();
}

// Memory the machine has in all; 0 where it does not say.
uint64_t machine_memory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string line;
  while (std::getline(meminfo, line)) {
    std::istringstream words(line);
    std::string key;
    uint64_t kib = 0;
    if (words >> key >> kib && key == "MemTotal:") return kib * 1024;
  }
  return 0;
}

// Weights are read once and may be kept repacked; keys and values fill up as slots are used.
Result<Device> open_cpu(const GgufFile& file, const ModelConfig& config,
                        const EngineOptions& options) {
  const int32_t slots = std::max(1, options.slots);
  const uint64_t machine = machine_memory();
  MemoryPlan plan;
  plan.weights = file.file_bytes();
  plan.kv_cell = config.kv_bytes_per_cell();
  if (machine > 0 && plan.bytes(options.context, slots) > machine) {
    return fail(ErrorCode::out_of_memory,
                file.path() + ": needs " + plan.text(options.context, slots) +
                    "; this machine has " + size_text(machine) +
                    ". Use a smaller context, fewer slots or a smaller model");
  }
  return Device{make_cpu_backend(options.threads), options, ""};
}

Result<Device> open_gpu(const GgufFile& file, const ModelConfig& config, EngineOptions options,
                        int index) {
  auto backend = load_cuda_backend(index);
  if (!backend) return tl::unexpected(backend.error());
  if (config.structure.uses(StructureMode::tree)) {
    return fail(ErrorCode::device, file.path() +
                                       ": tree positions are computed on the CPU only; use device "
                                       "\"cpu\", or structure off");
  }
  options.prefill_chunk = std::max(options.prefill_chunk, kDeviceChunk);
  const MemoryPlan plan = plan_memory(file, config, **backend, longest_pass(options.prefill_chunk));
  const uint64_t free = (*backend)->free_bytes();
  const int32_t fits = plan.longest_context(free, options.slots);
  const int32_t least = std::min(kLeastContext, options.context);
  if (fits < least) {
    return fail(ErrorCode::out_of_memory,
                file.path() + ": needs " + plan.text(least, options.slots) + "; " +
                    (*backend)->description() + " has " + size_text(free) +
                    " free. Use fewer slots, a smaller model or device \"cpu\"");
  }
  std::string note;
  if (fits < options.context) {
    note = "context " + std::to_string(fits) + " of " + std::to_string(options.context) +
           " fits its memory";
    options.context = fits;
  }
  if (options.on_notice) {
    options.on_notice(file.path() + ": takes " + plan.text(options.context, options.slots) +
                      "; of " + size_text(free) + " free on " + (*backend)->description());
  }
  return Device{std::move(*backend), options, std::move(note)};
}

// A pass of a whole chunk and one of a single token: libraries are opened and kernels brought to the
// device now, not under the first request.
Result<void> warm_up(Model& model, int32_t context, int32_t chunk) {
  const int32_t n = std::min(context - 1, chunk);
  if (n < 1) return {};
  auto kv = model.create_kv(n + 1);
  if (!kv) return tl::unexpected(kv.error());
  const std::vector<TokenId> tokens(static_cast<size_t>(n), 0);
  const int32_t last[] = {0};
  auto done = model.forward({tokens, 0, kv->get(), nullptr, {}, nullptr});
  if (done)
    done = model.forward({std::span(tokens).first(1), n, kv->get(), nullptr, last, nullptr});
  if (!done) return tl::unexpected(done.error());
  return {};
}

// "cuda" or "cuda:N"; -1 if it is neither.
int gpu_index(std::string_view name) {
  constexpr std::string_view kPrefix = "cuda";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  if (name.empty()) return 0;
  if (name.size() < 2 || name[0] != ':') return -1;
  int index = -1;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), index);
  return error == std::errc() && end == name.data() + name.size() && index >= 0 ? index : -1;
}

}  // namespace

int32_t MemoryPlan::longest_context(uint64_t free, int32_t slots) const {
  if (weights + work > free || kv_cell == 0) return 0;
  const uint64_t cells = (free - weights - work) / (kv_cell * static_cast<uint64_t>(slots));
  return static_cast<int32_t>(std::min<uint64_t>(cells, 1 << 30) / 32 * 32);
}

std::string MemoryPlan::text(int32_t context, int32_t slots) const {
  std::string parts = size_text(weights) + " for its weights and " +
                      size_text(bytes(context, slots) - weights - work) + " for " +
                      std::to_string(slots) + " slots of " + std::to_string(context) + " tokens";
  if (work > 0) parts += ", " + size_text(work) + " to work in";
  return parts;
}

MemoryPlan plan_memory(const GgufFile& file, const ModelConfig& config, const Backend& backend,
                       int32_t pass_tokens) {
  MemoryPlan plan;
  for (const GgufTensor& tensor : file.tensors())
    plan.weights += backend.weight_bytes(tensor.view());
  plan.kv_cell = config.kv_bytes_per_cell();
  // The mean key of each block, by which sparse attention chooses.
  if (config.sparse.from > 0 && !config.latent) {
    plan.kv_cell += static_cast<uint64_t>(config.n_layer) *
                    static_cast<uint64_t>(config.n_kv_head * config.head_dim_k) * sizeof(float) /
                    static_cast<uint64_t>(backend.key_block());
  }
  int64_t row = 2 * int64_t{config.n_embd} + 2 * int64_t{config.n_ff} +
                int64_t{config.n_head} * (config.head_dim_k + config.head_dim_v) +
                int64_t{config.n_kv_head} * (config.head_dim_k + config.head_dim_v);
  if (config.latent) {  // queries and what they gather, as wide as a cell
    const int64_t cell = config.latent->kv_rank + config.latent->rope;
    row += int64_t{config.n_head} * (cell + config.latent->kv_rank) + 3 * cell;
  }
  if (config.experts) {  // each token once for each of its experts
    row += int64_t{config.experts->rule.n_used} * (2 * config.n_embd + 2 * config.experts->n_ff);
  }
  const int64_t widest = std::max<int64_t>(config.n_embd, config.n_ff);
  plan.work = static_cast<uint64_t>(pass_tokens * (row * 4 + widest * 2)) + backend.work_bytes();
  return plan;
}

Result<PlacedModel> place_model(std::shared_ptr<const GgufFile> file, const ModelConfig& config,
                                const EngineOptions& options,
                                const std::function<void(double)>& progress) {
  const auto load = [&](Result<Device> device, bool gpu) -> Result<PlacedModel> {
    if (!device) return tl::unexpected(device.error());
    PlacedModel placed;
    placed.options = std::move(device->options);
    placed.device = device->backend->description();
    if (!device->note.empty()) placed.device += " (" + device->note + ")";
    auto model = load_model_weights(file, config, std::move(device->backend), progress);
    if (!model) return tl::unexpected(model.error());
    placed.model = std::move(*model);
    placed.on_gpu = gpu;
    if (gpu) {
      auto warm = warm_up(*placed.model, placed.options.context, placed.options.prefill_chunk);
      if (!warm) return tl::unexpected(warm.error());
    }
    return placed;
  };
  if (options.device == "cpu") return load(open_cpu(*file, config, options), false);
  if (options.device == "auto") {
    auto placed = load(open_gpu(*file, config, options, 0), true);
    if (placed) return placed;
    const Error why = placed.error();
    placed = load(open_cpu(*file, config, options), false);
    // Without the module there is nothing to tell: most machines are like that.
    if (placed && why.code != ErrorCode::unsupported) {
      placed->device += " (GPU not used: " + why.message + ")";
    }
    return placed;
  }
  const int index = gpu_index(options.device);
  if (index < 0) {
    return fail(ErrorCode::invalid_argument,
                "device \"" + options.device + "\" is not known; use auto, cpu, cuda or cuda:N");
  }
  auto placed = load(open_gpu(*file, config, options, index), true);
  if (!placed) {
    return fail(placed.error().code,
                "device \"" + options.device + "\": " + placed.error().message);
  }
  return placed;
}

}  // namespace cambium::engine
