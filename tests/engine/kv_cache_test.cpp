// Which cells a new sequence may keep, and that what is computed on kept cells is what would be
// computed afresh.
#include "engine/kv_cache.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "tests/support/engine/tiny_model.h"

namespace cambium::engine {
namespace {

KvCache::CreateKv empty_stores() {
  return []() -> Result<std::unique_ptr<KvStore>> { return std::make_unique<KvStore>(); };
}

// Fills the slot a sequence gets, as a scheduler does.
Slot* run(KvCache& cache, const std::vector<TokenId>& tokens, uint64_t key = 0) {
  const auto slot = cache.acquire(tokens, {}, key);
  REQUIRE(slot.has_value());
  if (*slot == nullptr) return nullptr;
  (*slot)->append(std::span(tokens).subspan(static_cast<size_t>((*slot)->size())), {});
  return *slot;
}

std::vector<TokenId> counting(TokenId first, int n) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(first + i);
  return tokens;
}

TEST_CASE("slots: a sequence goes where it continues, else to an empty slot, else to the oldest") {
  KvCache cache({.slots = 3, .structure = {}}, empty_stores());
  const auto a = counting(0, 50), b = counting(100, 50), c = counting(200, 50),
             d = counting(300, 50);
  Slot* slot_a = run(cache, a);
  Slot* slot_b = run(cache, b);
  CHECK(slot_a != slot_b);
  cache.park(slot_a);
  cache.park(slot_b);

  // One more token at the end: the same slot, all but the new token kept.
  auto longer = a;
  longer.push_back(7);
  auto taken = cache.acquire(longer, {}, 0);
  REQUIRE(taken.has_value());
  CHECK(*taken == slot_a);
  CHECK((*taken)->size() == 50);
  cache.park(*taken);

  Slot* slot_c = run(cache, c);
  CHECK(slot_c != slot_a);
  CHECK(slot_c != slot_b);
  cache.park(slot_c);
  // Nothing empty is left; b was used before a and c.
  CHECK(run(cache, d) == slot_b);
}

TEST_CASE("slots: the key draws a changed document back to its own cells") {
  KvCache cache({.slots = 2, .structure = {}}, empty_stores());
  auto mine = counting(0, 60), other = counting(0, 60);
  for (size_t i = 20; i < 60; ++i) other[i] += 1000;
  Slot* slot_mine = run(cache, mine, 1);
  cache.park(slot_mine);
  Slot* slot_other = run(cache, other, 2);
  cache.park(slot_other);
  CHECK(slot_mine != slot_other);
  mine[10] = 9999;  // an edit near the top keeps 10 of 60 cells, fewer than half
  CHECK(run(cache, mine, 1) == slot_mine);
  CHECK(run(cache, other, 2) == slot_other);
}

TEST_CASE("slots: none while all are in use") {
  KvCache cache({.slots = 1, .structure = {}}, empty_stores());
  Slot* slot = run(cache, counting(0, 5));
  REQUIRE(slot != nullptr);
  CHECK(run(cache, counting(0, 6)) == nullptr);
  cache.park(slot);
  CHECK(run(cache, counting(0, 6)) == slot);
}

TEST_CASE("slots: a backend without memory is an error, and no slot is lost") {
  bool fails = true;
  KvCache cache({.slots = 1, .structure = {}}, [&]() -> Result<std::unique_ptr<KvStore>> {
    if (fails) return fail(ErrorCode::out_of_memory, "no memory for 1 slot");
    return std::make_unique<KvStore>();
  });
  const auto tokens = counting(0, 3);
  const auto refused = cache.acquire(tokens, {}, 0);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "no memory for 1 slot");
  fails = false;
  CHECK(run(cache, tokens) != nullptr);
}

TEST_CASE("reusable: labels count only where structure does") {
  const auto tokens = counting(0, 10);
  TokenStructure a, b;
  for (int i = 0; i < 10; ++i) {
    a.push_back({i < 5 ? 0 : 3, i < 5 ? 9 : 3, i});
    b.push_back({i < 5 ? 0 : i < 8 ? 6 : 8, i < 5 ? 20 : i < 8 ? 6 : 8, i});
  }
  for (const bool structure : {false, true}) {
    KvCache cache({.slots = 1, .structure = structure ? std::optional(PruneRule{}) : std::nullopt},
                  empty_stores());
    Slot slot;
    slot.append(tokens, a);
    CHECK(cache.reusable(slot, tokens, a) == 10);
    // In b the last two tokens have left the scope of those before them.
    CHECK(cache.reusable(slot, tokens, b) == (structure ? 8 : 10));
    // No labels: all in the root scope, which is where a's first five are.
    CHECK(cache.reusable(slot, tokens, {}) == (structure ? 5 : 10));
  }
}

