// Models of a given shape with random weights; declared in gguf_writer.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "engine/byte_alphabet.h"
#include "engine/cpu/quantize.h"
#include "engine/gguf_writer.h"

namespace cambium::engine {

namespace {

struct NamedShape {
  const char* name;
  ModelShape shape;
};

ModelShape coder(std::string name, int32_t n_embd, int32_t n_layer, int32_t n_head, int32_t n_ff) {
  ModelShape s;
  s.name = std::move(name);
  s.n_vocab = 32256;
  s.n_embd = n_embd;
  s.n_layer = n_layer;
  s.n_head = s.n_kv_head = n_head;
  s.head_dim = 128;
  s.n_ff = n_ff;
  s.context = 16384;
  s.rope_theta = 100000.0f;
  s.rope_linear_scale = 4.0f;
  s.norm_eps = 1e-6f;
  return s;
}

std::vector<NamedShape> named_shapes() {
  ModelShape own;
  own.name = "cambium-40m";
  own.n_vocab = 16384;
  own.n_embd = 512;
  own.n_layer = 12;
  own.n_head = 8;
  own.n_kv_head = 4;
  own.head_dim = 64;
  own.n_ff = 1280;
  own.context = 8192;
  own.tied = true;
  ModelShape tiny = own;
  tiny.name = "tiny";
  tiny.n_vocab = 320;
  tiny.n_embd = 256;
  tiny.n_layer = 2;
  tiny.n_head = 4;
  tiny.n_kv_head = 2;
  tiny.n_ff = 512;
  tiny.context = 512;
  ModelShape coder_1b = coder("deepseek-coder-1.3b", 2048, 24, 16, 5504);
  ModelShape coder_7b = coder("deepseek-coder-6.7b", 4096, 32, 32, 11008);
  ModelShape r1_8b = coder("r1-distill-llama-8b", 4096, 32, 32, 14336);
  r1_8b.n_vocab = 128256;
  r1_8b.n_kv_head = 8;
  r1_8b.context = 131072;
  r1_8b.rope_theta = 500000.0f;
  r1_8b.rope_linear_scale = 1.0f;
  r1_8b.norm_eps = 1e-5f;
  ModelShape qwen = coder("qwen-1.5b", 1536, 28, 12, 8960);
  qwen.architecture = "qwen2";
  qwen.n_vocab = 151936;
  qwen.n_kv_head = 2;
  qwen.context = 131072;
  qwen.rope_linear_scale = 1.0f;
  ModelShape lite = coder("v2-lite", 2048, 27, 16, 10944);
  lite.architecture = "deepseek2";
  lite.n_vocab = 102400;
  lite.context = 163840;
  lite.rope_theta = 10000.0f;
  lite.rope_linear_scale = 1.0f;
  lite.kv_rank = 512;
  lite.rope_dim = 64;
  lite.n_expert = 64;
  lite.n_expert_used = 6;
  lite.n_shared = 2;
  lite.n_ff_expert = 1408;
  lite.n_dense = 1;
  return {{"cambium-40m", own},
          {"deepseek-coder-1.3b", coder_1b},
          {"deepseek-coder-6.7b", coder_7b},
          {"r1-distill-llama-8b", r1_8b},
          {"qwen-1.5b", qwen},
          {"v2-lite", lite},
          {"tiny", tiny}};
}

/// What stock quantization takes for rows that a 256-element block does not divide.
DType fallback(DType type, int64_t cols) {
  const TypeTraits* traits = type_traits(type);
  if (!traits || cols % traits->block_elements == 0) return type;
  if (cols % 32 != 0) return DType::f16;
  switch (type) {
    case DType::q4_k:
      return DType::q5_0;
    case DType::q5_k:
      return DType::q5_1;
    case DType::q6_k:
      return DType::q8_0;
    default:
      return traits->block_elements == 256 ? DType::iq4_nl : DType::f16;
  }
}

bool is_k_quant(DType type) {
  const TypeTraits* traits = type_traits(type);
  return traits && traits->block_elements == 256;
}

/// Quantized rows of normal random numbers, made once and handed out in another order, and rotated
/// by whole blocks, to every matrix with rows of that length.
struct Panel {
  DType type;
  int64_t cols;
  int64_t rows;
  float deviation;
  std::vector<std::byte> data;
};

class RandomModel {
 public:
  explicit RandomModel(const RandomModelOptions& options)
      : options_(options), shape_(options.shape), random_(options.seed) {}

