#include "engine/engine.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <new>
#include <sstream>

#include "engine/config.h"
#include "engine/gguf.h"
#include "engine/models/model.h"
#include "engine/prompt_format.h"
#include "engine/scheduler.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

namespace {

// A model of this machine behind the Generator interface.
class LocalGenerator final : public Generator {
 public:
  LocalGenerator(Capabilities capabilities, std::unique_ptr<Model> model,
                 std::shared_ptr<const Tokenizer> tokenizer,
                 std::shared_ptr<const PromptFormat> format, const Scheduler::Options& options)
      : capabilities_(std::move(capabilities)),
        tokenizer_(std::move(tokenizer)),
        format_(std::move(format)),
        scheduler_(std::move(model), tokenizer_, format_, options) {}

  Capabilities capabilities() const override { return capabilities_; }
  const Tokenizer* tokenizer() const override { return tokenizer_.get(); }
  const PromptFormat* prompt_format() const override { return format_.get(); }
  void generate(Request request, OnText on_text, OnDone on_done) override {
    scheduler_.generate(std::move(request), std::move(on_text), std::move(on_done));
  }
  void score(ScoreRequest request, OnScored on_done) override {
    scheduler_.score(std::move(request), std::move(on_done));
  }

 private:
  const Capabilities capabilities_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const PromptFormat> format_;
  Scheduler scheduler_;
};

std::string with_unit(double value, std::initializer_list<const char*> units, double step) {
  const auto* unit = units.begin();
  while (value >= step && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), value < 10 ? "%.1f%s" : "%.0f%s", value, *unit);
  return text.data();
}

// "41M Q4_K": parameters, and the type that takes most of the file.
std::string size_and_type(const GgufFile& file) {
  int64_t elements = 0;
  std::map<DType, size_t> bytes;
  for (const GgufTensor& tensor : file.tensors()) {
    elements += tensor.elements();
    bytes[tensor.type] += tensor.bytes;
  }
  const auto most = std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) {
    return a.second < b.second;
  });
  std::string text = with_unit(static_cast<double>(elements), {"", "K", "M", "B"}, 1000);
  if (most != bytes.end()) {
    text += ' ';
    text += type_traits(most->first)->name;
  }
  return text;
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
Result<void> check_memory(const GgufFile& file, const ModelConfig& config,
                          const EngineOptions& options) {
  const uint64_t machine = machine_memory();
  if (machine == 0) return {};
  const double kv = static_cast<double>(config.kv_bytes_per_cell()) * options.context *
                    std::max(1, options.slots);
  const double weights = static_cast<double>(file.file_bytes());
  if (kv + weights <= static_cast<double>(machine)) return {};
  const auto bytes = [](double n) { return with_unit(n, {" B", " KiB", " MiB", " GiB"}, 1024); };
  return fail(ErrorCode::out_of_memory,
              file.path() + ": needs " + bytes(weights) + " for its weights and " + bytes(kv) +
                  " for " + std::to_string(std::max(1, options.slots)) + " slots of " +
                  std::to_string(options.context) + " tokens; this machine has " +
                  bytes(static_cast<double>(machine)) +
                  ". Use a smaller context, fewer slots or a smaller model");
}

Result<void> check_options(const EngineOptions& options) {
  const auto at_least_one = [](const char* name, int32_t value) -> Result<void> {
    if (value >= 1) return {};
    return fail(ErrorCode::invalid_argument, std::string(name) + " is " + std::to_string(value) +
                                                 ", expected 1 or more");
  };
  if (auto ok = at_least_one("context", options.context); !ok) return ok;
  if (auto ok = at_least_one("slots", options.slots); !ok) return ok;
  if (auto ok = at_least_one("prefill_chunk", options.prefill_chunk); !ok) return ok;
  return {};
}

Result<std::shared_ptr<Generator>> load(const std::string& path, const LoadOptions& load_options) {
  EngineOptions options = load_options.engine;
  if (auto ok = check_options(options); !ok) return tl::unexpected(ok.error());
  auto file = GgufFile::open(path);
  if (!file) return tl::unexpected(file.error());
  auto config =
      ModelConfig::from_gguf(**file, {load_options.structure, load_options.prune});
  if (!config) return tl::unexpected(config.error());
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  if ((*tokenizer)->size() > config->n_vocab) {
    return fail(ErrorCode::bad_format,
                path + ": the tokenizer has " + std::to_string((*tokenizer)->size()) +
                    " tokens, tensor token_embd.weight only " + std::to_string(config->n_vocab) +
                    " rows");
  }
  auto format = PromptFormat::from_gguf(**file, **tokenizer);
  if (!format) return tl::unexpected(format.error());
  options.context = std::min(options.context, config->context);
  if (auto ok = check_memory(**file, *config, options); !ok) return tl::unexpected(ok.error());
  auto backend = make_backend(options);
  if (!backend) return tl::unexpected(backend.error());

  Capabilities can;
  can.model = config->name;
  can.description =
      config->name + " " + size_and_type(**file) + " · " + (*backend)->description();
  can.context = options.context;
  can.fill_in_middle = (*format)->fim.has_value();
  can.score = true;
  can.step_control = true;
  can.structure = config->structure.any();
  can.token_prompts = true;
  can.chat = (*file)->has("tokenizer.chat_template");

  auto model = load_model_weights(*file, std::move(*config), std::move(*backend),
                                  load_options.on_progress);
  if (!model) return tl::unexpected(model.error());
  if (load_options.on_progress) load_options.on_progress(1.0);
  return std::make_shared<LocalGenerator>(
      std::move(can), std::move(*model), std::move(*tokenizer), std::move(*format),
      Scheduler::Options{options.context, options.slots, options.prefill_chunk});
}

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(const EngineOptions& options) {
  if (options.device == "auto" || options.device == "cpu") {
    return make_cpu_backend(options.threads);
  }
  if (options.device.rfind("cuda", 0) == 0) {
    return fail(ErrorCode::unsupported,
                "device \"" + options.device + "\": this build has no CUDA module; use \"cpu\"");
  }
  return fail(ErrorCode::invalid_argument,
              "device \"" + options.device + "\" is not known; use auto, cpu or cuda");
}

Result<std::shared_ptr<Generator>> load_model(const std::string& path, const LoadOptions& options) {
  try {
    return load(path, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory,
                path + ": not enough memory to load the model; use a smaller one");
  }
}

}  // namespace cambium::engine
