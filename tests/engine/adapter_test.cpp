#include "engine/adapter.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <future>
#include <random>

#include "engine/cpu/quantize.h"
#include "engine/engine.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

using test::TinyModel;

std::vector<float> values_of(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find_tensor(name);
  REQUIRE_MESSAGE(tensor != nullptr, name);
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  const size_t step = row_bytes(tensor->type, tensor->cols());
  for (int64_t r = 0; r < tensor->rows(); ++r)
    cpu::dequantize_row(tensor->type, tensor->data + static_cast<size_t>(r) * step,
                        values.data() + r * tensor->cols(), tensor->cols());
  return values;
}

std::vector<std::byte> as_bytes(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

constexpr int64_t kRank = 3, kWidth = 64;
constexpr float kAlpha = 6;
constexpr const char* kTarget = "blk.1.attn_q.weight";

struct Update {
  std::vector<float> a, b;  ///< [rank, in], [out, rank]
};

/// An adapter over the tiny model: one update, and emphasis in the first layer, prune in the last.
GgufWriter adapter_writer(Update& update, bool structure = true) {
  std::mt19937 random(21);
  std::normal_distribution<float> normal(0, 0.2f);
  const auto floats = [&](int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = normal(random);
    return values;
  };
  GgufWriter writer;
  writer.set_string("general.type", "adapter");
  writer.set_string("general.architecture", "llama");
  writer.set_string("general.name", "test adapter");
  writer.set_string("adapter.type", "lora");
  writer.set_f32("adapter.lora.alpha", kAlpha);
  update.a = floats(kRank * kWidth);
  update.b = floats(kWidth * kRank);
  writer.add_tensor(std::string(kTarget) + ".lora_a", DType::f32, {kWidth, kRank},
                    as_bytes(update.a));
  writer.add_tensor(std::string(kTarget) + ".lora_b", DType::f32, {kRank, kWidth},
                    as_bytes(update.b));
  if (structure) {
    writer.set_u32s("cambium.structure.mode", std::vector<uint32_t>{1, 0, 2});
    writer.set_u32("cambium.structure.window", 3);
    writer.set_u32("cambium.structure.sinks", 1);
    for (const char* name : {"blk.0.attn_structure_scale", "blk.0.attn_structure_bias"})
      writer.add_tensor(name, DType::f32, {4, 3}, as_bytes(floats(12)));
  }
  return writer;
}

test::TempFile written(const GgufWriter& writer) {
  test::TempFile file = test::temp_file("adapter.gguf");
  REQUIRE(writer.write(file.path()).has_value());
  return file;
}

TokenStructure labels(size_t n) {
  TokenStructure out;
  for (size_t i = 0; i < n; ++i) {
    const auto body = static_cast<int32_t>(i / 8);
    out.push_back({1 + body, 1 + body, static_cast<int32_t>(i)});
  }
  return out;
}

TEST_CASE("an adapter gives the model with its updates merged") {
  for (const DType type : {DType::f32, DType::f16, DType::q8_0, DType::q4_0}) {
    CAPTURE(type_traits(type)->name);
    TinyModel tiny;
    tiny.type = type;
    const auto base_file = test::write_tiny_model(tiny);
    const auto base = GgufFile::open(base_file.path()).value();
    Update update;
    const auto adapter = written(adapter_writer(update));
    const auto laid = lay_adapter(*base, adapter.path());
    REQUIRE_MESSAGE(laid.has_value(), laid.error().message);

    std::vector<float> want = values_of(*base, kTarget);
    for (int64_t row = 0; row < kWidth; ++row) {
      for (int64_t col = 0; col < kWidth; ++col) {
        float sum = 0;
        for (int64_t r = 0; r < kRank; ++r)
          sum += update.b[static_cast<size_t>(row * kRank + r)] *
                 update.a[static_cast<size_t>(r * kWidth + col)];
        want[static_cast<size_t>(row * kWidth + col)] += kAlpha / kRank * sum;
      }
    }
    const std::vector<float> got = values_of(**laid, kTarget);
    double error = 0, size = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      error += (got[i] - want[i]) * (got[i] - want[i]);
      size += want[i] * want[i];
    }
    CHECK(std::sqrt(error / size) < (type == DType::f32 ? 1e-6 : 6e-3));
    for (const GgufTensor& tensor : base->tensors()) {
      if (tensor.name == kTarget) continue;
      const GgufTensor* kept = (*laid)->find_tensor(tensor.name);
      REQUIRE(kept != nullptr);
      CHECK(kept->type == tensor.type);
      CHECK(std::memcmp(kept->data, tensor.data, tensor.bytes) == 0);
    }
  }
}

