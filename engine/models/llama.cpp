#include "engine/models/llama.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/models/workspace.h"
#include "engine/tree_paths.h"
#include "engine/weights.h"

namespace cambium::engine {

namespace {

// Activations of one pass, grown to the longest pass so far.
struct Workspace {
  int32_t n_tokens = 0;
  std::unique_ptr<Buffer> x;      // [n_tokens, n_embd] the residual stream
  std::unique_ptr<Buffer> h;      // [n_tokens, n_embd] normalised
  std::unique_ptr<Buffer> q;      // [n_tokens, n_head, head_dim_k]
  std::unique_ptr<Buffer> k;      // [n_tokens, n_kv_head, head_dim_k]
  std::unique_ptr<Buffer> v;      // [n_tokens, n_kv_head, head_dim_v]
  std::unique_ptr<Buffer> mixed;  // [n_tokens, n_head, head_dim_v] what attention gathered
  std::unique_ptr<Buffer> gate;   // [n_tokens, n_ff]
  std::unique_ptr<Buffer> up;     // [n_tokens, n_ff]
};

// Key blocks a causal pass over these tiles would read.
int64_t causal_blocks(const VisibleBlocks& visible, int32_t first_cell, int32_t n_tokens) {
  int64_t blocks = 0;
  for (int32_t first = 0; first < n_tokens; first += visible.query_tile) {
    const int32_t end = first_cell + std::min(n_tokens, first + visible.query_tile);
    blocks += (end + visible.key_block - 1) / visible.key_block;
  }
  return blocks;
}

class Llama final : public Model {
 public:
  Llama(std::shared_ptr<const GgufFile> file, ModelConfig config, std::unique_ptr<Backend> backend)
      : file_(std::move(file)), config_(std::move(config)), backend_(std::move(backend)) {}

  Result<void> load(const DecoderTraits& traits, const std::function<void(double)>& progress) {
    auto weights = load_decoder(*file_, config_, traits, *backend_, progress);
    if (!weights) return tl::unexpected(weights.error());
    weights_ = std::move(*weights);
    return compile();
  }

  const ModelConfig& config() const override { return config_; }
  Backend& backend() override { return *backend_; }
  Result<std::unique_ptr<KvStore>> create_kv(int32_t n_cells) override {
    return backend_->create_kv(config_.kv_shape(n_cells));
  }

  // What is left out of a branch's paths through the tree would have to differ from branch to branch.
  bool takes_branches() const override { return !config_.structure.uses(StructureMode::tree); }

  Result<PassResult> forward(const Pass& pass) override {
    const ModelConfig& c = config_;
    const auto n_tokens = static_cast<int32_t>(pass.tokens.size());
    const auto n_rows = pass.ranked.empty() ? static_cast<int32_t>(pass.logits_at.size()) : 0;
    const bool branches = !pass.hidden.empty();
    assert(n_tokens > 0 && n_rows <= kMaxLogitRows);
    assert(!branches || (takes_branches() && pass.hidden.size() == pass.tokens.size()));
    assert(pass.first_cell + n_tokens <= pass.kv->shape.n_cells);
    if (auto ready = prepare(n_tokens, n_rows); !ready) return tl::unexpected(ready.error());
    Backend& b = *backend_;
    float *x = work_.x->f32(), *h = work_.h->f32(), *q = work_.q->f32(), *k = work_.k->f32(),
          *v = work_.v->f32(), *mixed = work_.mixed->f32(), *gate = work_.gate->f32(),
          *up = work_.up->f32();
    PassResult result;
    const AttentionArgs attention = attention_args(pass, result);
    if (fused_.takes(n_tokens) && !branches)
      return fused_.run(pass, attention, c.n_vocab, output_, result);

    fused_.forget();
    if (branches) find_positions(pass);
    const auto rope = [&](float* heads, int32_t n_head) {
      if (branches) return b.rope_at(heads, c.rope(), positions_, n_head, c.head_dim_k);
      b.rope(heads, c.rope(), pass.first_cell, n_tokens, n_head, c.head_dim_k);
    };
    b.embed(*weights_.token_embd, pass.tokens, x);  // x [n_tokens, n_embd]

    for (int32_t l = 0; l < c.n_layer; ++l) {
      if (given_up(pass, b)) return fail(ErrorCode::cancelled, "the pass was given up");
      const DecoderLayer& layer = weights_.layers[static_cast<size_t>(l)];

      // Attention: x += Wo · attention(rope(Wq·h), rope(Wk·h), Wv·h), h = norm(x)
      b.rms_norm(x, *layer.attn_norm, c.norm_eps, n_tokens, h);
      const MatmulTarget qkv[] = {{layer.wq.get(), q, layer.bq.get()},
                                  {layer.wk.get(), k, layer.bk.get()},
                                  {layer.wv.get(), v, layer.bv.get()}};
      b.matmul(qkv, h, n_tokens);
      if (layer.q_norm) b.rms_norm(q, *layer.q_norm, c.norm_eps, n_tokens * c.n_head, q);
      if (layer.k_norm) b.rms_norm(k, *layer.k_norm, c.norm_eps, n_tokens * c.n_kv_head, k);
      rope(q, c.n_head);
      rope(k, c.n_kv_head);
      b.kv_write(*pass.kv, l, pass.first_cell, n_tokens, k, v);
      b.attention(for_layer(attention, l));  // mixed [n_tokens, n_head, head_dim_v]
      const MatmulTarget attn_out[] = {{layer.wo.get(), x, layer.bo.get(), true}};
      b.matmul(attn_out, mixed, n_tokens);

      if (given_up(pass, b)) return fail(ErrorCode::cancelled, "the pass was given up");
      // FFN: x += Wdown · (silu(Wgate·h) ∘ Wup·h), h = norm(x)
      b.rms_norm(x, *layer.ffn_norm, c.norm_eps, n_tokens, h);
      const MatmulTarget gate_up[] = {{layer.w_gate.get(), gate, layer.b_gate.get()},
                                      {layer.w_up.get(), up, layer.b_up.get()}};
      b.matmul(gate_up, h, n_tokens);
      b.silu_mul(gate, up, gate, int64_t{n_tokens} * c.n_ff);
      const MatmulTarget ffn_out[] = {{layer.w_down.get(), x, layer.b_down.get(), true}};
      b.matmul(ffn_out, gate, n_tokens);
    }

    const OutputRows::Weights output{weights_.output_norm.get(), &weights_.output_matrix(),
                                     c.norm_eps};
    return output_.answer(b, output, x, h, pass, std::move(result));
  }

