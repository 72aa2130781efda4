// The fused decode step: five launches a layer, captured once as a graph and replayed.
//
//   norm + quantize + QKV + RoPE + KV write
//   attention, streams of keys joined by the last block; past SparseRule::from two launches before
//     it choose the blocks
//   quantize + output projection + residual
//   norm + quantize + gate, up + SiLU
//   quantize + down projection + residual
//
// Several tokens, and one token's row of 8,192 columns and more, are quantized by launches between.
// Where rows leave their kernels ready (rows_leave_ready()) those are needed in front of the first
// layer and after attention alone: the last three products quantize what they make, a norm's weights
// in it, and its one factor a row is in the next product.
// On compute capability 9.0 and newer each kernel starts while the one before it drains and has its
// first weights in registers when its input is ready (programmatic dependent launch). Token and
// position live in device memory, so a graph is captured once for a number of tokens and a cache.
#include <algorithm>
#include <array>
#include <vector>

#include "engine/cuda/program.h"

namespace cambium::engine::cuda {
namespace {

class Program final : public StepProgram {
 public:
  Program(CudaBackend& backend, const DecoderOps& model)
      : StepProgram(backend, model.token_embd, model.output_norm, model.output, model.norm_eps),
        m_(model) {}
  Result<void> prepare();

 private:
  cudaError_t enqueue_layers(const CudaKv& kv, int32_t n, Kind kind) override;
  Result<void> update_structure(const TokenStructure& cells, int32_t n_cells,
                                const VisibleBlocks* visible, int32_t n) override;
  StructureArgs structure_args() const override { return structure_.args(); }
  SparseRule sparse_rule() const override { return m_.sparse; }
  cudaError_t enqueue_qkv(const DecoderOps::Layer& layer, const KvCells& cells, int32_t n);
  cudaError_t enqueue_attention(const CudaKv& kv, int32_t l, int32_t n, Kind kind);

  DecoderOps m_;
  RopeArgs rope_;
  bool fused_rope_ = false;
  int32_t dim_k_ = 0, dim_v_ = 0, n_embd_ = 0, n_ff_ = 0;
  DeviceMemory emphasis_, partial_, sparse_;
  float *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mixed_ = nullptr, *gate_ = nullptr,
        *up_ = nullptr;
  DeviceStructure structure_;
};

Result<void> Program::prepare() {
  if (m_.layers.empty() || m_.output == nullptr || m_.token_embd == nullptr)
    return fail(ErrorCode::invalid_argument,
                "GPU: an incomplete model was given to compile_decode");
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

  floats(q_, int64_t{m_.n_head} * dim_k_);
  floats(k_, int64_t{m_.kv.n_kv_head} * dim_k_);
  floats(v_, int64_t{m_.kv.n_kv_head} * dim_v_);
  floats(mixed_, int64_t{m_.n_head} * dim_v_);
  floats(gate_, n_ff_);
  floats(up_, n_ff_);
  if (auto r = take_arena(std::max<int64_t>({n_embd_, n_ff_, int64_t{m_.n_head} * dim_v_})); !r)
    return r;

  const bool sparse = m_.sparse.from > 0;
  const int64_t partial = attention_partial_floats(kMaxColumns, m_.n_head, m_.kv.n_kv_head, dim_v_,
                                                   sparse, launch_.multiprocessors);
  auto memory = DeviceMemory::allocate(static_cast<size_t>(partial) * sizeof(float), b_.counter());
  if (!memory) return tl::unexpected(memory.error());
  partial_ = std::move(*memory);
  if (sparse) {
    memory = DeviceMemory::allocate(
        static_cast<size_t>(SparseSpace(m_.sparse, m_.kv, m_.n_head, kMaxColumns).bytes),
        b_.counter());
    if (!memory) return tl::unexpected(memory.error());
    sparse_ = std::move(*memory);
  }

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
  return b_.synchronize();
}

Result<void> Program::update_structure(const TokenStructure& cells, int32_t n_cells,
                                       const VisibleBlocks* visible, int32_t n) {
  const bool usable = visible != nullptr && visible->key_block == kKeyBlock &&
                      visible->query_tile == b_.query_tile(n);
  return structure_.update(cells, n_cells, usable ? visible : nullptr,
                           attention_streams(n, m_.kv.n_kv_head, launch_.multiprocessors),
                           launch_.stream, b_.counter());
}

cudaError_t Program::enqueue_qkv(const DecoderOps::Layer& layer, const KvCells& cells, int32_t n) {
  const Projection targets[] = {
      {layer.wq, q_, layer.bq}, {layer.wk, k_, layer.bk}, {layer.wv, v_, layer.bv}};
  const Cell cell{&state_->first_cell, 0};
  if (fused_rope_) {
    MatmulArgs args;
    cudaError_t e = input(x_, layer.attn_norm, n_embd_, n, args);
    std::array<bool, 3> done{};
    for (int i = 0; i < 3 && e == cudaSuccess; ++i) {
      if (done[static_cast<size_t>(i)]) continue;
      MatmulArgs a = args;
      a.type = of(targets[i].weight).tile;
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

cudaError_t Program::enqueue_attention(const CudaKv& kv, int32_t l, int32_t n, Kind kind) {
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
  if (kind.sparse) {
    const SparseSpace space(m_.sparse, kv.shape, m_.n_head, n);
    a.sparse = space.args(m_.sparse, kv, l, sparse_.data());
    a.sparse.means_from = {&state_->means_from, 0};
  }
  if (kind.structured && layer.mode != StructureMode::off) {
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

cudaError_t Program::enqueue_layers(const CudaKv& kv, int32_t n, Kind kind) {
  cudaError_t e = cudaSuccess;
  for (int32_t l = 0; l < static_cast<int32_t>(m_.layers.size()) && e == cudaSuccess; ++l) {
    const DecoderOps::Layer& layer = m_.layers[static_cast<size_t>(l)];
    e = enqueue_qkv(layer, kv.layer(l), n);
    if (e == cudaSuccess) e = enqueue_attention(kv, l, n, kind);
    const bool last = l + 1 == static_cast<int32_t>(m_.layers.size());
    const Weight* next = last ? output_norm_ : m_.layers[static_cast<size_t>(l) + 1].attn_norm;
    const Projection attn_out[] = {{layer.wo, x_, layer.bo}};
    if (e == cudaSuccess) e = project(attn_out, mixed_, nullptr, n, true, layer.ffn_norm);
    if (e == cudaSuccess)
      e = gate_up(layer.w_gate, layer.w_up, x_, layer.ffn_norm, n, gate_, up_,
                  of(layer.w_down).tiled);
    const Projection ffn_out[] = {{layer.w_down, x_}};
    if (e == cudaSuccess) e = project(ffn_out, gate_, nullptr, n, true, next);
  }
  return e;
}

}  // namespace

Result<std::unique_ptr<DecodeProgram>> CudaBackend::compile_decode(const DecoderOps& model) {
  bind();
  auto program = std::make_unique<Program>(*this, model);
  if (auto r = program->prepare(); !r) return tl::unexpected(r.error());
  return program;
}

}  // namespace cambium::engine::cuda
