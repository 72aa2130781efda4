#include "engine/engine.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <new>

#include "engine/adapter.h"
#include "engine/chat_defaults.h"
#include "engine/config.h"
#include "engine/device.h"
#include "engine/gguf.h"
#include "engine/models/model.h"
#include "engine/prompt_format.h"
#include "engine/scheduler.h"
#include "engine/text_prompt.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

namespace {

// A model of this machine behind the Generator interface.
class LocalGenerator final : public Generator {
 public:
  LocalGenerator(Capabilities capabilities, std::unique_ptr<Model> model,
                 std::shared_ptr<const Tokenizer> tokenizer,
                 std::shared_ptr<const PromptFormat> format, std::optional<ChatTemplate> chat,
                 const Scheduler::Options& options)
      : capabilities_(std::move(capabilities)),
        tokenizer_(std::move(tokenizer)),
        format_(std::move(format)),
        chat_(std::move(chat)),
        scheduler_(std::move(model), tokenizer_, format_, options) {}

  Capabilities capabilities() const override { return capabilities_; }
  const Tokenizer* tokenizer() const override { return tokenizer_.get(); }
  const PromptFormat* prompt_format() const override { return format_.get(); }
  void generate(Request request, OnText on_text, OnDone on_done) override {
    if (std::holds_alternative<std::monostate>(request.text) || !request.prompt.empty()) {
      return scheduler_.generate(std::move(request), std::move(on_text), std::move(on_done));
    }
    auto encoded = encode_prompt(request.text, *tokenizer_, *format_, chat_);
    if (!encoded) return on_done(tl::unexpected(encoded.error()));
    request.prompt = std::move(encoded->tokens);
    request.text = {};
    if (encoded->opening.empty()) {
      return scheduler_.generate(std::move(request), std::move(on_text), std::move(on_done));
    }
    // What the template wrote of the answer is shown with the first text that is generated.
    const auto opening = std::make_shared<std::string>(encoded->opening);
    auto show = [opening, on_text = std::move(on_text)](std::string_view piece) {
      if (!on_text) return;
      if (!opening->empty()) on_text(std::exchange(*opening, {}));
      on_text(piece);
    };
    scheduler_.generate(
        std::move(request), std::move(show),
        [whole = encoded->opening, on_done = std::move(on_done)](Result<Generated> generated) {
          if (generated) generated->text.insert(0, whole);
          on_done(std::move(generated));
        });
  }
  void score(ScoreRequest request, OnScored on_done) override {
    scheduler_.score(std::move(request), std::move(on_done));
  }

 private:
  const Capabilities capabilities_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const PromptFormat> format_;
  const std::optional<ChatTemplate> chat_;
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
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::string text = with_unit(static_cast<double>(elements), {"", "K", "M", "B"}, 1000);
  if (most != bytes.end()) {
    text += ' ';
    text += type_traits(most->first)->name;
  }
  return text;
}

Result<void> check_options(const EngineOptions& options) {
  const auto at_least_one = [](const char* name, int32_t value) -> Result<void> {
    if (value >= 1) return {};
    return fail(ErrorCode::invalid_argument,
                std::string(name) + " is " + std::to_string(value) + ", expected 1 or more");
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
  if (!load_options.adapter.empty()) file = lay_adapter(**file, load_options.adapter);
  if (!file) return tl::unexpected(file.error());
  auto config = ModelConfig::from_gguf(**file, {load_options.structure, load_options.prune});
  if (!config) return tl::unexpected(config.error());
  if (!config->structure.any()) config->sparse.from = load_options.sparse_from;
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  if ((*tokenizer)->size() > config->n_vocab) {
    return fail(ErrorCode::bad_format, path + ": the tokenizer has " +
                                           std::to_string((*tokenizer)->size()) +
                                           " tokens, tensor token_embd.weight only " +
                                           std::to_string(config->n_vocab) + " rows");
  }
  auto format = PromptFormat::from_gguf(**file, **tokenizer);
  if (!format) return tl::unexpected(format.error());
  options.context = std::min(options.context, config->context);
  auto placed = place_model(*file, *config, options, load_options.on_progress);
  if (!placed) return tl::unexpected(placed.error());
  if (load_options.on_progress) load_options.on_progress(1.0);

  Capabilities can;
  can.model = config->name;
  can.description = config->name + " " + size_and_type(**file) + " · " + placed->device;
  can.context = placed->options.context;
  can.fill_in_middle = (*format)->fim.has_value();
  can.score = true;
  can.step_control = true;
  can.structure = config->structure.any();
  can.token_prompts = true;
  // A GPU's latent attention has no lists of blocks to read.
  if (!placed->on_gpu || !config->latent) can.sparse_from = config->sparse.from;
  const auto chat_template = (*file)->get_string("tokenizer.chat_template", "");
  auto chat = ChatTemplate::recognise(chat_template ? *chat_template : std::string_view());
  can.chat = chat.has_value();
  can.chat_defaults = chat_defaults_for(
      config->name, chat_template && chat_template->find("<think>") != std::string::npos);
  can.chat_defaults.opens_thinking = chat && !chat->opening().empty();
  can.kv_bytes_per_token = config->kv_bytes_per_cell();
  can.memory_bytes = (*file)->file_bytes() + can.kv_bytes_per_token *
                                                 static_cast<uint64_t>(can.context) *
                                                 static_cast<uint64_t>(placed->options.slots);

  Scheduler::Options scheduler{placed->options.context, placed->options.slots,
                               placed->options.prefill_chunk};
  if (placed->on_gpu) {
    EngineOptions cpu = options;
    cpu.device = "cpu";
    cpu.context = placed->options.context;  // as promised
    scheduler.replacement = [file = *file, config = *config, cpu = std::move(cpu)](
                                const Error& why) -> Result<std::unique_ptr<Model>> {
      if (cpu.on_notice) cpu.on_notice(why.message + "; going on with the CPU");
      auto model = place_model(file, config, cpu, nullptr);
      if (!model) return tl::unexpected(model.error());
      return std::move(model->model);
    };
  }
  return std::make_shared<LocalGenerator>(std::move(can), std::move(placed->model),
                                          std::move(*tokenizer), std::move(*format),
                                          std::move(chat), scheduler);
}

}  // namespace

Result<std::shared_ptr<Generator>> load_model(const std::string& path, const LoadOptions& options) {
  try {
    return load(path, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory,
                path + ": not enough memory to load the model; use a smaller one");
  }
}

}  // namespace cambium::engine
