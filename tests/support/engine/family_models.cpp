#include "tests/support/engine/family_models.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>

#include "engine/cpu/quantize.h"
#include "engine/gguf.h"
#include "engine/gguf_writer.h"
#include "tests/support/engine/tiny_model.h"
#include "tests/support/source_dir.h"

namespace cambium::test {

using namespace engine;

namespace {

uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  return hash;
}

// splitmix64 (Steele et al. 2014), 24 bits each: uniform in [-1, 1), exact in float.
float next(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<float>((z ^ (z >> 31)) >> 40) / static_cast<float>(1 << 23) - 1.0f;
}

void add_tensor(GgufWriter& writer, const nlohmann::json& tensor) {
  const auto name = tensor[0].get<std::string>();
  const bool q8 = tensor[1] == "Q8_0";
  REQUIRE((q8 || tensor[1] == "F32"));
  const DType type = q8 ? DType::q8_0 : DType::f32;
  const auto scale = tensor[2].get<float>(), mean = tensor[3].get<float>();
  std::vector<int64_t> ne;
  int64_t n = 1;
  for (size_t i = 4; i < tensor.size(); ++i) n *= ne.emplace_back(tensor[i].get<int64_t>());
  std::vector<float> values(static_cast<size_t>(n));
  uint64_t state = fnv1a(name);
  for (float& v : values) v = next(state) * scale + mean;
  std::vector<std::byte> data(row_bytes(type, n));
  cpu::quantize_row(type, values.data(), data.data(), n);
  writer.add_tensor(name, type, std::move(ne), std::move(data));
}

}  // namespace

FamilyModels family_models() {
  std::ifstream in(source_dir() + "/tests/golden/families.json");
  REQUIRE(in.good());
  const auto all = nlohmann::json::parse(in);
  return {all["tokens"].get<std::vector<TokenId>>(), all["positions"].get<std::vector<int32_t>>(),
          all["models"].get<std::vector<nlohmann::json>>()};
}

std::vector<std::byte> family_file(const nlohmann::json& spec) {
  GgufWriter writer;
  writer.set_string("general.architecture", spec["architecture"].get<std::string>());
  writer.set_string("general.name", spec["name"].get<std::string>());
  writer.set_u32("general.quantization_version", 2);
  for (const auto& [key, value] : spec["metadata"].items()) {
    if (value.is_boolean()) {
      writer.set_bool(key, value.get<bool>());
    } else if (value.is_string()) {
      writer.set_string(key, value.get<std::string>());
    } else if (value.is_number_float()) {
      writer.set_f32(key, value.get<float>());
    } else {
      writer.set_u32(key, value.get<uint32_t>());
    }
  }
  const std::vector<std::byte> bytes = tiny_model_writer(TinyModel()).bytes();
  const auto vocabulary = GgufFile::parse(bytes, "vocabulary");
  REQUIRE(vocabulary.has_value());
  writer.copy_metadata(**vocabulary, "tokenizer.");
  for (const auto& tensor : spec["tensors"]) add_tensor(writer, tensor);
  return writer.bytes();
}

}  // namespace cambium::test
