// The fused decode step: five launches a layer, captured once as a graph and replayed.
//
//   norm + quantize + QKV + RoPE + KV write
//   attention, streams of keys joined by the last block
//   quantize + output projection + residual
//   norm + quantize + gate, up + SiLU
//   quantize + down projection + residual
//
// On compute capability 9.0 and newer each kernel starts while the one before it drains and has its
// first weights in registers when its input is ready (programmatic dependent launch). Token and
// position live in device memory, so a graph is captured once for a number of tokens and a cache.
#include <algorithm>
#include <array>
#include <vector>

#include "engine/cuda/backend.h"

namespace cambium::engine::cuda {
namespace {

const CudaWeight& of(const Weight* w) { return static_cast<const CudaWeight&>(*w); }
const float* values_of(const Weight* w) { return w != nullptr ? of(w).f32() : nullptr; }

/// What the host reads and writes, page-locked.
struct Mailbox {
  StepState state;
  BestToken best[kMaxColumns];
};

class Program final : public DecodeProgram {
 public:
  Program(CudaBackend& backend, const DecoderOps& model) : b_(backend), m_(model) {}
  ~Program() override {
    for (const Captured& c : graphs_) cudaGraphExecDestroy(c.exec);
    if (mail_ != nullptr) cudaFreeHost(mail_);
  }

  Result<void> prepare();
  Result<void> step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                    const TokenStructure* cells, const VisibleBlocks* visible,
                    std::span<BestToken> best) override;
  Result<void> logits(std::span<float> host) override {
    return b_.download(host.data(), logits_, std::min(host.size_bytes(), logits_bytes()));
  }

 private:
  struct Captured {
    uint64_t kv_serial;
    int32_t n_tokens;
    bool structured;
    const void *labels, *offsets, *blocks;  // what it reads of the structure
    cudaGraphExec_t exec;
  };
  struct Projection {
    const Weight* weight;
    float* y;
    const Weight* bias = nullptr;
  };
  size_t logits_bytes() const {
    return kMaxColumns * static_cast<size_t>(m_.output->rows) * sizeof(float);
  }
  Result<void> start(std::span<const int32_t> ids, const CudaKv& kv, int32_t first_cell,
                     const TokenStructure* cells, const VisibleBlocks* visible);
  Result<cudaGraphExec_t> graph(const CudaKv& kv, int32_t n_tokens, bool structured);
  cudaError_t enqueue(const CudaKv& kv, int32_t n, bool structured);
  cudaError_t project(std::span<const Projection> targets, const float* x, const Weight* norm,
                      int32_t n, bool accumulate);
  cudaError_t enqueue_qkv(const DecoderOps::Layer& layer, const KvCells& cells, int32_t n);
  cudaError_t enqueue_attention(const CudaKv& kv, int32_t l, int32_t n, bool structured);
  cudaError_t enqueue_gate_up(const DecoderOps::Layer& layer, int32_t n);
  MatmulArgs tiles_args(const Weight& w, const float* x, const Weight* norm, int32_t n) const;
  /// Norms and quantizes x for several tokens; for one the matmul does it.
  cudaError_t quantize(const float* x, const Weight* norm, int64_t cols, int32_t n);