  Result<GgufWriter> make();

 private:
  std::string key(const char* name) const { return shape_.architecture + "." + name; }
  void metadata();
  void byte_vocabulary();
  void norm(const std::string& name, int32_t n, float mean);
  void bias(const std::string& name, int32_t n);
  /// `n` of them make a tensor of three dimensions.
  void matrix(const std::string& name, DType type, int64_t rows, int64_t cols, float deviation,
              int64_t n = 1);
  void latent_attention(const std::string& layer, DType type, float residual, float sharp);
  void ffn(const std::string& layer, const std::string& suffix, DType type, int64_t n_ff,
           float residual, int64_t n = 1);
  void mixture(const std::string& layer, DType type, float residual);
  std::shared_ptr<const Panel> panel(DType type, int64_t rows, int64_t cols, float deviation);

  const RandomModelOptions& options_;
  ModelShape shape_;
  std::mt19937_64 random_;
  std::vector<std::shared_ptr<const Panel>> panels_;
  GgufWriter writer_;
};

void RandomModel::metadata() {
  const ModelShape& s = shape_;
  writer_.set_string("general.architecture", s.architecture);
  writer_.set_string("general.name", s.name);
  writer_.set_u32("general.quantization_version", 2);
  const auto u32 = [&](const char* name, int32_t value) {
    writer_.set_u32(key(name), static_cast<uint32_t>(value));
  };
  u32("vocab_size", s.n_vocab);
  u32("context_length", s.context);
  u32("embedding_length", s.n_embd);
  u32("block_count", s.n_layer);
  u32("feed_forward_length", s.n_ff);
  u32("attention.head_count", s.n_head);
  const bool latent = s.kv_rank > 0;
  u32("attention.head_count_kv", latent ? 1 : s.n_kv_head);
  u32("attention.key_length", latent ? s.kv_rank + s.rope_dim : s.head_dim);
  u32("attention.value_length", latent ? s.kv_rank : s.head_dim);
  u32("rope.dimension_count", latent ? s.rope_dim : s.head_dim);
  if (latent) {
    u32("attention.kv_lora_rank", s.kv_rank);
    u32("attention.key_length_mla", s.head_dim + s.rope_dim);
    u32("attention.value_length_mla", s.head_dim);
    u32("expert_count", s.n_expert);
    u32("expert_used_count", s.n_expert_used);
    u32("expert_shared_count", s.n_shared);
    u32("expert_feed_forward_length", s.n_ff_expert);
    u32("leading_dense_block_count", s.n_dense);
    if (s.q_rank > 0) u32("attention.q_lora_rank", s.q_rank);
    if (s.sigmoid) u32("expert_gating_func", 2);
    if (s.n_group > 1) {
      u32("expert_group_count", s.n_group);
      u32("expert_group_used_count", s.n_group_used);
    }
    if (s.normalise) writer_.set_bool(key("expert_weights_norm"), true);
    if (s.expert_scale != 1.0f) writer_.set_f32(key("expert_weights_scale"), s.expert_scale);
    writer_.set_string(key("rope.scaling.type"), "yarn");
    writer_.set_f32(key("rope.scaling.factor"), 40.0f);
    u32("rope.scaling.original_context_length", 4096);
    writer_.set_f32(key("rope.scaling.yarn_log_multiplier"), 0.0707f);
  }
  writer_.set_f32(key("rope.freq_base"), s.rope_theta);
  writer_.set_f32(key("attention.layer_norm_rms_epsilon"), s.norm_eps);
  if (s.rope_linear_scale > 1.0f) {
    writer_.set_string(key("rope.scaling.type"), "linear");
    writer_.set_f32(key("rope.scaling.factor"), s.rope_linear_scale);
  }
  if (options_.tokenizer)
    writer_.copy_metadata(*options_.tokenizer, "tokenizer.");
  else
    byte_vocabulary();
}

void RandomModel::byte_vocabulary() {
  constexpr int32_t kNormal = 1, kControl = 3, kUnused = 5;
  const ByteAlphabet alphabet;
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b)
    tokens.push_back(alphabet.encode(std::string(1, static_cast<char>(b))));
  std::vector<int32_t> types(tokens.size(), kNormal);
  for (const char* marker :
       {"<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file|>"}) {
    tokens.emplace_back(marker);
    types.push_back(kControl);
  }
  while (static_cast<int32_t>(tokens.size()) < shape_.n_vocab) {
    tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]");
    types.push_back(kUnused);
  }
  writer_.set_string("tokenizer.ggml.model", "gpt2");
  writer_.set_string("tokenizer.ggml.pre", "starcoder");
  writer_.set_strings("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
  writer_.set_i32s("tokenizer.ggml.token_type", types);
  writer_.set_strings("tokenizer.ggml.merges", std::span<const std::string>());
  writer_.set_u32("tokenizer.ggml.bos_token_id", 256);
  writer_.set_u32("tokenizer.ggml.eos_token_id", 256);
  writer_.set_u32("tokenizer.ggml.fim_pre_token_id", 257);
  writer_.set_u32("tokenizer.ggml.fim_suf_token_id", 258);
  writer_.set_u32("tokenizer.ggml.fim_mid_token_id", 259);
  writer_.set_bool("tokenizer.ggml.add_bos_token", false);
  writer_.set_u32("cambium.file_token_id", 260);
  writer_.set_bool("cambium.fim.psm", true);
  writer_.set_bool("cambium.fim.spm", true);
}

void RandomModel::norm(const std::string& name, int32_t n, float mean) {
  std::vector<std::byte> data(static_cast<size_t>(n) * sizeof(float));
  // Not all the same: a norm that is forgotten or mixed up with another must show.
  std::uniform_real_distribution<float> spread(0.8f * mean, 1.2f * mean);
  for (int32_t i = 0; i < n; ++i) {
    const float v = spread(random_);
    std::memcpy(data.data() + static_cast<size_t>(i) * sizeof v, &v, sizeof v);
  }
  writer_.add_tensor(name, DType::f32, {n}, std::move(data));
}

void RandomModel::bias(const std::string& name, int32_t n) {
  std::vector<std::byte> data(static_cast<size_t>(n) * sizeof(float));
  std::normal_distribution<float> normal(0.0f, 0.3f);
  for (int32_t i = 0; i < n; ++i) {
    const float v = normal(random_);
    std::memcpy(data.data() + static_cast<size_t>(i) * sizeof v, &v, sizeof v);
  }
  writer_.add_tensor(name, DType::f32, {n}, std::move(data));
}

std::shared_ptr<const Panel> RandomModel::panel(DType type, int64_t rows, int64_t cols,
                                                float deviation) {
  // Small models get a panel a matrix, so that no two weights are the same.
  constexpr int64_t kShared = int64_t{1} << 21, kElements = int64_t{1} << 22;
  const bool shared = rows * cols > kShared;
  const int64_t n_rows = shared ? std::clamp<int64_t>(kElements / cols, 1, rows) : rows;
  if (shared) {
    for (const auto& p : panels_) {
      if (p->type == type && p->cols == cols && p->rows == n_rows && p->deviation == deviation)
        return p;
    }
  }
  auto made = std::make_shared<Panel>(Panel{type, cols, n_rows, deviation, {}});
  const size_t row = row_bytes(type, cols);
  made->data.resize(static_cast<size_t>(n_rows) * row);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(static_cast<size_t>(cols));
  for (int64_t r = 0; r < n_rows; ++r) {
    for (float& v : values) v = normal(random_);
    cpu::quantize_row(type, values.data(), made->data.data() + static_cast<size_t>(r) * row, cols);
  }
  if (shared) panels_.push_back(made);
  return made;
}

void RandomModel::matrix(const std::string& name, DType type, int64_t each, int64_t cols,
                         float deviation, int64_t n) {
  const int64_t rows = each * n;
  const std::vector<int64_t> ne =
      n > 1 ? std::vector<int64_t>{cols, each, n} : std::vector<int64_t>{cols, rows};
  const DType stored = fallback(type, cols);
  const auto source = panel(stored, rows, cols, deviation);
  auto order = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(source->rows));
  std::iota(order->begin(), order->end(), 0);
  std::shuffle(order->begin(), order->end(), random_);
  const size_t row = row_bytes(stored, cols);
  const TypeTraits traits = *type_traits(stored);
  const auto n_blocks = static_cast<int64_t>(row / traits.block_bytes);
  writer_.add_tensor(
      name, stored, ne,
      [source, order, row, n_blocks, traits](int64_t first, int64_t count, std::byte* out) {
        for (int64_t r = first; r < first + count; ++r, out += row) {
          const auto in_panel =
              static_cast<size_t>((*order)[static_cast<size_t>(r % source->rows)]);
          const std::byte* from = source->data.data() + in_panel * row;
          const size_t cut = static_cast<size_t>(r / source->rows % n_blocks) * traits.block_bytes;
          std::memcpy(out, from + cut, row - cut);
          std::memcpy(out + row - cut, from, cut);
        }
      });
}

