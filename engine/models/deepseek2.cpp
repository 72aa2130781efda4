#include "engine/models/deepseek2.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/models/deepseek2_weights.h"
#include "engine/models/workspace.h"

namespace cambium::engine {

namespace {

// Activations of one pass, grown to the longest pass so far.
struct Workspace {
  int32_t n_tokens = 0;
  BufferPtr x;       // [n_tokens, n_embd] the residual stream
  BufferPtr h;       // [n_tokens, n_embd] normalised
  BufferPtr q_a;     // [n_tokens, q_rank] compressed queries
  BufferPtr q;       // [n_tokens, n_head, nope + rope]
  BufferPtr q_cell;  // [n_tokens, n_head, rope + kv_rank] as the cache's vectors are
  BufferPtr kv_a;    // [n_tokens, kv_rank + rope]
  BufferPtr latent;  // [n_tokens, kv_rank] normalised
  BufferPtr cell;    // [n_tokens, rope + kv_rank] what the cache keeps
  BufferPtr mixed;   // [n_tokens, n_head, kv_rank] what attention gathered
  BufferPtr heads;   // [n_tokens, n_head, head_dim_v]
  BufferPtr gate;    // [n_tokens, widest FFN but the experts']
  BufferPtr up;      // the same
  BufferPtr router;  // [n_tokens, n_expert]
  BufferPtr ids;     // [n_tokens, n_used] i32
  BufferPtr share;   // [n_tokens, n_used]
  BufferPtr counts;  // [n_expert] u32, tokens an expert had, modulo 2^32
};

class Deepseek2 final : public Model {
 public:
  Deepseek2(std::shared_ptr<const GgufFile> file, ModelConfig config,
            std::unique_ptr<Backend> backend)
      : file_(std::move(file)), config_(std::move(config)), backend_(std::move(backend)) {}

  Result<void> load(const std::function<void(double)>& progress) {
    auto weights = load_deepseek2_weights(*file_, config_, *backend_, progress);
    if (!weights) return tl::unexpected(weights.error());
    weights_ = std::move(*weights);
    if (config_.experts) loads_.assign(static_cast<size_t>(config_.experts->rule.n_expert), 0);
    counted_.resize(loads_.size());
    if (auto ready = prepare(1, 0); !ready) return ready;
    return compile();
  }

  const ModelConfig& config() const override { return config_; }
  Backend& backend() override { return *backend_; }
  Result<std::unique_ptr<KvStore>> create_kv(int32_t n_cells) override {
    return backend_->create_kv(config_.kv_shape(n_cells));
  }
  // The device counts in 32 bits and is never set back: what it counted since the last time counts.
  Result<ExpertLoads> expert_loads() override {
    if (loads_.empty()) return loads_;
    std::vector<uint32_t> now(counted_.size());
    if (auto done =
            backend_->download(now.data(), work_.counts->data(), now.size() * sizeof(uint32_t));
        !done) {
      return tl::unexpected(done.error());
    }
    for (size_t e = 0; e < now.size(); ++e) loads_[e] += now[e] - counted_[e];
    counted_ = std::move(now);
    return loads_;
  }

