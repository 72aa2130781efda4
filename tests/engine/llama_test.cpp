// The llama forward pass against plain loops in double: every variant of the family, in any chunks,
// for any rows, with every structure mode.
#include "engine/models/llama.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

using test::TinyModel;

std::vector<TokenId> random_tokens(std::mt19937& random, size_t n) {
  std::vector<TokenId> tokens(n);
  for (TokenId& t : tokens) t = static_cast<TokenId>(random() % 256);
  return tokens;
}

// Four sibling scopes of ten tokens under the root, the hole of a fill-in-the-middle in the third.
TokenStructure sibling_labels(size_t n) {
  TokenStructure labels;
  for (size_t i = 0; i < n; ++i) {
    const auto scope = static_cast<int32_t>(i / 10 * 2);
    labels.push_back({scope, i < 10 ? 100 : scope, static_cast<int32_t>(std::min<size_t>(i, 25))});
  }
  return labels;
}

// Relative error in the norm of a row.
double difference(std::span<const float> got, const std::vector<double>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

// Keys and values are stored in half precision: 11 bits.
constexpr double kTolerance = 3e-3;

struct Case {
  const char* name;
  TinyModel model;
};

std::vector<Case> cases() {
  std::vector<Case> all(11);
  all[0].name = "plain";
  all[1].name = "linear RoPE scaling";
  all[1].model.shape.rope_linear_scale = 4;
  all[2].name = "llama3 RoPE factors";
  all[2].model.rope_factors = true;
  all[3].name = "tied output, one key-value head a head";
  all[3].model.shape.tied = true;
  all[3].model.shape.n_kv_head = 4;
  all[4].name = "biases";
  all[4].model.biases = true;
  all[5].name = "q/k-norm";
  all[5].model.shape.architecture = "cambium";
  all[5].model.qk_norm = true;
  all[6].name = "structure: off, emphasis, prune";
  all[6].model.shape.architecture = "cambium";
  all[6].model.structure = {0, 1, 2};
  all[7].name = "structure: pruning heads";
  all[7].model.shape.architecture = "cambium";
  all[7].model.structure = {2, 2, 2};
  all[7].model.prune_heads = {5, 2, 15};
  all[8].name = "structure: own scope, beside layers that see all and that prune";
  all[8].model.shape.architecture = "cambium";
  all[8].model.structure = {3, 2, 0};
  all[8].model.prune_heads = {7, 0, 15};
  all[9].name = "structure: tree positions";
  all[9].model.shape.architecture = "cambium";
  all[9].model.structure = {0, 0, 0};
  all[9].model.tree = true;
  all[10].name = "structure: tree positions beside layers that prune";
  all[10].model.shape.architecture = "cambium";
  all[10].model.structure = {2, 0, 3};
  all[10].model.tree = true;
  all[10].model.rule.scope_window = 9;
  return all;
}

TEST_CASE("forward: logits of every variant in one pass and in chunks") {
  std::mt19937 random(3);
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    const auto file = test::write_tiny_model(c.model);
    const auto model = test::open_model(file.path());
    const auto tokens = random_tokens(random, 40);
    const auto labels = c.model.structure.empty() ? TokenStructure{} : sibling_labels(40);
    const auto want = test::naive_logits(**GgufFile::open(file.path()), tokens, labels);

    for (const size_t chunk : {40, 13, 1}) {
      CAPTURE(chunk);
      const auto kv = model->create_kv(64);
      REQUIRE(kv.has_value());
      double worst = 0;
      int64_t blocks = 0, skipped = 0;
      for (size_t at = 0; at < tokens.size(); at += chunk) {
        const auto fed = std::span(tokens).subspan(at, std::min(chunk, tokens.size() - at));
        std::vector<int32_t> rows(fed.size());
        std::iota(rows.begin(), rows.end(), 0);
        const auto result =
            model->forward({fed, static_cast<int32_t>(at), kv->get(), &labels, rows, nullptr});
        REQUIRE_MESSAGE(result.has_value(), result.error().message);
        REQUIRE(result->logits.size() == rows.size() * want[0].size());
        for (size_t i = 0; i < fed.size(); ++i) {
          worst = std::max(
              worst,
              difference(result->logits.subspan(i * want[0].size(), want[0].size()), want[at + i]));
        }
        blocks += result->blocks;
        skipped += result->skipped_blocks;
      }
      CHECK(worst < kTolerance);
      const bool prunes = std::any_of(c.model.structure.begin(), c.model.structure.end(),
                                      [](uint32_t mode) { return mode >= 2; });
      CHECK((blocks > 0) == prunes);
      CHECK(skipped <= blocks);
    }
  }
}

