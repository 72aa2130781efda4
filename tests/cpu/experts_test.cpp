// Mixtures of experts and projections by head: routing by hand-made cases, products against the
// plain twins.
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <string>

#include "engine/cpu/reference.h"
#include "engine/ops.h"
#include "random_data.h"

namespace cambium::engine::cpu {
namespace {

using namespace test;

struct Routed {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<uint32_t> counts;
};

Routed route(const std::vector<float>& logits, const ExpertRule& rule,
             const std::vector<float>& bias = {}) {
  const auto n = static_cast<int32_t>(logits.size()) / rule.n_expert;
  Routed r;
  r.ids.assign(static_cast<size_t>(n * rule.n_used), -1);
  r.weights.assign(r.ids.size(), -1);
  r.counts.assign(static_cast<size_t>(rule.n_expert), 0);
  reference::route(logits.data(), rule, bias.empty() ? nullptr : bias.data(), n, r.ids.data(),
                   r.weights.data(), r.counts.data());
  return r;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST_CASE("route: softmax keeps the probabilities of the best, in order, and counts them") {
  const auto r = route({1, 3, 2, 0, 0, 0, 0, 5}, {.n_expert = 4, .n_used = 2, .scale = 2});
  CHECK(r.ids == std::vector<int32_t>{1, 2, 3, 0});
  const double sum = std::exp(1) + std::exp(3) + std::exp(2) + 1;
  CHECK(r.weights[0] == doctest::Approx(2 * std::exp(3) / sum));
  CHECK(r.weights[1] == doctest::Approx(2 * std::exp(2) / sum));
  CHECK(r.counts == std::vector<uint32_t>{1, 1, 1, 1});
}

TEST_CASE("route: normalised weights sum to the scale") {
  for (const Gating gating : {Gating::softmax, Gating::sigmoid}) {
    const auto r =
        route({0.3f, -1, 2, 0.5f, 1, -3},
              {.n_expert = 6, .n_used = 3, .gating = gating, .normalise = true, .scale = 2.5f});
    CHECK(r.ids == std::vector<int32_t>{2, 4, 3});
    CHECK(r.weights[0] + r.weights[1] + r.weights[2] == doctest::Approx(2.5));
  }
}

TEST_CASE("route: the bias chooses, the score without it weighs") {
  const auto r =
      route({0, 1, 2, 3}, {.n_expert = 4, .n_used = 1, .gating = Gating::sigmoid}, {0.9f, 0, 0, 0});
  CHECK(r.ids == std::vector<int32_t>{0});
  CHECK(r.weights[0] == doctest::Approx(0.5));
}

TEST_CASE("route: a softmax group counts by its best expert, a sigmoid group by its two best") {
  // The best single expert is in the first group, the best pair in the second.
  const std::vector<float> logits = {3, -9, -9, 2, 2, -9, 0, 0, 0};
  ExpertRule rule{.n_expert = 9, .n_used = 2, .n_group = 3, .n_group_used = 1};
  auto r = route(logits, rule);
  CHECK(r.ids == std::vector<int32_t>{0, 1});
  rule.gating = Gating::sigmoid;
  r = route(logits, rule);
  CHECK(r.ids == std::vector<int32_t>{3, 4});
  CHECK(r.weights[0] == doctest::Approx(sigmoid(2)));
}

TEST_CASE("experts: every type and batch size against the twin, in any company the same bits") {
  std::mt19937 rng(7);
  constexpr int32_t kExperts = 5, kUsed = 3;
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    for (const DType type : kAllTypes) {
      CAPTURE(isa);
      CAPTURE(type_traits(type)->name);
      const int64_t n_embd = 256, n_ff = 256;
      const auto gate = random_rows(rng, type, kExperts * n_ff, n_embd);
      const auto up = random_rows(rng, type, kExperts * n_ff, n_embd);
      const auto down = random_rows(rng, type, kExperts * n_embd, n_ff);
      const TensorView gate_view{type, kExperts * n_ff, n_embd, gate.data()};
      const TensorView up_view{type, kExperts * n_ff, n_embd, up.data()};
      const TensorView down_view{type, kExperts * n_embd, n_ff, down.data()};
      const auto load = [&](const TensorView& view) {
        auto stack = backend->load_stack(view, kExperts);
        REQUIRE(stack.has_value());
        CHECK((*stack)->rows == view.rows / kExperts);
        return std::move(*stack);
      };
      const auto g = load(gate_view), u = load(up_view), d = load(down_view);
      std::vector<float> last;
      for (const int32_t n : {7, 1}) {
        const auto all = normal(rng, static_cast<size_t>(n_embd * 7), 0.5f);
        const auto x = n == 7 ? all : normal(rng, static_cast<size_t>(n_embd), 0.5f);
        std::vector<int32_t> ids;
        for (int32_t t = 0; t < n; ++t) {
          for (int32_t j = 0; j < kUsed; ++j) ids.push_back((t * 2 + j * (1 + t % 2)) % kExperts);
        }
        const auto weights = normal(rng, ids.size());
        const auto start = normal(rng, static_cast<size_t>(n_embd * n));
        auto want = start, got = start;
        ExpertsArgs args{g.get(),        u.get(), d.get(), x.data(),   ids.data(),
                         weights.data(), n,       kUsed,   want.data()};
        reference::experts(args, gate_view, up_view, down_view, kExperts);
        args.y = got.data();
        backend->experts(args);
        // Inputs rounded to bytes twice; random blocks cancel more than weights do.
        CHECK(relative_error(got.data(), want.data(), got.size()) < 0.03);
        // Each token alone.
        for (int32_t t = 0; t < n; ++t) {
          std::vector<float> alone(start.begin() + t * n_embd, start.begin() + (t + 1) * n_embd);
          ExpertsArgs one = args;
          one.x = x.data() + t * n_embd;
          one.ids = ids.data() + t * kUsed;
          one.weights = weights.data() + t * kUsed;
          one.n_tokens = 1;
          one.y = alone.data();
          backend->experts(one);
          CHECK(std::equal(alone.begin(), alone.end(), got.begin() + t * n_embd));
        }
      }
    }
  }
}

TEST_CASE("head_matmul: a matrix a head, strided in and out, nothing written between") {
  std::mt19937 rng(8);
  constexpr int32_t kHeads = 3;
  for (const std::string& isa : isas()) {
    const auto backend = make_cpu_backend(2, isa);
    for (const DType type : {DType::f32, DType::f16, DType::q8_0}) {
      const int64_t rows = 48, cols = 32, x_head = 40, y_head = 64;
      const auto bytes = random_rows(rng, type, kHeads * rows, cols);
      const TensorView view{type, kHeads * rows, cols, bytes.data()};
      const auto stack = backend->load_stack(view, kHeads);
      REQUIRE(stack.has_value());
      for (const int32_t n : {1, 5, 20}) {
        const auto x = normal(rng, static_cast<size_t>(n * kHeads * x_head));
        std::vector<float> want(static_cast<size_t>(n * kHeads * y_head), 7), got = want;
        HeadMatmulArgs args{stack->get(),    n,      kHeads,           x.data() + 8,
                            kHeads * x_head, x_head, want.data() + 16, kHeads * y_head,
                            y_head};
        reference::head_matmul(args, view);
        args.y = got.data() + 16;
        backend->head_matmul(args);
        CHECK(relative_error(got.data(), want.data(), got.size()) < 0.01);
        for (size_t i = 0; i < got.size(); ++i) {
          if (i % y_head < 16) CHECK(got[i] == 7);
        }
      }
    }
  }
}

}  // namespace
}  // namespace cambium::engine::cpu
