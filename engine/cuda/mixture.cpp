// Mixtures of experts and latent attention on the host's side. A pass over few tokens goes token by
// token and reads the chosen experts alone, one over some takes eight tokens of an expert together;
// neither waits for a word from the host. A long one is sorted by expert: the host reads how many
// tokens each has, then the weights are dequantized some experts at a time and multiplied in batches.
#include <algorithm>

#include "engine/cuda/backend.h"
#include "engine/cuda/latent.h"

namespace cambium::engine::cuda {
namespace {

// Above this eight tokens of an expert at a time beat each token's experts anew.
constexpr int32_t kSomeTokens = 16;
// Above this dequantizing all experts beats reading them once for eight tokens each.
constexpr int32_t kManyTokens = 384;
// Of a pass at once: bounds the rows that stand sorted by expert.
constexpr int32_t kMostTokens = 2048;
constexpr int64_t kScoreBytes = int64_t{64} << 20;  // of latent attention's scores in a long pass

const CudaWeight& of(const Weight& w) { return static_cast<const CudaWeight&>(w); }
const StackView& stack_of(const Weight& w) { return static_cast<const CudaStack&>(w).view; }

int64_t padded_rows(const StackView& s) {
  return s.tiled ? ceil_div(s.rows, kTileRows) * kTileRows : s.rows;
}
/// What a GEMM can be given: tiles are dequantized to F16, F16 is taken as it is.
bool as_half(const StackView& s) { return s.tiled || s.stored == DType::f16; }

}  // namespace

Result<std::unique_ptr<Weight>> CudaBackend::load_stack(const TensorView& view, int32_t n) {
  const TypeTraits* traits = type_traits(view.type);
  if (traits == nullptr || n <= 0 || view.rows % n != 0 || view.cols <= 0 ||
      view.cols % traits->block_elements != 0)
    return fail(ErrorCode::unsupported, "a stack of " + std::to_string(n) + " matrices in " +
                                            std::to_string(view.rows) + "x" +
                                            std::to_string(view.cols) +
                                            " is not of a type and shape this build knows");
  const int64_t rows = view.rows / n;
  TileType tile;
  TensorView padded = view;
  std::vector<std::byte> bytes;
  if (tile_type(view.type, &tile) && rows % kTileRows != 0) {
    // Zeros between the matrices, so that each starts with a row tile.
    const size_t stride = row_bytes(view.type, view.cols),
                 each = static_cast<size_t>(rows) * stride;
    const int64_t wanted = ceil_div(rows, kTileRows) * kTileRows;
    bytes.resize(static_cast<size_t>(n * wanted) * stride);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i)
      std::copy_n(view.data + i * each, each,
                  bytes.data() + i * static_cast<size_t>(wanted) * stride);
    padded = {view.type, n * wanted, view.cols, bytes.data()};
  }
  auto whole = load_weight(padded, WeightUse::matmul);
  if (!whole) return tl::unexpected(whole.error());
  const CudaWeight& w = of(**whole);
  auto stack = std::make_unique<CudaStack>();
  stack->type = view.type;
  stack->rows = rows;
  stack->cols = view.cols;
  stack->view = {w.memory.as<uint8_t>(),
                 static_cast<int64_t>(w.memory.bytes()) / n,
                 w.tiled,
                 w.tile,
                 w.stored,
                 n,
                 static_cast<int32_t>(rows),
                 static_cast<int32_t>(view.cols)};
  stack->whole = std::move(*whole);
  return stack;
}

void CudaBackend::route(const float* logits, const ExpertRule& rule, int32_t n_tokens, int32_t* ids,
                        float* weights, uint32_t* counts) {
  bind();
  const float* bias = rule.bias != nullptr ? of(*rule.bias).f32() : nullptr;
  note(cuda::route(launch_, logits, route_args(rule, bias, ids, weights, counts), n_tokens),
       "route");
}

void CudaBackend::copy_rows(const float* x, int64_t x_stride, float* y, int64_t y_stride,
                            int64_t width, int64_t n_rows) {
  bind();
  note(cuda::copy_rows(launch_, x, x_stride, y, y_stride, width, n_rows), "copy_rows");
}