  Result<std::span<const float>> logits() override {
    if (!fused_.has_rows()) return Model::logits();
    return fused_.logits(config_.n_vocab, output_);
  }

 private:
  // A backend with a fused step gets the whole decoder; the ops stay for longer passes.
  Result<void> compile() {
    // It has one set of labels a step, and no place for tree positions.
    if (config_.structure.uses(StructureMode::own) || config_.structure.uses(StructureMode::tree))
      return {};
    DecoderOps ops;
    ops.token_embd = weights_.token_embd.get();
    ops.output_norm = weights_.output_norm.get();
    ops.output = &weights_.output_matrix();
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      const DecoderLayer& w = weights_.layers[i];
      if (w.b_gate || w.b_up || w.b_down) return {};  // the fused step has no place for these
      DecoderOps::Layer l;
      l.attn_norm = w.attn_norm.get();
      l.wq = w.wq.get();
      l.wk = w.wk.get();
      l.wv = w.wv.get();
      l.wo = w.wo.get();
      l.bq = w.bq.get();
      l.bk = w.bk.get();
      l.bv = w.bv.get();
      l.bo = w.bo.get();
      l.q_norm = w.q_norm.get();
      l.k_norm = w.k_norm.get();
      l.ffn_norm = w.ffn_norm.get();
      l.w_gate = w.w_gate.get();
      l.w_up = w.w_up.get();
      l.w_down = w.w_down.get();
      if (config_.structure.any()) {
        l.mode = config_.structure.mode[i];
        l.prune_heads = config_.structure.prune_heads[i];
        l.emphasis_scale = w.structure_scale.data();
        l.emphasis_bias = w.structure_bias.data();
      }
      ops.layers.push_back(l);
    }
    ops.n_head = config_.n_head;
    ops.norm_eps = config_.norm_eps;
    ops.attention_scale = config_.attention_scale;
    ops.rope = config_.rope();
    ops.prune = config_.structure.rule;
    ops.sparse = config_.sparse;
    ops.kv = config_.kv_shape(config_.context);
    return fused_.compile(*backend_, ops);
  }

  // Where each token of a pass with hidden cells stands in its own sequence.
  void find_positions(const Pass& pass) {
    positions_.clear();
    for (size_t i = 0; i < pass.hidden.size(); ++i) {
      positions_.push_back(pass.first_cell + static_cast<int32_t>(i) - pass.hidden[i].size());
    }
  }

  // The blocks that layers of `mode` see of `cells`; what they skip is counted into `result`.
  VisibleBlocks blocks_of(StructureMode mode, const TokenStructure& cells, const Pass& pass,
                          PassResult& result) const {
    const auto n_tokens = static_cast<int32_t>(pass.tokens.size());
    VisibleBlocks blocks = visible_blocks(cells, pass.first_cell, n_tokens, config_.structure.rule,
                                          backend_->query_tile(n_tokens), backend_->key_block());
    const int64_t all = causal_blocks(blocks, pass.first_cell, n_tokens);
    result.blocks = int64_t{config_.n_layer} * config_.n_head * all;
    result.skipped_blocks += config_.structure.heads_of(mode, config_.n_head) *
                             (all - static_cast<int64_t>(blocks.blocks.size()));
    return blocks;
  }

