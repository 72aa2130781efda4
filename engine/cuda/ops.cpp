// The ops of dense models on the host's side; those of mixtures and latent attention are in
// mixture.cpp.
#include <algorithm>

#include "engine/cuda/backend.h"
#include "engine/cuda/kv.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr int32_t kFewTokens = 24;  // up to here passes of 8 columns beat dequantizing a matrix

const CudaWeight& of(const Weight& w) { return static_cast<const CudaWeight&>(w); }

}  // namespace

void CudaBackend::embed(const Weight& table, std::span<const int32_t> ids, float* x) {
  bind();
  void* device_ids = workspace(ids_, ids.size_bytes());
  if (device_ids == nullptr) return;
  upload(device_ids, ids.data(), ids.size_bytes());
  const CudaWeight& w = of(table);
  note(cuda::embed(launch_, w.tiled, w.tile, w.stored, w.memory.data(), w.cols, ids_.as<int32_t>(),
                   static_cast<int>(ids.size()), x),
       "embed");
}

void CudaBackend::rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) {
  bind();
  note(cuda::rms_norm(launch_, x, of(w).f32(), eps, w.cols, n_rows, y), "rms_norm");
}

void CudaBackend::matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) {
  bind();
  if (targets.empty() || n_tokens == 0) return;
  if (cublas_for(n_tokens) != nullptr) {
    for (const MatmulTarget& t : targets) matmul_many(t, x, n_tokens);
    return;
  }
  std::vector<MatmulTarget> shifted(targets.begin(), targets.end());
  for (int32_t first = 0; first < n_tokens; first += kMaxColumns) {
    const int32_t n = std::min(kMaxColumns, n_tokens - first);
    for (size_t i = 0; i < targets.size(); ++i)
      shifted[i].y = targets[i].y + first * targets[i].weight->rows;
    matmul_few(shifted, x + first * targets[0].weight->cols, n);
  }
}

Cublas* CudaBackend::cublas_for(int32_t n_tokens) {
  if (n_tokens <= kFewTokens) return nullptr;
  if (!cublas_tried_) {
    cublas_tried_ = true;
    if (void* space = workspace(cublas_workspace_, kCublasBytes); space != nullptr) {
      auto opened = Cublas::open(launch_.stream, space, kCublasBytes);
      if (opened)
        cublas_ = std::move(*opened);
      else
        description_ += "; " + opened.error().message;
    }
  }
  return cublas_.get();
}

void CudaBackend::matmul_few(std::span<const MatmulTarget> targets, const float* x,
                             int32_t n_tokens) {
  const auto cols = static_cast<int32_t>(targets[0].weight->cols);
  MatmulArgs args;
  args.cols = cols;
  args.n_tokens = n_tokens;
  args.x = x;
  bool quantized = false;
  const auto bias = [](const MatmulTarget& t) {
    return t.bias != nullptr ? of(*t.bias).f32() : nullptr;
  };
  const auto flush = [&] {
    if (args.n_targets > 0) note(matmul_tiles(launch_, args), "matmul");
    args.n_targets = 0;
  };
  args.n_targets = 0;
  for (const MatmulTarget& t : targets) {
    const CudaWeight& w = of(*t.weight);
    if (!w.tiled) {
      FloatMatmulArgs f{
          w.memory.data(), w.stored,    x, t.y, bias(t), static_cast<int32_t>(w.rows), cols,
          n_tokens,        t.accumulate};
      note(matmul_float(launch_, f), "matmul");
      continue;
    }
    if (n_tokens > 1 && !quantized) {
      const size_t padded = static_cast<size_t>(ceil_div(cols, kTileCols)) * kTileCols;
      const size_t values = padded * kMaxColumns,
                   scales = padded / 32 * kMaxColumns * sizeof(float2);
      auto* space = static_cast<int8_t*>(workspace(activations_, values + scales));
      if (space == nullptr) return;
      args.activations = {space, reinterpret_cast<float2*>(space + values), nullptr};
      note(quantize_rows(launch_, x, nullptr, 0, cols, n_tokens, args.activations), "quantize");
      quantized = true;
    }
    if (args.n_targets == 3 || (args.n_targets > 0 && args.type != w.tile)) flush();
    args.type = w.tile;
    args.target[args.n_targets++] = {w.tiles(), t.y, bias(t), static_cast<int32_t>(w.rows),
                                     t.accumulate};
  }
  flush();
}