const uint16_t* CudaBackend::stack_half(const StackView& s, int32_t first, int32_t n) {
  if (!s.tiled) return reinterpret_cast<const uint16_t*>(s.data + first * s.stride);
  const int64_t rows = padded_rows(s);
  auto* half = space<uint16_t>(dequantized_, n * rows * s.cols);
  if (half == nullptr) return nullptr;
  return note(dequantize_tiles(launch_, s.tile, s.data, s.cols, first * rows, n * rows, half),
              "dequantize")
             ? half
             : nullptr;
}

// --- experts
// ---------------------------------------------------------------------------------------------

void CudaBackend::experts(const ExpertsArgs& args) {
  bind();
  const StackView &gate = stack_of(*args.gate), &up = stack_of(*args.up),
                  &down = stack_of(*args.down);
  const bool sortable =
      as_half(gate) && as_half(up) && as_half(down) && gate.cols % 4 == 0 && gate.rows % 4 == 0;
  for (int32_t first = 0; first < args.n_tokens; first += kMostTokens) {
    ExpertsArgs part = args;
    part.n_tokens = std::min(kMostTokens, args.n_tokens - first);
    part.x += int64_t{first} * gate.cols;
    part.y += int64_t{first} * gate.cols;
    part.ids += int64_t{first} * args.n_used;
    part.weights += int64_t{first} * args.n_used;
    Cublas* cublas = sortable && part.n_tokens > kManyTokens ? cublas_for(part.n_tokens) : nullptr;
    const bool alike = gate.tiled && up.tiled && down.tiled && gate.tile == up.tile;
    if (cublas != nullptr)
      experts_many(part, *cublas);
    else if (alike && part.n_tokens > kSomeTokens)
      experts_some(part);
    else
      experts_few(part);
  }
}

void CudaBackend::experts_few(const ExpertsArgs& args) {
  const StackView &gate = stack_of(*args.gate), &up = stack_of(*args.up);
  const int64_t rows = int64_t{args.n_tokens} * args.n_used;
  auto* hidden = space<float>(expert_gate_, rows * gate.rows);
  if (hidden == nullptr) return;
  SlotsArgs slots;
  slots.first = gate;
  slots.ids = args.ids;
  slots.weights = args.weights;
  slots.n_tokens = args.n_tokens;
  slots.n_used = args.n_used;
  slots.x = args.x;
  slots.y = hidden;
  if (gate.tiled && up.tiled && gate.tile == up.tile) {
    slots.second = up;
    note(expert_slots(launch_, slots), "experts");
  } else {
    auto* other = space<float>(expert_up_, rows * gate.rows);
    if (other == nullptr) return;
    note(expert_slots(launch_, slots), "experts");
    slots.first = up;
    slots.y = other;
    note(expert_slots(launch_, slots), "experts");
    note(expert_activation(launch_, hidden, other, args.weights, gate.rows, rows), "experts");
  }
  DownArgs down;
  down.down = stack_of(*args.down);
  down.ids = args.ids;
  down.x = hidden;
  down.n_tokens = args.n_tokens;
  down.n_used = args.n_used;
  down.y = args.y;
  note(expert_down(launch_, down), "experts");
}

