// The fused decode step against the same model run op by op.
#include <cstring>
#include <thread>

#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace {

struct Shape {
  const char* name;
  int32_t n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab;
  DType type, v_type, down_type, output_type;
  RopeLayout layout;
  bool bias, qk_norm;
  DType kv;
  StructureMode mode = StructureMode::off;
  int32_t n_layer = 3;
};

constexpr float kEps = 1e-6f;

/// A small model with its weights.
struct Model {
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<float> freq, alpha, beta;
  DecoderOps ops;
};

bool make_model(CudaBackend& b, Random& random, Report& report, const Shape& s, Model& m) {
  bool good = true;
  const auto keep = [&](const HostMatrix& w, WeightUse use) -> const Weight* {
    auto r = b.load_weight(w.view, use);
    good = report.expect_value(r, "load") && good;
    if (!r) return nullptr;
    m.weights.push_back(std::move(*r));
    return m.weights.back().get();
  };
  const auto matrix = [&](DType type, int64_t rows, int64_t cols) {
    return keep(random_matrix(random, type, rows, cols, 1.0f / std::sqrt(static_cast<float>(cols))),
                WeightUse::matmul);
  };
  const auto vector = [&](int64_t n, float mean) {
    std::vector<float> values = random.normal(static_cast<size_t>(n), 0.2f);
    for (float& v : values) v += mean;
    auto r = b.load_weight({DType::f32, 1, n, reinterpret_cast<const std::byte*>(values.data())},
                           WeightUse::vector);
    good = report.expect_value(r, "load") && good;
    if (!r) return static_cast<const Weight*>(nullptr);
    m.weights.push_back(std::move(*r));
    return static_cast<const Weight*>(m.weights.back().get());
  };
  const int32_t q_rows = s.n_head * s.head_dim, kv_rows = s.n_kv_head * s.head_dim;
  m.ops.token_embd = matrix(DType::q8_0, s.n_vocab, s.n_embd);
  m.ops.output = matrix(s.output_type, s.n_vocab, s.n_embd);
  m.ops.output_norm = vector(s.n_embd, 1);
  m.alpha = random.normal(3 * static_cast<size_t>(s.n_head), 0.3f);
  m.beta = random.normal(3 * static_cast<size_t>(s.n_head), 0.5f);
  for (int32_t i = 0; i < s.n_layer; ++i) {
    DecoderOps::Layer l;
    l.attn_norm = vector(s.n_embd, 1);
    l.wq = matrix(s.type, q_rows, s.n_embd);
    l.wk = matrix(s.type, kv_rows, s.n_embd);
    l.wv = matrix(s.v_type, kv_rows, s.n_embd);
    l.wo = matrix(s.type, s.n_embd, q_rows);
    if (s.bias) {
      l.bq = vector(q_rows, 0);
      l.bk = vector(kv_rows, 0);
      l.bv = vector(kv_rows, 0);
    }
    if (s.qk_norm) {
      l.q_norm = vector(s.head_dim, 1);
      l.k_norm = vector(s.head_dim, 1);
    }
    l.ffn_norm = vector(s.n_embd, 1);
    l.w_gate = matrix(s.type, s.n_ff, s.n_embd);
    l.w_up = matrix(s.type, s.n_ff, s.n_embd);
    l.w_down = matrix(s.down_type, s.n_embd, s.n_ff);
    l.mode = i == 1 ? s.mode : StructureMode::off;
    l.emphasis_scale = m.alpha.data();
    l.emphasis_bias = m.beta.data();
    m.ops.layers.push_back(l);
  }
  m.freq.resize(static_cast<size_t>(s.head_dim / 2));
  for (size_t i = 0; i < m.freq.size(); ++i)
    m.freq[i] = std::pow(1e4f, -2.0f * static_cast<float>(i) / static_cast<float>(s.head_dim));
  m.ops.n_head = s.n_head;
  m.ops.norm_eps = kEps;
  m.ops.attention_scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  m.ops.rope = {s.layout, m.freq, 1.0f};
  m.ops.prune = {16, 2};
  m.ops.kv = {s.n_layer, s.n_kv_head, s.head_dim, s.head_dim, 256, s.kv};
  return good;
}

