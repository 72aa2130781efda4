#include "engine/models/llama.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

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
  int32_t n_rows = 0;
  std::unique_ptr<Buffer> logits;  // [n_rows, n_vocab]
  std::vector<float> logits_host;  // the same, for the sampler
};

constexpr int32_t kProgramTokens = 8;  // what DecodeProgram::step takes at once

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

  Result<void> load(const std::function<void(double)>& progress) {
    const DecoderTraits traits{.qk_norm = config_.architecture == "cambium"};
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

  Result<PassResult> forward(const Pass& pass) override {
    const ModelConfig& c = config_;
    const auto n_tokens = static_cast<int32_t>(pass.tokens.size());
    const auto n_rows = static_cast<int32_t>(pass.logits_at.size());
    assert(n_tokens > 0 && n_rows <= kMaxLogitRows);
    assert(pass.first_cell + n_tokens <= pass.kv->shape.n_cells);
    if (auto ready = prepare(n_tokens, n_rows); !ready) return tl::unexpected(ready.error());
    Backend& b = *backend_;
    float *x = work_.x->f32(), *h = work_.h->f32(), *q = work_.q->f32(), *k = work_.k->f32(),
          *v = work_.v->f32(), *mixed = work_.mixed->f32(), *gate = work_.gate->f32(),
          *up = work_.up->f32();
    PassResult result;
    const AttentionArgs attention = attention_args(pass, result);
    if (program_ && n_tokens <= kProgramTokens) return run_program(pass, attention, result);

    b.embed(*weights_.token_embd, pass.tokens, x);  // x [n_tokens, n_embd]

    for (int32_t l = 0; l < c.n_layer; ++l) {
      if (pass.give_up && pass.give_up())
        return fail(ErrorCode::cancelled, "the pass was given up");
      const DecoderLayer& layer = weights_.layers[static_cast<size_t>(l)];

      // Attention: x += Wo · attention(rope(Wq·h), rope(Wk·h), Wv·h), h = norm(x)
      b.rms_norm(x, *layer.attn_norm, c.norm_eps, n_tokens, h);
      const MatmulTarget qkv[] = {{layer.wq.get(), q, layer.bq.get()},
                                  {layer.wk.get(), k, layer.bk.get()},
                                  {layer.wv.get(), v, layer.bv.get()}};
      b.matmul(qkv, h, n_tokens);
      if (layer.q_norm) b.rms_norm(q, *layer.q_norm, c.norm_eps, n_tokens * c.n_head, q);
      if (layer.k_norm) b.rms_norm(k, *layer.k_norm, c.norm_eps, n_tokens * c.n_kv_head, k);
      b.rope(q, c.rope(), pass.first_cell, n_tokens, c.n_head, c.head_dim_k);
      b.rope(k, c.rope(), pass.first_cell, n_tokens, c.n_kv_head, c.head_dim_k);
      b.kv_write(*pass.kv, l, pass.first_cell, n_tokens, k, v);
      b.attention(for_layer(attention, l));  // mixed [n_tokens, n_head, head_dim_v]
      const MatmulTarget attn_out[] = {{layer.wo.get(), x, layer.bo.get(), true}};
      b.matmul(attn_out, mixed, n_tokens);

      // FFN: x += Wdown · (silu(Wgate·h) ∘ Wup·h), h = norm(x)
      b.rms_norm(x, *layer.ffn_norm, c.norm_eps, n_tokens, h);
      const MatmulTarget gate_up[] = {{layer.w_gate.get(), gate, layer.b_gate.get()},
                                      {layer.w_up.get(), up, layer.b_up.get()}};
      b.matmul(gate_up, h, n_tokens);
      b.silu_mul(gate, up, gate, int64_t{n_tokens} * c.n_ff);
      const MatmulTarget ffn_out[] = {{layer.w_down.get(), x, layer.b_down.get(), true}};
      b.matmul(ffn_out, gate, n_tokens);
    }

    // Logits of the rows asked for: norm(x[rows]) · output; consecutive rows go together.
    float* logits = n_rows > 0 ? work_.logits->f32() : nullptr;
    for (int32_t row = 0; row < n_rows;) {
      const int32_t first = pass.logits_at[static_cast<size_t>(row)];
      int32_t count = 1;
      while (row + count < n_rows &&
             pass.logits_at[static_cast<size_t>(row + count)] == first + count) {
        ++count;
      }
      b.rms_norm(x + int64_t{first} * c.n_embd, *weights_.output_norm, c.norm_eps, count, h);
      const MatmulTarget out[] = {
          {&weights_.output_matrix(), logits + int64_t{row} * c.n_vocab, nullptr}};
      b.matmul(out, h, count);
      row += count;
    }
    const size_t n_logits = static_cast<size_t>(n_rows) * static_cast<size_t>(c.n_vocab);
    auto done = n_rows > 0 ? b.download(work_.logits_host.data(), logits, n_logits * sizeof(float))
                           : b.synchronize();
    if (!done) return tl::unexpected(done.error());
    result.logits = {work_.logits_host.data(), n_logits};
    return result;
  }

 private:
  // A backend with a fused step gets the whole decoder; the ops stay for longer passes.
  Result<void> compile() {
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
    ops.kv = config_.kv_shape(config_.context);
    auto program = backend_->compile_decode(ops);
    if (!program && program.error().code == ErrorCode::unsupported) return {};
    if (!program) return tl::unexpected(program.error());
    program_ = std::move(*program);
    return {};
  }

  Result<PassResult> run_program(const Pass& pass, const AttentionArgs& attention,
                                 PassResult result) {
    if (pass.give_up && pass.give_up()) return fail(ErrorCode::cancelled, "the pass was given up");
    std::array<int32_t, kProgramTokens> best;
    auto done = program_->step(pass.tokens, *pass.kv, pass.first_cell, attention.cells,
                               attention.visible, std::span(best).first(pass.tokens.size()));
    if (!done) return tl::unexpected(done.error());
    if (pass.logits_at.empty()) return result;
    // Rows up to the last one wanted come over; those wanted move to the front.
    const auto n_vocab = static_cast<size_t>(config_.n_vocab);
    const auto rows = static_cast<size_t>(pass.logits_at.back()) + 1;
    if (work_.logits_host.size() < rows * n_vocab) work_.logits_host.resize(rows * n_vocab);
    float* host = work_.logits_host.data();
    done = program_->logits({host, rows * n_vocab});
    if (!done) return tl::unexpected(done.error());
    for (size_t i = 0; i < pass.logits_at.size(); ++i) {
      const auto from = static_cast<size_t>(pass.logits_at[i]);
      if (from != i) std::copy_n(host + from * n_vocab, n_vocab, host + i * n_vocab);
    }
    result.logits = {host, pass.logits_at.size() * n_vocab};
    return result;
  }

  // What is the same in all layers; with a pruning layer, the visible blocks are found once here.
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
    if (pass.cells == nullptr || pass.cells->empty() || !config_.structure.any()) return args;
    args.cells = pass.cells;
    args.prune = config_.structure.rule;
    if (config_.structure.uses(StructureMode::prune)) {
      visible_ = visible_blocks(*pass.cells, pass.first_cell, n_tokens, args.prune,
                                backend_->query_tile(n_tokens), backend_->key_block());
      args.visible = &visible_;
      const int64_t all = causal_blocks(visible_, pass.first_cell, n_tokens);
      const auto layers = std::count(config_.structure.mode.begin(), config_.structure.mode.end(),
                                     StructureMode::prune);
      result.blocks = layers * all;
      result.skipped_blocks = layers * (all - static_cast<int64_t>(visible_.blocks.size()));
    }
    return args;
  }

  AttentionArgs for_layer(AttentionArgs args, int32_t l) const {
    args.layer = l;
    if (args.cells == nullptr) return args;
    const auto i = static_cast<size_t>(l);
    args.mode = config_.structure.mode[i];
    args.prune_heads = config_.structure.prune_heads[i];
    if (args.mode == StructureMode::emphasis) {
      args.emphasis_scale = weights_.layers[i].structure_scale.data();
      args.emphasis_bias = weights_.layers[i].structure_bias.data();
    }
    return args;
  }

  Result<void> prepare(int32_t n_tokens, int32_t n_rows) {
    const ModelConfig& c = config_;
    const auto grow = [&](std::unique_ptr<Buffer>& buffer, int64_t rows,
                          int64_t cols) -> Result<void> {
      buffer.reset();  // first give back, then take
      auto fresh = backend_->allocate(static_cast<size_t>(rows * cols) * sizeof(float));
      if (!fresh) return tl::unexpected(fresh.error());
      buffer = std::move(*fresh);
      return {};
    };
    if (n_tokens > work_.n_tokens) {
      work_.n_tokens = 0;
      const std::pair<std::unique_ptr<Buffer>*, int64_t> buffers[] = {
          {&work_.x, c.n_embd},
          {&work_.h, c.n_embd},
          {&work_.q, int64_t{c.n_head} * c.head_dim_k},
          {&work_.k, int64_t{c.n_kv_head} * c.head_dim_k},
          {&work_.v, int64_t{c.n_kv_head} * c.head_dim_v},
          {&work_.mixed, int64_t{c.n_head} * c.head_dim_v},
          {&work_.gate, c.n_ff},
          {&work_.up, c.n_ff}};
      for (const auto& [buffer, cols] : buffers) {
        if (auto grown = grow(*buffer, n_tokens, cols); !grown) return grown;
      }
      work_.n_tokens = n_tokens;
    }
    if (n_rows > work_.n_rows) {
      work_.n_rows = 0;
      if (auto grown = grow(work_.logits, n_rows, c.n_vocab); !grown) return grown;
      const size_t n_logits = static_cast<size_t>(n_rows) * static_cast<size_t>(c.n_vocab);
      work_.logits_host.resize(std::max(work_.logits_host.size(), n_logits));
      work_.n_rows = n_rows;
    }
    return {};
  }

  // Destroyed from the last to the first: buffers and weights before the backend, the backend
  // before the mapped file.
  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  DecoderWeights weights_;
  Workspace work_;
  VisibleBlocks visible_;
  std::unique_ptr<DecodeProgram> program_;  // null: none
};

}  // namespace

Result<std::unique_ptr<Model>> load_llama(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                          std::unique_ptr<Backend> backend,
                                          const std::function<void(double)>& progress) {
  auto model = std::make_unique<Llama>(std::move(file), std::move(config), std::move(backend));
  if (auto loaded = model->load(progress); !loaded) return tl::unexpected(loaded.error());
  return model;
}

}  // namespace cambium::engine