void CudaBackend::experts_some(const ExpertsArgs& args) {
  const StackView &gate = stack_of(*args.gate), &down = stack_of(*args.down);
  const int32_t pairs = args.n_tokens * args.n_used;
  ExpertGroups groups;
  groups.n_groups = pairs / kMaxColumns + gate.n;
  const int64_t rows = int64_t{groups.n_groups} * kMaxColumns;
  auto* order = space<int32_t>(expert_order_, 2 * int64_t{gate.n} + pairs + groups.n_groups + rows);
  auto* hidden = space<float>(expert_gate_, rows * gate.rows);
  auto* out = space<float>(expert_rows_, rows * gate.cols);
  // Activations of the tokens, then of the rows between the two products.
  const int64_t wide = ceil_div(gate.cols, kTileCols) * kTileCols,
                tall = ceil_div(down.cols, kTileCols) * kTileCols;
  const int64_t values = std::max(args.n_tokens * wide, rows * tall);
  auto* quantized = space<int8_t>(expert_half_, values + values / 32 * int64_t{sizeof(float2)});
  if (order == nullptr || hidden == nullptr || out == nullptr || quantized == nullptr) return;
  auto* scales = reinterpret_cast<float2*>(quantized + values);
  groups.counts = order;
  groups.base = groups.counts + gate.n;
  groups.rank = groups.base + gate.n;
  groups.expert_of = groups.rank + pairs;
  groups.source = groups.expert_of + groups.n_groups;
  GroupsArgs a;
  a.first = gate;
  a.second = stack_of(*args.up);
  a.expert_of = groups.expert_of;
  a.source = groups.source;
  a.n_groups = groups.n_groups;
  a.n_used = args.n_used;
  a.values = quantized;
  a.scales = scales;
  a.y = hidden;
  note(plan_groups(launch_, args.ids, pairs, gate.n, groups), "experts");
  note(quantize_each(launch_, args.x, gate.cols, args.n_tokens, quantized, scales), "experts");
  note(expert_groups(launch_, a), "experts");
  a.first = down;
  a.second = {};
  a.by_row = true;
  a.y = out;
  note(quantize_each(launch_, hidden, down.cols, static_cast<int>(rows), quantized, scales),
       "experts");
  note(expert_groups(launch_, a), "experts");
  note(combine_rows(launch_, out, args.ids, args.weights, groups.base, groups.rank, args.n_tokens,
                    args.n_used, gate.cols, args.y),
       "experts");
}

void CudaBackend::experts_many(const ExpertsArgs& args, Cublas& cublas) {
  const StackView &gate = stack_of(*args.gate), &up = stack_of(*args.up),
                  &down = stack_of(*args.down);
  const int32_t n_expert = gate.n, pairs = args.n_tokens * args.n_used;
  const auto experts = static_cast<size_t>(n_expert);
  auto* order = space<int32_t>(expert_order_, 2 * int64_t{n_expert} + pairs);
  if (order == nullptr) return;
  int32_t *counts = order, *base = order + n_expert, *rank = order + 2 * n_expert;
  if (!note(rank_by_expert(launch_, args.ids, pairs, n_expert, counts, rank), "experts")) return;
  expert_counts_.resize(experts);
  expert_base_.resize(experts);
  if (!note(download(expert_counts_.data(), counts, experts * sizeof(int32_t)))) return;

  // As many experts at once as fit dequantized. Where they have about equally many tokens each gets
  // as many rows as the most wanted one, so that one batched product does them.
  const int64_t widest = std::max(padded_rows(gate) * gate.cols, padded_rows(down) * down.cols);
  const auto together = static_cast<int32_t>(std::clamp<int64_t>(
      static_cast<int64_t>(kDequantizedBytes / sizeof(uint16_t)) / widest, 1, n_expert));
  struct Batch {
    int32_t first, n, rows;  // rows of each; 0: as many as it has
  };
  std::vector<Batch> batches;
  int32_t total = 0;
  for (int32_t first = 0; first < n_expert; first += together) {
    const int32_t n = std::min(together, n_expert - first);
    const auto of_batch =
        std::span(expert_counts_).subspan(static_cast<size_t>(first), static_cast<size_t>(n));
    int32_t most = 0, sum = 0;
    for (const int32_t count : of_batch) {
      most = std::max(most, count);
      sum += count;
    }
    if (most == 0) continue;
    const bool even = n > 1 && int64_t{most} * n <= int64_t{sum} * 3 / 2 + 64;
    batches.push_back({first, n, even ? most : 0});
    for (int32_t i = 0; i < n; ++i) {
      expert_base_[static_cast<size_t>(first + i)] = total;
      total += even ? most : of_batch[static_cast<size_t>(i)];
    }
  }
  upload(base, expert_base_.data(), experts * sizeof(int32_t));

  auto* half = space<uint16_t>(expert_half_, int64_t{total} * std::max(gate.cols, gate.rows));
  auto* gated = space<float>(expert_gate_, int64_t{total} * gate.rows);
  auto* upped = space<float>(expert_up_, int64_t{total} * gate.rows);
  auto* rows = space<float>(expert_rows_, int64_t{total} * gate.cols);
  if (half == nullptr || gated == nullptr || upped == nullptr || rows == nullptr) return;
  const auto multiply = [&](const StackView& s, float* y) {
    for (const Batch& batch : batches) {
      const uint16_t* matrices = stack_half(s, batch.first, batch.n);
      if (matrices == nullptr) return;
      Gemm g;
      g.m = s.rows;
      g.k = s.cols;
      g.lda = g.ldb = s.cols;
      g.ldc = s.rows;
      g.stride_a = padded_rows(s) * s.cols;
      const bool even = batch.rows > 0;
      g.batch = even ? batch.n : 1;
      g.stride_b = int64_t{batch.rows} * s.cols;
      g.stride_c = int64_t{batch.rows} * s.rows;
      for (int32_t i = 0; i < (even ? 1 : batch.n); ++i) {
        const auto e = static_cast<size_t>(batch.first + i);
        g.n = even ? batch.rows : expert_counts_[e];
        if (g.n == 0) continue;
        g.a = matrices + i * g.stride_a;
        g.b = half + int64_t{expert_base_[e]} * s.cols;
        g.c = y + int64_t{expert_base_[e]} * s.rows;
        if (!note(cublas.gemm(g))) return;
      }
    }
  };
  note(gather_rows(launch_, args.x, args.ids, base, rank, pairs, args.n_used, gate.cols, half),
       "experts");
  multiply(gate, gated);
  multiply(up, upped);
  note(silu_mul_half(launch_, gated, upped, int64_t{total} * gate.rows, half), "experts");
  multiply(down, rows);
  note(combine_rows(launch_, rows, args.ids, args.weights, base, rank, args.n_tokens, args.n_used,
                    gate.cols, args.y),
       "experts");
}

