#include "tests/support/engine/golden_models.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "engine/cpu/quantize.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::test {

using namespace engine;

namespace {

// splitmix64 (Steele et al. 2014): a stream of numbers from a seed.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  /// Uniform in [-1, 1), exact in float.
  float next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return static_cast<float>((z ^ (z >> 31)) >> 40) / static_cast<float>(1 << 23) - 1.0f;
  }

 private:
  uint64_t state_;
};

// Size of a tensor's values: products keep unit size, scores of queries and keys spread by about 2.
float range(std::string_view name, int64_t cols) {
  const float unit = std::sqrt(3.0f / static_cast<float>(cols));
  if (name == "token_embd.weight") return 1.7f;
  if (name == "output.weight") return 2 * unit;
  if (name.find("attn_q") != std::string_view::npos) return 1.5f * unit;
  if (name.find("attn_k") != std::string_view::npos) return 1.5f * unit;
  return unit;
}

std::vector<std::byte> fixed(const TinyModel& model, uint64_t seed) {
  std::vector<std::byte> bytes = tiny_model_writer(model).bytes();
  const auto file = GgufFile::parse(bytes, "golden.gguf");
  REQUIRE_MESSAGE(file.has_value(), file.error().message);
  Numbers numbers(seed);
  std::vector<float> row;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    const size_t stride = row_bytes(tensor.type, tensor.cols());
    std::byte* out = bytes.data() + (tensor.data - bytes.data());
    row.resize(static_cast<size_t>(tensor.cols()));
    for (int64_t r = 0; r < tensor.rows(); ++r, out += stride) {
      for (float& v : row) {
        v = numbers.next();
        if (tensor.name == "rope_freqs.weight") {
          v = 4 + 2 * v;
        } else if (tensor.name.find("norm") != std::string_view::npos) {
          v = 1 + 0.25f * v;
        } else {
          v *= range(tensor.name, tensor.cols());
        }
      }
      REQUIRE(cpu::quantize_row(tensor.type, row.data(), out, tensor.cols()) == stride);
    }
  }
  return bytes;
}

}  // namespace

std::vector<GoldenModel> golden_models() {
  std::vector<GoldenModel> all;
  TinyModel linear;
  linear.shape.rope_linear_scale = 4;
  linear.shape.rope_theta = 100000;
  all.push_back({"f32_linear_rope", 1e-3, fixed(linear, 1)});
  TinyModel llama3;
  llama3.rope_factors = true;
  llama3.biases = true;
  all.push_back({"f32_rope_factors_biases", 1e-3, fixed(llama3, 2)});
  linear.type = DType::q8_0;
  all.push_back({"q8_0_linear_rope", 2e-2, fixed(linear, 3)});
  return all;
}

std::string fingerprint(const std::vector<std::byte>& bytes) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<uint64_t>(b)) * 0x100000001B3ull;
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace cambium::test