float from(int64_t cols) { return 1.0f / std::sqrt(static_cast<float>(cols)); }

void RandomModel::latent_attention(const std::string& layer, DType type, float residual,
                                   float sharp) {
  const ModelShape& s = shape_;
  const int64_t n_v = int64_t{s.n_head} * s.head_dim;
  const float qk = sharp * from(s.n_embd);
  const int64_t n_q = n_v + int64_t{s.n_head} * s.rope_dim;
  if (s.q_rank > 0) {
    matrix(layer + "attn_q_a.weight", type, s.q_rank, s.n_embd, from(s.n_embd));
    norm(layer + "attn_q_a_norm.weight", s.q_rank, 1.0f);
    matrix(layer + "attn_q_b.weight", type, n_q, s.q_rank, sharp * from(s.q_rank));
  } else {
    matrix(layer + "attn_q.weight", type, n_q, s.n_embd, qk);
  }
  matrix(layer + "attn_kv_a_mqa.weight", type, s.kv_rank + s.rope_dim, s.n_embd, qk);
  norm(layer + "attn_kv_a_norm.weight", s.kv_rank, 1.0f);
  // Its columns are what multiplies the latent vector.
  matrix(layer + "attn_k_b.weight", fallback(type, s.head_dim), s.kv_rank, s.head_dim,
         sharp * from(s.kv_rank), s.n_head);
  matrix(layer + "attn_v_b.weight", type, s.head_dim, s.kv_rank, from(s.kv_rank), s.n_head);
  matrix(layer + "attn_output.weight", type, s.n_embd, n_v, residual * from(n_v));
}