void CudaBackend::matmul_many(const MatmulTarget& target, const float* x, int32_t n_tokens) {
  const CudaWeight& w = of(*target.weight);
  const DType type = w.tiled ? DType::f16 : w.stored;
  const void* input = x;
  if (type != DType::f32) {
    const int64_t n = w.cols * n_tokens;
    auto* half = static_cast<uint16_t*>(workspace(half_, static_cast<size_t>(n) * 2));
    if (half == nullptr || !note(to_half(launch_, x, half, n, type == DType::bf16), "to_half"))
      return;
    input = half;
  }
  const auto rows = static_cast<int>(w.rows), cols = static_cast<int>(w.cols);
  if (!w.tiled) {
    note(cublas_->gemm(type, w.memory.data(), input, target.y, rows, cols, n_tokens, rows,
                       target.accumulate));
  } else {
    const int64_t most =
        static_cast<int64_t>(kDequantizedBytes) / (2 * w.cols) / kTileRows * kTileRows;
    const int64_t step =
        std::max<int64_t>(kTileRows, std::min(most, ceil_div(rows, kTileRows) * kTileRows));
    auto* matrix =
        static_cast<uint16_t*>(workspace(dequantized_, static_cast<size_t>(step * w.cols) * 2));
    if (matrix == nullptr) return;
    for (int64_t first = 0; first < rows; first += step) {
      const int64_t n = std::min(step, rows - first);
      if (!note(dequantize_tiles(launch_, w.tile, w.tiles(), w.cols, first, n, matrix),
                "dequantize"))
        return;
      note(cublas_->gemm(DType::f16, matrix, input, target.y + first, static_cast<int>(n), cols,
                         n_tokens, rows, target.accumulate));
    }
  }
  if (target.bias != nullptr)
    note(add_bias(launch_, of(*target.bias).f32(), target.y, rows, n_tokens), "bias");
}

Result<RopeArgs> CudaBackend::rope_args(const RopeTable& table) {
  RopeArgs args;
  args.n_rot = static_cast<int32_t>(2 * table.freq.size());
  args.magnitude = table.magnitude;
  args.interleaved = table.layout == RopeLayout::interleaved;
  for (const RopeCopy& copy : ropes_)
    if (std::equal(copy.freq.begin(), copy.freq.end(), table.freq.begin(), table.freq.end())) {
      args.freq = copy.memory.as<float>();
      return args;
    }
  auto memory = DeviceMemory::allocate(table.freq.size_bytes(), &in_use_);
  if (!memory) return tl::unexpected(memory.error());
  upload(memory->data(), table.freq.data(), table.freq.size_bytes());
  ropes_.push_back({{table.freq.begin(), table.freq.end()}, std::move(*memory)});
  args.freq = ropes_.back().memory.as<float>();
  return args;
}

void CudaBackend::rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens,
                       int32_t n_head, int32_t head_dim) {
  bind();
  auto args = rope_args(table);
  if (!args) {
    note(tl::unexpected(args.error()));
    return;
  }
  note(cuda::rope(launch_, x, *args, {nullptr, first_pos}, n_tokens, n_head, head_dim), "rope");
}

template <class T>
const T* CudaBackend::kept_copy(std::span<const T> values, std::vector<T>& held,
                                DeviceMemory& memory) {
  if (std::ranges::equal(values, held)) return memory.as<T>();
  held.clear();
  void* to = workspace(memory, values.size_bytes());
  if (to == nullptr) return nullptr;
  upload(to, values.data(), values.size_bytes());
  held.assign(values.begin(), values.end());
  return memory.as<T>();
}

void CudaBackend::rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions,
                          int32_t n_head, int32_t head_dim) {
  bind();
  auto args = rope_args(table);
  if (!args) {
    note(tl::unexpected(args.error()));
    return;
  }
  const int32_t* at = kept_copy(positions, positions_of_, positions_);
  if (at == nullptr) return;
  note(cuda::rope_at(launch_, x, *args, at, static_cast<int>(positions.size()), n_head, head_dim),
       "rope");
}

Result<void> CudaBackend::rank(const float* logits, int64_t n_vocab,
                               std::span<const int32_t> wanted, int32_t top,
                               std::span<float> logprobs, std::span<BestToken> best) {
  bind();
  const size_t n = wanted.size();
  // The best first: they want to lie at multiples of 8 bytes.
  const size_t best_bytes = n * static_cast<size_t>(top) * sizeof(BestToken);
  auto* memory =
      static_cast<uint8_t*>(workspace(ranked_, best_bytes + n * (sizeof(float) + sizeof(int32_t))));
  if (memory == nullptr) return synchronize();
  auto* device_best = reinterpret_cast<BestToken*>(memory);
  auto* device_logprobs = reinterpret_cast<float*>(memory + best_bytes);
  auto* device_wanted = reinterpret_cast<int32_t*>(device_logprobs + n);
  upload(device_wanted, wanted.data(), wanted.size_bytes());
  note(cuda::rank(launch_, logits, n_vocab, static_cast<int>(n), device_wanted, top,
                  device_logprobs, device_best),
       "rank");
  if (best_bytes > 0)
    note(cudaMemcpyAsync(best.data(), device_best, best_bytes, cudaMemcpyDeviceToHost,
                         launch_.stream),
         "download");
  return download(logprobs.data(), device_logprobs, n * sizeof(float));
}

