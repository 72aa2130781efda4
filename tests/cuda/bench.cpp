// Kernel by kernel at the shapes of DeepSeek-Coder with random weights, against the measured copy
// bandwidth: for work on the kernels. `cambium bench --gpu` measures whole models.
#include "tests/cuda/bench.h"

#include <algorithm>
#include <cstring>

namespace cambium::engine::cuda::verify {

HostMatrix repeated_matrix(Random& random, DType type, int64_t rows, int64_t cols) {
  const HostMatrix part =
      random_matrix(random, type, 64, cols, 1.0f / std::sqrt(static_cast<float>(cols)));
  HostMatrix w;
  const size_t chunk = part.bytes.size(), stride = chunk / 64;
  w.bytes.resize(stride * static_cast<size_t>(rows));
  for (size_t at = 0; at < w.bytes.size(); at += chunk)
    std::memcpy(w.bytes.data() + at, part.bytes.data(), std::min(chunk, w.bytes.size() - at));
  w.view = {type, rows, cols, w.bytes.data()};
  return w;
}

namespace {

struct Shape {
  const char* name;
  int32_t n_layer, n_embd, n_ff, n_head, n_kv_head, n_vocab;
  float rope_base, rope_scale;
};
constexpr Shape k1_3b = {"1.3B", 24, 2048, 5504, 16, 16, 32256, 1e5f, 0.25f};
constexpr Shape k6_7b = {"6.7B", 32, 4096, 11008, 32, 32, 32256, 1e5f, 0.25f};
constexpr Shape k8b = {"Llama-8B", 32, 4096, 14336, 32, 8, 128256, 5e5f, 1.0f};
constexpr int32_t kHeadDim = 128;

struct Model {
  Shape shape;
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<float> freq;
  DecoderOps ops;
  double read_bytes = 0;  ///< weights a decode step reads
  double load_seconds = 0;
};

/// Every layer gets memory of its own; the bytes on the host are drawn once a matrix shape.
bool make_model(CudaBackend& b, const Shape& s, DType type, DType down_type, DType output_type,
                int32_t n_cells, Model& m) {
  Random random(7);
  m.shape = s;
  bool good = true;
  const auto vector = [&](int64_t n) -> const Weight* {
    const std::vector<float> values(static_cast<size_t>(n), 1.0f);
    auto r = b.load_weight({DType::f32, 1, n, reinterpret_cast<const std::byte*>(values.data())},
                           WeightUse::vector);
    if (!r) {
      std::printf("%s\n", r.error().message.c_str());
      good = false;
      return nullptr;
    }
    m.weights.push_back(std::move(*r));
    return m.weights.back().get();
  };
  const auto host = [&](DType t, int64_t rows, int64_t cols) {
    return repeated_matrix(random, t, rows, cols);
  };
  const auto keep = [&](const HostMatrix& w) -> const Weight* {
    const auto t0 = std::chrono::steady_clock::now();
    auto r = b.load_weight(w.view, WeightUse::matmul);
    m.load_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
    if (!r) {
      std::printf("%s\n", r.error().message.c_str());
      good = false;
      return nullptr;
    }
    m.read_bytes += static_cast<double>(w.bytes.size());
    m.weights.push_back(std::move(*r));
    return m.weights.back().get();
  };
  const int64_t kv_rows = int64_t{s.n_kv_head} * kHeadDim;
  const HostMatrix square = host(type, s.n_embd, s.n_embd), kv = host(type, kv_rows, s.n_embd),
                   wide = host(type, s.n_ff, s.n_embd), down = host(down_type, s.n_embd, s.n_ff),
                   vocab = host(output_type, s.n_vocab, s.n_embd);
  m.ops.token_embd = keep(vocab);
  m.read_bytes = 0;  // a row of it
  m.ops.output = keep(vocab);
  m.ops.output_norm = vector(s.n_embd);
  for (int32_t i = 0; i < s.n_layer && good; ++i) {
    DecoderOps::Layer l;
    l.attn_norm = vector(s.n_embd);
    l.wq = keep(square);
    l.wk = keep(kv);
    l.wv = keep(kv);
    l.wo = keep(square);
    l.ffn_norm = vector(s.n_embd);
    l.w_gate = keep(wide);
    l.w_up = keep(wide);
    l.w_down = keep(down);
    m.ops.layers.push_back(l);
  }
  m.freq.resize(kHeadDim / 2);
  for (size_t i = 0; i < m.freq.size(); ++i)
    m.freq[i] = s.rope_scale * std::pow(s.rope_base, -2.0f * static_cast<float>(i) / kHeadDim);
  m.ops.n_head = s.n_head;
  m.ops.norm_eps = 1e-6f;
  m.ops.attention_scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  m.ops.rope = {RopeLayout::interleaved, m.freq, 1.0f};
  m.ops.kv = {s.n_layer, s.n_kv_head, kHeadDim, kHeadDim, n_cells, DType::f16};
  return good;
}

void bench_kernels(CudaBackend& b, const Model& m, const KvStore& kv, double bandwidth) {
  // One kernel at a time, rotating through the layers so that nothing stays in the L2.
  const Shape& s = m.shape;
  Floats x(b, std::vector<float>(8 * static_cast<size_t>(s.n_ff), 0.5f)),
      y(b, 8 * static_cast<size_t>(s.n_vocab));
  const auto kernel = [&](const char* name,
                          std::initializer_list<const Weight * DecoderOps::Layer::*> ws,
                          Epilogue epilogue, int32_t n) {
    double bytes = 0;
    const int32_t layers = s.n_layer;
    const Timing t = time_device(b, 9, [&] {
      bytes = 0;
      for (const DecoderOps::Layer& l : m.ops.layers) {
        MatmulArgs a;
        a.n_targets = 0;
        a.epilogue = epilogue;
        a.n_tokens = n;
        for (const auto w : ws) {
          const auto& weight = static_cast<const CudaWeight&>(*(l.*w));
          a.type = weight.tile;
          a.cols = static_cast<int32_t>(weight.cols);
          a.target[a.n_targets] = {weight.tiles(), y.data(), nullptr,
                                   static_cast<int32_t>(weight.rows), false};
          ++a.n_targets;
          bytes += static_cast<double>(weight.memory.bytes());
        }
        a.x = x.data();
        Launch launch = b.launch();
        launch.dependent = b.dependent_launch();
        if (n > 1) {
          auto* q = reinterpret_cast<int8_t*>(x.data());
          a.activations = {q, reinterpret_cast<float2*>(q + 131072), nullptr};
        }
        if (matmul_tiles(launch, a) != cudaSuccess) bytes = 0;
      }
    });
    row(std::string("  kernel ") + name + " n=" + std::to_string(n),
        format("%.2f us, %.0f GB/s", t.median * 1e3 / layers, bytes / t.median / 1e6),
        format("%.0f%% of copy", 100 * bytes / t.median * 1e3 / bandwidth));
  };
  using L = DecoderOps::Layer;
  for (const int32_t n : {1, 8}) {
    kernel("qkv", {&L::wq, &L::wk, &L::wv}, Epilogue::store, n);
    kernel("attn_out", {&L::wo}, Epilogue::store, n);
    kernel("gate_up", {&L::w_gate, &L::w_up}, Epilogue::silu_mul, n);
    kernel("down", {&L::w_down}, Epilogue::store, n);
  }
  // Attention of one token: what is left of a layer.
  for (const int32_t cells : {64, 511}) {
    const Timing t = time_device(b, 9, [&] {
      for (int32_t l = 0; l < s.n_layer; ++l) {
        AttentionArgs a;
        a.q = x.data();
        a.out = y.data();
        a.kv = &kv;
        a.layer = l;
        a.n_tokens = 1;
        a.first_cell = cells;
        a.n_head = s.n_head;
        a.scale = m.ops.attention_scale;
        b.attention(a);
      }
    });
    row("  kernel attention at " + std::to_string(cells),
        format("%.2f us", t.median * 1e3 / s.n_layer), "launched one by one");
  }
  fine(b);
}

void bench_model(CudaBackend& b, const Shape& s, DType type, DType down_type, DType output_type,
                 double bandwidth, bool kernels) {
  constexpr int32_t kFar = 8192, kCells = kFar + 64;
  Model m;
  if (!make_model(b, s, type, down_type, output_type, kCells, m)) return;
  const std::string name = std::string(s.name) + " " + std::string(type_traits(type)->name);
  auto kv = b.create_kv(m.ops.kv);
  auto program = b.compile_decode(m.ops);
  if (!kv || !program) {
    std::printf("%s\n", (!kv ? kv.error() : program.error()).message.c_str());
    return;
  }
  {
    // Every cell holds something: zeros would flatter the chip.
    const size_t row_size = static_cast<size_t>(s.n_kv_head) * kHeadDim;
    Floats some(b, Random(5).normal(kCells * row_size));
    for (int32_t l = 0; l < s.n_layer; ++l)
      b.kv_write(**kv, l, 0, kCells, some.data(), some.data());
    if (!fine(b)) return;
  }
  const auto steps = [&](int32_t n, int32_t cell) {
    const std::vector<int32_t> ids(static_cast<size_t>(n), 5);
    std::vector<BestToken> best(ids.size());
    return time_host(100, [&] {
      if (auto r = (*program)->step(ids, **kv, cell, nullptr, nullptr, best); !r)
        std::printf("%s\n", r.error().message.c_str());
    });
  };
  double single = 0;
  for (const int32_t n : {1, 2, 8}) {
    const Timing t = steps(n, 64);
    if (n == 1) single = t.median;
    row(name + " step of " + std::to_string(n),
        format("%.3f ms (+-%.1f%%)", t.median, 100 * t.spread / t.median),
        n == 1 ? format("%.0f tok/s, %.0f%% of the limit", 1e3 / t.median,
                        100 * m.read_bytes / (t.median * 1e-3) / bandwidth)
               : format("%.2f single steps", t.median / single));
  }
  for (const int32_t n : {1, 8}) {
    const Timing t = steps(n, kFar);
    row(name + " step of " + std::to_string(n) + " at 8,192 cells",
        format("%.3f ms (+-%.1f%%)", t.median, 100 * t.spread / t.median),
        format("%.0f tok/s", 1e3 * n / t.median));
  }
  if (kernels) bench_kernels(b, m, **kv, bandwidth);
}

}  // namespace

void bench(CudaBackend& b, const std::string& only, bool kernels) {
  const auto wanted = [&](const char* name) {
    return only.empty() || std::string(name).find(only) != std::string::npos;
  };
  const double bandwidth = b.copy_bandwidth().value_or(1);
  row("device-to-device copy", format("%.0f GB/s", bandwidth / 1e9),
      "read and written bytes counted");
  using D = DType;
  if (wanted("6.7B Q4_K")) bench_model(b, k6_7b, D::q4_k, D::q4_k, D::q6_k, bandwidth, kernels);
  if (wanted("6.7B Q8_0")) bench_model(b, k6_7b, D::q8_0, D::q8_0, D::q8_0, bandwidth, kernels);
  if (wanted("Llama-8B Q4_K")) bench_model(b, k8b, D::q4_k, D::q4_k, D::q6_k, bandwidth, kernels);
  if (wanted("V2-Lite Q4_K")) bench_latent(b, bandwidth);
  if (wanted("1.3B Q4_K")) bench_model(b, k1_3b, D::q4_k, D::q5_0, D::q6_k, bandwidth, kernels);
  fine(b);
}

}  // namespace cambium::engine::cuda::verify