/// Logits of all tokens, op by op.
std::vector<float> forward(CudaBackend& b, Report& report, const Model& m, const Shape& s,
                           KvStore& kv, std::span<const int32_t> ids, int32_t first,
                           const TokenStructure* cells) {
  const auto n = static_cast<int32_t>(ids.size());
  const auto size = [&](int32_t row) { return static_cast<size_t>(n) * static_cast<size_t>(row); };
  Floats x(b, size(s.n_embd)), h(b, size(s.n_embd)), q(b, size(s.n_head * s.head_dim)),
      k(b, size(s.n_kv_head * s.head_dim)), v(b, size(s.n_kv_head * s.head_dim)),
      mixed(b, size(s.n_head * s.head_dim)), gate(b, size(s.n_ff)), up(b, size(s.n_ff)),
      logits(b, size(s.n_vocab));
  VisibleBlocks visible;
  b.embed(*m.ops.token_embd, ids, x.data());
  for (int32_t i = 0; i < s.n_layer; ++i) {
    const DecoderOps::Layer& l = m.ops.layers[static_cast<size_t>(i)];
    b.rms_norm(x.data(), *l.attn_norm, kEps, n, h.data());
    const MatmulTarget qkv[] = {
        {l.wq, q.data(), l.bq}, {l.wk, k.data(), l.bk}, {l.wv, v.data(), l.bv}};
    b.matmul(qkv, h.data(), n);
    if (l.q_norm != nullptr) b.rms_norm(q.data(), *l.q_norm, kEps, n * s.n_head, q.data());
    if (l.k_norm != nullptr) b.rms_norm(k.data(), *l.k_norm, kEps, n * s.n_kv_head, k.data());
    b.rope(q.data(), m.ops.rope, first, n, s.n_head, s.head_dim);
    b.rope(k.data(), m.ops.rope, first, n, s.n_kv_head, s.head_dim);
    b.kv_write(kv, i, first, n, k.data(), v.data());
    AttentionArgs a;
    a.q = q.data();
    a.out = mixed.data();
    a.kv = &kv;
    a.layer = i;
    a.n_tokens = n;
    a.first_cell = first;
    a.n_head = s.n_head;
    a.scale = m.ops.attention_scale;
    a.mode = l.mode;
    a.cells = cells;
    a.prune = m.ops.prune;
    a.emphasis_scale = l.emphasis_scale;
    a.emphasis_bias = l.emphasis_bias;
    a.sparse = m.ops.sparse;
    if (cells != nullptr && l.mode == StructureMode::prune) {
      visible = visible_blocks(*cells, first, n, m.ops.prune, b.query_tile(n), b.key_block());
      a.visible = &visible;
    }
    b.attention(a);
    const MatmulTarget attn_out[] = {{l.wo, x.data(), nullptr, true}};
    b.matmul(attn_out, mixed.data(), n);
    b.rms_norm(x.data(), *l.ffn_norm, kEps, n, h.data());
    const MatmulTarget gate_up[] = {{l.w_gate, gate.data()}, {l.w_up, up.data()}};
    b.matmul(gate_up, h.data(), n);
    b.silu_mul(gate.data(), up.data(), gate.data(), static_cast<int64_t>(n) * s.n_ff);
    const MatmulTarget ffn_out[] = {{l.w_down, x.data(), nullptr, true}};
    b.matmul(ffn_out, gate.data(), n);
  }
  b.rms_norm(x.data(), *m.ops.output_norm, kEps, n, h.data());
  const MatmulTarget out[] = {{m.ops.output, logits.data()}};
  b.matmul(out, h.data(), n);
  return logits.read(b, report);
}

