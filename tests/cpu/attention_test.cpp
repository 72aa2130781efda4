// Attention, the KV cache and the parent mask of the CPU backends against the plain twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "engine/cpu/reference.h"
#include "engine/ops.h"
#include "engine/tree_paths.h"
#include "random_data.h"

namespace cambium::engine::cpu {
namespace {

using namespace test;

/// Labels of a random tree walked in document order; places jump where prefix, suffix and middle
/// meet.
TokenStructure random_tree(std::mt19937& rng, size_t n) {
  struct Open {
    int32_t scope, last;
  };
  std::vector<Open> stack = {{0, 1 << 20}};
  int32_t next = 1;
  TokenStructure s;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t roll = rng() % 16;
    if (roll == 0 && stack.size() < 8) {
      const int32_t room = stack.back().last - next;
      if (room > 64) {
        stack.push_back({next, next + room / 2});
        next += 3;
      }
    } else if (roll == 1 && stack.size() > 1) {
      next = std::max(next, stack.back().last + 1);
      stack.pop_back();
      next = std::min(next, stack.back().last);
    }
    s.scope.push_back(stack.back().scope);
    s.last.push_back(stack.back().last);
    // The first third is the prefix, the second the suffix, the rest stands at the cursor.
    const auto at = static_cast<int32_t>(i);
    s.place.push_back(i < 2 * n / 3 ? at : static_cast<int32_t>(n / 3));
  }
  return s;
}

/// What visible_blocks() promises, by testing every pair.
VisibleBlocks blocks_by_force(const TokenStructure& cells, int32_t first, int32_t n, PruneRule rule,
                              int32_t tile, int32_t block) {
  VisibleBlocks v;
  v.query_tile = tile;
  v.key_block = block;
  v.offsets.push_back(0);
  for (int32_t t = 0; t < n; t += tile) {
    const int32_t end = std::min(t + tile, n);
    for (int32_t b = 0; b * block < first + end; ++b) {
      bool any = false, all = true;
      for (int32_t q = first + t; q < first + end; ++q) {
        for (int32_t k = b * block; k < (b + 1) * block; ++k) {
          const bool sees = k <= q && visible(cells.at(static_cast<size_t>(q)),
                                              cells.at(static_cast<size_t>(k)), k, rule);
          any = any || sees;
          all = all && sees;
        }
      }
      if (!any) continue;
      v.blocks.push_back(b);
      v.full.push_back(all ? 1 : 0);
    }
    v.offsets.push_back(static_cast<int32_t>(v.blocks.size()));
  }
  return v;
}

struct Case {
  int32_t n_head, n_kv_head, dk, dv;
  DType type;
  int32_t first_cell, n_tokens;
};

/// A cache filled with random keys and values, and the same as plain floats.
struct Filled {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<KvStore> kv;
  std::vector<float> k, v, q;
};

constexpr int32_t kLayer = 1;

Filled fill(const std::string& isa, int threads, const Case& c, uint32_t seed) {
  std::mt19937 rng(seed);
  Filled f;
  f.backend = make_cpu_backend(threads, isa);
  const int32_t n = c.first_cell + c.n_tokens;
  auto kv = f.backend->create_kv({3, c.n_kv_head, c.dk, c.dv, n + 5, c.type});
  REQUIRE(kv.has_value());
  f.kv = std::move(*kv);
  f.k = normal(rng, static_cast<size_t>(n) * static_cast<size_t>(c.n_kv_head * c.dk));
  f.v = normal(rng, static_cast<size_t>(n) * static_cast<size_t>(c.n_kv_head * c.dv));
  f.q = normal(rng, static_cast<size_t>(c.n_tokens) * static_cast<size_t>(c.n_head * c.dk), 2.0f);
  // Cells past the end hold what an abandoned generation left there.
  const std::vector<float> junk(static_cast<size_t>(5 * c.n_kv_head * std::max(c.dk, c.dv)), 9.0f);
  f.backend->kv_write(*f.kv, kLayer, n, 5, junk.data(), junk.data());
  // In pieces, as prefill and decode write.
  for (int32_t at = 0; at < n;) {
    const int32_t step = std::min<int32_t>(n - at, at % 3 == 0 ? 70 : 1);
    f.backend->kv_write(*f.kv, kLayer, at, step, f.k.data() + at * c.n_kv_head * c.dk,
                        f.v.data() + at * c.n_kv_head * c.dv);
    at += step;
  }
  return f;
}

AttentionArgs args_of(const Case& c, const Filled& f, float* out) {
  AttentionArgs args;
  args.q = f.q.data();
  args.out = out;
  args.kv = f.kv.get();
  args.layer = kLayer;
  args.n_tokens = c.n_tokens;
  args.first_cell = c.first_cell;
  args.n_head = c.n_head;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.dk));
  return args;
}

