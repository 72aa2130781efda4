#include "engine/cuda/program.h"

namespace cambium::engine::cuda {

StepProgram::~StepProgram() {
  b_.bind();
  for (const Captured& c : graphs_) cudaGraphExecDestroy(c.exec);
  if (mail_ != nullptr) cudaFreeHost(mail_);
}

Result<void> StepProgram::take_arena(int64_t widest) {
  launch_ = b_.launch();
  launch_.dependent = b_.dependent_launch();
  ready_ = rows_leave_ready(b_.step_rows(), token_embd_->cols, launch_.multiprocessors);
  const int64_t padded = ceil_div(widest, kTileCols) * kTileCols;
  floats(x_, token_embd_->cols);
  floats(h_, widest);
  floats(logits_, output_->rows);
  const auto rows = [&](Activations& a) {
    bytes(a.values, padded * kMaxColumns);
    bytes(a.scales, padded / 32 * kMaxColumns * static_cast<int64_t>(sizeof(float2)));
  };
  rows(plain_);
  if (ready_) {
    rows(normed_);
    bytes(normed_.squares, padded / 32 * kMaxColumns * static_cast<int64_t>(sizeof(float)));
  }
  bytes(state_, sizeof(StepState));
  bytes(best_, kMaxColumns * static_cast<int64_t>(sizeof(BestToken)));
  auto arena = DeviceMemory::allocate(arena_bytes_, b_.counter());
  if (!arena) return tl::unexpected(arena.error());
  arena_ = std::move(*arena);
  for (const auto& [pointer, offset] : parts_) *pointer = arena_.as<uint8_t>() + offset;
  void* mail = nullptr;
  if (auto r = check(cudaMallocHost(&mail, sizeof(Mailbox)), "page-locked memory"); !r) return r;
  mail_ = static_cast<Mailbox*>(mail);
  return {};
}

Result<void> StepProgram::logits(std::span<float> host) {
  return b_.download(host.data(), logits_, std::min(host.size_bytes(), logits_bytes()));
}

cudaError_t StepProgram::input(const float* x, const Weight* norm, int64_t cols, int32_t n,
                               MatmulArgs& args) {
  // One token's row is quantized by every block that multiplies it, unless bringing its floats to all
  // of them would take longer than a launch.
  constexpr int64_t kWideRow = 8192;
  const bool made = std::exchange(made_, {}) == Made{x, norm};
  const bool by_blocks = !made && n == 1 && (norm != nullptr || cols < kWideRow);
  args = {};
  args.n_targets = 0;
  args.cols = static_cast<int32_t>(cols);
  args.n_tokens = n;
  args.eps = norm_eps_;
  args.ready = ready_;
  if (by_blocks) {
    args.x = x;
    args.norm = values_of(norm);
    return cudaSuccess;
  }
  args.activations = ready_ && norm != nullptr ? normed_ : plain_;
  if (made) return cudaSuccess;
  return ready_ ? ready_rows(launch_, x, values_of(norm), args.cols, n, args.activations)
                : quantize_rows(launch_, x, values_of(norm), norm_eps_, args.cols, n,
                                args.activations);
}

cudaError_t StepProgram::project(std::span<const Projection> targets, const float* x,
                                 const Weight* norm, int32_t n, bool accumulate,
                                 const Weight* next_norm) {
  const int64_t cols = targets[0].weight->cols;
  bool any_tiled = false, any_float = false;
  for (const Projection& t : targets) (of(t.weight).tiled ? any_tiled : any_float) = true;
  MatmulArgs args;
  cudaError_t e = any_tiled ? input(x, norm, cols, n, args) : cudaSuccess;
  made_ = {};
  const float* normed = x;
  if (e == cudaSuccess && any_float && norm != nullptr) {
    e = cuda::rms_norm(launch_, x, values_of(norm), norm_eps_, cols, n, h_);
    normed = h_;
  }
  for (size_t i = 0; i < targets.size() && e == cudaSuccess; ++i) {
    const Projection& t = targets[i];
    const CudaWeight& w = of(t.weight);
    if (!w.tiled) {
      e = matmul_float(launch_,
                       {w.memory.data(), w.stored, normed, t.y, values_of(t.bias),
                        static_cast<int32_t>(w.rows), static_cast<int32_t>(cols), n, accumulate});
      continue;
    }
    args.type = w.tile;
    args.target[args.n_targets++] = {w.tiles(), t.y, values_of(t.bias),
                                     static_cast<int32_t>(w.rows), accumulate};
    const bool more = i + 1 < targets.size() && of(targets[i + 1].weight).tiled &&
                      of(targets[i + 1].weight).tile == w.tile && args.n_targets < 3;
    if (more) continue;
    if (next_norm != nullptr && norm == nullptr && targets.size() == 1 && makes(w)) {
      args.made = normed_;
      args.made_norm = values_of(next_norm);
      made_ = {t.y, next_norm};
    }
    e = matmul_tiles(launch_, args);
    args.n_targets = 0;
  }
  return e;
}

cudaError_t StepProgram::gate_up(const Weight* w_gate, const Weight* w_up, const float* x,
                                 const Weight* norm, int32_t n, float* gate, float* up,
                                 bool next_reads) {
  const auto n_ff = static_cast<int32_t>(w_gate->rows);
  const CudaWeight &g = of(w_gate), &u = of(w_up);
  if (g.tiled && u.tiled && g.tile == u.tile) {
    MatmulArgs a;
    if (const cudaError_t e = input(x, norm, g.cols, n, a); e != cudaSuccess) return e;
    a.type = g.tile;
    a.epilogue = Epilogue::silu_mul;
    a.n_targets = 2;
    a.target[0] = {g.tiles(), gate, nullptr, n_ff, false};
    a.target[1] = {u.tiles(), nullptr, nullptr, n_ff, false};
    if (next_reads && norm != nullptr && makes(g)) {
      a.made = plain_;
      a.target[0].y = nullptr;
      made_ = {gate, nullptr};
    }
    return matmul_tiles(launch_, a);
  }
  const Projection targets[] = {{w_gate, gate}, {w_up, up}};
  cudaError_t e = project(targets, x, norm, n, false);
  if (e == cudaSuccess) e = cuda::silu_mul(launch_, gate, up, gate, int64_t{n} * n_ff);
  return e;
}

cudaError_t StepProgram::enqueue(const CudaKv& kv, int32_t n, Kind kind) {
  const CudaWeight& table = of(token_embd_);
  Launch first = launch_;
  first.dependent = false;  // what comes before it is a copy or another step
  cudaError_t e = cuda::embed(first, table.tiled, table.tile, table.stored, table.memory.data(),
                              table.cols, state_->ids, n, x_);
  made_ = {};
  if (e == cudaSuccess) e = enqueue_layers(kv, n, kind);
  const Projection out[] = {{output_, logits_}};
  if (e == cudaSuccess) e = project(out, x_, output_norm_, n, false);
  if (e == cudaSuccess) e = choose(launch_, logits_, output_->rows, n, best_);
  return e;
}

Result<cudaGraphExec_t> StepProgram::graph(const CudaKv& kv, int32_t n_tokens, Kind kind) {
  // A list that moved when it grew makes the graphs that name it useless.
  const StructureArgs s = kind.structured ? structure_args() : StructureArgs{};
  for (const Captured& c : graphs_)
    if (c.kv_serial == kv.serial && c.n_tokens == n_tokens && c.kind == kind &&
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
  const cudaError_t enqueued = enqueue(kv, n_tokens, kind);
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
  graphs_.push_back({kv.serial, n_tokens, kind, s.scope, s.offsets, s.blocks, exec});
  return exec;
}

Result<StepProgram::Kind> StepProgram::start(std::span<const int32_t> ids, CudaKv& kv,
                                             int32_t first_cell, const TokenStructure* cells,
                                             const VisibleBlocks* visible) {
  const auto n = static_cast<int32_t>(ids.size());
  b_.bind();
  if (n < 1 || n > kMaxColumns || first_cell < 0 || first_cell + n > kv.shape.n_cells)
    return fail(ErrorCode::invalid_argument, "GPU: a step of " + std::to_string(n) +
                                                 " tokens at cell " + std::to_string(first_cell) +
                                                 " does not fit a cache of " +
                                                 std::to_string(kv.shape.n_cells));
  Kind kind;
  kind.structured = cells != nullptr && !cells->empty();
  if (kind.structured)
    if (auto r = update_structure(*cells, first_cell + n, visible, n); !r)
      return tl::unexpected(r.error());
  const SparseRule rule = sparse_rule();
  kind.sparse = !kind.structured && rule.from > 0 && first_cell + n > rule.from;
  if (kind.sparse)
    if (auto r = kv.reserve_means(b_.counter()); !r) return tl::unexpected(r.error());
  int32_t means_from = first_cell / kKeyBlock;
  for (int32_t l = 0; l < kv.shape.n_layer; ++l) {
    kv.forget_means(l, first_cell);
    means_from = std::min(means_from, kv.means_from(l));
  }
  std::copy(ids.begin(), ids.end(), mail_->state.ids);
  mail_->state.first_cell = first_cell;
  mail_->state.means_from = means_from;
  if (auto r = check(cudaMemcpyAsync(state_, &mail_->state, sizeof(StepState),
                                     cudaMemcpyHostToDevice, launch_.stream),
                     "starting a step");
      !r)
    return tl::unexpected(r.error());
  return kind;
}

Result<void> StepProgram::step(std::span<const int32_t> ids, KvStore& kv, int32_t first_cell,
                               const TokenStructure* cells, const VisibleBlocks* visible,
                               std::span<BestToken> best) {
  auto& store = static_cast<CudaKv&>(kv);
  const auto kind = start(ids, store, first_cell, cells, visible);
  if (!kind) return tl::unexpected(kind.error());
  const auto n = static_cast<int32_t>(ids.size());
  auto exec = graph(store, n, *kind);
  if (!exec) return tl::unexpected(exec.error());
  if (auto r = check(cudaGraphLaunch(*exec, launch_.stream), "launching a step"); !r) return r;
  if (auto r = check(cudaMemcpyAsync(mail_->best, best_, ids.size() * sizeof(BestToken),
                                     cudaMemcpyDeviceToHost, launch_.stream),
                     "reading a step's result");
      !r)
    return r;
  if (auto r = b_.synchronize(); !r) return r;
  if (kind->sparse) {
    const int32_t end = sparse_range(sparse_rule(), first_cell + n - 1, kKeyBlock).last;
    for (int32_t l = 0; l < store.shape.n_layer; ++l) store.keep_means(l, end);
  }
  std::copy_n(mail_->best, std::min(best.size(), ids.size()), best.begin());
  return {};
}

}  // namespace cambium::engine::cuda