// --- projections by head
// ---------------------------------------------------------------------------------------------

void CudaBackend::head_matmul(const HeadMatmulArgs& args) {
  bind();
  const StackView& s = stack_of(*args.weight);
  const bool fits =
      static_cast<size_t>(s.n * padded_rows(s) * s.cols) * sizeof(uint16_t) <= kDequantizedBytes;
  if (as_half(s) && fits)
    if (Cublas* cublas = cublas_for(args.n_tokens); cublas != nullptr)
      return head_matmul_many(args, *cublas);
  HeadArgs a{s,           args.n_tokens, args.x,       args.x_token,
             args.x_head, args.y,        args.y_token, args.y_head};
  if (s.tiled &&
      (a.x_token % 4 != 0 || a.x_head % 4 != 0 || reinterpret_cast<uintptr_t>(a.x) % 16 != 0)) {
    // The kernel loads 16 bytes at once: heads side by side start on such a boundary.
    a.x_head = s.cols;
    a.x_token = int64_t{s.n} * s.cols;
    auto* packed = space<float>(expert_up_, args.n_tokens * a.x_token);
    if (packed == nullptr) return;
    for (int32_t t = 0; t < args.n_tokens; ++t)
      copy_rows(args.x + t * args.x_token, args.x_head, packed + t * a.x_token, a.x_head, s.cols,
                s.n);
    a.x = packed;
  }
  constexpr int32_t kGrid = 32768;
  for (int32_t first = 0; first < args.n_tokens; first += kGrid) {
    HeadArgs part = a;
    part.n_tokens = std::min(kGrid, args.n_tokens - first);
    part.x += first * a.x_token;
    part.y += first * a.y_token;
    note(cuda::head_matmul(launch_, part), "head_matmul");
  }
}

void CudaBackend::head_matmul_many(const HeadMatmulArgs& args, Cublas& cublas) {
  const StackView& s = stack_of(*args.weight);
  auto* half = space<uint16_t>(half_, int64_t{args.n_tokens} * s.n * s.cols);
  const uint16_t* matrices = stack_half(s, 0, s.n);
  if (half == nullptr || matrices == nullptr ||
      !note(pack_half(launch_, args.x, args.x_token, args.x_head, args.n_tokens, s.n, s.cols, half),
            "head_matmul"))
    return;
  Gemm g;
  g.m = s.rows;
  g.n = args.n_tokens;
  g.k = s.cols;
  g.a = matrices;
  g.lda = s.cols;
  g.stride_a = padded_rows(s) * s.cols;
  g.b = half;
  g.ldb = int64_t{s.n} * s.cols;
  g.stride_b = s.cols;
  g.c = args.y;
  g.ldc = args.y_token;
  g.stride_c = args.y_head;
  g.batch = s.n;
  note(cublas.gemm(g));
}