double error_bound(DType type) { return type == DType::f16 ? 1e-3 : 2e-2; }

constexpr Case kCases[] = {{2, 2, 64, 64, DType::f16, 0, 1},    {8, 4, 64, 64, DType::f16, 299, 1},
                           {8, 4, 64, 64, DType::f16, 250, 7},  {8, 4, 64, 64, DType::f16, 0, 77},
                           {6, 2, 40, 24, DType::f16, 31, 2},   {5, 1, 128, 96, DType::f16, 600, 4},
                           {4, 4, 80, 80, DType::f16, 100, 19}, {16, 1, 64, 64, DType::f16, 256, 3},
                           {8, 4, 64, 64, DType::q8_0, 299, 1}, {6, 2, 96, 32, DType::q8_0, 270, 5},
                           {8, 4, 64, 64, DType::q8_0, 0, 77},  {3, 3, 40, 80, DType::q8_0, 33, 9}};

TEST_CASE("attention: causal, grouped heads, odd dimensions, against the twin") {
  for (const std::string& isa : isas()) {
    uint32_t seed = 20;
    for (const Case& c : kCases) {
      CAPTURE(isa);
      CAPTURE(c.n_head);
      CAPTURE(c.dk);
      CAPTURE(c.first_cell);
      CAPTURE(c.n_tokens);
      const Filled f = fill(isa, 2, c, ++seed);
      const auto n = static_cast<size_t>(c.n_tokens * c.n_head * c.dv);
      std::vector<float> out(n + 1, NAN), expected(n);
      AttentionArgs args = args_of(c, f, out.data());
      f.backend->attention(args);
      args.out = expected.data();
      reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
      CHECK(relative_error(out.data(), expected.data(), n) <= error_bound(c.type));
      CHECK(std::isnan(out[n]));
    }
  }
}

TEST_CASE("attention: emphasis scales and shifts scores by relation") {
  for (const std::string& isa : isas()) {
    uint32_t seed = 40;
    for (const Case& c : kCases) {
      std::mt19937 rng(++seed);
      const Filled f = fill(isa, 2, c, seed);
      const TokenStructure cells = random_tree(rng, static_cast<size_t>(c.first_cell + c.n_tokens));
      const std::vector<float> alpha = normal(rng, static_cast<size_t>(3 * c.n_head), 0.3f);
      const std::vector<float> beta = normal(rng, static_cast<size_t>(3 * c.n_head), 1.0f);
      const auto n = static_cast<size_t>(c.n_tokens * c.n_head * c.dv);
      std::vector<float> out(n, NAN), expected(n);
      AttentionArgs args = args_of(c, f, out.data());
      args.mode = StructureMode::emphasis;
      args.cells = &cells;
      args.emphasis_scale = alpha.data();
      args.emphasis_bias = beta.data();
      f.backend->attention(args);
      args.out = expected.data();
      reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
      CAPTURE(isa);
      CAPTURE(seed);
      CHECK(relative_error(out.data(), expected.data(), n) <= error_bound(c.type));
    }
  }
}

TEST_CASE("attention: tree positions add a bias for the way from scope to scope") {
  for (const std::string& isa : isas()) {
    uint32_t seed = 140;
    for (const Case& c : kCases) {
      std::mt19937 rng(++seed);
      const Filled f = fill(isa, 2, c, seed);
      // Labels of cells to come are known too, as those of a prompt are.
      const TokenStructure cells =
          random_tree(rng, static_cast<size_t>(c.first_cell + c.n_tokens) + 9);
      const TreePaths tree(cells);
      const std::vector<float> bias =
          normal(rng, static_cast<size_t>(kTreeClasses * c.n_head), 1.0f);
      const auto n = static_cast<size_t>(c.n_tokens * c.n_head * c.dv);
      std::vector<float> out(n, NAN), expected(n), plain(n);
      AttentionArgs args = args_of(c, f, out.data());
      args.mode = StructureMode::tree;
      args.cells = &cells;
      args.tree = &tree;
      args.tree_bias = bias.data();
      f.backend->attention(args);
      args.out = expected.data();
      reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
      CAPTURE(isa);
      CAPTURE(seed);
      CHECK(relative_error(out.data(), expected.data(), n) <= error_bound(c.type));
      args.mode = StructureMode::off;
      args.out = plain.data();
      f.backend->attention(args);
      if (tree.n_scopes() > 3) CHECK(relative_error(out.data(), plain.data(), n) > 0.01);
    }
  }
}

