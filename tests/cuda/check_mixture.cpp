// Mixtures of experts, projections by head and latent attention against their plain twins.
#include <cstring>

#include "engine/cpu/half.h"
#include "engine/cpu/reference.h"
#include "engine/cuda/mixture.h"
#include "tests/cuda/bench.h"

namespace cambium::engine::cuda::verify {
namespace twin = cpu::reference;

namespace {

/// Integers on the device.
template <class T>
std::vector<T> read_as(CudaBackend& b, Report& report, const Buffer& buffer, size_t n) {
  std::vector<T> v(n);
  report.expect_value(b.download(v.data(), const_cast<Buffer&>(buffer).data(), n * sizeof(T)),
                      "reading a result");
  return v;
}

struct Choice {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<uint32_t> counts;
};

void expect_choice(Report& report, const Choice& got, std::span<const float> logits,
                   const ExpertRule& rule, const float* bias, int32_t n, const std::string& label) {
  Choice want;
  want.ids.resize(got.ids.size());
  want.weights.resize(got.weights.size());
  want.counts.assign(got.counts.size(), 3);  // what stood there before
  twin::route(logits.data(), rule, bias, n, want.ids.data(), want.weights.data(),
              want.counts.data());
  report.expect(got.ids == want.ids, label + " ids");
  report.expect(relative_error(got.weights, want.weights), 1e-5, label + " weights");
  report.expect(got.counts == want.counts, label + " counts");
}

void check_route(CudaBackend& b, Random& random, Report& report) {
  report.group("route");
  struct Case {
    int32_t n_expert, n_used, n_group, n_group_used;
    Gating gating;
    bool normalise, bias;
    float scale;
  };
  constexpr Case kCases[] = {{64, 6, 1, 1, Gating::softmax, false, false, 1},
                             {160, 6, 8, 3, Gating::softmax, false, false, 16},
                             {256, 8, 8, 4, Gating::sigmoid, true, true, 2.5f},
                             {7, 3, 1, 1, Gating::sigmoid, false, true, 1},
                             {9, 9, 1, 1, Gating::softmax, true, true, 1},
                             {12, 2, 12, 5, Gating::sigmoid, true, false, 1},
                             {40, 5, 4, 1, Gating::softmax, true, false, 0.5f},
                             {512, 17, 1, 1, Gating::softmax, false, true, 1}};
  constexpr int32_t kCols = 200;
  for (const Case& c : kCases)
    for (const int32_t n : {1, 5, 300}) {
      const auto experts = static_cast<size_t>(c.n_expert);
      const std::string label = std::to_string(c.n_used) + " of " + std::to_string(c.n_expert) +
                                " n " + std::to_string(n);
      const auto pairs = static_cast<size_t>(n * c.n_used);
      const std::vector<float> bias = random.normal(experts, 0.2f);
      auto bias_weight = b.load_weight(
          {DType::f32, 1, c.n_expert, reinterpret_cast<const std::byte*>(bias.data())},
          WeightUse::vector);
      if (!report.expect_value(bias_weight, "load")) return;
      ExpertRule rule{c.n_expert, c.n_used,    c.n_group, c.n_group_used,
                      c.gating,   c.normalise, c.scale,   c.bias ? bias_weight->get() : nullptr};
      const float* plain_bias = c.bias ? bias.data() : nullptr;
      std::vector<float> logits = random.normal(static_cast<size_t>(n) * experts, 2.0f);
      if (c.n_expert > 8)  // equals: the lower index is taken
        for (size_t t = 0; t < static_cast<size_t>(n); ++t)
          logits[t * experts + 7] = logits[t * experts + 3];
      Floats dl(b, logits), ids(b, pairs), weights(b, pairs);
      const std::vector<float> three(experts, std::bit_cast<float>(3u));
      Floats counts(b, three);
      const auto result = [&] {
        return Choice{read_as<int32_t>(b, report, *ids.buffer, pairs), weights.read(b, report),
                      read_as<uint32_t>(b, report, *counts.buffer, experts)};
      };
      b.route(dl.data(), rule, n, static_cast<int32_t*>(ids.buffer->data()), weights.data(),
              static_cast<uint32_t*>(counts.buffer->data()));
      expect_choice(report, result(), logits, rule, plain_bias, n, label);
      if (n > 8) continue;

      // The step's own kernel: norm, scores and choice at once.
      const std::vector<float> x = random.normal(static_cast<size_t>(n) * kCols),
                               norm = random.normal(kCols),
                               w = random.normal(experts * kCols, 0.2f);
      Floats dx(b, x), dn(b, norm), dw(b, w), scores(b, static_cast<size_t>(n) * experts);
      b.upload(counts.buffer->data(), three.data(), experts * sizeof(float));
      RouterArgs args;
      args.x = dx.data();
      args.norm = dn.data();
      args.weight = dw.data();
      args.eps = 1e-6f;
      args.cols = kCols;
      args.n_tokens = n;
      args.logits = scores.data();
      args.arrivals = b.arrivals();
      args.route =
          route_args(rule, c.bias ? static_cast<CudaWeight&>(**bias_weight).f32() : nullptr,
                     static_cast<int32_t*>(ids.buffer->data()), weights.data(),
                     static_cast<uint32_t*>(counts.buffer->data()));
      report.expect(router(b.launch(), args) == cudaSuccess, label + " router");
      const std::vector<float> got = scores.read(b, report);
      std::vector<float> normed(x.size()), want(got.size());
      twin::rms_norm(x.data(), norm.data(), 1e-6f, n, kCols, normed.data());
      twin::matmul({DType::f32, c.n_expert, kCols, reinterpret_cast<const std::byte*>(w.data())},
                   nullptr, normed.data(), n, false, want.data());
      report.expect(relative_error(got, want), 1e-5, label + " router's scores");
      expect_choice(report, result(), got, rule, plain_bias, n, label + " router");
    }
}

std::unique_ptr<Weight> load(CudaBackend& b, Report& report, const HostMatrix& w, int32_t n) {
  auto stack = b.load_stack(w.view, n);
  return report.expect_value(stack, "load_stack") ? std::move(*stack) : nullptr;
}

void check_experts(CudaBackend& b, Random& random, Report& report) {
  report.group("experts");
  struct Case {
    DType gate, up, down;
    int32_t n_expert, n_used, n_embd, n_ff;
  };
  using D = DType;
  constexpr Case kCases[] = {
      {D::q4_k, D::q4_k, D::q6_k, 5, 3, 256, 512},   {D::q4_k, D::q4_k, D::q5_0, 8, 2, 512, 352},
      {D::q8_0, D::q8_0, D::q8_0, 6, 6, 288, 96},    {D::q5_k, D::q6_k, D::q4_0, 4, 1, 256, 64},
      {D::q4_0, D::q4_0, D::q4_1, 7, 4, 160, 416},   {D::q5_1, D::q5_1, D::q5_1, 3, 2, 2304, 160},
      {D::q4_1, D::q4_1, D::q5_k, 4, 2, 96, 256},    {D::f32, D::f32, D::f32, 5, 2, 101, 51},
      {D::f16, D::f16, D::f16, 5, 2, 104, 60},       {D::bf16, D::q8_0, D::f16, 4, 3, 96, 32},
      {D::q6_k, D::q6_k, D::iq4_nl, 5, 2, 256, 2816}};
  for (const Case& c : kCases) {
    const auto matrix = [&](DType type, int32_t rows, int32_t cols) {
      return random_matrix(random, type, int64_t{c.n_expert} * rows, cols,
                           1.0f / std::sqrt(static_cast<float>(cols)));
    };
    const HostMatrix gate = matrix(c.gate, c.n_ff, c.n_embd), up = matrix(c.up, c.n_ff, c.n_embd),
                     down = matrix(c.down, c.n_embd, c.n_ff);
    const auto dgate = load(b, report, gate, c.n_expert), dup = load(b, report, up, c.n_expert),
               ddown = load(b, report, down, c.n_expert);
    if (!dgate || !dup || !ddown) continue;
    for (const int32_t n : {1, 8, 33, 131, 400, 401}) {
      if (n >= 400 && c.n_embd * c.n_ff > 200000) continue;  // the twin is slow
      const auto pairs = static_cast<size_t>(n * c.n_used);
      std::vector<int32_t> ids(pairs);
      for (int32_t t = 0; t < n; ++t) {
        // Distinct experts, about even; with an odd number of tokens nearly all go to the same ones.
        const int32_t first = n % 2 == 1 && t % 16 != 0 ? 0 : random.below(c.n_expert);
        for (int32_t j = 0; j < c.n_used; ++j)
          ids[static_cast<size_t>(t * c.n_used + j)] = (first + j) % c.n_expert;
      }
      const auto size = static_cast<size_t>(n * c.n_embd);
      const std::vector<float> x = random.normal(size), before = random.normal(size),
                               weights = random.normal(pairs);
      Floats dx(b, x), dy(b, before), dw(b, weights), di(b, pairs);
      b.upload(di.buffer->data(), ids.data(), pairs * sizeof(int32_t));
      ExpertsArgs args{dgate.get(),
                       dup.get(),
                       ddown.get(),
                       dx.data(),
                       static_cast<const int32_t*>(di.buffer->data()),
                       dw.data(),
                       n,
                       c.n_used,
                       dy.data()};
      b.experts(args);
      const std::vector<float> got = dy.read(b, report);
      std::vector<float> want = before;
      ExpertsArgs plain = args;
      plain.x = x.data();
      plain.ids = ids.data();
      plain.weights = weights.data();
      plain.y = want.data();
      twin::experts(plain, gate.view, up.view, down.view, c.n_expert);
      const std::string label =
          std::string(type_traits(c.gate)->name) + "/" + std::string(type_traits(c.down)->name) +
          " " + std::to_string(c.n_embd) + "x" + std::to_string(c.n_ff) + " n " + std::to_string(n);
      const bool exact = c.gate == D::f32, mixed = c.gate == D::bf16;
      // int8 activations twice; over many tokens F16.
      report.expect(relative_error(got, want),
                    exact               ? 1e-5
                    : n > 384 && !mixed ? 5e-3
                                        : 2.5e-2,
                    label);
      if (n != 8) continue;
      Floats alone(b, before);
      for (int32_t t = 0; t < n; ++t) {
        ExpertsArgs one = args;
        one.n_tokens = 1;
        one.x += t * c.n_embd;
        one.ids += t * c.n_used;
        one.weights += t * c.n_used;
        one.y = alone.data() + t * c.n_embd;
        b.experts(one);
      }
      report.expect(
          std::memcmp(alone.read(b, report).data(), got.data(), size * sizeof(float)) == 0,
          label + " differs token by token");
    }
  }
}

/// At a real size, where experts are multiplied in several batches: a long pass against the same
/// tokens in short ones, which the plain twin has checked.
void check_experts_at_size(CudaBackend& b, Random& random, Report& report) {
  constexpr int32_t kExperts = 20, kUsed = 3, kEmbd = 2048, kFf = 1408, kTokens = 400, kPart = 100;
  const HostMatrix wide = repeated_matrix(random, DType::q4_k, kExperts * kFf, kEmbd),
                   tall = repeated_matrix(random, DType::q5_0, kExperts * kEmbd, kFf);
  const auto gate = load(b, report, wide, kExperts), up = load(b, report, wide, kExperts),
             down = load(b, report, tall, kExperts);
  if (!gate || !up || !down) return;
  for (const bool even : {true, false}) {
    std::vector<int32_t> ids;
    for (int32_t t = 0; t < kTokens; ++t)
      for (int32_t j = 0; j < kUsed; ++j)
        ids.push_back(even || t % 8 == 0 ? (t * 7 + j) % kExperts : 17 + j);
    const std::vector<float> x = random.normal(kTokens * kEmbd),
                             weights = random.normal(ids.size()),
                             zeros(static_cast<size_t>(kTokens * kEmbd), 0.0f);
    Floats dx(b, x), dw(b, weights), di(b, ids.size()), whole(b, zeros), parts(b, zeros);
    b.upload(di.buffer->data(), ids.data(), ids.size() * sizeof(int32_t));
    ExpertsArgs args{gate.get(),
                     up.get(),
                     down.get(),
                     dx.data(),
                     static_cast<const int32_t*>(di.buffer->data()),
                     dw.data(),
                     kTokens,
                     kUsed,
                     whole.data()};
    b.experts(args);
    args.n_tokens = kPart;
    args.y = parts.data();
    for (int32_t first = 0; first < kTokens; first += kPart) {
      b.experts(args);
      args.x += kPart * kEmbd;
      args.y += kPart * kEmbd;
      args.ids += kPart * kUsed;
      args.weights += kPart * kUsed;
    }
    report.expect(relative_error(whole.read(b, report), parts.read(b, report)), 2e-2,
                  even ? "20 experts of 2048x1408" : "20 experts, three of them wanted most");
  }
}

void check_heads(CudaBackend& b, Random& random, Report& report) {
  report.group("projections by head");
  struct Case {
    DType type;
    int32_t n_head, rows, cols, gap;  // floats between heads
  };
  using D = DType;
  constexpr Case kCases[] = {{D::q5_0, 16, 512, 128, 64}, {D::q4_k, 16, 128, 512, 0},
                             {D::q8_0, 3, 37, 96, 38},    {D::q6_k, 5, 300, 256, 4},
                             {D::q4_0, 2, 16, 32, 2},     {D::f16, 4, 33, 70, 6},
                             {D::f32, 3, 17, 19, 5},      {D::bf16, 2, 64, 40, 0}};
  for (const Case& c : kCases) {
    const HostMatrix w = random_matrix(random, c.type, int64_t{c.n_head} * c.rows, c.cols,
                                       1.0f / std::sqrt(static_cast<float>(c.cols)));
    const auto stack = load(b, report, w, c.n_head);
    if (!stack) continue;
    for (const int32_t n : {1, 8, 40}) {
      const int64_t x_head = c.cols + c.gap, y_head = c.rows + 3;
      HeadMatmulArgs args;
      args.weight = stack.get();
      args.n_tokens = n;
      args.n_head = c.n_head;
      args.x_head = x_head;
      args.x_token = c.n_head * x_head + 2;
      args.y_head = y_head;
      args.y_token = c.n_head * y_head;
      const std::vector<float> x = random.normal(static_cast<size_t>(n * args.x_token));
      std::vector<float> want(static_cast<size_t>(n * args.y_token), 7.0f);
      Floats dx(b, x), dy(b, want), alone(b, want);
      args.x = dx.data();
      args.y = dy.data();
      b.head_matmul(args);
      HeadMatmulArgs plain = args;
      plain.x = x.data();
      plain.y = want.data();
      twin::head_matmul(plain, w.view);
      const std::string label = std::string(type_traits(c.type)->name) + " " +
                                std::to_string(c.rows) + "x" + std::to_string(c.cols) + " n " +
                                std::to_string(n);
      // The sevens between the results must still be there.
      std::vector<float> got = dy.read(b, report);
      for (size_t i = 0; i < got.size(); ++i) {
        if (static_cast<int64_t>(i) % y_head < c.rows) continue;
        report.expect(got[i] == 7.0f, label + " wrote beside its rows");
        got[i] = want[i] = 0;
      }
      report.expect(relative_error(got, want), c.type == D::f32 ? 1e-5 : 1.5e-2, label);
      if (n != 8) continue;
      for (int32_t t = 0; t < n; ++t) {
        HeadMatmulArgs one = args;
        one.n_tokens = 1;
        one.x += t * args.x_token;
        one.y = alone.data() + t * args.y_token;
        b.head_matmul(one);
      }
      const std::vector<float> together = dy.read(b, report), apart = alone.read(b, report);
      report.expect(std::memcmp(together.data(), apart.data(), apart.size() * sizeof(float)) == 0,
                    label + " differs token by token");
    }
  }
}

void check_latent_attention(CudaBackend& b, Random& random, Report& report) {
  report.group("latent attention");
  struct Case {
    int32_t dk, dv, n_head;
  };
  constexpr Case kCases[] = {{576, 512, 16},  {576, 512, 5}, {576, 512, 40},
                             {576, 512, 128}, {40, 32, 4},   {72, 64, 3}};
  struct Span {
    int32_t first, n;
  };
  constexpr Span kSpans[] = {{0, 1},  {31, 1},  {32, 1}, {700, 1},  {2100, 1}, {0, 8},
                             {61, 8}, {500, 3}, {0, 13}, {100, 40}, {5, 65},   {333, 150}};
  for (const Case& c : kCases)
    for (const Span& s : kSpans) {
      if (c.n_head > 40 && s.first + s.n > 200) continue;  // the twin is slow
      const int32_t total = s.first + s.n, layer = 1;
      const KvShape shape{2, 1, c.dk, c.dv, total + 37, DType::f16, true};
      auto kv = b.create_kv(shape);
      if (!report.expect_value(kv, "create_kv")) return;
      const auto row = static_cast<size_t>(c.dk);
      {
        // Cells of an earlier sequence, also past the end.
        Floats old(b, std::vector<float>(static_cast<size_t>(total + 37) * row, 50.0f));
        b.kv_write(**kv, layer, 0, total + 37, old.data(), nullptr);
        report.expect_value(b.synchronize(), "kv_write");
      }
      std::vector<float> k = random.normal(static_cast<size_t>(total) * row);
      Floats dk(b, k);
      if (s.first > 0) b.kv_write(**kv, layer, 0, s.first, dk.data(), nullptr);
      b.kv_write(**kv, layer, s.first, s.n, dk.data() + static_cast<size_t>(s.first) * row,
                 nullptr);
      for (float& v : k) v = cpu::half_to_float(cpu::float_to_half(v));
      std::vector<float> v(static_cast<size_t>(total * c.dv));
      for (int32_t i = 0; i < total; ++i)
        std::copy_n(k.data() + (i + 1) * c.dk - c.dv, c.dv, v.data() + i * c.dv);

      const std::vector<float> q = random.normal(static_cast<size_t>(s.n * c.n_head * c.dk));
      const auto size = static_cast<size_t>(s.n * c.n_head * c.dv);
      std::vector<float> want(size);
      Floats dq(b, q), out(b, size), alone(b, size);
      AttentionArgs args;
      args.q = dq.data();
      args.out = out.data();
      args.kv = kv->get();
      args.layer = layer;
      args.n_tokens = s.n;
      args.first_cell = s.first;
      args.n_head = c.n_head;
      args.scale = 2.0f / std::sqrt(static_cast<float>(c.dk));
      b.attention(args);
      AttentionArgs plain = args;
      plain.q = q.data();
      plain.out = want.data();
      twin::attention(plain, shape, k.data(), v.data());
      const std::string label = std::to_string(c.dk) + "/" + std::to_string(c.dv) + " x" +
                                std::to_string(c.n_head) + " first " + std::to_string(s.first) +
                                " n " + std::to_string(s.n);
      const std::vector<float> got = out.read(b, report);
      report.expect(relative_error(got, want), 3e-3, label);
      if (s.n > 8) continue;
      for (int32_t i = 0; i < s.n; ++i) {
        AttentionArgs one = args;
        one.q += i * c.n_head * c.dk;
        one.out = alone.data() + i * c.n_head * c.dv;
        one.n_tokens = 1;
        one.first_cell = s.first + i;
        b.attention(one);
      }
      report.expect(
          std::memcmp(alone.read(b, report).data(), got.data(), size * sizeof(float)) == 0,
          label + " differs token by token");
    }
}

void check_copy(CudaBackend& b, Random& random, Report& report) {
  report.group("copy_rows");
  const std::vector<float> x = random.normal(7 * 100), before(7 * 33, 1.0f);
  Floats dx(b, x), dy(b, before);
  b.copy_rows(dx.data() + 5, 100, dy.data(), 33, 31, 7);
  std::vector<float> want = before;
  for (size_t r = 0; r < 7; ++r) std::copy_n(x.data() + 5 + r * 100, 31, want.data() + r * 33);
  report.expect(dy.read(b, report) == want, "rows of 31");
}

}  // namespace

void check_mixture(CudaBackend& b, Random& random, Report& report) {
  check_copy(b, random, report);
  check_route(b, random, report);
  check_experts(b, random, report);
  check_experts_at_size(b, random, report);
  check_heads(b, random, report);
  check_latent_attention(b, random, report);
}

}  // namespace cambium::engine::cuda::verify