// --- latent attention
// ---------------------------------------------------------------------------------------------

void CudaBackend::latent_attention(const AttentionArgs& args) {
  if (Cublas* cublas = cublas_for(args.n_tokens); cublas != nullptr)
    return latent_attention_many(args, *cublas);
  const auto& kv = static_cast<const CudaKv&>(*args.kv);
  AttentionKernelArgs a;
  a.kv = kv.layer(args.layer);
  a.n_head = args.n_head;
  a.scale = args.scale;
  const bool special = a.kv.head_dim_k == kLatentKey && a.kv.head_dim_v == kLatentValue;
  for (int32_t first = 0; first < args.n_tokens; first += kMaxColumns) {
    const int64_t row = int64_t{first} * args.n_head;
    a.n_tokens = std::min(kMaxColumns, args.n_tokens - first);
    a.first_cell = {nullptr, args.first_cell + first};
    a.q = args.q + row * a.kv.head_dim_k;
    a.out = args.out + row * a.kv.head_dim_v;
    if (!special) {
      note(cuda::attention(launch_, a), "attention");
      continue;
    }
    auto* partial = space<float>(
        partial_, latent_partial_floats(a.n_tokens, a.n_head, launch_.multiprocessors));
    if (partial == nullptr) return;
    const LatentParts parts = latent_parts(partial, a.n_tokens, a.n_head, launch_.multiprocessors);
    note(cuda::latent_attention(launch_, a, parts), "attention");
    note(latent_join(launch_, parts, a.first_cell, a.n_tokens, a.n_head, a.out), "attention");
  }
}

// All heads share their keys, so that tokens and heads together are the rows of two products with
// the cache as it stands.
void CudaBackend::latent_attention_many(const AttentionArgs& args, Cublas& cublas) {
  const KvCells kv = static_cast<const CudaKv&>(*args.kv).layer(args.layer);
  const int32_t dk = kv.head_dim_k, dv = kv.head_dim_v;
  const int64_t rows = int64_t{args.n_tokens} * args.n_head;
  auto* q = space<uint16_t>(half_, rows * dk);
  if (q == nullptr || !note(to_half(launch_, args.q, q, rows * dk, false), "to_half")) return;
  const auto* cells = static_cast<const uint16_t*>(kv.k);
  const auto most =
      static_cast<int32_t>(ceil_div(args.first_cell + args.n_tokens, kKeyBlock) * kKeyBlock);
  const int64_t of_token = int64_t{most} * args.n_head * static_cast<int64_t>(sizeof(float));
  const auto chunk =
      static_cast<int32_t>(std::clamp<int64_t>(kScoreBytes / of_token, 1, args.n_tokens));
  const int64_t elements = int64_t{chunk} * args.n_head * most;
  auto* scores = space<float>(scores_, elements + ceil_div(elements, 2));
  if (scores == nullptr) return;
  auto* weights = reinterpret_cast<uint16_t*>(scores + elements);
  for (int32_t first = 0; first < args.n_tokens; first += chunk) {
    const int32_t n = std::min(chunk, args.n_tokens - first);
    const int32_t first_cell = args.first_cell + first;
    // Whole key blocks: the cache has them, and what a token does not see gets weight 0.
    const auto seen = static_cast<int32_t>(ceil_div(first_cell + n, kKeyBlock) * kKeyBlock);
    Gemm g;
    g.m = seen;
    g.n = n * args.n_head;
    g.k = dk;
    g.a = cells;
    g.lda = g.ldb = dk;
    g.b = q + int64_t{first} * args.n_head * dk;
    g.c = scores;
    g.ldc = seen;
    if (!note(cublas.gemm(g)) || !note(latent_softmax(launch_, scores, args.scale, first_cell, n,
                                                      args.n_head, seen, weights),
                                       "attention"))
      return;
    g.transpose_a = false;
    g.m = dv;
    g.k = seen;
    g.a = cells + (dk - dv);
    g.b = weights;
    g.ldb = seen;
    g.c = args.out + int64_t{first} * args.n_head * dv;
    g.ldc = dv;
    if (!note(cublas.gemm(g))) return;
  }
}

}  // namespace cambium::engine::cuda