int32_t best_of(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// A backend's way of rows for as long as this is there.
struct WithStepRows {
  CudaBackend& b;
  WithStepRows(CudaBackend& backend, StepRows rows) : b(backend) { b.set_step_rows(rows); }
  ~WithStepRows() { b.set_step_rows(StepRows::by_width); }
  WithStepRows(const WithStepRows&) = delete;
  WithStepRows& operator=(const WithStepRows&) = delete;
};

void check_shape(CudaBackend& b, Random& random, Report& report, const Shape& s,
                 const StepRowsCase& rows) {
  const WithStepRows way(b, rows.rows);
  const std::string name = std::string(s.name) + ", " + rows.name;
  Model m;
  if (!make_model(b, random, report, s, m)) return;
  auto kv_ops = b.create_kv(m.ops.kv), kv_fused = b.create_kv(m.ops.kv),
       kv_single = b.create_kv(m.ops.kv);
  auto program = b.compile_decode(m.ops);
  if (!report.expect_value(kv_ops, "kv") || !report.expect_value(kv_fused, "kv") ||
      !report.expect_value(kv_single, "kv") || !report.expect_value(program, "compile"))
    return;
  const int32_t prompt = 45, steps[] = {1, 8, 1, 3, 2, 8, 5};
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < prompt + 28; ++i) ids.push_back(random.below(s.n_vocab));
  TokenStructure cells;
  for (int32_t i = 0; i < static_cast<int32_t>(ids.size()); ++i)
    // A body of nine tokens after the other, the last three of each in an inner one.
    cells.push_back(i % 9 < 6 ? TokenLabel{1 + 4 * (i / 9), 4 + 4 * (i / 9), i}
                              : TokenLabel{2 + 4 * (i / 9), 3 + 4 * (i / 9), i});
  const TokenStructure* structure = s.mode == StructureMode::off ? nullptr : &cells;
  for (KvStore* kv : {kv_ops->get(), kv_fused->get(), kv_single->get()})
    forward(b, report, m, s, *kv, std::span(ids).first(prompt), 0, structure);

  const auto vocab = static_cast<size_t>(s.n_vocab);
  int32_t at = prompt;
  double fused_error = 0, ops_error = 0;
  auto kv_exact = b.create_kv(m.ops.kv);
  if (!report.expect_value(kv_exact, "kv")) return;
  const std::vector<float> exact = forward(b, report, m, s, **kv_exact, ids, 0, structure);
  for (const int32_t n : steps) {
    const auto tokens =
        std::span<const int32_t>(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(n));
    const std::vector<float> want = forward(b, report, m, s, **kv_ops, tokens, at, structure);
    const std::string label = name + " cell " + std::to_string(at) + " n " + std::to_string(n);
    const auto run = [&](KvStore& kv, std::span<const int32_t> part, int32_t first) {
      VisibleBlocks visible;
      const auto count = static_cast<int32_t>(part.size());
      const bool pruned = structure != nullptr && s.mode == StructureMode::prune;
      if (pruned)
        visible =
            visible_blocks(cells, first, count, m.ops.prune, b.query_tile(count), b.key_block());
      std::vector<BestToken> best(part.size(), {-1, 1});
      std::vector<float> logits(part.size() * vocab, NAN);
      report.expect_value(
          (*program)->step(part, kv, first, structure, pruned ? &visible : nullptr, best), label);
      report.expect_value((*program)->logits(logits), label + " logits");
      for (size_t i = 0; i < part.size(); ++i) {
        const auto row = std::span(logits).subspan(i * vocab, vocab);
        report.expect(best[i].id == best_of(row), label + " choice");
        double sum = 0;
        for (const float l : row) sum += std::exp(static_cast<double>(l) - row[0]);
        const double logprob =
            static_cast<double>(row[static_cast<size_t>(best_of(row))]) - row[0] - std::log(sum);
        report.expect(std::abs(best[i].logprob - logprob), 1e-3, label + " log-probability");
      }
      return logits;
    };
    const std::vector<float> got = run(**kv_fused, tokens, at);
    // Two int8 runs whose norms differ in a last bit round apart within a few layers, so each is
    // judged by its distance from one pass over all tokens, which multiplies F16 with F16.
    const std::span<const float> fine =
        std::span(exact).subspan(static_cast<size_t>(at) * vocab, got.size());
    fused_error += relative_error(got, fine);
    ops_error += relative_error(want, fine);
    report.expect(relative_error(got, want), 4e-2, label);
    std::vector<float> alone;
    for (int32_t i = 0; i < n; ++i) {
      const std::vector<float> one =
          run(**kv_single, tokens.subspan(static_cast<size_t>(i), 1), at + i);
      alone.insert(alone.end(), one.begin(), one.end());
    }
    report.expect(std::memcmp(alone.data(), got.data(), got.size() * sizeof(float)) == 0,
                  label + " differs token by token");
    at += n;
  }
  std::printf("  %-36s from F16: fused %.4f, op by op %.4f\n", name.c_str(),
              fused_error / static_cast<double>(std::size(steps)),
              ops_error / static_cast<double>(std::size(steps)));
  report.expect(fused_error, 1.3 * ops_error + 1e-3, name + " against F16");
}

