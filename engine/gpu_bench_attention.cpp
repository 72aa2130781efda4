#include "engine/gpu_bench_parts.h"

namespace cambium::engine {
namespace {

/// Labels of a file as people write them: a class of methods after the other, 8 lines of outer code
/// between them, methods of 20 to 200 tokens with a loop inside.
TokenStructure file_labels(int32_t n) {
  TokenStructure labels;
  uint32_t state = 12345;
  const auto below = [&](uint32_t m) {
    return static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 8) %
           static_cast<int32_t>(m);
  };
  int32_t scope = 0;
  const auto put = [&](int32_t count, TokenLabel label) {
    for (int32_t i = 0; i < count && static_cast<int32_t>(labels.size()) < n; ++i) {
      label.place = static_cast<int32_t>(labels.size());
      labels.push_back(label);
    }
  };
  while (static_cast<int32_t>(labels.size()) < n) {
    put(20 + below(60), {0, INT32_MAX, 0});
    const int32_t methods = 4 + below(12), outer = scope + 1;
    const int32_t last = outer + 2 * methods;
    scope = outer;
    for (int32_t m = 0; m < methods; ++m) {
      put(10 + below(20), {outer, last, 0});  // the signature
      const int32_t body = ++scope, inner = ++scope;
      put(20 + below(100), {body, inner, 0});
      put(below(80), {inner, inner, 0});
      put(5 + below(20), {body, inner, 0});
    }
  }
  return labels;
}

}  // namespace

Result<void> add_attention(Backend& backend, GpuReport& report) {
  constexpr int32_t kHeads = 32, kDim = 128, kLayers = 4;
  for (const int32_t n : {2048, 8192, 16384}) {
    auto kv = backend.create_kv({kLayers, kHeads, kDim, kDim, n, DType::f16});
    if (!kv) return tl::unexpected(kv.error());
    const auto row = static_cast<size_t>(kHeads) * kDim;
    std::vector<float> values(static_cast<size_t>(n) * row);
    uint32_t state = 7;
    for (float& v : values)
      v = static_cast<float>(static_cast<int32_t>(state = state * 1664525u + 1013904223u)) /
          1073741824.0f;
    auto q = backend.allocate(values.size() * sizeof(float));
    auto out = backend.allocate(values.size() * sizeof(float));
    if (!q) return tl::unexpected(q.error());
    if (!out) return tl::unexpected(out.error());
    backend.upload((*q)->data(), values.data(), values.size() * sizeof(float));
    for (int32_t l = 0; l < kLayers; ++l) backend.kv_write(**kv, l, 0, n, (*q)->f32(), (*q)->f32());
    const TokenStructure labels = file_labels(n);
    for (const int32_t tokens : {n, 1}) {
      double off = 0;
      for (const bool prune : {false, true}) {
        AttentionArgs a;
        a.q = (*q)->f32();
        a.out = (*out)->f32();
        a.kv = kv->get();
        a.n_tokens = tokens;
        a.first_cell = n - tokens;
        a.n_head = kHeads;
        a.scale = 0.088f;
        a.cells = &labels;
        VisibleBlocks visible;
        double skipped = 0;
        if (prune) {
          a.mode = StructureMode::prune;
          visible = visible_blocks(labels, a.first_cell, tokens, a.prune,
                                   backend.query_tile(tokens), backend.key_block());
          a.visible = &visible;
          double all = 0;
          for (int32_t t = 0; t < tokens; t += visible.query_tile)
            all +=
                (a.first_cell + std::min(tokens, t + visible.query_tile) + visible.key_block - 1) /
                visible.key_block;
          skipped = 1 - static_cast<double>(visible.blocks.size()) / all;
        }
        Result<void> done;
        const int32_t calls = tokens == 1 ? 8 : 1;
        const Timing t = repeated(9, [&] {
          const auto start = Clock::now();
          for (int32_t call = 0; call < calls; ++call)
            for (a.layer = 0; a.layer < kLayers; ++a.layer) backend.attention(a);
          done = backend.synchronize();
          return done ? ms_since(start) / calls / kLayers : -1.0;
        });
        if (!done) return done;
        if (!prune) off = t.median;
        GpuFigure figure;
        figure.name = format("attention of %d in %d cells, %s", tokens, n, prune ? "prune" : "off");
        figure.value = t.median * 1e3;
        figure.unit = "us";
        figure.spread = t.spread;
        figure.less_is_better = true;
        if (tokens == 1 && report.copy_bandwidth > 0)
          figure.share =
              (1 - skipped) * 4.0 * kHeads * kDim * n / (t.median * 1e-3) / report.copy_bandwidth;
        if (tokens > 1 && report.matrix_rate > 0)
          figure.share =
              (1 - skipped) * 2.0 * kHeads * kDim * n * n / (t.median * 1e-3) / report.matrix_rate;
        if (prune)
          figure.note = format("%.0f %% of the blocks skipped, %.2f times as fast as off",
                               100 * skipped, off / t.median);
        report.figures.push_back(std::move(figure));
      }
    }
  }
  return {};
}

}  // namespace cambium::engine