TEST_CASE("forward: structure changes what comes out") {
  TinyModel tiny;
  tiny.shape.architecture = "cambium";
  std::mt19937 random(4);
  const auto tokens = random_tokens(random, 40);
  const auto labels = sibling_labels(40);
  for (const uint32_t mode : {1u, 2u, 3u, 0u}) {
    CAPTURE(mode);
    tiny.structure = {mode, mode, mode};
    tiny.tree = mode == 0;
    const auto file = test::write_tiny_model(tiny);
    const auto plain = test::naive_logits(**GgufFile::open(file.path()), tokens, {});
    const auto model = test::open_model(file.path());
    const auto kv = model->create_kv(64);
    const int32_t last = 39;
    const auto result = model->forward({tokens, 0, kv->get(), &labels, {&last, 1}, nullptr});
    REQUIRE(result.has_value());
    CHECK(difference(result->logits, plain.back()) > 0.05);
  }
}

TEST_CASE("load: a layer none of whose heads prune is one without structure") {
  const Case own = cases()[8];
  const auto file = test::write_tiny_model(own.model);
  const auto model = test::open_model(file.path());
  const StructureConfig& structure = model->config().structure;
  CHECK(structure.mode == std::vector{StructureMode::own, StructureMode::off, StructureMode::off});
  CHECK(structure.heads_of(StructureMode::own, 4) == 3);
  CHECK(structure.heads_of(StructureMode::prune, 4) == 0);
}

TEST_CASE("forward: rows asked for, apart and together") {
  const auto file = test::write_tiny_model({});
  const auto model = test::open_model(file.path());
  std::mt19937 random(5);
  const auto tokens = random_tokens(random, 20);
  const auto want = test::naive_logits(**GgufFile::open(file.path()), tokens, {});
  const std::vector<std::vector<int32_t>> rows = {{}, {19}, {0, 1, 2}, {3, 7, 8, 19}};
  for (const auto& at : rows) {
    const auto kv = model->create_kv(32);
    const auto result = model->forward({tokens, 0, kv->get(), nullptr, at, nullptr});
    REQUIRE(result.has_value());
    REQUIRE(result->logits.size() == at.size() * want[0].size());
    for (size_t i = 0; i < at.size(); ++i) {
      CHECK(difference(result->logits.subspan(i * want[0].size(), want[0].size()),
                       want[static_cast<size_t>(at[i])]) < kTolerance);
    }
  }
}

TEST_CASE("forward: a row does not depend on how many go with it, which speculation stands on") {
  struct {
    std::string name;
    DType type;
    std::vector<uint32_t> structure;
  } const cases[] = {{"F32", DType::f32, {}},
                     {"Q8_0", DType::q8_0, {}},
                     {"Q4_K", DType::q4_k, {}},
                     {"emphasis and prune", DType::q8_0, {1, 2}}};
  for (const auto& c : cases) {
    CAPTURE(c.name);
    TinyModel tiny;
    tiny.shape = *model_shape("tiny");
    tiny.shape.architecture = "cambium";
    tiny.type = c.type;
    tiny.structure = c.structure;
    const auto file = test::write_tiny_model(tiny);
    const auto model = test::open_model(file.path(), "");
    std::mt19937 random(12);
    constexpr int32_t kPrompt = 150, kColumns = 8;
    const auto tokens = random_tokens(random, kPrompt + kColumns);
    const auto labels = c.structure.empty() ? TokenStructure{} : sibling_labels(tokens.size());
    const auto prompt = std::span(tokens).first(kPrompt);
    std::vector<std::vector<float>> alone;
    const auto single = model->create_kv(192), several = model->create_kv(192);
    REQUIRE(model->forward({prompt, 0, single->get(), &labels, {}, nullptr}).has_value());
    REQUIRE(model->forward({prompt, 0, several->get(), &labels, {}, nullptr}).has_value());
    for (int32_t i = 0; i < kColumns; ++i) {
      const int32_t row = 0;
      const auto result =
          model->forward({std::span(tokens).subspan(static_cast<size_t>(kPrompt + i), 1),
                          kPrompt + i,
                          single->get(),
                          &labels,
                          {&row, 1},
                          nullptr});
      REQUIRE(result.has_value());
      alone.emplace_back(result->logits.begin(), result->logits.end());
    }
    std::vector<int32_t> rows(kColumns);
    std::iota(rows.begin(), rows.end(), 0);
    for (int32_t columns = kColumns; columns >= 2; --columns) {
      CAPTURE(columns);
      const auto n = static_cast<size_t>(columns);
      const auto result =
          model->forward({std::span(tokens).subspan(kPrompt, n), kPrompt, several->get(), &labels,
                          std::span(rows).first(n), nullptr});
      REQUIRE(result.has_value());
      for (size_t i = 0; i < n; ++i) {
        const auto row = result->logits.subspan(i * alone[i].size(), alone[i].size());
        CHECK(std::equal(row.begin(), row.end(), alone[i].begin()));
      }
    }
  }
}

