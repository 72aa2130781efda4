// The fused decode step of models with latent attention and mixtures of experts. A layer is eight
// launches:
//
//   norm + quantize + queries and latent        (and once more where queries are compressed)
//   norm, rotate and write the cell; rotate queries and bring them to the cell's space
//   attention, splits of the key blocks
//   join the splits + projection of the values by head
//   output projection + residual
//   norm + scores of the experts + the choice
//   norm + quantize + gate, up + SiLU of the chosen experts and the shared ones
//   quantize + down projection of both + residual
//
// Where rows leave their kernels ready, a dense layer's products quantize what they make (decode.cpp).
// Which experts are read is known to the device alone, so the graph is the same for every token.
#include "engine/cuda/latent.h"
#include "engine/cuda/program.h"

namespace cambium::engine::cuda {
namespace {

const StackView& stack_of(const Weight* w) { return static_cast<const CudaStack&>(*w).view; }

Prefetch bytes_of(const Weight* w) {
  return {of(w).memory.data(), static_cast<int64_t>(of(w).memory.bytes())};
}

class LatentProgram final : public StepProgram {
 public:
  LatentProgram(CudaBackend& backend, const LatentDecoderOps& model)
      : StepProgram(backend, model.token_embd, model.output_norm, model.output, model.norm_eps),
        m_(model) {}
  Result<void> prepare();

 private:
  using Layer = LatentDecoderOps::Layer;
  /// What this step cannot run and the ops can; empty: nothing.
  const char* obstacle() const;
  cudaError_t enqueue_layers(const CudaKv& kv, int32_t n, Kind kind) override;
  cudaError_t enqueue_attention(const Layer& layer, const KvCells& kv, int32_t n);
  cudaError_t enqueue_mixture(const Layer& layer, int32_t n);
  /// `next_norm` of what reads x after it.
  cudaError_t enqueue_ffn(const LatentDecoderOps::Ffn& ffn, const Weight* norm, int32_t n,
                          const Weight* next_norm);
  HeadArgs heads(const Weight* stack, int32_t n) const {
    HeadArgs a;
    a.stack = stack_of(stack);
    a.n_tokens = n;
    return a;
  }