  Result<PassResult> forward(const Pass& pass) override {
    const ModelConfig& c = config_;
    const LatentConfig& latent = *c.latent;
    const auto n = static_cast<int32_t>(pass.tokens.size());
    const auto n_rows = pass.ranked.empty() ? static_cast<int32_t>(pass.logits_at.size()) : 0;
    assert(n > 0 && n_rows <= kMaxLogitRows && pass.hidden.empty());
    assert(pass.first_cell + n <= pass.kv->shape.n_cells);
    if (auto ready = prepare(n, n_rows); !ready) return tl::unexpected(ready.error());
    if (fused_.takes(n)) return fused_.run(pass, {}, c.n_vocab, output_, {});
    fused_.forget();
    Backend& b = *backend_;
    float *x = work_.x->f32(), *h = work_.h->f32(), *q = work_.q->f32();
    float *q_cell = work_.q_cell->f32(), *kv_a = work_.kv_a->f32(), *c_kv = work_.latent->f32();
    float *cell = work_.cell->f32(), *mixed = work_.mixed->f32(), *heads = work_.heads->f32();
    const int32_t cell_dim = latent.rope + latent.kv_rank, head_k = c.head_dim_k;

    b.embed(*weights_.token_embd, pass.tokens, x);  // x [n, n_embd]

    for (int32_t l = 0; l < c.n_layer; ++l) {
      if (given_up(pass, b)) return fail(ErrorCode::cancelled, "the pass was given up");
      const Deepseek2Layer& layer = weights_.layers[static_cast<size_t>(l)];
      b.rms_norm(x, *layer.attn_norm, c.norm_eps, n, h);

      // Queries [n, n_head, nope | rope] and the token's latent and rotated parts [kv_rank | rope].
      if (layer.wq) {
        const MatmulTarget both[] = {{layer.wq.get(), q}, {layer.wkv_a.get(), kv_a}};
        b.matmul(both, h, n);
      } else {
        const MatmulTarget both[] = {{layer.wq_a.get(), work_.q_a->f32()},
                                     {layer.wkv_a.get(), kv_a}};
        b.matmul(both, h, n);
        b.rms_norm(work_.q_a->f32(), *layer.q_a_norm, c.norm_eps, n, work_.q_a->f32());
        const MatmulTarget up[] = {{layer.wq_b.get(), q}};
        b.matmul(up, work_.q_a->f32(), n);
      }

      // The cell: [rope(k_rope) | norm(latent)]. A query is brought to the same space, so that
      // q · cell = q_nope · (W_k · latent) + rope(q_rope) · rope(k_rope).
      b.copy_rows(kv_a, cell_dim, c_kv, latent.kv_rank, latent.kv_rank, n);
      b.rms_norm(c_kv, *layer.kv_a_norm, c.norm_eps, n, c_kv);
      b.copy_rows(kv_a + latent.kv_rank, cell_dim, cell, cell_dim, latent.rope, n);
      b.copy_rows(c_kv, latent.kv_rank, cell + latent.rope, cell_dim, latent.kv_rank, n);
      b.copy_rows(q + latent.nope, head_k, q_cell, cell_dim, latent.rope, int64_t{n} * c.n_head);
      b.head_matmul({layer.wk_b.get(), n, c.n_head, q, int64_t{c.n_head} * head_k, head_k,
                     q_cell + latent.rope, int64_t{c.n_head} * cell_dim, cell_dim});
      b.rope(q_cell, c.rope(), pass.first_cell, n, c.n_head, cell_dim);
      b.rope(cell, c.rope(), pass.first_cell, n, 1, cell_dim);
      b.kv_write(*pass.kv, l, pass.first_cell, n, cell, nullptr);

      AttentionArgs attention;  // mixed [n, n_head, kv_rank] = Σ weight · latent
      attention.q = q_cell;
      attention.out = mixed;
      attention.kv = pass.kv;
      attention.layer = l;
      attention.n_tokens = n;
      attention.first_cell = pass.first_cell;
      attention.n_head = c.n_head;
      attention.scale = c.attention_scale;
      attention.sparse = c.sparse;
      b.attention(attention);
      b.head_matmul({layer.wv_b.get(), n, c.n_head, mixed, int64_t{c.n_head} * latent.kv_rank,
                     latent.kv_rank, heads, int64_t{c.n_head} * c.head_dim_v, c.head_dim_v});
      const MatmulTarget attn_out[] = {{layer.wo.get(), x, nullptr, true}};
      b.matmul(attn_out, heads, n);

      if (given_up(pass, b)) return fail(ErrorCode::cancelled, "the pass was given up");
      b.rms_norm(x, *layer.ffn_norm, c.norm_eps, n, h);
      if (layer.router) {
        mixture(layer, n);
        if (layer.shared.gate)
          dense_ffn(layer.shared, int64_t{c.experts->n_ff} * c.experts->n_shared, n);
      } else {
        dense_ffn(layer.dense, c.n_ff, n);
      }
    }

    const OutputRows::Weights output{weights_.output_norm.get(), &weights_.output_matrix(),
                                     c.norm_eps};
    return output_.answer(b, output, x, h, pass, {});
  }

  Result<std::span<const float>> logits() override {
    if (!fused_.has_rows()) return Model::logits();
    return fused_.logits(config_.n_vocab, output_);
  }

 private:
  // x += W_down · (silu(W_gate · h) · W_up · h)
  void dense_ffn(const Deepseek2Ffn& ffn, int64_t n_ff, int32_t n) {
    float *h = work_.h->f32(), *gate = work_.gate->f32(), *up = work_.up->f32();
    const MatmulTarget gate_up[] = {{ffn.gate.get(), gate}, {ffn.up.get(), up}};
    backend_->matmul(gate_up, h, n);
    backend_->silu_mul(gate, up, gate, n * n_ff);
    const MatmulTarget down[] = {{ffn.down.get(), work_.x->f32(), nullptr, true}};
    backend_->matmul(down, gate, n);
  }

  // x += Σ over the chosen experts, weighted
  void mixture(const Deepseek2Layer& layer, int32_t n) {
    ExpertRule rule = config_.experts->rule;
    rule.bias = layer.router_bias.get();
    auto* ids = static_cast<int32_t*>(work_.ids->data());
    const MatmulTarget scores[] = {{layer.router.get(), work_.router->f32()}};
    backend_->matmul(scores, work_.h->f32(), n);
    backend_->route(work_.router->f32(), rule, n, ids, work_.share->f32(), counts());
    backend_->experts({layer.experts.gate.get(), layer.experts.up.get(), layer.experts.down.get(),
                       work_.h->f32(), ids, work_.share->f32(), n, rule.n_used, work_.x->f32()});
  }