  CudaBackend& b_;
  DecoderOps m_;
  Launch launch_;
  RopeArgs rope_;
  bool fused_rope_ = false;
  int32_t dim_k_ = 0, dim_v_ = 0, n_embd_ = 0, n_ff_ = 0;
  DeviceMemory arena_, emphasis_, partial_;
  float *x_ = nullptr, *h_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr,
        *mixed_ = nullptr, *gate_ = nullptr, *up_ = nullptr, *logits_ = nullptr;
  Activations activations_;
  StepState* state_ = nullptr;
  BestToken* best_ = nullptr;
  Mailbox* mail_ = nullptr;
  DeviceStructure structure_;
  std::vector<Captured> graphs_;
};

Result<void> Program::prepare() {
  if (m_.layers.empty() || m_.output == nullptr || m_.token_embd == nullptr)
    return fail(ErrorCode::invalid_argument,
                "GPU: an incomplete model was given to compile_decode");
  launch_ = b_.launch();
  launch_.dependent = b_.dependent_launch();
  dim_k_ = m_.kv.head_dim_k;
  dim_v_ = m_.kv.head_dim_v;
  n_embd_ = static_cast<int32_t>(m_.token_embd->cols);
  n_ff_ = static_cast<int32_t>(m_.layers[0].w_gate->rows);
  auto rope = b_.rope_args(m_.rope);
  if (!rope) return tl::unexpected(rope.error());
  rope_ = *rope;
  fused_rope_ =
      m_.kv.type == DType::f16 && dim_k_ == dim_v_ && rope_.n_rot == dim_k_ && dim_k_ % 32 == 0;
  for (const DecoderOps::Layer& l : m_.layers) {
    fused_rope_ = fused_rope_ && l.q_norm == nullptr && l.k_norm == nullptr;
    for (const Weight* w : {l.wq, l.wk, l.wv}) fused_rope_ = fused_rope_ && of(w).tiled;
  }

  // One arena: floats for 8 tokens, then the quantized activations, then the state.
  const int64_t widest = std::max<int64_t>({n_embd_, n_ff_, int64_t{m_.n_head} * dim_v_});
  const int64_t padded = ceil_div(widest, kTileCols) * kTileCols;
  size_t total = 0;
  std::vector<std::pair<void**, size_t>> parts;
  const auto part = [&](auto*& pointer, int64_t bytes) {
    parts.emplace_back(reinterpret_cast<void**>(&pointer), total);
    total += static_cast<size_t>(ceil_div(bytes, 256)) * 256;
  };
  const auto floats = [&](float*& pointer, int64_t row) {
    part(pointer, row * kMaxColumns * static_cast<int64_t>(sizeof(float)));
  };
  floats(x_, n_embd_);
  floats(h_, widest);
  floats(q_, int64_t{m_.n_head} * dim_k_);
  floats(k_, int64_t{m_.kv.n_kv_head} * dim_k_);
  floats(v_, int64_t{m_.kv.n_kv_head} * dim_v_);
  floats(mixed_, int64_t{m_.n_head} * dim_v_);
  floats(gate_, n_ff_);
  floats(up_, n_ff_);
  floats(logits_, m_.output->rows);
  part(activations_.values, padded * kMaxColumns);
  part(activations_.scales, padded / 32 * kMaxColumns * static_cast<int64_t>(sizeof(float2)));
  part(state_, sizeof(StepState));
  part(best_, kMaxColumns * static_cast<int64_t>(sizeof(BestToken)));
  auto arena = DeviceMemory::allocate(total, b_.counter());
  if (!arena) return tl::unexpected(arena.error());
  arena_ = std::move(*arena);
  for (const auto& [pointer, offset] : parts) *pointer = arena_.as<uint8_t>() + offset;

  const int64_t partial = attention_partial_floats(kMaxColumns, m_.n_head, m_.kv.n_kv_head, dim_v_,
                                                   launch_.multiprocessors);
  auto memory = DeviceMemory::allocate(static_cast<size_t>(partial) * sizeof(float), b_.counter());
  if (!memory) return tl::unexpected(memory.error());
  partial_ = std::move(*memory);

  const size_t table = 3 * static_cast<size_t>(m_.n_head);
  std::vector<float> emphasis;
  bool structured = false;
  for (const DecoderOps::Layer& l : m_.layers) {
    structured = structured || l.mode != StructureMode::off;
    if (l.mode != StructureMode::emphasis) continue;
    emphasis.resize(m_.layers.size() * 2 * table);
    float* at = emphasis.data() + static_cast<size_t>(&l - m_.layers.data()) * 2 * table;
    std::copy_n(l.emphasis_scale, table, at);
    std::copy_n(l.emphasis_bias, table, at + table);
  }
  if (!emphasis.empty()) {
    auto tables = DeviceMemory::allocate(emphasis.size() * sizeof(float), b_.counter());
    if (!tables) return tl::unexpected(tables.error());
    emphasis_ = std::move(*tables);
    b_.upload(emphasis_.data(), emphasis.data(), emphasis.size() * sizeof(float));
  }
  if (structured)
    if (auto r = structure_.reserve(m_.kv.n_cells + kKeyBlock, launch_.stream, b_.counter()); !r)
      return r;
  void* mail = nullptr;
  if (auto r = check(cudaMallocHost(&mail, sizeof(Mailbox)), "page-locked memory"); !r) return r;
  mail_ = static_cast<Mailbox*>(mail);
  return b_.synchronize();
}

MatmulArgs Program::tiles_args(const Weight& w, const float* x, const Weight* norm,
                               int32_t n) const {
  MatmulArgs a;
  a.type = of(&w).tile;
  a.cols = static_cast<int32_t>(w.cols);
  a.n_tokens = n;
  a.x = x;
  a.norm = values_of(norm);
  a.eps = m_.norm_eps;
  a.activations = activations_;
  a.n_targets = 0;
  return a;
}

cudaError_t Program::quantize(const float* x, const Weight* norm, int64_t cols, int32_t n) {
  if (n == 1) return cudaSuccess;
  return quantize_rows(launch_, x, values_of(norm), m_.norm_eps, static_cast<int>(cols), n,
                       activations_);
}

// y = W · norm(x) for every target; neighbours of the same type go in one launch.
cudaError_t Program::project(std::span<const Projection> targets, const float* x,
                             const Weight* norm, int32_t n, bool accumulate) {
  const int64_t cols = targets[0].weight->cols;
  bool any_tiled = false, any_float = false;
  for (const Projection& t : targets) (of(t.weight).tiled ? any_tiled : any_float) = true;
  cudaError_t e = any_tiled ? quantize(x, norm, cols, n) : cudaSuccess;
  const float* normed = x;
  if (e == cudaSuccess && any_float && norm != nullptr) {
    e = cuda::rms_norm(launch_, x, values_of(norm), m_.norm_eps, cols, n, h_);
    normed = h_;
  }
  MatmulArgs args;
  args.n_targets = 0;
  for (size_t i = 0; i < targets.size() && e == cudaSuccess; ++i) {
    const Projection& t = targets[i];
    const CudaWeight& w = of(t.weight);
    if (!w.tiled) {
      e = matmul_float(launch_,
                       {w.memory.data(), w.stored, normed, t.y, values_of(t.bias),
                        static_cast<int32_t>(w.rows), static_cast<int32_t>(cols), n, accumulate});
      continue;
    }
    if (args.n_targets == 0) args = tiles_args(w, x, norm, n);
    args.target[args.n_targets++] = {w.tiles(), t.y, values_of(t.bias),
                                     static_cast<int32_t>(w.rows), accumulate};
    const bool more = i + 1 < targets.size() && of(targets[i + 1].weight).tiled &&
                      of(targets[i + 1].weight).tile == w.tile && args.n_targets < 3;
    if (more) continue;
    e = matmul_tiles(launch_, args);
    args.n_targets = 0;
  }
  return e;
}

cudaError_t Program::enqueue_qkv(const DecoderOps::Layer& layer, const KvCells& cells, int32_t n) {
  const Projection targets[] = {
      {layer.wq, q_, layer.bq}, {layer.wk, k_, layer.bk}, {layer.wv, v_, layer.bv}};
  const Cell cell{&state_->first_cell, 0};
  if (fused_rope_) {
    cudaError_t e = quantize(x_, layer.attn_norm, n_embd_, n);
    std::array<bool, 3> done{};
    for (int i = 0; i < 3 && e == cudaSuccess; ++i) {
      if (done[static_cast<size_t>(i)]) continue;
      MatmulArgs a = tiles_args(*targets[i].weight, x_, layer.attn_norm, n);
      a.epilogue = Epilogue::rope_kv;
      a.rope = rope_;
      a.kv = cells;
      a.cell = cell;
      for (int j = i; j < 3; ++j) {  // all of this type
        const CudaWeight& w = of(targets[j].weight);
        if (w.tile != a.type) continue;
        done[static_cast<size_t>(j)] = true;
        a.role[a.n_targets] = static_cast<int8_t>(j);
        a.target[a.n_targets++] = {w.tiles(), targets[j].y, values_of(targets[j].bias),
                                   static_cast<int32_t>(w.rows), false};
      }
      e = matmul_tiles(launch_, a);
    }
    return e;
  }
  cudaError_t e = project(targets, x_, layer.attn_norm, n, false);
  const auto norm = [&](float* y, const Weight* w, int32_t heads) {
    if (e == cudaSuccess && w != nullptr)
      e = cuda::rms_norm(launch_, y, values_of(w), m_.norm_eps, dim_k_, int64_t{n} * heads, y);
  };
  norm(q_, layer.q_norm, m_.n_head);
  norm(k_, layer.k_norm, m_.kv.n_kv_head);
  if (e == cudaSuccess) e = cuda::rope(launch_, q_, rope_, cell, n, m_.n_head, dim_k_);
  if (e == cudaSuccess) e = cuda::rope(launch_, k_, rope_, cell, n, m_.kv.n_kv_head, dim_k_);
  if (e == cudaSuccess) e = cuda::kv_write(launch_, cells, cell, n, k_, v_);
  return e;
}

cudaError_t Program::enqueue_attention(const CudaKv& kv, int32_t l, int32_t n, bool structured) {
  const DecoderOps::Layer& layer = m_.layers[static_cast<size_t>(l)];
  AttentionKernelArgs a;
  a.q = q_;
  a.out = mixed_;
  a.kv = kv.layer(l);
  a.n_tokens = n;
  a.n_head = m_.n_head;
  a.first_cell = {&state_->first_cell, 0};
  a.scale = m_.attention_scale;
  a.partial = partial_.as<float>();
  a.arrivals = b_.arrivals();
  if (structured && layer.mode != StructureMode::off) {
    a.structure = structure_.args();
    a.structure.mode = layer.mode;
    a.structure.prune = m_.prune;
    a.structure.prune_heads = layer.prune_heads;
    const int64_t table = 3 * int64_t{m_.n_head};
    a.structure.scale = emphasis_.as<float>() + l * 2 * table;
    a.structure.bias = a.structure.scale + table;
  }
  return cuda::attention(launch_, a);
}

cudaError_t Program::enqueue_gate_up(const DecoderOps::Layer& layer, int32_t n) {
  const CudaWeight &gate = of(layer.w_gate), &up = of(layer.w_up);
  if (gate.tiled && up.tiled && gate.tile == up.tile) {
    cudaError_t e = quantize(x_, layer.ffn_norm, n_embd_, n);
    if (e != cudaSuccess) return e;
    MatmulArgs a = tiles_args(gate, x_, layer.ffn_norm, n);
    a.epilogue = Epilogue::silu_mul;
    a.n_targets = 2;
    a.target[0] = {gate.tiles(), gate_, nullptr, n_ff_, false};
    a.target[1] = {up.tiles(), nullptr, nullptr, n_ff_, false};
    return matmul_tiles(launch_, a);
  }
  const Projection targets[] = {{layer.w_gate, gate_}, {layer.w_up, up_}};
  cudaError_t e = project(targets, x_, layer.ffn_norm, n, false);
  if (e == cudaSuccess) e = cuda::silu_mul(launch_, gate_, up_, gate_, int64_t{n} * n_ff_);
  return e;
}

cudaError_t Program::enqueue(const CudaKv& kv, int32_t n, bool structured) {
  const CudaWeight& table = of(m_.token_embd);
  Launch first = launch_;
  first.dependent = false;  // what comes before it is a copy or another step
  cudaError_t e = cuda::embed(first, table.tiled, table.tile, table.stored, table.memory.data(),
                              table.cols, state_->ids, n, x_);
  for (int32_t l = 0; l < static_cast<int32_t>(m_.layers.size()) && e == cudaSuccess; ++l) {
    const DecoderOps::Layer& layer = m_.layers[static_cast<size_t>(l)];
    e = enqueue_qkv(layer, kv.layer(l), n);
    if (e == cudaSuccess) e = enqueue_attention(kv, l, n, structured);
    const Projection attn_out[] = {{layer.wo, x_, layer.bo}};
    if (e == cudaSuccess) e = project(attn_out, mixed_, nullptr, n, true);
    if (e == cudaSuccess) e = enqueue_gate_up(layer, n);
    const Projection ffn_out[] = {{layer.w_down, x_}};
    if (e == cudaSuccess) e = project(ffn_out, gate_, nullptr, n, true);
  }
  const Projection out[] = {{m_.output, logits_}};
  if (e == cudaSuccess) e = project(out, x_, m_.output_norm, n, false);
  if (e == cudaSuccess) e = choose(launch_, logits_, m_.output->rows, n, best_);
  return e;
}

Result<cudaGraphExec_t> Program::graph(const CudaKv& kv, int32_t n_tokens, bool structured) {
  // A list that moved when it grew makes the graphs that name it useless.
  const StructureArgs s = structured ? structure_.args() : StructureArgs{};
  for (const Captured& c : graphs_)
    if (c.kv_serial == kv.serial && c.n_tokens == n_tokens && c.structured == structured &&
        c.labels == s.scope && c.offsets == s.offsets && c.blocks == s.blocks)
      return c.exec;
  if (graphs_.size() >= 64) {
    cudaGraphExecDestroy(graphs_.front().exec);
    graphs_.erase(graphs_.begin());
  }
  if (auto r = check(cudaStreamBeginCapture(launch_.stream, cudaStreamCaptureModeThreadLocal),
                     "capturing a step");
      !r)
    return tl::unexpected(r.error());
  const cudaError_t enqueued = enqueue(kv, n_tokens, structured);
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(launch_.stream, &graph);
  cudaGraphExec_t exec = nullptr;
  cudaError_t e = enqueued != cudaSuccess ? enqueued : ended;
  if (e == cudaSuccess) e = cudaGraphInstantiate(&exec, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (e != cudaSuccess) {
    cudaGetLastError();
    return tl::unexpected(to_error(e, "capturing a decode step"));
  }
  graphs_.push_back({kv.serial, n_tokens, structured, s.scope, s.offsets, s.blocks, exec});
  return exec;
}

Result<void> Program::start(std::span<const int32_t> ids, const CudaKv& kv, int32_t first_cell,
                            const TokenStructure* cells, const VisibleBlocks* visible) {
  const auto n = static_cast<int32_t>(ids.size());
  b_.bind();
  if (n < 1 || n > kMaxColumns || first_cell < 0 || first_cell + n > kv.shape.n_cells)
    return fail(ErrorCode::invalid_argument, "GPU: a step of " + std::to_string(n) +
                                                 " tokens at cell " + std::to_string(first_cell) +
                                                 " does not fit a cache of " +
                                                 std::to_string(kv.shape.n_cells));
  if (cells != nullptr && !cells->empty()) {
    const bool usable = visible != nullptr && visible->key_block == kKeyBlock &&
                        visible->query_tile == b_.query_tile(n);
    auto r = structure_.update(*cells, first_cell + n, usable ? visible : nullptr,
                               attention_streams(n, m_.kv.n_kv_head, launch_.multiprocessors),
                               launch_.stream, b_.counter());
    if (!r) return r;
  }
  std::copy(ids.begin(), ids.end(), mail_->state.ids);
  mail_->state.first_cell = first_cell;
  return check(cudaMemcpyAsync(state_, &mail_->state, sizeof(StepState), cudaMemcpyHostToDevice,
                               launch_.stream),
               "starting a step");
}

Result<void> Program::step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                           const TokenStructure* cells, const VisibleBlocks* visible,
                           std::span<BestToken> best) {
  const auto& store = static_cast<const CudaKv&>(kv);
  if (auto r = start(ids, store, first_cell, cells, visible); !r) return r;
  auto exec = graph(store, static_cast<int32_t>(ids.size()), cells != nullptr && !cells->empty());
  if (!exec) return tl::unexpected(exec.error());
  if (auto r = check(cudaGraphLaunch(*exec, launch_.stream), "launching a step"); !r) return r;
  if (auto r = check(cudaMemcpyAsync(mail_->best, best_, ids.size() * sizeof(BestToken),
                                     cudaMemcpyDeviceToHost, launch_.stream),
                     "reading a step's result");
      !r)
    return r;
  if (auto r = b_.synchronize(); !r) return r;
  std::copy_n(mail_->best, std::min(best.size(), ids.size()), best.begin());
  return {};
}

}  // namespace

Result<std::unique_ptr<DecodeProgram>> CudaBackend::compile_decode(const DecoderOps& model) {
  auto program = std::make_unique<Program>(*this, model);
  if (auto r = program->prepare(); !r) return tl::unexpected(r.error());
  return program;
}

}  // namespace cambium::engine::cuda