/// Every kernel of a step, and few of each: a sanitizer is a thousand times as slow.
void check_small(CudaBackend& b, Random& random, Report& report, const Shape& s) {
  Model m;
  if (!make_model(b, random, report, s, m)) return;
  for (const StepRowsCase& rows : kStepRows) {
    const WithStepRows way(b, rows.rows);
    const std::string name = std::string(s.name) + ", " + rows.name;
    auto kv = b.create_kv(m.ops.kv), kv_ops = b.create_kv(m.ops.kv);
    auto program = b.compile_decode(m.ops);
    if (!report.expect_value(kv, "kv") || !report.expect_value(kv_ops, "kv") ||
        !report.expect_value(program, "compile"))
      return;
    int32_t at = 0;
    for (const int32_t n : {1, 8, 1}) {
      std::vector<int32_t> ids;
      for (int32_t i = 0; i < n; ++i) ids.push_back(random.below(s.n_vocab));
      std::vector<BestToken> best(ids.size());
      std::vector<float> logits(ids.size() * static_cast<size_t>(s.n_vocab), NAN);
      report.expect_value((*program)->step(ids, **kv, at, nullptr, nullptr, best), name);
      report.expect_value((*program)->logits(logits), name);
      const std::vector<float> want = forward(b, report, m, s, **kv_ops, ids, at, nullptr);
      report.expect(relative_error(logits, want), 4e-2, name + " a small step");
      at += n;
    }
  }
}