  // What is the same in all layers; with pruning layers, the visible blocks are found once here.
  AttentionArgs attention_args(const Pass& pass, PassResult& result) {
    const auto n_tokens = static_cast<int32_t>(pass.tokens.size());
    AttentionArgs args;
    args.q = work_.q->f32();
    args.out = work_.mixed->f32();
    args.kv = pass.kv;
    args.n_tokens = n_tokens;
    args.first_cell = pass.first_cell;
    args.n_head = config_.n_head;
    args.scale = config_.attention_scale;
    args.sparse = config_.sparse;
    if (!pass.hidden.empty()) args.hidden = pass.hidden.data();
    if (pass.cells == nullptr || pass.cells->empty() || !config_.structure.any()) return args;
    args.cells = pass.cells;
    args.prune = config_.structure.rule;
    if (config_.structure.uses(StructureMode::prune)) {
      visible_ = blocks_of(StructureMode::prune, *pass.cells, pass, result);
      args.visible = &visible_;
    }
    if (config_.structure.uses(StructureMode::tree)) {
      tree_ = TreePaths(*pass.cells);
      args.tree = &tree_;
    }
    if (config_.structure.uses(StructureMode::own)) {
      closed_ = closed_scopes(*pass.cells);
      closed_visible_ = blocks_of(StructureMode::own, closed_, pass, result);
    }
    return args;
  }

  AttentionArgs for_layer(AttentionArgs args, int32_t l) const {
    args.layer = l;
    if (args.cells == nullptr) return args;
    const auto i = static_cast<size_t>(l);
    args.mode = config_.structure.mode[i];
    args.prune_heads = config_.structure.prune_heads[i];
    if (args.mode == StructureMode::own) {
      args.mode = StructureMode::prune;
      args.cells = &closed_;
      args.visible = &closed_visible_;
    }
    if (args.mode == StructureMode::emphasis) {
      args.emphasis_scale = weights_.layers[i].structure_scale.data();
      args.emphasis_bias = weights_.layers[i].structure_bias.data();
    }
    if (args.mode == StructureMode::tree) args.tree_bias = weights_.layers[i].tree_bias.data();
    return args;
  }

  Result<void> prepare(int32_t n_tokens, int32_t n_rows) {
    const ModelConfig& c = config_;
    if (n_tokens > work_.n_tokens) {
      work_.n_tokens = 0;
      const WantedBuffer wanted[] = {{&work_.x, c.n_embd},
                                     {&work_.h, c.n_embd},
                                     {&work_.q, int64_t{c.n_head} * c.head_dim_k},
                                     {&work_.k, int64_t{c.n_kv_head} * c.head_dim_k},
                                     {&work_.v, int64_t{c.n_kv_head} * c.head_dim_v},
                                     {&work_.mixed, int64_t{c.n_head} * c.head_dim_v},
                                     {&work_.gate, c.n_ff},
                                     {&work_.up, c.n_ff}};
      if (auto grown = grow_buffers(*backend_, n_tokens, wanted); !grown) return grown;
      work_.n_tokens = n_tokens;
    }
    return output_.prepare(*backend_, n_rows, c.n_vocab);
  }

  // Destroyed from the last to the first: buffers and weights before the backend, the backend
  // before the mapped file.
  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  DecoderWeights weights_;
  Workspace work_;
  OutputRows output_;
  VisibleBlocks visible_;           // of layers that prune
  TokenStructure closed_;           // what layers of mode own prune by
  VisibleBlocks closed_visible_;    // and see
  TreePaths tree_;                  // of the last pass's cells
  std::vector<int32_t> positions_;  // of a pass with hidden cells
  FusedStep fused_;
};

}  // namespace

Result<std::unique_ptr<Model>> load_dense(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          const DecoderTraits& traits,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress) {
  auto model = std::make_unique<Llama>(std::move(file), std::move(config), std::move(backend));
  if (auto loaded = model->load(traits, progress); !loaded) return tl::unexpected(loaded.error());
  return model;
}

Result<std::unique_ptr<Model>> load_llama(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress) {
  using Has = DecoderTraits::Has;
  const DecoderTraits traits{.qk_norm = config.architecture == "cambium" ? Has::maybe : Has::no};
  return load_dense(std::move(file), std::move(config), traits, std::move(backend), progress);
}

}  // namespace cambium::engine
