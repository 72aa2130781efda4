// The llama family against llama.cpp: logits and greedy text of tiny models, as recorded in
// tests/golden/llama_*.json (tests/golden/make_llama.mjs says how).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/models/model.h"
#include "engine/sampler.h"
#include "tests/support/engine/golden_models.h"
#include "tests/support/engine/tiny_model.h"
#include "tests/support/source_dir.h"

namespace cambium::engine {
namespace {

double relative_error(std::span<const float> got, const std::vector<double>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

TEST_CASE("llama.cpp agrees: logits and greedy text of the golden models") {
  for (const auto& golden : test::golden_models()) {
    CAPTURE(golden.name);
    std::ifstream in(cambium::test::source_dir() + "/tests/golden/llama_" + golden.name + ".json");
    REQUIRE_MESSAGE(in.good(), "the fixture is missing; make it with tests/golden/make_llama.mjs");
    const auto fixture = nlohmann::json::parse(in);
    REQUIRE_MESSAGE(fixture["fingerprint"] == test::fingerprint(golden.bytes),
                    "the model is no longer the one the fixture was made of; make it anew with "
                    "tests/golden/make_llama.mjs");
    for (const char* isa : {"scalar", ""}) {
      CAPTURE(std::string(isa));
      // llama.cpp rounds activations to 8 bits before it multiplies quantized weights, as the
      // vector kernels do and the plain loops do not.
      const double tolerance = golden.tolerance * (*isa == 's' ? 1.5 : 1.0);
      const auto file = GgufFile::parse(golden.bytes, golden.name);
      REQUIRE(file.has_value());
      const auto config = ModelConfig::from_gguf(**file);
      REQUIRE(config.has_value());
      const auto model = load_model_weights(*file, *config, make_cpu_backend(1, isa), nullptr);
      REQUIRE(model.has_value());
      for (const auto& c : fixture["cases"]) {
        auto tokens = c["prompt"].get<std::vector<TokenId>>();
        CAPTURE(tokens.size());
        const auto kv = (*model)->create_kv(512);
        const auto positions = c["positions"].get<std::vector<int32_t>>();
        auto result = (*model)->forward({tokens, 0, kv->get(), nullptr, positions, nullptr});
        REQUIRE(result.has_value());
        const size_t n_vocab = result->logits.size() / positions.size();
        for (size_t i = 0; i < positions.size(); ++i) {
          const auto want = c["logits"][i].get<std::vector<double>>();
          REQUIRE(want.size() == n_vocab);
          CHECK(relative_error(result->logits.subspan(i * n_vocab, n_vocab), want) < tolerance);
        }

        const auto greedy = c["greedy"].get<std::vector<TokenId>>();
        const auto logprobs = c["logprobs"].get<std::vector<double>>();
        auto row = result->logits.last(n_vocab);
        for (size_t i = 0; i < greedy.size(); ++i) {
          // Where two tokens are as good as equal, rounding may decide otherwise: then the one
          // recorded must be the second best by less than that.
          const float best = row[static_cast<size_t>(argmax(row))];
          const float recorded = row[static_cast<size_t>(greedy[i])];
          CHECK(best - recorded < tolerance * 10);
          CHECK(log_probability(row, greedy[i]) ==
                doctest::Approx(logprobs[i]).epsilon(tolerance * 20));
          const auto cell = static_cast<int32_t>(tokens.size());
          tokens.push_back(greedy[i]);
          const int32_t only = 0;
          result = (*model)->forward(
              {std::span(tokens).last(1), cell, kv->get(), nullptr, {&only, 1}, nullptr});
          REQUIRE(result.has_value());
          row = result->logits;
        }
      }
    }
  }
}

}  // namespace
}  // namespace cambium::engine
