// Layers of DeepSeek-V2-Lite's shape with random weights: a step, and its kernels one at a time.
#include "engine/cuda/latent.h"
#include "tests/cuda/bench.h"

namespace cambium::engine::cuda::verify {
namespace {

constexpr int32_t kLayers = 6;  // more than the L2 holds
constexpr int32_t kEmbd = 2048, kHeads = 16, kNope = 128, kRope = 64, kRank = 512;
constexpr int32_t kExperts = 64, kUsed = 6, kExpertFf = 1408, kVocab = 32000, kCells = 8192;

struct LatentModel {
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<float> freq;
  std::unique_ptr<Buffer> counts;
  LatentDecoderOps ops;
  double step_bytes = 0;
};

bool make(CudaBackend& b, LatentModel& m) {
  Random random(7);
  bool good = true;
  const auto keep = [&](Result<std::unique_ptr<Weight>> r) -> const Weight* {
    if (!r) {
      std::printf("%s\n", r.error().message.c_str());
      good = false;
      return nullptr;
    }
    m.weights.push_back(std::move(*r));
    return m.weights.back().get();
  };
  const auto vector = [&](int64_t n) {
    const std::vector<float> ones(static_cast<size_t>(n), 1.0f);
    return keep(b.load_weight({DType::f32, 1, n, reinterpret_cast<const std::byte*>(ones.data())},
                              WeightUse::vector));
  };
  using D = DType;
  const auto matrix = [&](const HostMatrix& w) {
    m.step_bytes += static_cast<double>(w.bytes.size());
    return keep(b.load_weight(w.view, WeightUse::matmul));
  };
  const auto stack = [&](const HostMatrix& w, int32_t n, double share) {
    m.step_bytes += share * static_cast<double>(w.bytes.size());
    return keep(b.load_stack(w.view, n));
  };
  const auto draw = [&](D type, int64_t rows, int64_t cols) {
    return repeated_matrix(random, type, rows, cols);
  };
  const HostMatrix q = draw(D::q4_k, kHeads * (kNope + kRope), kEmbd),
                   kv_a = draw(D::q4_k, kRank + kRope, kEmbd),
                   k_b = draw(D::q5_0, kHeads * kRank, kNope),
                   v_b = draw(D::q4_k, kHeads * kNope, kRank),
                   o = draw(D::q4_k, kEmbd, kHeads * kNope), router = draw(D::f32, kExperts, kEmbd),
                   wide = draw(D::q4_k, kExperts * kExpertFf, kEmbd),
                   down = draw(D::q5_0, kExperts * kEmbd, kExpertFf),
                   shared = draw(D::q4_k, 2 * kExpertFf, kEmbd),
                   shared_down = draw(D::q4_k, kEmbd, 2 * kExpertFf),
                   vocab = draw(D::q6_k, kVocab, kEmbd);
  m.ops.token_embd = matrix(vocab);
  m.step_bytes = 0;
  m.ops.output = matrix(vocab);
  m.ops.output_norm = vector(kEmbd);
  constexpr double kRead = static_cast<double>(kUsed) / kExperts;
  for (int32_t i = 0; i < kLayers && good; ++i) {
    LatentDecoderOps::Layer l;
    l.attn_norm = vector(kEmbd);
    l.wq = matrix(q);
    l.wkv_a = matrix(kv_a);
    l.kv_a_norm = vector(kRank);
    l.wk_b = stack(k_b, kHeads, 1);
    l.wv_b = stack(v_b, kHeads, 1);
    l.wo = matrix(o);
    l.ffn_norm = vector(kEmbd);
    l.router = matrix(router);
    l.experts = {stack(wide, kExperts, kRead), stack(wide, kExperts, kRead),
                 stack(down, kExperts, kRead)};
    l.shared = {matrix(shared), matrix(shared), matrix(shared_down)};
    m.ops.layers.push_back(l);
  }
  for (int32_t i = 0; i < kRope / 2; ++i)
    m.freq.push_back(std::pow(1e4f, -2.0f * static_cast<float>(i) / kRope));
  m.ops.n_head = kHeads;
  m.ops.nope = kNope;
  m.ops.rope_dims = kRope;
  m.ops.kv_rank = kRank;
  m.ops.head_dim_v = kNope;
  m.ops.norm_eps = 1e-6f;
  m.ops.attention_scale = 0.1f;
  m.ops.rope = {RopeLayout::interleaved, m.freq, 1.0f};
  m.ops.kv = {kLayers, 1, kRank + kRope, kRank, kCells, DType::f16, true};
  m.ops.rule.n_expert = kExperts;
  m.ops.rule.n_used = kUsed;
  auto counts = b.allocate(kExperts * sizeof(uint32_t));
  if (!counts) return false;
  m.counts = std::move(*counts);
  m.ops.counts = static_cast<uint32_t*>(m.counts->data());
  return good;
}

void bench_kernels(CudaBackend& b, const LatentModel& m, const KvStore& kv, double bandwidth) {
  using Layer = LatentDecoderOps::Layer;
  Launch launch = b.launch();
  launch.dependent = b.dependent_launch();
  constexpr size_t kFloats = 1 << 22;
  Random random(3);
  const std::vector<float> some = random.normal(1 << 16);
  Floats x(b, some), y(b, kFloats), out(b, kFloats);
  const LatentParts parts = latent_parts(y.data(), 1, kHeads, launch.multiprocessors);
  const auto of = [](const Weight* w) -> const CudaWeight& {
    return static_cast<const CudaWeight&>(*w);
  };
  const auto stack_of = [](const Weight* w) { return static_cast<const CudaStack&>(*w).view; };
  // Other experts in every layer, as in a step.
  std::vector<int32_t> chosen;
  for (int32_t i = 0; i < kLayers * kUsed; ++i)
    chosen.push_back((i / kUsed * 11 + i % kUsed * 9) % kExperts);
  Floats ids(b, chosen.size());
  b.upload(ids.buffer->data(), chosen.data(), chosen.size() * sizeof(int32_t));
  const auto* device_ids = static_cast<const int32_t*>(ids.buffer->data());
  const auto kernel = [&](const char* name, double bytes, auto&& work) {
    const Timing t = time_device(b, 9, [&] {
      for (int32_t i = 0; i < kLayers; ++i)
        if (work(m.ops.layers[static_cast<size_t>(i)], i) != cudaSuccess) bytes = 0;
    });
    row(std::string("  kernel ") + name, format("%.2f us", t.median * 1e3 / kLayers),
        format("%.0f%% of copy", 100 * bytes / (t.median * 1e-3 / kLayers) / bandwidth));
  };
  const auto tiles = [&](const Weight* w) { return static_cast<double>(of(w).memory.bytes()); };
  const auto in_stack = [&](const Weight* w, int32_t n) {
    return static_cast<double>(stack_of(w).stride) * n;
  };
  const Layer& l0 = m.ops.layers[0];
  kernel("router", static_cast<double>(kExperts) * kEmbd * 4, [&](const Layer& l, int32_t) {
    RouterArgs a;
    a.x = x.data();
    a.norm = of(l.ffn_norm).f32();
    a.weight = of(l.router).f32();
    a.cols = kEmbd;
    a.n_tokens = 1;
    a.logits = out.data();
    a.arrivals = b.arrivals();
    a.route = route_args(m.ops.rule, nullptr, reinterpret_cast<int32_t*>(out.data() + 1024),
                         out.data() + 2048, m.ops.counts);
    return router(launch, a);
  });
  const auto slots = [&](const Layer& l, int32_t i, bool shared) {
    SlotsArgs a;
    a.first = stack_of(l.experts.gate);
    a.second = stack_of(l.experts.up);
    a.ids = device_ids + i * kUsed;
    a.weights = x.data();
    a.n_tokens = 1;
    a.n_used = kUsed;
    a.x = x.data();
    a.norm = of(l.ffn_norm).f32();
    a.y = y.data();
    if (shared) {
      a.shared_gate = of(l.shared.gate).tiles();
      a.shared_up = of(l.shared.up).tiles();
      a.shared_rows = 2 * kExpertFf;
      a.shared_y = out.data();
    }
    return expert_slots(launch, a);
  };
  const double gate_bytes = 2 * in_stack(l0.experts.gate, kUsed);
  kernel("experts gate, up", gate_bytes,
         [&](const Layer& l, int32_t i) { return slots(l, i, false); });
  kernel("experts and shared gate, up", gate_bytes + 2 * tiles(l0.shared.gate),
         [&](const Layer& l, int32_t i) { return slots(l, i, true); });
  const auto down = [&](const Layer& l, int32_t i, bool shared) {
    DownArgs a;
    a.down = stack_of(l.experts.down);
    a.ids = device_ids + i * kUsed;
    a.x = x.data();
    a.n_tokens = 1;
    a.n_used = kUsed;
    a.y = out.data();
    if (shared) {
      a.shared_tiles = of(l.shared.down).tiles();
      a.shared_tile = of(l.shared.down).tile;
      a.shared_cols = 2 * kExpertFf;
      a.shared_x = x.data();
    }
    return expert_down(launch, a);
  };
  const double down_bytes = in_stack(l0.experts.down, kUsed);
  kernel("experts down", down_bytes, [&](const Layer& l, int32_t i) { return down(l, i, false); });
  kernel("experts and shared down", down_bytes + tiles(l0.shared.down),
         [&](const Layer& l, int32_t i) { return down(l, i, true); });
  kernel("absorb and cell", in_stack(l0.wk_b, kHeads), [&](const Layer& l, int32_t i) {
    AbsorbArgs a;
    a.heads = {stack_of(l.wk_b),
               1,
               x.data(),
               kHeads * (kNope + kRope),
               kNope + kRope,
               out.data() + kRope,
               kHeads * kLatentKey,
               kLatentKey};
    a.kv_a = x.data();
    a.norm = of(l.kv_a_norm).f32();
    a.nope = kNope;
    a.rope_dims = kRope;
    a.kv_rank = kRank;
    a.rope = *b.rope_args(m.ops.rope);
    a.kv = static_cast<const CudaKv&>(kv).layer(i);
    a.q_cell = out.data();
    return latent_absorb(launch, a);
  });
  for (const int32_t cell : {64, 2048, kCells - 1}) {
    const double cells = 2.0 * kLatentKey * cell;
    kernel(("latent attention at " + std::to_string(cell)).c_str(), cells,
           [&](const Layer&, int32_t i) {
             AttentionKernelArgs a;
             a.q = x.data();
             a.kv = static_cast<const CudaKv&>(kv).layer(i);
             a.n_tokens = 1;
             a.n_head = kHeads;
             a.first_cell = {nullptr, cell};
             a.scale = m.ops.attention_scale;
             return latent_attention(launch, a, parts);
           });
    kernel(("join and values at " + std::to_string(cell)).c_str(), in_stack(l0.wv_b, kHeads),
           [&](const Layer& l, int32_t) {
             return latent_values(
                 launch, parts, {nullptr, cell},
                 {stack_of(l.wv_b), 1, nullptr, 0, 0, out.data(), kHeads * kNope, kNope});
           });
  }
  fine(b);
}

}  // namespace

void bench_latent(CudaBackend& b, double bandwidth) {
  LatentModel m;
  if (!make(b, m)) return;
  auto kv = b.create_kv(m.ops.kv);
  auto program = b.compile_decode(m.ops);
  if (!kv || !program) {
    std::printf("%s\n", (!kv ? kv.error() : program.error()).message.c_str());
    return;
  }
  {
    Floats some(b, Random(5).normal(static_cast<size_t>(kCells) * kLatentKey));
    for (int32_t l = 0; l < kLayers; ++l) b.kv_write(**kv, l, 0, kCells, some.data(), nullptr);
    if (!fine(b)) return;
  }
  double single = 0;
  for (const int32_t n : {1, 2, 8}) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < n; ++i) ids.push_back(100 + 7 * i);
    std::vector<BestToken> best(ids.size());
    const Timing t = time_host(50, [&] {
      if (auto r = (*program)->step(ids, **kv, 64, nullptr, nullptr, best); !r)
        std::printf("%s\n", r.error().message.c_str());
    });
    if (n == 1) single = t.median;
    row("V2-Lite Q4_K, " + std::to_string(kLayers) + " layers, step of " + std::to_string(n),
        format("%.3f ms (+-%.1f%%)", t.median, 100 * t.spread / t.median),
        n == 1 ? format("%.0f%% of the limit", 100 * m.step_bytes / (t.median * 1e-3) / bandwidth)
               : format("%.2f single steps", t.median / single));
  }
  bench_kernels(b, m, **kv, bandwidth);
}

}  // namespace cambium::engine::cuda::verify