  LatentDecoderOps m_;
  RopeArgs rope_;
  DeviceMemory partial_;
  float *q_ = nullptr, *q_a_ = nullptr, *kv_a_ = nullptr, *q_cell_ = nullptr, *heads_ = nullptr;
  float *gate_ = nullptr, *up_ = nullptr;  // of a dense layer or the shared experts
  float *hidden_ = nullptr, *scores_ = nullptr, *shares_ = nullptr;
  int32_t* ids_ = nullptr;
};

const char* LatentProgram::obstacle() const {
  if (m_.rope_dims + m_.kv_rank != kLatentKey || m_.kv_rank != kLatentValue || !m_.kv.latent ||
      m_.kv.type != DType::f16)
    return "latent vectors that are not 512 + 64 elements";
  if ((m_.nope + m_.rope_dims) % 4 != 0 || m_.token_embd->cols % 4 != 0)
    return "rows that do not start on 16 bytes";
  for (const Layer& l : m_.layers) {
    if (!stack_of(l.wk_b).tiled || !stack_of(l.wv_b).tiled)
      return "projections by head that are not quantized";
    if (l.router == nullptr) continue;
    if (of(l.router).tiled || of(l.router).stored != DType::f32) return "a router that is not F32";
    const StackView &gate = stack_of(l.experts.gate), &up = stack_of(l.experts.up);
    if (!gate.tiled || !up.tiled || gate.tile != up.tile || !stack_of(l.experts.down).tiled)
      return "experts that are not quantized alike";
  }
  return nullptr;
}

Result<void> LatentProgram::prepare() {
  if (m_.layers.empty() || m_.output == nullptr || m_.token_embd == nullptr)
    return fail(ErrorCode::invalid_argument,
                "GPU: an incomplete model was given to compile_decode");
  if (const char* why = obstacle(); why != nullptr)
    return fail(ErrorCode::unsupported, std::string("GPU: no fused step for ") + why);
  auto rope = b_.rope_args(m_.rope);
  if (!rope) return tl::unexpected(rope.error());
  rope_ = *rope;
  const int64_t n_embd = m_.token_embd->cols, n_head = m_.n_head;
  int64_t n_ff = 1, hidden = 1, q_rank = 1;
  for (const Layer& l : m_.layers) {
    if (l.wq_a != nullptr) q_rank = std::max(q_rank, l.wq_a->rows);
    for (const Weight* w : {l.dense.gate, l.shared.gate})
      if (w != nullptr) n_ff = std::max(n_ff, w->rows);
    if (l.router != nullptr) hidden = std::max(hidden, m_.rule.n_used * l.experts.gate->rows);
  }
  floats(q_, n_head * (m_.nope + m_.rope_dims));
  floats(q_a_, q_rank);
  floats(kv_a_, m_.kv_rank + m_.rope_dims);
  floats(q_cell_, n_head * kLatentKey);
  floats(heads_, n_head * m_.head_dim_v);
  floats(gate_, n_ff);
  floats(up_, n_ff);
  floats(hidden_, hidden);
  floats(scores_, std::max(1, m_.rule.n_expert));
  floats(shares_, std::max(1, m_.rule.n_used));
  bytes(ids_, std::max(1, m_.rule.n_used) * kMaxColumns * static_cast<int64_t>(sizeof(int32_t)));
  if (auto r = take_arena(std::max({n_embd, n_ff, n_head * m_.head_dim_v, q_rank})); !r) return r;
  const int64_t partial = latent_partial_floats(kMaxColumns, m_.n_head, launch_.multiprocessors);
  auto memory = DeviceMemory::allocate(static_cast<size_t>(partial) * sizeof(float), b_.counter());
  if (!memory) return tl::unexpected(memory.error());
  partial_ = std::move(*memory);
  return b_.synchronize();
}

cudaError_t LatentProgram::enqueue_attention(const Layer& layer, const KvCells& kv, int32_t n) {
  const int64_t head_k = m_.nope + m_.rope_dims;
  const Cell cell{&state_->first_cell, 0};
  cudaError_t e;
  if (layer.wq != nullptr) {
    const Projection down[] = {{layer.wq, q_}, {layer.wkv_a, kv_a_}};
    e = project(down, x_, layer.attn_norm, n, false);
  } else {
    const Projection down[] = {{layer.wq_a, q_a_}, {layer.wkv_a, kv_a_}};
    const Projection up[] = {{layer.wq_b, q_}};
    e = project(down, x_, layer.attn_norm, n, false);
    if (e == cudaSuccess) e = project(up, q_a_, layer.q_a_norm, n, false);
  }
  AbsorbArgs absorb;
  absorb.heads = heads(layer.wk_b, n);
  absorb.heads.x = q_;
  absorb.heads.x_token = m_.n_head * head_k;
  absorb.heads.x_head = head_k;
  absorb.heads.y = q_cell_ + m_.rope_dims;
  absorb.heads.y_token = int64_t{m_.n_head} * kLatentKey;
  absorb.heads.y_head = kLatentKey;
  absorb.kv_a = kv_a_;
  absorb.norm = values_of(layer.kv_a_norm);
  absorb.eps = norm_eps_;
  absorb.nope = m_.nope;
  absorb.rope_dims = m_.rope_dims;
  absorb.kv_rank = m_.kv_rank;
  absorb.rope = rope_;
  absorb.kv = kv;
  absorb.cell = cell;
  absorb.q_cell = q_cell_;
  if (e == cudaSuccess) e = latent_absorb(launch_, absorb);

  AttentionKernelArgs a;
  a.q = q_cell_;
  a.kv = kv;
  a.n_tokens = n;
  a.n_head = m_.n_head;
  a.first_cell = cell;
  a.scale = m_.attention_scale;
  const LatentParts parts =
      latent_parts(partial_.as<float>(), n, m_.n_head, launch_.multiprocessors);
  if (e == cudaSuccess) e = cuda::latent_attention(launch_, a, parts, bytes_of(layer.wo));
  HeadArgs values = heads(layer.wv_b, n);
  values.y = heads_;
  values.y_token = int64_t{m_.n_head} * m_.head_dim_v;
  values.y_head = m_.head_dim_v;
  if (e == cudaSuccess) e = latent_values(launch_, parts, cell, values);
  const Projection out[] = {{layer.wo, x_}};
  // A mixture's kernels read x itself.
  const Weight* next = layer.router == nullptr ? layer.ffn_norm : nullptr;
  return e == cudaSuccess ? project(out, heads_, nullptr, n, true, next) : e;
}

// x += W_down · (silu(W_gate · h) · W_up · h), h = norm(x)
cudaError_t LatentProgram::enqueue_ffn(const LatentDecoderOps::Ffn& ffn, const Weight* norm,
                                       int32_t n, const Weight* next_norm) {
  const cudaError_t e = gate_up(ffn.gate, ffn.up, x_, norm, n, gate_, up_, of(ffn.down).tiled);
  const Projection down[] = {{ffn.down, x_}};
  return e == cudaSuccess ? project(down, gate_, nullptr, n, true, next_norm) : e;
}

cudaError_t LatentProgram::enqueue_mixture(const Layer& layer, int32_t n) {
  RouterArgs router;
  router.x = x_;
  router.norm = values_of(layer.ffn_norm);
  router.weight = of(layer.router).f32();
  router.eps = norm_eps_;
  router.cols = static_cast<int32_t>(layer.router->cols);
  router.n_tokens = n;
  router.logits = scores_;
  router.arrivals = b_.arrivals();
  router.route = route_args(m_.rule, values_of(layer.router_bias), ids_, shares_, m_.counts);
  if (layer.shared.gate != nullptr) {
    router.next[0] = bytes_of(layer.shared.gate);
    router.next[1] = bytes_of(layer.shared.up);
  }
  cudaError_t e = cuda::router(launch_, router);

  SlotsArgs slots;
  slots.first = stack_of(layer.experts.gate);
  slots.second = stack_of(layer.experts.up);
  slots.ids = ids_;
  slots.weights = shares_;
  slots.n_tokens = n;
  slots.n_used = m_.rule.n_used;
  slots.x = x_;
  slots.norm = router.norm;
  slots.eps = norm_eps_;
  slots.y = hidden_;
  const bool shared = layer.shared.gate != nullptr;
  const auto alike = [&](const Weight* w) { return of(w).tiled && of(w).tile == slots.first.tile; };
  const bool beside = shared && alike(layer.shared.gate) && alike(layer.shared.up);
  if (beside) {
    slots.shared_gate = of(layer.shared.gate).tiles();
    slots.shared_up = of(layer.shared.up).tiles();
    slots.shared_rows = static_cast<int32_t>(layer.shared.gate->rows);
    slots.shared_y = gate_;
  } else if (shared && e == cudaSuccess) {
    // Before the chosen experts change x.
    e = gate_up(layer.shared.gate, layer.shared.up, x_, layer.ffn_norm, n, gate_, up_, false);
  }
  if (e == cudaSuccess) e = expert_slots(launch_, slots);
  DownArgs down;
  down.down = stack_of(layer.experts.down);
  down.ids = ids_;
  down.x = hidden_;
  down.n_tokens = n;
  down.n_used = m_.rule.n_used;
  down.y = x_;
  const bool joined = shared && of(layer.shared.down).tiled;
  if (joined) {
    down.shared_tiles = of(layer.shared.down).tiles();
    down.shared_tile = of(layer.shared.down).tile;
    down.shared_cols = static_cast<int32_t>(layer.shared.down->cols);
    down.shared_x = gate_;
  }
  if (e == cudaSuccess) e = expert_down(launch_, down);
  const Projection shared_down[] = {{layer.shared.down, x_}};
  return shared && !joined && e == cudaSuccess ? project(shared_down, gate_, nullptr, n, true) : e;
}

cudaError_t LatentProgram::enqueue_layers(const CudaKv& kv, int32_t n, Kind /*kind*/) {
  cudaError_t e = cudaSuccess;
  for (size_t l = 0; l < m_.layers.size() && e == cudaSuccess; ++l) {
    const Layer& layer = m_.layers[l];
    e = enqueue_attention(layer, kv.layer(static_cast<int32_t>(l)), n);
    if (e != cudaSuccess) break;
    const Weight* next = l + 1 < m_.layers.size() ? m_.layers[l + 1].attn_norm : output_norm_;
    e = layer.router != nullptr ? enqueue_mixture(layer, n)
                                : enqueue_ffn(layer.dense, layer.ffn_norm, n, next);
  }
  return e;
}

}  // namespace

Result<std::unique_ptr<DecodeProgram>> CudaBackend::compile_decode(const LatentDecoderOps& model) {
  bind();
  auto program = std::make_unique<LatentProgram>(*this, model);
  if (auto r = program->prepare(); !r) return tl::unexpected(r.error());
  return program;
}

}  // namespace cambium::engine::cuda
