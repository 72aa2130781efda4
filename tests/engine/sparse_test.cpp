// Block-sparse attention as a setting: in effect past the cell it begins at, and not a bit before.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "engine/engine.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

struct Answers {
  Generated dense, sparse;
};

// What a model of one narrow layer writes after a prompt of `n` tokens.
Answers answers_after(int32_t n, int32_t sparse_from, bool speculate) {
  test::TinyModel tiny;
  tiny.shape.n_layer = 1;
  tiny.shape.n_embd = 32;
  tiny.shape.n_head = 2;
  tiny.shape.n_kv_head = 1;
  tiny.shape.n_ff = 32;
  tiny.shape.context = n + 64;
  const auto file = test::write_tiny_model(tiny);
  LoadOptions options;
  options.engine.context = n + 64;
  options.engine.slots = 1;
  options.engine.device = "cpu";
  Request request;
  std::mt19937 random(3);
  for (int32_t i = 0; i < n; ++i) request.prompt.push_back(static_cast<TokenId>(random() % 256));
  request.max_tokens = 24;
  request.speculate = speculate;
  Answers answers;
  const auto dense = test::load(file.path(), options);
  CHECK(dense->capabilities().sparse_from == 0);
  answers.dense = test::generate(*dense, request);
  options.sparse_from = sparse_from;
  const auto sparse = test::load(file.path(), options);
  CHECK(sparse->capabilities().sparse_from == sparse_from);
  answers.sparse = test::generate(*sparse, request);
  REQUIRE(answers.dense.logprobs.size() == 24);
  REQUIRE(answers.sparse.logprobs.size() == 24);
  return answers;
}

// Tokens from the first on whose probability is the same to the bit.
size_t same(const Answers& answers) {
  const auto& dense = answers.dense.logprobs;
  const auto differs =
      std::mismatch(dense.begin(), dense.end(), answers.sparse.logprobs.begin()).first;
  return static_cast<size_t>(differs - dense.begin());
}

TEST_CASE("sparse attention: below 8,192 cells the text is that of dense attention, to the bit") {
  // The first token comes from the last cell of the prompt, so cell 8,192 gives the eleventh.
  const Answers answers = answers_after(kSparseFrom - 9, kSparseFrom, false);
  CHECK(same(answers) == 10);
  CHECK(std::equal(answers.dense.tokens.begin(), answers.dense.tokens.begin() + 10,
                   answers.sparse.tokens.begin()));
}

TEST_CASE("sparse attention: drafts change nothing of it") {
  constexpr int32_t kFrom = 3000;
  const Answers plain = answers_after(kFrom + 10, kFrom, false);
  CHECK(same(plain) < 24);
  const Answers drafted = answers_after(kFrom + 10, kFrom, true);
  CHECK(drafted.sparse.tokens == plain.sparse.tokens);
}

TEST_CASE("sparse attention: a model with a structure mode keeps to that") {
  test::TinyModel tiny;
  tiny.shape.architecture = "cambium";
  tiny.structure = {2, 1, 2};
  const auto file = test::write_tiny_model(tiny);
  LoadOptions options;
  options.sparse_from = 100;
  CHECK(test::load(file.path(), options)->capabilities().sparse_from == 0);
  options.structure = StructureMode::off;
  CHECK(test::load(file.path(), options)->capabilities().sparse_from == 100);
}

}  // namespace
}  // namespace cambium::engine
