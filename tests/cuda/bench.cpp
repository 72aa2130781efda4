// Figures at the shapes of DeepSeek-Coder with random weights, against the measured copy bandwidth.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace {

struct Shape {
  const char* name;
  int32_t n_layer, n_embd, n_ff, n_head, n_kv_head, n_vocab;
  float rope_base, rope_scale;
};
constexpr Shape k1_3b = {"1.3B", 24, 2048, 5504, 16, 16, 32256, 1e5f, 0.25f};
constexpr Shape k6_7b = {"6.7B", 32, 4096, 11008, 32, 32, 32256, 1e5f, 0.25f};
constexpr int32_t kHeadDim = 128;

/// Median and half the distance between the 10th and 90th percentile, of device time in ms.
struct Timing {
  double median = 0, spread = 0;
};

template <class F>
Timing time_device(CudaBackend& b, int repeats, F&& work) {
  cudaEvent_t start, stop;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  std::vector<double> ms;
  for (int i = -2; i < repeats; ++i) {
    cudaEventRecord(start, b.launch().stream);
    work();
    cudaEventRecord(stop, b.launch().stream);
    cudaEventSynchronize(stop);
    float t = 0;
    cudaEventElapsedTime(&t, start, stop);
    if (i >= 0) ms.push_back(t);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  std::sort(ms.begin(), ms.end());
  const size_t n = ms.size();
  return {ms[n / 2], (ms[n * 9 / 10] - ms[n / 10]) / 2};
}

template <class F>
Timing time_host(int repeats, F&& work) {
  std::vector<double> ms;
  for (int i = -1; i < repeats; ++i) {
    const auto t0 = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> d = std::chrono::steady_clock::now() - t0;
    if (i >= 0) ms.push_back(d.count());
  }
  std::sort(ms.begin(), ms.end());
  const size_t n = ms.size();
  return {ms[n / 2], (ms[n * 9 / 10] - ms[n / 10]) / 2};
}

double copy_bandwidth(CudaBackend& b) {
  const size_t bytes = size_t{2} << 30;
  auto from = b.allocate(bytes), to = b.allocate(bytes);
  if (!from || !to) return 0;
  cudaMemsetAsync((*from)->data(), 0x5a, bytes, b.launch().stream);
  const Timing t = time_device(b, 7, [&] {
    cudaMemcpyAsync((*to)->data(), (*from)->data(), bytes, cudaMemcpyDeviceToDevice,
                    b.launch().stream);
  });
  return 2.0 * static_cast<double>(bytes) / t.median * 1e3;
}

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
  // Quantizing is slow; 64 drawn rows are repeated to fill a matrix.
  const auto host = [&](DType t, int64_t rows, int64_t cols) {
    HostMatrix part =
        random_matrix(random, t, 64, cols, 1.0f / std::sqrt(static_cast<float>(cols)));
    HostMatrix w;
    const size_t chunk = part.bytes.size(), stride = chunk / 64;
    w.bytes.resize(stride * static_cast<size_t>(rows));
    for (size_t at = 0; at < w.bytes.size(); at += chunk)
      std::memcpy(w.bytes.data() + at, part.bytes.data(), std::min(chunk, w.bytes.size() - at));
    w.view = {t, rows, cols, w.bytes.data()};
    return w;
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

/// The forward pass op by op over n tokens, logits of the last; buffers made by the caller.
struct Activity {
  Floats x, h, q, k, v, mixed, gate, up, logits;
  Activity(CudaBackend& b, const Shape& s, size_t n)
      : x(b, n * static_cast<size_t>(s.n_embd)),
        h(b, n * static_cast<size_t>(s.n_embd)),
        q(b, n * static_cast<size_t>(s.n_head) * kHeadDim),
        k(b, n * static_cast<size_t>(s.n_kv_head) * kHeadDim),
        v(b, n * static_cast<size_t>(s.n_kv_head) * kHeadDim),
        mixed(b, n * static_cast<size_t>(s.n_head) * kHeadDim),
        gate(b, n * static_cast<size_t>(s.n_ff)),
        up(b, n * static_cast<size_t>(s.n_ff)),
        logits(b, static_cast<size_t>(s.n_vocab)) {}
};

void forward(CudaBackend& b, const Model& m, Activity& t, KvStore& kv, std::span<const int32_t> ids,
             int32_t first) {
  const Shape& s = m.shape;
  const auto n = static_cast<int32_t>(ids.size());
  const float eps = m.ops.norm_eps;
  b.embed(*m.ops.token_embd, ids, t.x.data());
  for (int32_t i = 0; i < s.n_layer; ++i) {
    const DecoderOps::Layer& l = m.ops.layers[static_cast<size_t>(i)];
    b.rms_norm(t.x.data(), *l.attn_norm, eps, n, t.h.data());
    const MatmulTarget qkv[] = {{l.wq, t.q.data()}, {l.wk, t.k.data()}, {l.wv, t.v.data()}};
    b.matmul(qkv, t.h.data(), n);
    b.rope(t.q.data(), m.ops.rope, first, n, s.n_head, kHeadDim);
    b.rope(t.k.data(), m.ops.rope, first, n, s.n_kv_head, kHeadDim);
    b.kv_write(kv, i, first, n, t.k.data(), t.v.data());
    AttentionArgs a;
    a.q = t.q.data();
    a.out = t.mixed.data();
    a.kv = &kv;
    a.layer = i;
    a.n_tokens = n;
    a.first_cell = first;
    a.n_head = s.n_head;
    a.scale = m.ops.attention_scale;
    b.attention(a);
    const MatmulTarget out[] = {{l.wo, t.x.data(), nullptr, true}};
    b.matmul(out, t.mixed.data(), n);
    b.rms_norm(t.x.data(), *l.ffn_norm, eps, n, t.h.data());
    const MatmulTarget gate_up[] = {{l.w_gate, t.gate.data()}, {l.w_up, t.up.data()}};
    b.matmul(gate_up, t.h.data(), n);
    b.silu_mul(t.gate.data(), t.up.data(), t.gate.data(), static_cast<int64_t>(n) * s.n_ff);
    const MatmulTarget down[] = {{l.w_down, t.x.data(), nullptr, true}};
    b.matmul(down, t.gate.data(), n);
  }
  const float* last = t.x.data() + static_cast<int64_t>(n - 1) * s.n_embd;
  b.rms_norm(last, *m.ops.output_norm, eps, 1, t.h.data());
  const MatmulTarget out[] = {{m.ops.output, t.logits.data()}};
  b.matmul(out, t.h.data(), 1);
}

void row(const std::string& name, const std::string& value, const std::string& note) {
  std::printf("%-44s %-24s %s\n", name.c_str(), value.c_str(), note.c_str());
  std::fflush(stdout);
}
std::string format(const char* f, double a, double b = 0, double c = 0) {
  char text[128];
  std::snprintf(text, sizeof text, f, a, b, c);
  return text;
}

bool fine(CudaBackend& b) {
  if (auto r = b.synchronize(); !r) {
    std::printf("%s\n", r.error().message.c_str());
    return false;
  }
  return true;
}

void bench_kernels(CudaBackend& b, const Model& m, double bandwidth) {
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
          a.activations = {q, reinterpret_cast<float2*>(q + 131072)};
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
  fine(b);
}

void bench_model(CudaBackend& b, const Shape& s, DType type, DType down_type, DType output_type,
                 double bandwidth, bool full) {
  const int32_t n_cells = full ? 9216 : 2560;
  Model m;
  if (!make_model(b, s, type, down_type, output_type, n_cells, m)) return;
  const std::string name = std::string(s.name) + " " + std::string(type_traits(type)->name);
  auto kv = b.create_kv(m.ops.kv);
  auto program = b.compile_decode(m.ops);
  if (!kv || !program) {
    std::printf("%s\n", (!kv ? kv.error() : program.error()).message.c_str());
    return;
  }
  row(name + " load", format("%.2f s", m.load_seconds),
      format("%.2f GB read a token, limit %.0f tok/s", m.read_bytes / 1e9,
             bandwidth / m.read_bytes));
  {
    // Every cell holds something: zeros would flatter the chip.
    const size_t row_size = static_cast<size_t>(s.n_kv_head) * kHeadDim;
    Floats some(b, Random(5).normal(512 * row_size));
    for (int32_t l = 0; l < s.n_layer; ++l)
      for (int32_t first = 0; first < n_cells; first += 512)
        b.kv_write(**kv, l, first, 512, some.data(), some.data());
    if (!fine(b)) return;
  }
  constexpr int kSteps = 48;
  std::vector<int32_t> out(kSteps);
  const double kv_cell = 2.0 * s.n_layer * s.n_kv_head * kHeadDim * 2;
  const auto decode = [&](int32_t first) {
    bool good = true;
    const Timing t = time_host(7, [&] {
      auto r = (*program)->run_ahead(1, **kv, first, out);
      if (!r && good) std::printf("%s\n", r.error().message.c_str());
      good = good && r.has_value();
    });
    const double ms = t.median / kSteps, bytes = m.read_bytes + kv_cell * (first + kSteps / 2.0);
    row(name + " decode at " + std::to_string(first) + " cells",
        format("%.0f tok/s (+-%.1f%%)", 1e3 / ms, 100 * t.spread / t.median),
        format("%.3f ms, %.0f%% of the limit %.0f", ms, 100 * bytes / (ms * 1e-3) / bandwidth,
               bandwidth / bytes));
    return ms;
  };
  const double single = decode(64);
  if (full) {
    decode(2048);
    decode(8192);
  }
  {
    std::vector<int32_t> best(1);
    int32_t id = 1, cell = 64;
    const Timing t = time_host(40, [&] {
      if ((*program)->step(std::span(&id, 1), **kv, cell++, nullptr, nullptr, best)) id = best[0];
    });
    row(name + " decode, host reads every token", format("%.0f tok/s", 1e3 / t.median), "");
  }
  for (const int32_t n : {2, 4, 8}) {
    const std::vector<int32_t> ids(static_cast<size_t>(n), 5);
    std::vector<int32_t> best(ids.size());
    const Timing t = time_host(40, [&] {
      if (auto r = (*program)->step(ids, **kv, 64, nullptr, nullptr, best); !r)
        std::printf("%s\n", r.error().message.c_str());
    });
    row(name + " verify " + std::to_string(n), format("%.3f ms", t.median),
        format("%.2f single steps", t.median / single));
  }
  if (full) {
    // Five characters typed are at most five tokens, and the first token comes out of their pass.
    const std::vector<int32_t> ids(5, 7);
    std::vector<int32_t> best(ids.size());
    const Timing t = time_host(40, [&] {
      if (auto r = (*program)->step(ids, **kv, 2048, nullptr, nullptr, best); !r)
        std::printf("%s\n", r.error().message.c_str());
    });
    row(name + " 5 typed at a warm 2048",
        format("%.2f ms (+-%.1f%%)", t.median, 100 * t.spread / t.median), "fused step");
  }
  bench_kernels(b, m, bandwidth);
  if (!full) return;
  for (const size_t n : {size_t{5}, size_t{256}, size_t{512}, size_t{2048}}) {
    Activity activity(b, s, n);
    std::vector<int32_t> ids(n);
    for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i * 37 % 32000);
    const int32_t first = n == 5 ? 2048 : 0;
    const Timing t = time_host(5, [&] {
      forward(b, m, activity, **kv, ids, first);
      fine(b);
    });
    row(name + " prefill " + std::to_string(n) + " at " + std::to_string(first),
        format("%.0f tok/s", static_cast<double>(n) / t.median * 1e3), format("%.2f ms", t.median));
  }
}

/// Attention alone, mask off and pruning, by context: a file of bodies of 60 tokens.
void bench_attention(CudaBackend& b) {
  const Shape& s = k6_7b;
  for (const int32_t n : {2048, 8192}) {
    auto kv = b.create_kv({1, s.n_kv_head, kHeadDim, kHeadDim, n, DType::f16});
    if (!kv) return;
    Random random(3);
    const size_t row_size = static_cast<size_t>(s.n_head) * kHeadDim;
    const std::vector<float> values = random.normal(static_cast<size_t>(n) * row_size);
    Floats q(b, values), out(b, values.size());
    b.kv_write(**kv, 0, 0, n, q.data(), q.data());
    TokenStructure cells;
    for (int32_t i = 0; i < n; ++i)
      cells.push_back(i % 80 < 20 ? TokenLabel{0, INT32_MAX, i}
                                  : TokenLabel{1 + i / 80, 1 + i / 80, i});
    for (const int32_t tokens : {n, 1}) {
      double off = 0;
      for (const bool prune : {false, true}) {
        AttentionArgs a;
        a.q = q.data();
        a.out = out.data();
        a.kv = kv->get();
        a.n_tokens = tokens;
        a.first_cell = n - tokens;
        a.n_head = s.n_head;
        a.scale = 0.088f;
        a.cells = &cells;
        VisibleBlocks visible;
        double share = 0;
        if (prune) {
          a.mode = StructureMode::prune;
          visible = visible_blocks(cells, a.first_cell, tokens, a.prune, b.query_tile(tokens),
                                   b.key_block());
          a.visible = &visible;
          double all = 0;
          for (int32_t t = 0; t < tokens; t += visible.query_tile)
            all += (a.first_cell + std::min(tokens, t + visible.query_tile) + kKeyBlock - 1) /
                   kKeyBlock;
          share = 1 - static_cast<double>(visible.blocks.size()) / all;
        }
        // Layers 0, 0, ...: every call uploads labels and lists, as the first layer of a pass does;
        // a second and a third call in the same region, with ascending layers, would not.
        const Timing t = time_device(b, 9, [&] { b.attention(a); });
        if (!prune) off = t.median;
        const double flops = 4.0 * kHeadDim * s.n_head *
                             (static_cast<double>(tokens) * (n - tokens) + 0.5 * tokens * tokens);
        row("attention " + std::to_string(tokens) + " of " + std::to_string(n) +
                (prune ? " prune" : " off"),
            format("%.3f ms", t.median),
            prune ? format("%.0f%% of blocks skipped, %.2fx, list upload included", 100 * share,
                           off / t.median)
                  : format("%.0f TFLOP/s", flops / t.median / 1e9));
      }
    }
    fine(b);
  }
}

}  // namespace

void bench(CudaBackend& b, const std::string& only) {
  const auto wanted = [&](const char* name) {
    return only.empty() || std::string(name).find(only) != std::string::npos;
  };
  const double bandwidth = copy_bandwidth(b);
  row("device-to-device copy", format("%.0f GB/s", bandwidth / 1e9),
      "read and written bytes counted");
  using D = DType;
  if (wanted("6.7B Q4_K")) bench_model(b, k6_7b, D::q4_k, D::q4_k, D::q6_k, bandwidth, true);
  if (wanted("6.7B Q8_0")) bench_model(b, k6_7b, D::q8_0, D::q8_0, D::q8_0, bandwidth, false);
  if (wanted("1.3B Q4_K")) bench_model(b, k1_3b, D::q4_k, D::q5_0, D::q6_k, bandwidth, false);
  if (wanted("attention")) bench_attention(b);
  fine(b);
}

}  // namespace cambium::engine::cuda::verify