TEST_CASE("forward: given up between layers") {
  const auto file = test::write_tiny_model({});
  const auto model = test::open_model(file.path());
  const auto kv = model->create_kv(32);
  const std::vector<TokenId> tokens{1, 2, 3};
  int asked = 0;
  const auto result =
      model->forward({tokens, 0, kv->get(), nullptr, {}, [&] { return ++asked == 2; }});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::cancelled);
  CHECK(asked == 2);
}

// The bytes of a file with the value of an integer key, or the text of a string key, replaced in
// place.
std::vector<std::byte> with_value(std::vector<std::byte> file, std::string_view key,
                                  uint32_t value) {
  const auto bytes = std::as_bytes(std::span(key));
  const auto at = std::search(file.begin(), file.end(), bytes.begin(), bytes.end());
  REQUIRE(at != file.end());
  std::memcpy(&*(at + static_cast<ptrdiff_t>(key.size() + sizeof(uint32_t))), &value, sizeof value);
  return file;
}
std::vector<std::byte> with_text(std::vector<std::byte> file, std::string_view from,
                                 std::string_view to) {
  REQUIRE(from.size() == to.size());
  const auto bytes = std::as_bytes(std::span(from));
  const auto at = std::search(file.begin(), file.end(), bytes.begin(), bytes.end());
  REQUIRE(at != file.end());
  std::memcpy(&*at, to.data(), to.size());
  return file;
}

TEST_CASE("load: a wrong file is refused with a message that says what and where") {
  const auto load = [](const std::vector<std::byte>& bytes) -> std::string {
    const auto gguf = GgufFile::parse(bytes, "wrong.gguf");
    REQUIRE_MESSAGE(gguf.has_value(), gguf.error().message);
    const auto config = ModelConfig::from_gguf(**gguf);
    if (!config) return config.error().message;
    const auto model = load_model_weights(*gguf, *config, make_cpu_backend(1, "scalar"), nullptr);
    return model ? "" : model.error().message;
  };
  const auto check = [&](const std::vector<std::byte>& bytes,
                         std::initializer_list<const char*> words) {
    const std::string text = load(bytes);
    for (const char* word : words) {
      CHECK_MESSAGE(text.find(word) != std::string::npos, "\"" << text << "\" lacks " << word);
    }
  };
  const auto good = test::tiny_model_writer({}).bytes();
  CHECK(load(good) == "");
  check(with_text(good, "llama", "mamba"),
        {"wrong.gguf", "mamba", "llama, cambium, qwen2, qwen3, deepseek2"});
  check(with_value(good, "llama.feed_forward_length", 100),
        {"wrong.gguf", "blk.0.ffn_gate.weight", "[64, 96]", "[64, 100]"});
  check(with_value(good, "llama.block_count", 4), {"wrong.gguf", "blk.3."});
  check(with_value(good, "llama.block_count", 2), {"wrong.gguf", "blk.2."});
  check(with_value(good, "llama.block_count", 0), {"wrong.gguf", "block_count", "1 to"});
  check(with_value(good, "llama.attention.head_count", 3),
        {"head_count", "3", "2 key-value heads"});
  check(with_value(good, "llama.rope.dimension_count", 18), {"dimension_count", "18", "up to 16"});
  check(with_text(good, "token_embd.weight", "token_embX.weight"),
        {"token_embd.weight", "missing"});

  auto writer = test::tiny_model_writer({});
  writer.add_tensor("blk.1.attn_sub_norm.weight", DType::f32, {2}, std::vector<std::byte>(8));
  check(writer.bytes(), {"wrong.gguf", "blk.1.attn_sub_norm.weight"});
  writer = test::tiny_model_writer({});
  writer.set_string("llama.rope.scaling.type", "longrope");
  check(writer.bytes(), {"rope.scaling.type", "longrope", "linear"});
  writer = test::tiny_model_writer({});
  writer.set_u32("llama.expert_count", 8);
  check(writer.bytes(), {"8 experts"});
  writer = test::tiny_model_writer({});
  writer.set_u32s("cambium.structure.mode", std::vector<uint32_t>{0, 1});
  check(writer.bytes(), {"cambium.structure.mode", "3 values"});
  writer = test::tiny_model_writer({});
  writer.set_u32s("cambium.structure.mode", std::vector<uint32_t>{0, 1, 0});
  check(writer.bytes(), {"blk.1.attn_structure_scale"});
}

}  // namespace
}  // namespace cambium::engine