void RandomModel::ffn(const std::string& layer, const std::string& suffix, DType type, int64_t n_ff,
                      float residual, int64_t n) {
  const int64_t n_embd = shape_.n_embd;
  matrix(layer + "ffn_gate" + suffix + ".weight", type, n_ff, n_embd, from(n_embd), n);
  matrix(layer + "ffn_up" + suffix + ".weight", type, n_ff, n_embd, from(n_embd), n);
  // silu(gate)·up of unit normals has a size of about 0.6.
  matrix(layer + "ffn_down" + suffix + ".weight", type, n_embd, n_ff, residual * from(n_ff) / 0.6f,
         n);
}

void RandomModel::mixture(const std::string& layer, DType type, float residual) {
  const ModelShape& s = shape_;
  matrix(layer + "ffn_gate_inp.weight", DType::f32, s.n_expert, s.n_embd, from(s.n_embd));
  if (s.sigmoid) bias(layer + "exp_probs_b.bias", s.n_expert);
  ffn(layer, "_exps", type, s.n_ff_expert, residual, s.n_expert);
  if (s.n_shared > 0) ffn(layer, "_shexp", type, int64_t{s.n_ff_expert} * s.n_shared, residual);
}

Result<GgufWriter> RandomModel::make() {
  if (options_.tokenizer) {
    const auto tokens = options_.tokenizer->get_strings("tokenizer.ggml.tokens");
    if (!tokens) return tl::unexpected(tokens.error());
    shape_.n_vocab = static_cast<int32_t>(tokens->size());
  }
  const ModelShape& s = shape_;
  const bool qwen2 = s.architecture == "qwen2", qwen3 = s.architecture == "qwen3";
  const bool latent = s.architecture == "deepseek2";
  if (!qwen2 && !qwen3 && !latent && s.architecture != "llama" && s.architecture != "cambium") {
    return fail(ErrorCode::unsupported, "no random model of the architecture '" + s.architecture +
                                            "'; there are llama, cambium, qwen2, qwen3, deepseek2");
  }
  if (!type_traits(options_.type) || !cpu::can_quantize(options_.type)) {
    return fail(ErrorCode::unsupported, "weights of that type cannot be written");
  }
  if (s.n_vocab < 261 || s.n_embd <= 0 || s.n_layer <= 0 || s.n_kv_head <= 0 || s.head_dim <= 0 ||
      s.n_ff <= 0 || s.n_head <= 0 || s.n_head % s.n_kv_head != 0) {
    return fail(
        ErrorCode::invalid_argument,
        "a model needs positive sizes, heads that are a multiple of the key-value heads, and "
        "a vocabulary of at least 261");
  }
  metadata();

  const DType type = options_.type;
  const DType output = is_k_quant(type) ? DType::q6_k : type;
  // x entering a layer is of size `base`, each of the 2·n_layer residual additions of a share of
  // it.
  const float base = s.tied ? 2.0f * from(s.n_embd) : 1.0f;
  const float residual = base / std::sqrt(2.0f * static_cast<float>(s.n_layer));
  const float sharp = std::sqrt(options_.score_spread);
  const int64_t n_q = int64_t{s.n_head} * s.head_dim, n_kv = int64_t{s.n_kv_head} * s.head_dim;

  matrix("token_embd.weight", s.tied ? output : type, s.n_vocab, s.n_embd, base);
  for (int32_t i = 0; i < s.n_layer; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    norm(layer + "attn_norm.weight", s.n_embd, 1.0f);
    if (latent) {
      latent_attention(layer, type, residual, sharp);
      norm(layer + "ffn_norm.weight", s.n_embd, 1.0f);
      if (i < s.n_dense) {
        ffn(layer, "", type, s.n_ff, residual);
      } else {
        mixture(layer, type, residual);
      }
      continue;
    }
    // qwen3's own norms set the size of q and k.
    const float qk = (qwen3 ? 1.0f : sharp) * from(s.n_embd);
    matrix(layer + "attn_q.weight", type, n_q, s.n_embd, qk);
    matrix(layer + "attn_k.weight", type, n_kv, s.n_embd, qk);
    matrix(layer + "attn_v.weight", type, n_kv, s.n_embd, from(s.n_embd));
    if (qwen2) {
      bias(layer + "attn_q.bias", static_cast<int32_t>(n_q));
      bias(layer + "attn_k.bias", static_cast<int32_t>(n_kv));
      bias(layer + "attn_v.bias", static_cast<int32_t>(n_kv));
    }
    if (qwen3) {
      norm(layer + "attn_q_norm.weight", s.head_dim, sharp);
      norm(layer + "attn_k_norm.weight", s.head_dim, sharp);
    }
    matrix(layer + "attn_output.weight", type, s.n_embd, n_q, residual * from(n_q));
    norm(layer + "ffn_norm.weight", s.n_embd, 1.0f);
    ffn(layer, "", type, s.n_ff, residual);
  }
  norm("output_norm.weight", s.n_embd, 1.0f);
  if (!s.tied) matrix("output.weight", output, s.n_vocab, s.n_embd, 2.0f * from(s.n_embd));
  return std::move(writer_);
}

}  // namespace

Result<ModelShape> model_shape(std::string_view name) {
  std::string known;
  const std::vector<NamedShape> shapes = named_shapes();
  const auto ends = [&](const NamedShape& s) {
    return !name.empty() && std::string_view(s.name).ends_with("-" + std::string(name));
  };
  const auto one = std::find_if(shapes.begin(), shapes.end(), ends);
  if (one != shapes.end() && std::count_if(shapes.begin(), shapes.end(), ends) == 1)
    return one->shape;
  for (const NamedShape& s : shapes) {
    if (name == s.name) return s.shape;
    known += (known.empty() ? "" : ", ") + std::string(s.name);
  }
  return fail(ErrorCode::not_found,
              "no model shape is named '" + std::string(name) + "'; there are " + known);
}

Result<GgufWriter> random_model(const RandomModelOptions& options) {
  return RandomModel(options).make();
}

Result<void> write_random_model(const std::string& path, const RandomModelOptions& options) {
  auto writer = random_model(options);
  if (!writer) return tl::unexpected(writer.error());
  return writer->write(path);
}

}  // namespace cambium::engine