  // A backend with a fused step gets the whole decoder; the ops stay for longer passes.
  Result<void> compile() {
    const ModelConfig& c = config_;
    LatentDecoderOps ops;
    ops.token_embd = weights_.token_embd.get();
    ops.output_norm = weights_.output_norm.get();
    ops.output = &weights_.output_matrix();
    const auto ffn = [](const Deepseek2Ffn& f) {
      return LatentDecoderOps::Ffn{f.gate.get(), f.up.get(), f.down.get()};
    };
    for (const Deepseek2Layer& w : weights_.layers) {
      LatentDecoderOps::Layer l;
      l.attn_norm = w.attn_norm.get();
      l.wq = w.wq.get();
      l.wq_a = w.wq_a.get();
      l.q_a_norm = w.q_a_norm.get();
      l.wq_b = w.wq_b.get();
      l.wkv_a = w.wkv_a.get();
      l.kv_a_norm = w.kv_a_norm.get();
      l.wk_b = w.wk_b.get();
      l.wv_b = w.wv_b.get();
      l.wo = w.wo.get();
      l.ffn_norm = w.ffn_norm.get();
      l.dense = ffn(w.dense);
      l.router = w.router.get();
      l.router_bias = w.router_bias.get();
      l.experts = ffn(w.experts);
      l.shared = ffn(w.shared);
      ops.layers.push_back(l);
    }
    ops.n_head = c.n_head;
    ops.nope = c.latent->nope;
    ops.rope_dims = c.latent->rope;
    ops.kv_rank = c.latent->kv_rank;
    ops.head_dim_v = c.head_dim_v;
    ops.norm_eps = c.norm_eps;
    ops.attention_scale = c.attention_scale;
    ops.rope = c.rope();
    ops.kv = c.kv_shape(c.context);
    if (c.experts) ops.rule = c.experts->rule;
    ops.counts = counts();
    return fused_.compile(*backend_, ops);
  }

  uint32_t* counts() const {
    return work_.counts ? static_cast<uint32_t*>(work_.counts->data()) : nullptr;
  }

  Result<void> prepare(int32_t n_tokens, int32_t n_rows) {
    const ModelConfig& c = config_;
    const LatentConfig& latent = *c.latent;
    const ExpertConfig experts = c.experts.value_or(ExpertConfig{});
    if (n_tokens > work_.n_tokens) {
      work_.n_tokens = 0;
      const int64_t cell = latent.rope + latent.kv_rank, n_head = c.n_head;
      const int64_t n_ff = std::max<int64_t>(c.n_ff, int64_t{experts.n_ff} * experts.n_shared);
      const WantedBuffer wanted[] = {{&work_.x, c.n_embd},
                                     {&work_.h, c.n_embd},
                                     {&work_.q_a, std::max(1, latent.q_rank)},
                                     {&work_.q, n_head * c.head_dim_k},
                                     {&work_.q_cell, n_head * cell},
                                     {&work_.kv_a, cell},
                                     {&work_.latent, latent.kv_rank},
                                     {&work_.cell, cell},
                                     {&work_.mixed, n_head * latent.kv_rank},
                                     {&work_.heads, n_head * c.head_dim_v},
                                     {&work_.gate, n_ff},
                                     {&work_.up, n_ff},
                                     {&work_.router, std::max(1, experts.rule.n_expert)},
                                     {&work_.ids, std::max(1, experts.rule.n_used)},
                                     {&work_.share, std::max(1, experts.rule.n_used)}};
      if (auto grown = grow_buffers(*backend_, n_tokens, wanted); !grown) return grown;
      work_.n_tokens = n_tokens;
    }
    if (!work_.counts && !loads_.empty()) {
      const WantedBuffer wanted[] = {{&work_.counts, experts.rule.n_expert}};
      if (auto grown = grow_buffers(*backend_, 1, wanted); !grown) return grown;
      backend_->upload(work_.counts->data(), counted_.data(), counted_.size() * sizeof(uint32_t));
    }
    return output_.prepare(*backend_, n_rows, c.n_vocab);
  }

  // Destroyed from the last to the first: buffers and weights before the backend, the backend
  // before the mapped file.
  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  Deepseek2Weights weights_;
  Workspace work_;
  OutputRows output_;
  ExpertLoads loads_;
  std::vector<uint32_t> counted_;  // what the device had counted the last time
  FusedStep fused_;
};

}  // namespace

Result<std::unique_ptr<Model>> load_deepseek2(std::shared_ptr<const GgufFile> file,
                                              ModelConfig config, std::unique_ptr<Backend> backend,
                                              const std::function<void(double)>& progress) {
  auto model = std::make_unique<Deepseek2>(std::move(file), std::move(config), std::move(backend));
  if (auto loaded = model->load(progress); !loaded) return tl::unexpected(loaded.error());
  return model;
}

}  // namespace cambium::engine