/// Steps that choose their blocks: one graph over many cells, from the last dense one on.
void check_sparse_shape(CudaBackend& b, Random& random, Report& report, const Shape& s) {
  constexpr int32_t kPrompt = 1795, kFrom = 1800, kCells = 1880;
  // With the next block to choose from at every 32nd cell.
  constexpr SparseRule kRule{.from = kFrom, .sinks = 33, .window = 1};
  Model m;
  if (!make_model(b, random, report, s, m)) return;
  m.ops.kv.n_cells = kCells;
  auto dense = b.compile_decode(m.ops);
  m.ops.sparse = kRule;
  auto sparse = b.compile_decode(m.ops);
  if (!report.expect_value(dense, "compile") || !report.expect_value(sparse, "compile")) return;
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < kCells; ++i) ids.push_back(random.below(s.n_vocab));
  enum { fused, alone, ops, plain, again, kStores };
  std::vector<std::unique_ptr<KvStore>> stores;
  for (int i = 0; i < kStores; ++i) {
    auto kv = b.create_kv(m.ops.kv);
    if (!report.expect_value(kv, "kv")) return;
    forward(b, report, m, s, **kv, std::span(ids).first(kPrompt), 0, nullptr);
    stores.push_back(std::move(*kv));
  }
  const std::string name = std::string(s.name) + " sparse";
  const auto run = [&](DecodeProgram& program, int store, std::span<const int32_t> tokens,
                       int32_t at) {
    std::vector<BestToken> best(tokens.size(), {-1, 1});
    std::vector<float> logits(tokens.size() * static_cast<size_t>(s.n_vocab), NAN);
    report.expect_value(
        program.step(tokens, *stores[static_cast<size_t>(store)], at, nullptr, nullptr, best),
        name);
    report.expect_value(program.logits(logits), name + " logits");
    for (size_t i = 0; i < best.size(); ++i)
      report.expect(
          best[i].id == best_of(std::span(logits).subspan(i * static_cast<size_t>(s.n_vocab),
                                                          static_cast<size_t>(s.n_vocab))),
          name + " choice");
    return logits;
  };
  const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  };
  const auto part = [&](int32_t at, int32_t n) {
    return std::span<const int32_t>(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(n));
  };
  int32_t at = kPrompt;
  double apart = 0;
  for (const int32_t n : {1, 2, 8, 1, 3, 8, 8, 5, 8, 1, 8, 8, 4}) {
    const std::string label = name + " cell " + std::to_string(at) + " n " + std::to_string(n);
    const std::vector<float> got = run(**sparse, fused, part(at, n), at);
    const std::vector<float> want =
        forward(b, report, m, s, *stores[ops], part(at, n), at, nullptr);
    // Where two blocks are worth the same, rounding decides.
    report.expect(relative_error(got, want), 8e-2, label);
    std::vector<float> singles;
    for (int32_t i = 0; i < n; ++i) {
      const std::vector<float> one = run(**sparse, alone, part(at + i, 1), at + i);
      singles.insert(singles.end(), one.begin(), one.end());
    }
    report.expect(same(singles, got), label + " differs token by token");
    const std::vector<float> all = run(**dense, plain, part(at, n), at);
    if (at + n <= kFrom) report.expect(same(all, got), label + " differs from dense");
    if (at >= kFrom) apart = std::max(apart, relative_error(got, all));
    at += n;
  }
  std::printf("  %-24s from dense: %.4f\n", s.name, apart);
  report.expect(apart > 1e-3, name + " leaves nothing out");
  // Cut off before blocks that were chosen from, and written anew; beside it a cache that never held
  // anything else.
  for (size_t i = kPrompt; i < ids.size(); ++i) ids[i] = random.below(s.n_vocab);
  for (at = kPrompt; at + 8 <= kCells; at += 8)
    report.expect(
        same(run(**sparse, fused, part(at, 8), at), run(**sparse, again, part(at, 8), at)),
        name + " after a cut, cell " + std::to_string(at));
}

}  // namespace

void check_sparse_steps(CudaBackend& b, Random& random, Report& report) {
  using D = DType;
  report.group("sparse fused step");
  for (const Shape& s : {Shape{"llama Q4_K", 256, 512, 8, 2, 64, 300, D::q4_k, D::q4_k, D::q4_k,
                               D::q6_k, RopeLayout::interleaved, false, false, D::f16},
                         Shape{"qwen3 Q8_0, Q8_0 cache", 256, 512, 3, 3, 128, 301, D::q8_0, D::q8_0,
                               D::q8_0, D::q8_0, RopeLayout::split, false, true, D::q8_0}})
    check_sparse_shape(b, random, report, s);
}

