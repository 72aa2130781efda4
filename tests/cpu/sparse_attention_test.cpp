// Block-sparse attention against the plain twin and against attention over every cell.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "engine/ops.h"
#include "random_data.h"

namespace cambium::engine::cpu {
namespace {

using namespace test;

constexpr int32_t kHeads = 4, kKvHeads = 2, kDim = 32, kCells = 2400;

struct Cache {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<KvStore> kv;
};

// The same keys and values in every cache; those of block 20 answer the queries.
Cache filled(const std::string& isa, const std::vector<float>& k, const std::vector<float>& v,
             DType type = DType::f16) {
  Cache c{make_cpu_backend(2, isa), nullptr};
  auto kv = c.backend->create_kv({1, kKvHeads, kDim, kDim, kCells, type});
  REQUIRE(kv.has_value());
  c.kv = std::move(*kv);
  c.backend->kv_write(*c.kv, 0, 0, kCells, k.data(), v.data());
  return c;
}

std::vector<float> attend(Cache& c, const std::vector<float>& q, int32_t first, int32_t n,
                          const SparseRule& rule) {
  std::vector<float> out(static_cast<size_t>(n * kHeads * kDim), -7);
  AttentionArgs args;
  args.q = q.data();
  args.out = out.data();
  args.kv = c.kv.get();
  args.n_tokens = n;
  args.first_cell = first;
  args.n_head = kHeads;
  args.scale = 1.0f / std::sqrt(static_cast<float>(kDim));
  args.sparse = rule;
  c.backend->attention(args);
  return out;
}

TEST_CASE("sparse attention: the kernels choose and read the blocks that the plain twin does") {
  std::mt19937 rng(3);
  const auto k = normal(rng, kCells * kKvHeads * kDim), v = normal(rng, kCells * kKvHeads * kDim);
  const SparseRule rule{.from = 512, .sinks = 32, .window = 64};
  for (const DType type : {DType::f16, DType::q8_0}) {
    CAPTURE(type_traits(type)->name);
    auto plain = filled("scalar", k, v, type);
    for (const std::string& isa : isas()) {
      CAPTURE(isa);
      auto fast = filled(isa, k, v, type);
      for (const int32_t n : {1, 8}) {
        const int32_t first = kCells - n;
        const auto q = normal(rng, static_cast<size_t>(n * kHeads * kDim), 3.0f);
        const auto want = attend(plain, q, first, n, rule), got = attend(fast, q, first, n, rule);
        CHECK(relative_error(got.data(), want.data(), got.size()) <
              (type == DType::f16 ? 2e-3 : 2e-2));
        const auto dense = attend(fast, q, first, n, {});
        CHECK(relative_error(got.data(), dense.data(), got.size()) > 5e-2);
        // Below the threshold, and with a window over everything, it is the dense result.
        CHECK(attend(fast, q, first, n, {.from = kCells}) == dense);
        CHECK(attend(fast, q, first, n, {.from = 1, .window = kCells}) == dense);
        // A step of several gives each query what it gets alone.
        for (int32_t t = 0; t < n; ++t) {
          const size_t row = kHeads * kDim, at = static_cast<size_t>(t) * row;
          const std::vector<float> one(q.begin() + static_cast<ptrdiff_t>(at),
                                       q.begin() + static_cast<ptrdiff_t>(at + row));
          const auto alone = attend(fast, one, first + t, 1, rule);
          CHECK(std::equal(alone.begin(), alone.end(), got.begin() + static_cast<ptrdiff_t>(at)));
        }
      }
    }
  }
}

TEST_CASE("sparse attention: the rule leaves out blocks between the sinks and the window") {
  const SparseRule rule{.from = 2048, .sinks = 33, .window = 100};
  CHECK(sparse_range(rule, 2047, 32).best == 0);
  CHECK(sparse_range(rule, 2047, 32).n_read() == 64);
  for (int32_t cell = 2048; cell < 70000; cell += 61) {
    CAPTURE(cell);
    const SparseRange range = sparse_range(rule, cell, 32);
    CHECK(range.first == 2);
    CHECK(range.last * 32 <= cell + 1 - 100);
    CHECK((range.last + 1) * 32 > cell + 1 - 100);
    CHECK(range.end == cell / 32 + 1);
    CHECK(range.best == static_cast<int32_t>(std::sqrt(static_cast<double>(cell))));
    CHECK(range.n_read() <= most_sparse_blocks(rule, cell + 1, 32));
  }
  // Squares and what is beside them, where a root in 32 bits may be off.
  for (int32_t root = 1; root <= 46340; root += 7) {
    CHECK(whole_root(root * root) == root);
    CHECK(whole_root(root * root - 1) == root - 1);
  }
  // Not more than there are.
  CHECK(sparse_range({.from = 1, .sinks = 0, .window = 0}, 900, 32).best == 0);
}

TEST_CASE("sparse attention: a far block that answers the query is found, also after it changed") {
  std::mt19937 rng(4);
  auto k = normal(rng, kCells * kKvHeads * kDim, 0.1f);
  auto v = normal(rng, kCells * kKvHeads * kDim, 0.1f);
  const SparseRule rule{.from = 512, .sinks = 32, .window = 64};
  const auto mark = [&](int32_t block) {
    for (int32_t i = block * 32 * kKvHeads * kDim; i < (block + 1) * 32 * kKvHeads * kDim; ++i) {
      k[static_cast<size_t>(i)] = 2;
      v[static_cast<size_t>(i)] = 5;
    }
  };
  mark(20);
  auto c = filled("", k, v);
  const std::vector<float> q(kHeads * kDim, 1.0f);
  CHECK(attend(c, q, kCells - 1, 1, rule)[0] == doctest::Approx(5).epsilon(0.05));
  // The sequence is cut in block 10 and written anew: what was known of later blocks is void.
  for (float& x : k) x = -x;
  mark(25);
  const int32_t from = 10 * 32 + 5;
  c.backend->kv_write(*c.kv, 0, from, kCells - from, k.data() + from * kKvHeads * kDim,
                      v.data() + from * kKvHeads * kDim);
  CHECK(attend(c, q, kCells - 1, 1, rule)[0] == doctest::Approx(5).epsilon(0.05));
}

}  // namespace
}  // namespace cambium::engine::cpu
