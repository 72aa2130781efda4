// Every family and every way of choosing experts against two other programs: logits that Hugging
// Face Transformers and llama.cpp gave for the same tiny models (tests/golden/families*.json), at
// positions past the original context too.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include "engine/gguf_writer.h"
#include "engine/models/model.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/family_models.h"
#include "tests/support/engine/tiny_model.h"
#include "tests/support/source_dir.h"

namespace cambium::engine {
namespace {

using Rows = std::vector<std::vector<double>>;

std::map<std::string, Rows> recorded(const std::string& program) {
  std::ifstream in(cambium::test::source_dir() + "/tests/golden/families_" + program + ".json");
  REQUIRE_MESSAGE(in.good(), "the fixture is missing; tests/golden says how to make it");
  return nlohmann::json::parse(in)["logits"].get<std::map<std::string, Rows>>();
}

double relative_error(const Rows& got, const Rows& want) {
  REQUIRE(got.size() == want.size());
  double error = 0, size = 0;
  for (size_t r = 0; r < want.size(); ++r) {
    REQUIRE(got[r].size() == want[r].size());
    for (size_t i = 0; i < want[r].size(); ++i) {
      error += (got[r][i] - want[r][i]) * (got[r][i] - want[r][i]);
      size += want[r][i] * want[r][i];
    }
  }
  return std::sqrt(error / size);
}

Result<std::unique_ptr<Model>> try_open(const std::vector<std::byte>& bytes,
                                        const std::string& isa) {
  const auto file = GgufFile::parse(bytes, "family.gguf");
  if (!file) return tl::unexpected(file.error());
  auto config = ModelConfig::from_gguf(**file);
  if (!config) return tl::unexpected(config.error());
  return load_model_weights(*file, *config, make_cpu_backend(2, isa), nullptr);
}

std::unique_ptr<Model> open(const std::vector<std::byte>& bytes, const std::string& isa = "") {
  auto model = try_open(bytes, isa);
  REQUIRE_MESSAGE(model.has_value(), model.error().message);
  return std::move(*model);
}

// What each fixture leaves out, and tests/golden/make_* say why.
const std::map<std::string, std::set<std::string>> kLeftOut = {
    {"transformers",
     {"qwen2_q8_0", "deepseek2_v3_old_q8_0", "deepseek2_v2_normalised", "qwen2_square",
      "qwen2_square_yarn"}},
    {"llama_cpp", {"deepseek2_v2_groups", "qwen2", "qwen2_yarn"}}};

// Logits at the wanted positions, the tokens fed in chunks of so many.
Rows logits(Model& model, const std::vector<TokenId>& tokens, const std::vector<int32_t>& positions,
            int32_t chunk = 512) {
  const auto kv = model.create_kv(static_cast<int32_t>(tokens.size()));
  REQUIRE(kv.has_value());
  Rows rows;
  for (int32_t first = 0; first < static_cast<int32_t>(tokens.size()); first += chunk) {
    const auto n =
        std::min<size_t>(static_cast<size_t>(chunk), tokens.size() - static_cast<size_t>(first));
    std::vector<int32_t> wanted;
    for (const int32_t p : positions) {
      if (p >= first && p < first + static_cast<int32_t>(n)) wanted.push_back(p - first);
    }
    const auto result = model.forward({std::span(tokens).subspan(static_cast<size_t>(first), n),
                                       first, kv->get(), nullptr, wanted, nullptr});
    REQUIRE(result.has_value());
    const auto n_vocab = static_cast<size_t>(model.config().n_vocab);
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto row = result->logits.subspan(i * n_vocab, n_vocab);
      rows.emplace_back(row.begin(), row.end());
    }
  }
  return rows;
}

bool quantized(const nlohmann::json& spec) {
  return spec["name"].get<std::string>().ends_with("q8_0");
}

TEST_CASE("two other programs agree on the logits of every family") {
  const auto models = test::family_models();
  for (const std::string program : {"transformers", "llama_cpp"}) {
    const auto all = recorded(program);
    for (const auto& spec : models.specs) {
      const auto name = spec["name"].get<std::string>();
      CAPTURE(program);
      CAPTURE(name);
      REQUIRE(all.contains(name) != kLeftOut.at(program).contains(name));
      if (!all.contains(name)) continue;
      const auto bytes = test::family_file(spec);
      const auto model = open(bytes);
      const double error =
          relative_error(logits(*model, models.tokens, models.positions), all.at(name));
      CHECK(error < (quantized(spec) ? 2e-2 : 1e-3));
    }
  }
}

const nlohmann::json& spec_of(const test::FamilyModels& models, std::string_view name) {
  const auto found = std::ranges::find_if(models.specs, [&](const nlohmann::json& spec) {
    return spec["name"].get_ref<const std::string&>() == name;
  });
  REQUIRE(found != models.specs.end());
  return *found;
}

TEST_CASE("each number of a file's metadata matters: a changed one changes the logits") {
  // Whoever drops RoPE's scaling, YaRN's magnitude or a rule of the routing gets what these get.
  struct Mutation {
    const char *model, *key;
    nlohmann::json value;  ///< null: the key is taken out
  };
  const Mutation mutations[] = {
      {"qwen2", "qwen2.rope.freq_base", 20000.0},
      {"qwen2_yarn", "qwen2.rope.scaling.type", "none"},
      {"qwen2_yarn", "qwen2.rope.scaling.factor", 2.0},
      {"qwen2_yarn", "qwen2.rope.scaling.original_context_length", 512},
      {"qwen2_yarn", "qwen2.rope.scaling.attn_factor", 0.8782},  // magnitude 1: none
      {"qwen3_yarn", "qwen3.rope.scaling.type", "linear"},
      {"qwen3_yarn", "qwen3.rope.scaling.attn_factor", 0.8782},
      {"deepseek2_lite", "deepseek2.rope.scaling.type", "none"},
      {"deepseek2_lite", "deepseek2.rope.scaling.yarn_log_multiplier", 0.001},
      {"deepseek2_v3", "deepseek2.rope.scaling.yarn_log_multiplier", nullptr},
      {"deepseek2_v3", "deepseek2.rope.scaling.factor", 4.0},
      {"deepseek2_v3", "deepseek2.expert_weights_scale", 1.0},
      {"deepseek2_v3", "deepseek2.expert_weights_norm", false},
      {"deepseek2_v3", "deepseek2.expert_gating_func", 1},
      {"deepseek2_v3", "deepseek2.expert_group_used_count", 3},
      {"deepseek2_v3", "deepseek2.expert_used_count", 2},
      {"deepseek2_v2_groups", "deepseek2.expert_group_count", 2},
      {"deepseek2_v2", "deepseek2.attention.layer_norm_rms_epsilon", 0.1},
  };
  const auto models = test::family_models();
  std::map<std::string, Rows> right;
  for (const Mutation& m : mutations) {
    CAPTURE(std::string(m.model));
    CAPTURE(std::string(m.key));
    auto spec = spec_of(models, m.model);
    if (!right.contains(m.model)) {
      const auto bytes = test::family_file(spec);
      right[m.model] = logits(*open(bytes), models.tokens, models.positions);
    }
    if (m.value.is_null()) {
      REQUIRE(spec["metadata"].erase(m.key) == 1);
    } else {
      spec["metadata"][m.key] = m.value;
    }
    const auto bytes = test::family_file(spec);
    const auto changed = logits(*open(bytes), models.tokens, models.positions);
    CHECK(relative_error(changed, right[m.model]) > 1e-2);
  }
}

TEST_CASE("each tensor of a layer matters, those a family may lack too") {
  const auto models = test::family_models();
  for (const char* name : {"qwen2", "qwen3", "llama3", "deepseek2_v3"}) {
    const auto& spec = spec_of(models, name);
    const auto bytes = test::family_file(spec);
    const auto right = logits(*open(bytes), models.tokens, {models.positions.back()});
    for (size_t i = 0; i < spec["tensors"].size(); ++i) {
      const auto tensor = spec["tensors"][i][0].get<std::string>();
      if (tensor.starts_with("blk.") && !tensor.starts_with("blk.1.")) continue;
      CAPTURE(tensor);
      auto changed = spec;
      // Not a factor: a norm that follows would take it away.
      auto& t = changed["tensors"][i];
      t[3] = t[3].get<double>() + 0.5 * t[2].get<double>();
      t[2] = -t[2].get<double>();
      const auto other = test::family_file(changed);
      const auto got = logits(*open(other), models.tokens, {models.positions.back()});
      CHECK(relative_error(got, right) > 2e-3);
    }
  }
}

TEST_CASE(
    "the plain backend and the vector kernels agree, and the logits do not depend on chunks") {
  const auto models = test::family_models();
  for (const char* name : {"qwen3_yarn", "deepseek2_v2_groups", "deepseek2_v3"}) {
    CAPTURE(std::string(name));
    const auto bytes = test::family_file(spec_of(models, name));
    const auto fast = open(bytes), plain = open(bytes, "scalar");
    const auto whole = logits(*fast, models.tokens, models.positions);
    CHECK(relative_error(logits(*plain, models.tokens, models.positions), whole) < 1e-3);
    CHECK(relative_error(logits(*fast, models.tokens, models.positions, 7), whole) < 1e-3);
    // Steps of 1 and of 8 give the same bits: speculation changes no text.
    CHECK(logits(*fast, models.tokens, models.positions, 1) ==
          logits(*fast, models.tokens, models.positions, 8));
  }
}

TEST_CASE("expert loads count every token of every mixture layer") {
  const auto models = test::family_models();
  const auto bytes = test::family_file(spec_of(models, "deepseek2_v3"));
  const auto model = open(bytes);
  logits(*model, models.tokens, models.positions, 64);
  // Asked again and again, they go on counting.
  uint64_t passes = 1;
  for (const bool another : {false, false, true, true}) {
    if (another) {
      logits(*model, models.tokens, models.positions, 64);
      ++passes;
    }
    const auto loads = model->expert_loads();
    REQUIRE(loads.has_value());
    REQUIRE(loads->size() == 8);
    uint64_t sum = 0;
    for (const uint64_t n : *loads) sum += n;
    CHECK(sum == passes * models.tokens.size() * 3 * 2);  // experts used, mixture layers
  }
  const auto dense = test::family_file(spec_of(models, "qwen3"));
  CHECK(open(dense)->expert_loads()->empty());
}

TEST_CASE("a random deepseek2 model chooses its experts as its shape says") {
  auto shape = model_shape("v2-lite");
  REQUIRE(shape.has_value());
  shape->n_vocab = 320;
  shape->n_embd = 64;
  shape->n_layer = 2;
  shape->n_head = shape->n_kv_head = 2;
  shape->head_dim = shape->rope_dim = shape->kv_rank = 32;
  shape->n_ff = shape->n_ff_expert = 32;
  shape->n_expert = 8;
  shape->n_expert_used = 3;
  shape->n_shared = 0;
  shape->q_rank = 48;
  shape->n_group = 4;
  shape->n_group_used = 2;
  shape->sigmoid = shape->normalise = true;
  shape->expert_scale = 2.5f;
  RandomModelOptions options;
  options.shape = *shape;
  const auto writer = random_model(options);
  REQUIRE(writer.has_value());
  const auto bytes = writer->bytes();
  const auto model = open(bytes);
  const ModelConfig& config = model->config();
  CHECK(config.latent->q_rank == 48);
  const ExpertRule& rule = config.experts->rule;
  CHECK(rule.n_group == 4);
  CHECK(rule.n_group_used == 2);
  CHECK(rule.gating == Gating::sigmoid);
  CHECK(rule.normalise);
  CHECK(rule.scale == 2.5f);
  const auto rows = logits(*model, {1, 2, 3, 4, 5}, {4});
  CHECK(std::ranges::all_of(rows[0], [](double x) { return std::isfinite(x); }));
}

/// V2-Lite's shape made small: 3 layers, of which 2 have 8 experts, 2 of them used.
ModelShape small_mixture() {
  auto shape = model_shape("v2-lite");
  REQUIRE(shape.has_value());
  shape->n_vocab = 320;
  shape->n_embd = 256;
  shape->n_layer = 3;
  shape->n_head = shape->n_kv_head = 2;
  shape->n_ff = 256;
  shape->n_ff_expert = 64;
  shape->n_expert = 8;
  shape->n_expert_used = 2;
  return *shape;
}

TEST_CASE("a request's timings say which experts its own tokens had") {
  RandomModelOptions options;
  options.shape = small_mixture();
  const auto file = test::temp_file("mixture.gguf");
  REQUIRE(write_random_model(file.path(), options).has_value());
  LoadOptions load;
  load.engine.device = "cpu";
  load.engine.context = 256;
  const auto generator = test::load(file.path(), load);
  for (const std::vector<TokenId>& prompt :
       {std::vector<TokenId>{1, 2, 3, 4, 5}, {1, 2, 3, 9}, {1, 2, 3, 9}}) {
    Request request;
    request.prompt = prompt;
    request.max_tokens = 4;
    request.speculate = false;
    const Generated generated = test::generate(*generator, request);
    const Timings& timings = generated.timings;
    REQUIRE(timings.expert_loads.size() == 8);
    // The last token is written and not read, unless an end followed.
    const int32_t read = timings.prompt_tokens - timings.reused_tokens + timings.generated_tokens -
                         (generated.stop == StopReason::max_tokens ? 1 : 0);
    CHECK(std::accumulate(timings.expert_loads.begin(), timings.expert_loads.end(), uint64_t{0}) ==
          static_cast<uint64_t>(read) * 2 * 2);
  }
  CHECK(spread_of({4, 0, 0, 0}).busiest == 1.0);
  CHECK(spread_of({4, 0, 0, 0}).imbalance == 4.0);
  CHECK(spread_of({3, 3}).imbalance == 1.0);
  CHECK(spread_of({0, 0}).imbalance == 0.0);
  CHECK(spread_of({}).busiest == 0.0);
}

TEST_CASE("a random deepseek2 model loads, and what it keeps of a token is its latent vector") {
  RandomModelOptions options;
  options.shape = small_mixture();
  for (const DType type : {DType::f16, DType::q4_k}) {
    options.type = type;
    const auto writer = random_model(options);
    REQUIRE(writer.has_value());
    const auto bytes = writer->bytes();
    const auto model = open(bytes);
    const KvShape kv = model->config().kv_shape(1);
    CHECK(kv.latent);
    CHECK(kv.n_kv_head == 1);
    CHECK(kv.head_dim_k == 512 + 64);
    CHECK(kv.head_dim_v == 512);
    const auto rows = logits(*model, {1, 2, 3, 4, 5}, {4});
    CHECK(std::ranges::all_of(rows[0], [](double x) { return std::isfinite(x); }));
  }
}

TEST_CASE("files that contradict themselves are refused with a sentence") {
  struct Wrong {
    const char *model, *key;
    nlohmann::json value;
    const char* says;
  };
  const Wrong wrong[] = {
      {"deepseek2_v3", "deepseek2.expert_gating_func", 3, "expected 1 (softmax) or 2 (sigmoid)"},
      {"deepseek2_v3", "deepseek2.expert_group_count", 3, "expected a divisor of the 8 experts"},
      {"deepseek2_v3", "deepseek2.expert_used_count", 5, "no more than the groups used have"},
      {"deepseek2_v3", "deepseek2.attention.key_length_mla", 16,
       "expected more than the 16 rotated"},
      {"deepseek2_v3", "deepseek2.expert_feed_forward_length", 32, "blk.1.ffn_gate_exps.weight"},
      {"deepseek2_v3", "deepseek2.leading_dense_block_count", 0, "blk.0.ffn_gate_inp.weight"},
      {"deepseek2_lite", "deepseek2.attention.q_lora_rank", 32, "blk.0.attn_q_a.weight"},
      {"qwen3_yarn", "qwen3.rope.scaling.type", "longrope",
       "this build knows none, linear and yarn"},
      {"qwen3", "qwen3.expert_count", 8, "a mixture of 8 experts"},
  };
  const auto models = test::family_models();
  for (const Wrong& w : wrong) {
    CAPTURE(std::string(w.key));
    auto spec = spec_of(models, w.model);
    spec["metadata"][w.key] = w.value;
    const auto bytes = test::family_file(spec);
    const auto model = try_open(bytes, "");
    REQUIRE(!model.has_value());
    CHECK_MESSAGE(model.error().message.find(w.says) != std::string::npos, model.error().message);
  }
  auto spec = spec_of(models, "qwen2");
  std::erase_if(spec["tensors"].get_ref<nlohmann::json::array_t&>(),
                [](const nlohmann::json& t) { return t[0] == "blk.1.attn_k.bias"; });
  const auto bytes = test::family_file(spec);
  CHECK(!try_open(bytes, "").has_value());
}

}  // namespace
}  // namespace cambium::engine