void CudaBackend::kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens,
                           const float* k, const float* v) {
  bind();
  auto& store = static_cast<CudaKv&>(kv);
  store.forget_means(layer, first_cell);
  note(cuda::kv_write(launch_, store.layer(layer), {nullptr, first_cell}, n_tokens, k, v),
       "kv_write");
}

void CudaBackend::attention(const AttentionArgs& args) {
  bind();
  // The means of keys are a cache within the store, which is the engine thread's alone.
  auto& kv = const_cast<CudaKv&>(static_cast<const CudaKv&>(*args.kv));
  if (kv.shape.latent) {
    if (args.hidden == nullptr) return latent_attention(args);
    note(fail(ErrorCode::unsupported, "GPU: latent attention takes no branches"));
    return;
  }
  AttentionKernelArgs a;
  a.q = args.q;
  a.out = args.out;
  a.kv = kv.layer(args.layer);
  a.n_tokens = args.n_tokens;
  a.n_head = args.n_head;
  a.first_cell = {nullptr, args.first_cell};
  a.scale = args.scale;
  if (args.mode != StructureMode::off && args.cells != nullptr && !args.cells->empty()) {
    // Layers of a pass come in ascending order; anything else is a new pass with new labels.
    if (args.cells != structure_of_.cells || args.layer <= structure_of_.layer ||
        args.first_cell != structure_of_.first_cell || args.n_tokens != structure_of_.n_tokens) {
      const int32_t streams =
          args.hidden != nullptr
              ? 1
              : attention_streams(args.n_tokens, kv.shape.n_kv_head, launch_.multiprocessors);
      const bool usable = args.visible != nullptr && args.visible->key_block == kKeyBlock &&
                          args.visible->query_tile == query_tile(args.n_tokens);
      if (!note(structure_.update(*args.cells, args.first_cell + args.n_tokens,
                                  usable ? args.visible : nullptr, streams, launch_.stream,
                                  &in_use_)))
        return;
    }
    structure_of_ = {args.cells, args.layer, args.first_cell, args.n_tokens};
    a.structure = structure_.args();
    a.structure.mode = args.mode;
    a.structure.prune = args.prune;
    a.structure.prune_heads = args.prune_heads;
    if (args.mode == StructureMode::emphasis) {
      const size_t n = 3 * static_cast<size_t>(args.n_head);
      auto* tables = static_cast<float*>(workspace(emphasis_, 2 * n * sizeof(float)));
      if (tables == nullptr) return;
      upload(tables, args.emphasis_scale, n * sizeof(float));
      upload(tables + n, args.emphasis_bias, n * sizeof(float));
      a.structure.scale = tables;
      a.structure.bias = tables + n;
    }
  }
  if (args.hidden != nullptr) {
    a.hidden =
        kept_copy(std::span(args.hidden, static_cast<size_t>(args.n_tokens)), hidden_of_, hidden_);
    if (a.hidden == nullptr) return;
    note(cuda::attention(launch_, a), "attention");
    return;
  }
  const int32_t last_cell = args.first_cell + args.n_tokens - 1;
  const bool sparse = args.sparse.from > 0 && last_cell >= args.sparse.from &&
                      args.n_tokens <= kMostSparseTokens && a.structure.mode == StructureMode::off;
  if (sparse) {
    if (!note(kv.reserve_means(&in_use_))) return;
    const SparseSpace space(args.sparse, kv.shape, args.n_head, args.n_tokens);
    void* memory = workspace(sparse_, static_cast<size_t>(space.bytes));
    if (memory == nullptr) return;
    a.sparse = space.args(args.sparse, kv, args.layer, memory);
  }
  const int64_t floats =
      attention_partial_floats(args.n_tokens, args.n_head, kv.shape.n_kv_head, kv.shape.head_dim_v,
                               sparse, launch_.multiprocessors);
  a.partial = static_cast<float*>(workspace(partial_, static_cast<size_t>(floats) * sizeof(float)));
  a.arrivals = arrivals();
  if (floats > 0 && a.partial == nullptr) return;
  if (note(cuda::attention(launch_, a), "attention") && sparse)
    kv.keep_means(args.layer, sparse_range(args.sparse, last_cell, kKeyBlock).last);
}

void CudaBackend::silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  bind();
  note(cuda::silu_mul(launch_, gate, up, y, n), "silu_mul");
}

void CudaBackend::add(const float* x, float* y, int64_t n) {
  bind();
  note(cuda::add(launch_, x, y, n), "add");
}

}  // namespace cambium::engine::cuda