struct Document {
  std::vector<TokenId> tokens;
  TokenStructure labels;
};

// Functions of random length under one root; scope numbers run with gaps.
void relabel(std::mt19937& random, Document& document) {
  document.labels = {};
  int32_t scope = 0;
  for (size_t i = 0; i < document.tokens.size(); ++i) {
    if (random() % 9 == 0) scope += 4;
    const int32_t inner = random() % 4 == 0 ? 1 : 0;
    const int32_t last = scope == 0 ? 1000 : inner == 1 ? scope + 1 : scope + 3;
    document.labels.push_back({scope + inner, last, static_cast<int32_t>(i)});
  }
}

TEST_CASE("reuse: logits on kept cells equal fresh ones after random edits") {
  struct Mode {
    std::string name;
    std::vector<uint32_t> structure;
    bool tree = false;
  };
  for (const Mode& mode : {Mode{"plain", {}}, Mode{"emphasis", {1, 1, 1}}, Mode{"prune", {2, 2, 2}},
                           Mode{"mixed", {0, 1, 2}}, Mode{"tree", {0, 0, 0}, true}}) {
    CAPTURE(mode.name);
    test::TinyModel tiny;
    tiny.shape.architecture = "cambium";
    tiny.structure = mode.structure;
    tiny.tree = mode.tree;
    const auto file = test::write_tiny_model(tiny);
    const auto model = test::open_model(file.path());
    const auto& structure = model->config().structure;
    KvCache cache(
        {.slots = 1,
         .structure = structure.any() ? std::optional(structure.reuse_rule()) : std::nullopt,
         .tree = mode.tree},
        [&] { return model->create_kv(96); });
    const auto fresh_kv = model->create_kv(96);

    std::mt19937 random(11);
    Document document;
    for (int i = 0; i < 60; ++i) document.tokens.push_back(static_cast<TokenId>(random() % 256));
    relabel(random, document);
    int kept_in_all = 0, labels_ended_it = 0;
    double worst = 0;
    for (int edit = 0; edit < 12; ++edit) {
      const auto kind = random() % 4;
      const size_t at = random() % document.tokens.size();
      const auto where = document.tokens.begin() + static_cast<ptrdiff_t>(at);
      if (kind == 0) {
        *where = static_cast<TokenId>(random() % 256);
      } else if (kind == 1 && document.tokens.size() < 80) {
        document.tokens.insert(where, static_cast<TokenId>(random() % 256));
        TokenStructure moved;
        for (size_t i = 0; i < document.tokens.size(); ++i) {
          auto label = document.labels.at(i > at ? i - 1 : i);
          label.place = static_cast<int32_t>(i);
          moved.push_back(label);
        }
        document.labels = moved;
      } else if (kind == 2) {  // a scope closes elsewhere, the text stays
        for (size_t i = at; i < document.tokens.size(); ++i) {
          if (document.labels.scope[i] > 1)
            document.labels.scope[i] += 4, document.labels.last[i] += 4;
        }
      } else {  // renumbered as a whole: nothing has changed
        for (size_t i = 0; i < document.tokens.size(); ++i) {
          document.labels.scope[i] *= 3, document.labels.last[i] = 3 * document.labels.last[i] + 2;
        }
      }
      const auto n = static_cast<int32_t>(document.tokens.size());
      const auto slot = cache.acquire(document.tokens, document.labels, 1);
      REQUIRE(slot.has_value());
      (*slot)->truncate(n - 1);
      const int32_t kept = (*slot)->size();
      kept_in_all += kept;
      labels_ended_it += kept < n - 1 && kind >= 2;
      const auto rest = std::span(document.tokens).subspan(static_cast<size_t>(kept));
      const int32_t last = static_cast<int32_t>(rest.size()) - 1, fresh_last = n - 1;
      const auto reused =
          model->forward({rest, kept, (*slot)->kv.get(), &document.labels, {&last, 1}, nullptr});
      REQUIRE(reused.has_value());
      const std::vector<float> got(reused->logits.begin(), reused->logits.end());
      const auto fresh = model->forward(
          {document.tokens, 0, fresh_kv->get(), &document.labels, {&fresh_last, 1}, nullptr});
      REQUIRE(fresh.has_value());
      for (size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, static_cast<double>(std::abs(got[i] - fresh->logits[i])));
      }
      (*slot)->append(rest, document.labels);
      cache.park(*slot);
    }
    CHECK(worst < 2e-3);
    CHECK(kept_in_all > 12 * 10);
    // With structure some edits of labels alone must have ended the reuse early, else nothing was
    // tested.
    CHECK((labels_ended_it > 0) == structure.any());
  }
}

}  // namespace
}  // namespace cambium::engine