TEST_CASE("attention: prune masks exactly what the rule says, with and without a block list") {
  for (const std::string& isa : isas()) {
    uint32_t seed = 60;
    for (const Case& c : kCases) {
      std::mt19937 rng(++seed);
      const Filled f = fill(isa, 2, c, seed);
      const TokenStructure cells = random_tree(rng, static_cast<size_t>(c.first_cell + c.n_tokens));
      const auto n = static_cast<size_t>(c.n_tokens * c.n_head * c.dv);
      for (const uint64_t heads : {~0ull, 0b0101ull, 0ull}) {
        std::vector<float> out(n, NAN), expected(n);
        AttentionArgs args = args_of(c, f, out.data());
        args.mode = StructureMode::prune;
        args.cells = &cells;
        args.prune = {static_cast<int32_t>(rng() % 20), static_cast<int32_t>(rng() % 6)};
        if (rng() % 2 == 0) args.prune.scope_window = static_cast<int32_t>(rng() % 80);
        args.prune_heads = heads;
        const VisibleBlocks visible =
            blocks_by_force(cells, c.first_cell, c.n_tokens, args.prune,
                            f.backend->query_tile(c.n_tokens), f.backend->key_block());
        args.visible = &visible;
        f.backend->attention(args);
        args.out = expected.data();
        reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
        CAPTURE(isa);
        CAPTURE(seed);
        CAPTURE(heads);
        CHECK(relative_error(out.data(), expected.data(), n) <= error_bound(c.type));
        // The list only says what can be left out: without it the same bits come out.
        std::vector<float> unlisted(n, NAN);
        args.out = unlisted.data();
        args.visible = nullptr;
        f.backend->attention(args);
        CHECK(std::memcmp(unlisted.data(), out.data(), n * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("attention: skipped blocks are not read") {
  // Poison in a block that no query may see must not reach the output.
  const Case c{4, 2, 64, 64, DType::f16, 127, 1};
  for (const std::string& isa : isas()) {
    if (isa == "scalar") continue;  // the twin reads every cell and gives masked ones weight zero
    const Filled f = fill(isa, 1, c, 80);
    TokenStructure cells;
    for (int32_t i = 0; i < 128; ++i) {
      cells.scope.push_back(i / 32 * 10);
      cells.last.push_back(i / 32 * 10 + 5);
      cells.place.push_back(i);
    }
    const PruneRule rule{8, 0};
    const VisibleBlocks visible = blocks_by_force(cells, 127, 1, rule, 1, 32);
    REQUIRE(visible.blocks == std::vector<int32_t>{3});
    std::vector<float> clean(256, NAN), poisoned(256, NAN);
    AttentionArgs args = args_of(c, f, clean.data());
    args.mode = StructureMode::prune;
    args.cells = &cells;
    args.prune = rule;
    args.visible = &visible;
    f.backend->attention(args);
    const std::vector<float> nan(96 * 128, NAN);
    f.backend->kv_write(*f.kv, kLayer, 0, 96, nan.data(), nan.data());
    args.out = poisoned.data();
    f.backend->attention(args);
    CHECK(std::memcmp(clean.data(), poisoned.data(), 256 * sizeof(float)) == 0);
  }
}

TEST_CASE("attention: a query has the same bits in any company and on any number of threads") {
  for (const std::string& isa : isas()) {
    for (const DType type : {DType::f16, DType::q8_0}) {
      for (const StructureMode mode : {StructureMode::off, StructureMode::emphasis,
                                       StructureMode::prune, StructureMode::tree}) {
        constexpr int32_t kFirst = 507, kTokens = 20;  // crosses a chunk's border at cell 512
        const Case all{6, 2, 64, 64, type, kFirst, kTokens};
        std::mt19937 rng(90);
        const TokenStructure cells = random_tree(rng, kFirst + kTokens);
        const std::vector<float> alpha = normal(rng, 18, 0.3f), beta = normal(rng, 18),
                                 bias = normal(rng, kTreeClasses * 6);
        const TreePaths tree(cells);
        const size_t row = 6 * 64;
        std::vector<float> alone(kTokens * row, NAN);
        for (int threads = 1; threads <= 3; ++threads) {
          const Filled f = fill(isa, threads, all, 91);
          const auto run = [&](int32_t first, int32_t n, float* out) {
            AttentionArgs args = args_of(all, f, out);
            args.q = f.q.data() + static_cast<size_t>(first) * row;
            args.first_cell = kFirst + first;
            args.n_tokens = n;
            args.mode = mode;
            args.cells = &cells;
            args.prune = {10, 2};
            args.prune_heads = 0b011110;
            args.emphasis_scale = alpha.data();
            args.emphasis_bias = beta.data();
            args.tree = &tree;
            args.tree_bias = bias.data();
            const VisibleBlocks visible =
                blocks_by_force(cells, kFirst + first, n, args.prune, f.backend->query_tile(n), 32);
            args.visible = &visible;
            f.backend->attention(args);
          };
          if (threads == 1) {
            for (int32_t t = 0; t < kTokens; ++t) {
              run(t, 1, alone.data() + static_cast<size_t>(t) * row);
            }
          }
          for (const int32_t n : {1, 2, 3, 5, 8, 20}) {
            std::vector<float> out(static_cast<size_t>(n) * row, NAN);
            run(0, n, out.data());
            CAPTURE(isa);
            CAPTURE(threads);
            CAPTURE(n);
            CAPTURE(static_cast<int>(mode));
            CHECK(std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)) == 0);
          }
        }
      }
    }
  }
}

/// Branches behind a sequence as a score request puts them, some of which leave another; queries of the
/// sequence itself come first where there are more than three.
std::vector<HiddenCells> random_hidden(std::mt19937& rng, int32_t first, int32_t n) {
  std::vector<HiddenCells> hidden(static_cast<size_t>(n));
  const auto below = [&](int32_t end) {
    return static_cast<int32_t>(rng() % static_cast<uint32_t>(end));
  };
  int32_t root_begin = -1, root_at = 0, root_end = 0;
  for (int32_t t = n > 3 ? n / 4 : 0; t < n;) {
    const int32_t begin = first + t, length = std::min(n - t, 1 + below(40));
    HiddenCells own;
    if (root_begin >= 0 && below(2) == 0) {
      own.ranges[0] = {root_at, root_begin};
      own.ranges[1] = {root_begin + below(root_end - root_begin + 1), begin};
    } else {
      root_at = below(begin + 1);
      root_begin = begin;
      root_end = begin + length;
      own.ranges[0] = {root_at, begin};
    }
    for (int32_t i = 0; i < length; ++i) hidden[static_cast<size_t>(t++)] = own;
  }
  return hidden;
}

TEST_CASE(
    "attention: cells of other branches are hidden, in every mode, and read as if they were not "
    "there") {
  for (const std::string& isa : isas()) {
    uint32_t seed = 220;
    for (const Case& c : kCases) {
      for (const StructureMode mode : {StructureMode::off, StructureMode::emphasis,
                                       StructureMode::prune, StructureMode::tree}) {
        std::mt19937 rng(++seed);
        const Filled f = fill(isa, 2, c, seed);
        const TokenStructure cells =
            random_tree(rng, static_cast<size_t>(c.first_cell + c.n_tokens));
        const TreePaths tree(cells);
        const std::vector<float> alpha = normal(rng, static_cast<size_t>(3 * c.n_head), 0.3f),
                                 beta = normal(rng, static_cast<size_t>(3 * c.n_head)),
                                 bias = normal(rng, static_cast<size_t>(kTreeClasses * c.n_head));
        const auto hidden = random_hidden(rng, c.first_cell, c.n_tokens);
        const auto n = static_cast<size_t>(c.n_tokens * c.n_head * c.dv);
        std::vector<float> out(n, NAN), expected(n), plain(n);
        AttentionArgs args = args_of(c, f, out.data());
        args.mode = mode;
        args.cells = &cells;
        args.prune = {static_cast<int32_t>(rng() % 40), static_cast<int32_t>(rng() % 6)};
        args.prune_heads = 0b1011;
        args.emphasis_scale = alpha.data();
        args.emphasis_bias = beta.data();
        args.tree = &tree;
        args.tree_bias = bias.data();
        args.sparse.from = 1;  // ignored
        args.hidden = hidden.data();
        const VisibleBlocks visible =
            visible_blocks(cells, c.first_cell, c.n_tokens, args.prune,
                           f.backend->query_tile(c.n_tokens), f.backend->key_block());
        if (rng() % 3 != 0) args.visible = &visible;
        f.backend->attention(args);
        args.out = expected.data();
        reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
        CAPTURE(isa);
        CAPTURE(seed);
        CAPTURE(static_cast<int>(mode));
        CHECK(relative_error(out.data(), expected.data(), n) <= error_bound(c.type));
        // The twin itself, against one that never had the hidden cells.
        if (isa == "scalar") {
          for (int32_t t = 0; t < c.n_tokens; ++t) {
            const HiddenCells& own = hidden[static_cast<size_t>(t)];
            const int32_t cell = c.first_cell + t;
            std::vector<float> k, v;
            TokenStructure seen;
            for (int32_t i = 0; i <= cell; ++i) {
              if (own.has(i)) continue;
              const auto row_k = f.k.begin() + int64_t{i} * c.n_kv_head * c.dk;
              const auto row_v = f.v.begin() + int64_t{i} * c.n_kv_head * c.dv;
              k.insert(k.end(), row_k, row_k + c.n_kv_head * c.dk);
              v.insert(v.end(), row_v, row_v + c.n_kv_head * c.dv);
              seen.push_back(cells.at(static_cast<size_t>(i)));
            }
            if (mode == StructureMode::prune || mode == StructureMode::tree) continue;
            AttentionArgs one = args;
            one.hidden = nullptr;
            one.sparse = {};
            one.cells = &seen;
            one.n_tokens = 1;
            one.first_cell = static_cast<int32_t>(seen.size()) - 1;
            one.q = args.q + int64_t{t} * c.n_head * c.dk;
            std::vector<float> alone(static_cast<size_t>(c.n_head * c.dv));
            one.out = alone.data();
            reference::attention(one, f.kv->shape, k.data(), v.data());
            CHECK(relative_error(expected.data() + static_cast<size_t>(t) * alone.size(),
                                 alone.data(), alone.size()) <= 1e-5);
          }
        }
        // Null and nothing hidden are the same bits.
        const std::vector<HiddenCells> nothing(static_cast<size_t>(c.n_tokens));
        args.sparse = {};
        args.hidden = nothing.data();
        args.out = out.data();
        f.backend->attention(args);
        args.hidden = nullptr;
        args.out = plain.data();
        f.backend->attention(args);
        CHECK(std::memcmp(out.data(), plain.data(), n * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("attention: blocks that all of a tile's branches do not see are not read") {
  // Cells [32, 128) are another branch's: poison there must not reach the output.
  const Case c{4, 2, 64, 64, DType::f16, 128, 9};
  for (const std::string& isa : isas()) {
    if (isa == "scalar") continue;  // the twin reads every cell and gives hidden ones weight zero
    const Filled f = fill(isa, 1, c, 81);
    const std::vector<HiddenCells> hidden(9, HiddenCells{{{32, 128}, {}}});
    const size_t n = 9 * 4 * 64;
    std::vector<float> clean(n, NAN), poisoned(n, NAN);
    AttentionArgs args = args_of(c, f, clean.data());
    args.hidden = hidden.data();
    f.backend->attention(args);
    const std::vector<float> nan(96 * 128, NAN);
    f.backend->kv_write(*f.kv, kLayer, 32, 96, nan.data(), nan.data());
    args.out = poisoned.data();
    f.backend->attention(args);
    CHECK(std::memcmp(clean.data(), poisoned.data(), n * sizeof(float)) == 0);
  }
}

TEST_CASE("attention: very large scores neither overflow nor vanish") {
  for (const std::string& isa : isas()) {
    const Case c{2, 1, 32, 32, DType::f16, 299, 1};
    Filled f = fill(isa, 1, c, 95);
    for (float& x : f.q) x *= 1000.0f;
    std::vector<float> out(64, NAN), expected(64);
    AttentionArgs args = args_of(c, f, out.data());
    f.backend->attention(args);
    args.out = expected.data();
    reference::attention(args, f.kv->shape, f.k.data(), f.v.data());
    CHECK(relative_error(out.data(), expected.data(), 64) <= 1e-2);
  }
}

}  // namespace
}  // namespace cambium::engine::cpu
