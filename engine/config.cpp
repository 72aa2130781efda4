#include "engine/config.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numbers>

#include "engine/gguf.h"

namespace cambium::engine {

bool StructureConfig::uses(StructureMode which) const {
  return std::find(mode.begin(), mode.end(), which) != mode.end();
}

namespace {

// Bits of the heads that a layer has.
uint64_t heads_there(int32_t n_head) {
  return n_head >= 64 ? ~uint64_t{0} : (uint64_t{1} << n_head) - 1;
}

}  // namespace

int64_t StructureConfig::heads_of(StructureMode which, int32_t n_head) const {
  int64_t heads = 0;
  for (size_t i = 0; i < mode.size(); ++i) {
    if (mode[i] == which) heads += std::popcount(prune_heads[i] & heads_there(n_head));
  }
  return heads;
}

std::optional<StructureMode> structure_mode(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames = {"off", "emphasis", "prune", "own", "tree"};
  const auto at = std::ranges::find(kNames, name);
  if (at == kNames.end()) return std::nullopt;
  return static_cast<StructureMode>(at - kNames.begin());
}

PruneRule StructureConfig::reuse_rule() const {
  return prunes() ? rule : PruneRule{.window = INT32_MAX, .sinks = 0};
}

KvShape ModelConfig::kv_shape(int32_t n_cells) const {
  if (!latent) return {n_layer, n_kv_head, head_dim_k, head_dim_v, n_cells, DType::f16};
  return {n_layer, 1, latent->rope + latent->kv_rank, latent->kv_rank, n_cells, DType::f16, true};
}

size_t ModelConfig::kv_bytes_per_cell() const {
  const KvShape shape = kv_shape(1);
  return sizeof(uint16_t) * static_cast<size_t>(n_layer) * static_cast<size_t>(shape.n_kv_head) *
         static_cast<size_t>(shape.head_dim_k + shape.head_dim_v);
}

namespace {

constexpr std::string_view kArchitectures[] = {"llama", "cambium", "qwen2", "qwen3", "deepseek2"};

}  // namespace

std::string supported_architectures() {
  std::string all;
  for (const std::string_view name : kArchitectures) {
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  return all;
}

namespace {

// Reads one family's keys with its prefix; collects the first error so that the reading below is a
// plain list.
class Keys {
 public:
  Keys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  std::string full(std::string_view key) const { return prefix_ + "." + std::string(key); }
  bool has(std::string_view key) const { return file_.has(full(key)); }

  // A count: absent without a fallback, zero or above `limit` is an error.
  int32_t count(std::string_view key, uint32_t limit, std::optional<uint32_t> fallback = {}) {
    const auto value = fallback ? file_.get_u32(full(key), *fallback) : file_.get_u32(full(key));
    return checked(key, value, limit);
  }

  // A count that may be zero.
  int32_t count_or_none(std::string_view key, uint32_t limit) {
    if (const auto value = file_.get_u32(full(key), 0); value && *value == 0) return 0;
    return count(key, limit);
  }

  bool flag(std::string_view key, bool fallback) {
    const auto value = file_.get_bool(full(key), fallback);
    if (!value) return note(value.error()), fallback;
    return *value;
  }

  // A count that files may give once a layer; this family wants the same in each.
  int32_t uniform_count(std::string_view key, uint32_t limit,
                        std::optional<uint32_t> fallback = {}) {
    const GgufValue* value = file_.find(full(key));
    if (value == nullptr || value->type != GgufType::array) return count(key, limit, fallback);
    const auto values = file_.get_u32s(full(key));
    if (!values) return note(values.error()), 1;
    if (values->empty() || std::adjacent_find(values->begin(), values->end(),
                                              std::not_equal_to<>()) != values->end()) {
      note({ErrorCode::unsupported, file_.path() + ": " + full(key) + " is " + value->to_text() +
                                        "; this build wants the same value in every layer"});
      return 1;
    }
    return checked(key, Result<uint32_t>(values->front()), limit);
  }

  float real(std::string_view key, float fallback) {
    const auto value = file_.get_f32(full(key), fallback);
    if (!value) return note(value.error()), fallback;
    if (!std::isfinite(*value) || *value <= 0) {
      note({ErrorCode::bad_format, file_.path() + ": " + full(key) + " is " +
                                       std::to_string(*value) + ", expected a number above 0"});
      return fallback;
    }
    return *value;
  }

  std::string text(std::string_view key, std::string_view fallback) {
    const auto value = file_.get_string(full(key), fallback);
    if (!value) return note(value.error()), std::string(fallback);
    return std::string(*value);
  }

  void note(Error error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<Error>& error() const { return error_; }
  const GgufFile& file() const { return file_; }

 private:
  int32_t checked(std::string_view key, const Result<uint32_t>& value, uint32_t limit) {
    if (!value) return note(value.error()), 1;
    if (*value == 0 || *value > limit) {
      note({ErrorCode::bad_format, file_.path() + ": " + full(key) + " is " +
                                       std::to_string(*value) + ", expected 1 to " +
                                       std::to_string(limit)});
      return 1;
    }
    return static_cast<int32_t>(*value);
  }

  const GgufFile& file_;
  const std::string prefix_;
  std::optional<Error> error_;
};

// YaRN (Peng et al. 2023, section 3.2): pairs that turn more than `fast` times within the original
// context keep their frequency, those that turn less than `slow` times are divided by the factor,
// and between the two it is a ramp over the pair's index.
void scale_by_yarn(double base, double factor, double original, double fast, double slow,
                   std::vector<float>& freq) {
  const auto n_rot = static_cast<double>(2 * freq.size());
  const auto pair_of = [&](double turns) {
    return n_rot * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  const double low = std::max(std::floor(pair_of(fast)), 0.0);
  const double high = std::min(std::ceil(pair_of(slow)), n_rot - 1);
  for (size_t i = 0; i < freq.size(); ++i) {
    const double along = (static_cast<double>(i) - low) / std::max(0.001, high - low);
    const double stretched = std::clamp(along, 0.0, 1.0);
    freq[i] = static_cast<float>(freq[i] * (stretched / factor + 1.0 - stretched));
  }
}

// YaRN's factor against attention growing flat over a long context. DeepSeek's models scale the
// scores by its square, and their files tell so by `yarn_log_multiplier`; others scale what is
// rotated.
void magnify_by_yarn(Keys& keys, float factor, ModelConfig& config) {
  const float grown = std::log(std::max(1.0f, factor));
  if (config.architecture == "deepseek2" && keys.has("rope.scaling.yarn_log_multiplier")) {
    const float m = 1.0f + keys.real("rope.scaling.yarn_log_multiplier", 0.1f) * grown;
    config.attention_scale *= m * m;
    return;
  }
  config.rope_magnitude = (1.0f + 0.1f * grown) * keys.real("rope.scaling.attn_factor", 1.0f);
}

// Frequencies of rotary position embedding: base^(-2i/n) (Su et al. 2021), divided by the linear
// factor (Chen et al. 2023) or scaled by YaRN, and divided by the file's own factors
// (`rope_freqs.weight`; Llama 3's scaling is stored that way).
void read_rope(Keys& keys, int32_t n_rot, ModelConfig& config) {
  const float base = keys.real("rope.freq_base", 10000.0f);
  const std::string scaling = keys.text("rope.scaling.type", "none");
  const bool yarn = scaling == "yarn";
  float factor = 1.0f;
  if (scaling == "linear" || yarn) {
    factor = keys.real("rope.scaling.factor", 1.0f);
  } else if (scaling == "none" && keys.has("rope.scale_linear")) {
    factor = keys.real("rope.scale_linear", 1.0f);  // files from before the scaling keys
  } else if (scaling != "none") {
    keys.note({ErrorCode::unsupported, keys.file().path() + ": " + keys.full("rope.scaling.type") +
                                           " is \"" + scaling +
                                           "\"; this build knows none, linear and yarn"});
  }
  std::vector<float>& freq = config.rope_freq;
  freq.resize(static_cast<size_t>(n_rot) / 2);
  const double divisor = yarn ? 1.0 : factor;
  for (size_t i = 0; i < freq.size(); ++i) {
    freq[i] = static_cast<float>(
        std::pow(static_cast<double>(base), -2.0 * static_cast<double>(i) / n_rot) / divisor);
  }
  if (yarn) {
    const int32_t original = keys.count("rope.scaling.original_context_length", INT32_MAX,
                                        static_cast<uint32_t>(std::max(1, config.context)));
    scale_by_yarn(base, factor, original, keys.real("rope.scaling.yarn_beta_fast", 32.0f),
                  keys.real("rope.scaling.yarn_beta_slow", 1.0f), freq);
    magnify_by_yarn(keys, factor, config);
  }
  if (keys.file().find_tensor("rope_freqs.weight") == nullptr) return;
  const auto factors =
      keys.file().get_tensor("rope_freqs.weight", 1, static_cast<int64_t>(freq.size()));
  if (!factors) return keys.note(factors.error());
  if (factors->type != DType::f32) {
    return keys.note({ErrorCode::unsupported,
                      keys.file().path() + ": tensor rope_freqs.weight has type " +
                          std::string(type_traits(factors->type)->name) + ", expected F32"});
  }
  for (size_t i = 0; i < freq.size(); ++i) {
    float value;
    std::memcpy(&value, factors->data + i * sizeof(float), sizeof(float));
    if (!(value > 0)) {
      return keys.note(
          {ErrorCode::bad_format,
           keys.file().path() + ": tensor rope_freqs.weight holds a factor that is not above 0"});
    }
    freq[i] /= value;
  }
}

// The shape of attention in a deepseek2 file. Files in which the projections are split by head
// describe the cache's vectors in key_length and value_length and the heads in `…_mla`.
void read_latent(Keys& keys, ModelConfig& config) {
  constexpr uint32_t kWidth = 1u << 20;
  LatentConfig latent;
  latent.kv_rank = keys.count("attention.kv_lora_rank", kWidth);
  latent.q_rank = keys.count_or_none("attention.q_lora_rank", kWidth);
  latent.rope = keys.count("rope.dimension_count", kWidth);
  latent.by_head = keys.has("attention.key_length_mla");
  const std::string suffix = latent.by_head ? "_mla" : "";
  config.head_dim_k = keys.count("attention.key_length" + suffix, kWidth);
  config.head_dim_v = keys.count("attention.value_length" + suffix, kWidth);
  latent.nope = config.head_dim_k - latent.rope;
  if (!keys.error() && latent.nope <= 0) {
    keys.note({ErrorCode::bad_format,
               keys.file().path() + ": " + keys.full("attention.key_length" + suffix) + " is " +
                   std::to_string(config.head_dim_k) + ", expected more than the " +
                   std::to_string(latent.rope) + " rotated elements"});
  }
  config.n_kv_head = 1;
  config.latent = latent;
}

void read_experts(Keys& keys, ModelConfig& config) {
  constexpr uint32_t kWidth = 1u << 20, kExperts = 4096;
  const auto wrong = [&](std::string_view key, int32_t found, const std::string& expected) {
    if (keys.error()) return;
    keys.note({ErrorCode::bad_format, keys.file().path() + ": " + keys.full(key) + " is " +
                                          std::to_string(found) + ", expected " + expected});
  };
  ExpertConfig experts;
  ExpertRule& rule = experts.rule;
  rule.n_expert = keys.count("expert_count", kExperts);
  rule.n_used = keys.count("expert_used_count", kExperts);
  experts.n_ff = keys.count("expert_feed_forward_length", kWidth);
  experts.n_shared = keys.count_or_none("expert_shared_count", kExperts);
  experts.n_dense = keys.count_or_none("leading_dense_block_count", 1024);
  rule.scale = keys.real("expert_weights_scale", 1.0f);
  rule.normalise = keys.flag("expert_weights_norm", false);
  const int32_t gating = keys.count("expert_gating_func", UINT16_MAX, 1);
  if (gating > 2) wrong("expert_gating_func", gating, "1 (softmax) or 2 (sigmoid)");
  rule.gating = gating == 2 ? Gating::sigmoid : Gating::softmax;
  // Files from before these keys: the two models that have groups are told by their experts.
  const uint32_t groups = rule.n_expert == 160 || rule.n_expert == 256 ? 8 : 1;
  const uint32_t groups_used = rule.n_expert == 160 ? 3 : rule.n_expert == 256 ? 4 : 1;
  const bool told = keys.has("expert_group_count");
  rule.n_group = keys.count("expert_group_count", kExperts, groups);
  rule.n_group_used = keys.count("expert_group_used_count", kExperts, told ? 1 : groups_used);
  if (rule.n_expert % rule.n_group != 0 || rule.n_group_used > rule.n_group) {
    wrong("expert_group_count", rule.n_group,
          "a divisor of the " + std::to_string(rule.n_expert) + " experts that is at least the " +
              std::to_string(rule.n_group_used) + " groups used");
  } else if (rule.n_used > rule.n_expert / rule.n_group * rule.n_group_used) {
    wrong("expert_used_count", rule.n_used, "no more than the groups used have experts");
  }
  config.experts = experts;
}

// A per-layer array of bit masks; any integer width, a scalar stands for every layer.
std::vector<uint64_t> head_masks(Keys& keys, std::string_view key, size_t n_layer) {
  std::vector<uint64_t> masks(n_layer, ~uint64_t{0});
  const GgufValue* value = keys.file().find(key);
  if (value == nullptr) return masks;
  const GgufType element = value->type == GgufType::array ? value->element : value->type;
  const size_t width = element == GgufType::u64 || element == GgufType::i64   ? 8
                       : element == GgufType::u32 || element == GgufType::i32 ? 4
                                                                              : 0;
  if (width == 0 || (value->count != 1 && value->count != n_layer)) {
    keys.note({ErrorCode::bad_format, keys.file().path() + ": " + std::string(key) + " is " +
                                          value->to_text() + ", expected " +
                                          std::to_string(n_layer) + " integers of 32 or 64 bits"});
    return masks;
  }
  for (size_t i = 0; i < n_layer; ++i) {
    uint64_t mask = 0;
    std::memcpy(&mask, value->raw + (value->count == 1 ? 0 : i) * width, width);
    masks[i] = mask;
  }
  return masks;
}

StructureConfig read_structure(Keys& keys, const ModelConfig& config,
                               const StructureOverride& wanted) {
  const auto n_layer = static_cast<size_t>(config.n_layer);
  const GgufFile& file = keys.file();
  StructureConfig structure;
  structure.mode.assign(n_layer, StructureMode::off);
  if (file.has("cambium.structure.mode")) {
    const auto modes = file.get_u32s("cambium.structure.mode");
    if (!modes) {
      keys.note(modes.error());
    } else if ((modes->size() != 1 && modes->size() != n_layer) ||
               std::any_of(modes->begin(), modes->end(), [](uint32_t m) { return m > 3; })) {
      keys.note(
          {ErrorCode::bad_format, file.path() + ": cambium.structure.mode is " +
                                      file.find("cambium.structure.mode")->to_text() +
                                      ", expected " + std::to_string(n_layer) +
                                      " values of 0 (off), 1 (emphasis), 2 (prune) or 3 (own)"});
    } else {
      for (size_t i = 0; i < n_layer; ++i) {
        structure.mode[i] = static_cast<StructureMode>((*modes)[modes->size() == 1 ? 0 : i]);
      }
    }
  }
  for (size_t i = 0; i < n_layer; ++i) {
    const bool biased = file.find_tensor("blk." + std::to_string(i) + ".attn_tree_bias") != nullptr;
    if (biased && structure.mode[i] == StructureMode::off) structure.mode[i] = StructureMode::tree;
  }
  const auto number = [&](const char* key, int32_t fallback) {
    const auto value = file.get_u32(key, static_cast<uint32_t>(fallback));
    if (!value) return keys.note(value.error()), fallback;
    return static_cast<int32_t>(std::min<uint32_t>(*value, INT32_MAX));
  };
  structure.rule.window = number("cambium.structure.window", structure.rule.window);
  structure.rule.sinks = number("cambium.structure.sinks", structure.rule.sinks);
  structure.rule.scope_window =
      number("cambium.structure.scope_window", structure.rule.scope_window);
  structure.prune_heads = head_masks(keys, "cambium.structure.prune_heads", n_layer);

  if (wanted.mode) {
    structure.mode.assign(n_layer, *wanted.mode);
    const auto lacks = [&](StructureMode mode, const std::string& tensor, const char* name) {
      if (*wanted.mode != mode || file.find_tensor("blk.0." + tensor) != nullptr) return;
      keys.note({ErrorCode::unsupported, file.path() + ": the model has no tensors " + tensor +
                                             ", so it cannot run with structure " + name +
                                             "; use off, prune or own"});
    };
    lacks(StructureMode::emphasis, "attn_structure_scale", "emphasis");
    lacks(StructureMode::tree, "attn_tree_bias", "tree");
  }
  if (wanted.rule) structure.rule = *wanted.rule;
  for (size_t i = 0; i < n_layer; ++i) {
    const bool prunes =
        structure.mode[i] == StructureMode::prune || structure.mode[i] == StructureMode::own;
    if (prunes && (structure.prune_heads[i] & heads_there(config.n_head)) == 0)
      structure.mode[i] = StructureMode::off;
  }
  if (structure.any() && config.n_head > 64) {
    keys.note({ErrorCode::unsupported, file.path() + ": structure with " +
                                           std::to_string(config.n_head) +
                                           " heads; this build goes up to 64"});
  }
  return structure;
}

}  // namespace

void ModelConfig::stretch(int32_t wanted) {
  if (wanted <= context || rope_freq.size() < 2) return;
  const double factor = static_cast<double>(wanted) / context;
  const double base = std::pow(rope_freq[0] / rope_freq[1], static_cast<double>(rope_freq.size()));
  scale_by_yarn(base, factor, context, 32, 1, rope_freq);
  rope_magnitude *= static_cast<float>(1 + 0.1 * std::log(factor));
  context = wanted;
}

Result<ModelConfig> ModelConfig::from_gguf(const GgufFile& file,
                                           const StructureOverride& structure) {
  const auto architecture = file.architecture();
  if (!architecture) return tl::unexpected(architecture.error());
  if (std::ranges::find(kArchitectures, *architecture) == std::end(kArchitectures)) {
    return fail(ErrorCode::unsupported,
                file.path() + ": architecture \"" + std::string(*architecture) +
                    "\" is not supported; supported: " + supported_architectures());
  }
  ModelConfig config;
  config.architecture = *architecture;
  Keys keys(file, config.architecture);
  const bool latent = config.architecture == "deepseek2";
  const auto experts = file.get_u32(keys.full("expert_count"), 0);
  if (experts && *experts > 0 && !latent) {
    return fail(ErrorCode::unsupported, file.path() + ": a mixture of " + std::to_string(*experts) +
                                            " experts; of the " + config.architecture +
                                            " architecture this build runs dense models only");
  }

  // Limits keep products of two of them far inside 64 bits, whatever a damaged file says.
  constexpr uint32_t kWidth = 1u << 20;
  config.name = keys.file().get_string("general.name", "").value_or("");
  if (config.name.empty()) config.name = std::filesystem::path(file.path()).stem().string();
  config.n_layer = keys.count("block_count", 1024);
  config.n_embd = keys.count("embedding_length", kWidth);
  config.n_ff = keys.uniform_count("feed_forward_length", kWidth);
  config.n_head = keys.uniform_count("attention.head_count", 4096);
  config.n_kv_head =
      keys.uniform_count("attention.head_count_kv", 4096, static_cast<uint32_t>(config.n_head));
  config.context = keys.count("context_length", INT32_MAX);
  const auto head_dim = static_cast<uint32_t>(std::max(1, config.n_embd / config.n_head));
  config.head_dim_k = keys.count("attention.key_length", kWidth, head_dim);
  config.head_dim_v = keys.count("attention.value_length", kWidth, head_dim);
  if (latent) read_latent(keys, config);
  if (experts && *experts > 0) read_experts(keys, config);
  if (config.architecture.starts_with("qwen")) config.rope_layout = RopeLayout::split;
  config.norm_eps = keys.real("attention.layer_norm_rms_epsilon", 1e-5f);
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim_k));
  const int32_t n_rot =
      keys.count("rope.dimension_count", kWidth, static_cast<uint32_t>(config.head_dim_k));
  if (keys.error()) return tl::unexpected(*keys.error());

  const auto mismatch = [&](const std::string& what) {
    return fail(ErrorCode::bad_format, file.path() + ": " + what);
  };
  if (config.n_head % config.n_kv_head != 0) {
    return mismatch(keys.full("attention.head_count") + " is " + std::to_string(config.n_head) +
                    ", expected a multiple of the " + std::to_string(config.n_kv_head) +
                    " key-value heads");
  }
  if (n_rot % 2 != 0 || n_rot > config.head_dim_k) {
    return mismatch(keys.full("rope.dimension_count") + " is " + std::to_string(n_rot) +
                    ", expected an even number up to " + std::to_string(config.head_dim_k));
  }
  read_rope(keys, n_rot, config);
  config.structure = read_structure(keys, config, structure);
  if (latent && config.structure.any() && !keys.error()) {
    keys.note({ErrorCode::unsupported,
               file.path() + ": structure in attention is not made for deepseek2; use off"});
  }
  if (keys.error()) return tl::unexpected(*keys.error());

  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) {
    return mismatch("tensor token_embd.weight is missing; is this a vocabulary-only file?");
  }
  if (embedding->cols() != config.n_embd || embedding->rows() < 1 ||
      embedding->rows() > INT32_MAX / 2) {
    return mismatch("tensor token_embd.weight has shape " + embedding->shape_text() +
                    ", expected [" + std::to_string(config.n_embd) + ", vocabulary]");
  }
  config.n_vocab = static_cast<int32_t>(embedding->rows());
  return config;
}

}  // namespace cambium::engine