void check_decode(CudaBackend& b, Random& random, Report& report) {
  using D = DType;
  constexpr Shape kShapes[] = {
      {"llama Q4_K", 512, 1024, 4, 4, 128, 500, D::q4_k, D::q6_k, D::q6_k, D::q6_k,
       RopeLayout::interleaved, false, false, D::f16},
      // A row of down is longer than what a block quantizes for itself, and than its stages.
      {"llama Q4_K, wide", 256, 8448, 2, 2, 128, 300, D::q4_k, D::q4_k, D::q4_k, D::q6_k,
       RopeLayout::interleaved, false, false, D::f16},
      // More pairs of row tiles than the multiprocessors of most devices, and not a multiple.
      {"llama Q4_K, long rows", 512, 4512, 4, 2, 128, 300, D::q4_k, D::q4_k, D::q5_0, D::q6_k,
       RopeLayout::interleaved, false, false, D::f16, StructureMode::off, 2},
      {"llama Q4_K, Q5_0 down", 512, 672, 4, 2, 128, 301, D::q4_k, D::q4_k, D::q5_0, D::q8_0,
       RopeLayout::interleaved, false, false, D::f16},
      {"qwen2 Q5_K", 512, 768, 12, 2, 64, 300, D::q5_k, D::q5_k, D::q5_k, D::q6_k,
       RopeLayout::split, true, false, D::f16},
      {"qwen3 Q8_0", 256, 768, 8, 2, 64, 300, D::q8_0, D::q8_0, D::q8_0, D::q8_0, RopeLayout::split,
       false, true, D::f16},
      {"llama Q4_0, Q8_0 cache", 256, 512, 4, 4, 64, 300, D::q4_0, D::q4_1, D::q5_1, D::q4_0,
       RopeLayout::interleaved, false, false, D::q8_0},
      {"llama F16", 256, 512, 4, 4, 64, 300, D::f16, D::bf16, D::f16, D::f32,
       RopeLayout::interleaved, false, false, D::f16},
      {"cambium Q4_K prune", 256, 512, 4, 4, 64, 300, D::q4_k, D::q4_k, D::q4_k, D::q6_k,
       RopeLayout::interleaved, false, true, D::f16, StructureMode::prune},
      {"cambium Q4_K emphasis", 256, 512, 4, 4, 64, 300, D::q4_k, D::q4_k, D::q4_k, D::q6_k,
       RopeLayout::interleaved, false, false, D::f16, StructureMode::emphasis}};
  report.group("fused decode step");
  for (const Shape& s : kShapes)
    for (const StepRowsCase& rows : kStepRows) check_shape(b, random, report, s, rows);
}

void check_sanitize(CudaBackend& b, Random& random, Report& report) {
  using D = DType;
  report.group("small fused steps");
  check_small(b, random, report,
              {"llama Q4_K", 256, 256, 4, 4, 64, 48, D::q4_k, D::q4_k, D::q4_k, D::q6_k,
               RopeLayout::interleaved, false, false, D::f16, StructureMode::off, 2});
  // Rows of two column tiles a warp, and several tokens twice: what is made ready goes by turns.
  check_small(b, random, report,
              {"llama Q8_0", 512, 2176, 4, 2, 128, 48, D::q8_0, D::q8_0, D::q5_0, D::q8_0,
               RopeLayout::split, true, false, D::f16, StructureMode::off, 2});
  check_rows(b, random, report, true);
  check_latent_small(random, report);
}

void check_devices(Random& random, Report& report) {
  report.group("two backends by turns");
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count < 1) return;
  const int second = count > 1 ? 1 : 0;
  std::printf("  device 0 and device %d\n", second);
  auto first_backend = CudaBackend::create(0), other_backend = CudaBackend::create(second);
  if (!report.expect_value(first_backend, "device 0") ||
      !report.expect_value(other_backend, "the other device"))
    return;
  CudaBackend* backends[] = {first_backend->get(), other_backend->get()};
  constexpr size_t kN = 5000;
  const std::vector<float> x = random.normal(kN), y = random.normal(kN);
  std::vector<float> want = y;
  for (size_t i = 0; i < kN; ++i) want[i] += 3 * x[i];
  // Ops of both, one after the other, on this thread and on one that has chosen no device.
  const auto by_turns = [&] {
    Floats xs[] = {{*backends[0], x}, {*backends[1], x}};
    Floats ys[] = {{*backends[0], y}, {*backends[1], y}};
    for (int round = 0; round < 3; ++round)
      for (size_t d = 0; d < 2; ++d)
        backends[d]->add(xs[d].data(), ys[d].data(), static_cast<int64_t>(kN));
    for (size_t d = 0; d < 2; ++d)
      report.expect(relative_error(ys[d].read(*backends[d], report), want), 1e-5,
                    "ops of backend " + std::to_string(d));
  };
  by_turns();
  std::thread(by_turns).join();
  using D = DType;
  cudaSetDevice(0);
  for (CudaBackend* b : backends)
    check_small(*b, random, report,
                {"qwen3 Q8_0", 256, 256, 2, 2, 64, 48, D::q8_0, D::q8_0, D::q8_0, D::q8_0,
                 RopeLayout::split, false, true, D::f16, StructureMode::off, 2});
}

}  // namespace cambium::engine::cuda::verify