TEST_CASE("a base of another alignment is laid anew") {
  const auto plain_file = test::write_tiny_model({});
  const auto plain = GgufFile::open(plain_file.path()).value();
  GgufWriter wide(64);
  wide.copy_metadata(*plain, "");
  wide.set_u32("split.count", 1);
  for (const GgufTensor& tensor : plain->tensors()) {
    wide.add_tensor(std::string(tensor.name), tensor.type,
                    {tensor.ne.begin(), tensor.ne.begin() + tensor.n_dims},
                    std::vector<std::byte>(tensor.data, tensor.data + tensor.bytes));
  }
  const auto wide_file = written(wide);
  const auto base = GgufFile::open(wide_file.path()).value();
  Update update;
  const auto laid = lay_adapter(*base, written(adapter_writer(update)).path());
  REQUIRE_MESSAGE(laid.has_value(), laid.error().message);
  CHECK_FALSE((*laid)->has("split.count"));
  const GgufTensor* kept = (*laid)->find_tensor("blk.2.ffn_down.weight");
  const GgufTensor* want = plain->find_tensor("blk.2.ffn_down.weight");
  CHECK(std::memcmp(kept->data, want->data, want->bytes) == 0);
}

TEST_CASE("a laid adapter runs with its structure") {
  const auto base_file = test::write_tiny_model({});
  const auto base = GgufFile::open(base_file.path()).value();
  Update update;
  const auto adapter = written(adapter_writer(update));
  const auto laid = lay_adapter(*base, adapter.path()).value();
  const auto config = ModelConfig::from_gguf(*laid).value();
  CHECK(config.structure.mode ==
        std::vector{StructureMode::emphasis, StructureMode::off, StructureMode::prune});
  const auto model = load_model_weights(laid, config, make_cpu_backend(1, "scalar"), nullptr);
  REQUIRE_MESSAGE(model.has_value(), model.error().message);
  std::vector<TokenId> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back(i * 37 % 256);
  const TokenStructure cells = labels(tokens.size());
  const auto kv = (*model)->create_kv(64);
  const int32_t last = 39;
  const auto result = (*model)->forward({tokens, 0, kv->get(), &cells, {&last, 1}, nullptr});
  REQUIRE(result.has_value());
  const auto want = test::naive_logits(*laid, tokens, cells).back();
  const auto plain = test::naive_logits(*base, tokens, {}).back();
  double error = 0, moved = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (result->logits[i] - want[i]) * (result->logits[i] - want[i]);
    moved += (plain[i] - want[i]) * (plain[i] - want[i]);
    size += want[i] * want[i];
  }
  CHECK(std::sqrt(error / size) < 3e-3);
  CHECK(std::sqrt(moved / size) > 0.05);

  LoadOptions options;
  options.adapter = adapter.path();
  options.engine.device = "cpu";
  options.engine.threads = 1;
  const auto generator = load_model(base_file.path(), options);
  REQUIRE_MESSAGE(generator.has_value(), generator.error().message);
  CHECK((*generator)->capabilities().structure);
}

TEST_CASE("what an adapter holds is told, and what does not fit is refused") {
  const auto base_file = test::write_tiny_model({});
  const auto base = GgufFile::open(base_file.path()).value();
  Update update;
  {
    const auto file = written(adapter_writer(update));
    const auto info = adapter_info(*GgufFile::open(file.path()).value());
    REQUIRE(info.has_value());
    CHECK(info->updates == 1);
    CHECK(info->rank == kRank);
    CHECK(info->alpha == kAlpha);
    CHECK(info->structure == 2);
  }
  const auto refused = [&](const GgufWriter& writer, std::initializer_list<const char*> words) {
    const auto file = written(writer);
    const auto laid = lay_adapter(*base, file.path());
    REQUIRE_FALSE(laid.has_value());
    for (const char* word : words)
      CHECK_MESSAGE(laid.error().message.find(word) != std::string::npos, laid.error().message);
  };
  GgufWriter writer = adapter_writer(update);
  writer.add_tensor("blk.9.attn_q.weight.lora_a", DType::f32, {kWidth, 1},
                    std::vector<std::byte>(kWidth * 4));
  refused(writer, {"blk.9.attn_q.weight.lora_a", "does not have"});
  writer = adapter_writer(update);
  writer.add_tensor("blk.0.attn_k.weight.lora_a", DType::f32, {kWidth, 1},
                    std::vector<std::byte>(kWidth * 4));
  refused(writer, {"blk.0.attn_k.weight.lora_a", "partner"});
  writer.add_tensor("blk.0.attn_k.weight.lora_b", DType::f32, {1, 7}, std::vector<std::byte>(28));
  refused(writer, {"blk.0.attn_k.weight", "[1, 7]"});
  writer = adapter_writer(update);
  writer.add_tensor("blk.0.attn_norm.weight", DType::f32, {kWidth},
                    std::vector<std::byte>(kWidth * 4));
  refused(writer, {"blk.0.attn_norm.weight"});
  refused(test::tiny_model_writer({}), {"no adapter"});

  TinyModel structured;
  structured.structure = {0, 2, 0};
  const auto own = test::write_tiny_model(structured);
  const auto file = written(adapter_writer(update));
  const auto twice = lay_adapter(*GgufFile::open(own.path()).value(), file.path());
  REQUIRE_FALSE(twice.has_value());
  CHECK(twice.error().code == ErrorCode::unsupported);
}

}  // namespace
}  // namespace cambium::engine
