#include "engine/cpu/attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "engine/cpu/half.h"
#include "engine/cpu/reference.h"
#include "engine/tree_paths.h"

namespace cambium::engine::cpu {
namespace {

constexpr int32_t round_up(int32_t n, int32_t to) { return (n + to - 1) / to * to; }

constexpr float kNothing = -std::numeric_limits<float>::infinity();

bool structured(const AttentionArgs& args) {
  return args.mode != StructureMode::off && args.cells != nullptr && !args.cells->empty();
}

/// Tokens [0, kSplitTokens] are split over chunks of cells as well as over heads.
constexpr int32_t kSplitTokens = 8;
static_assert(kMostSparseTokens <= kSplitTokens);

/// Element d of the key in cell c of a block, as kv_layout.h says where it lies.
float key_element(const KvHead& head, const std::byte* block, size_t c, size_t d,
                  uint8_t byte_bias) {
  constexpr size_t kCells = kKeyBlock;
  uint16_t half;
  if (!head.q8) {
    std::memcpy(&half, block + (d * kCells + c) * 2, 2);
    return half_to_float(half);
  }
  const auto dk = static_cast<size_t>(head.dk);
  std::memcpy(&half, block + dk * kCells + (d / 32 * kCells + c) * 2, 2);
  const auto byte = static_cast<uint8_t>(block[d / 4 * kCells * 4 + c * 4 + d % 4]);
  return half_to_float(half) * static_cast<float>(static_cast<int8_t>(byte ^ byte_bias));
}

}  // namespace

CpuKv::CpuKv(const KvShape& kv_shape, size_t* in_use) {
  shape = kv_shape;
  constexpr int32_t kChunkCells = kChunkBlocks * kKeyBlock;
  const auto chunks = static_cast<size_t>(round_up(shape.n_cells, kChunkCells) / kChunkCells);
  memory_ = HostMemory(chunks * head(0, 0).chunk_stride, in_use);
}

KvHead CpuKv::head(int32_t layer, int32_t kv_head) const {
  KvHead h;
  h.q8 = shape.type == DType::q8_0;
  h.dk = round_up(shape.head_dim_k, 32);
  h.dv = round_up(shape.head_dim_v, 32);
  h.chunk_stride =
      h.chunk_bytes() * static_cast<size_t>(shape.n_layer) * static_cast<size_t>(shape.n_kv_head);
  if (memory_.data() == nullptr) return h;
  h.chunk = memory_.data() + (static_cast<size_t>(layer) * static_cast<size_t>(shape.n_kv_head) +
                              static_cast<size_t>(kv_head)) *
                                 h.chunk_bytes();
  return h;
}

const float* CpuKv::block_means(int32_t layer, int32_t kv_head, int32_t n_blocks,
                                uint8_t byte_bias) {
  means_.resize(static_cast<size_t>(shape.n_layer) * static_cast<size_t>(shape.n_kv_head));
  Means& means = means_[static_cast<size_t>(layer * shape.n_kv_head + kv_head)];
  const KvHead h = head(layer, kv_head);
  const auto dk = static_cast<size_t>(h.dk);
  if (means.mean.size() < static_cast<size_t>(n_blocks) * dk) {
    means.mean.resize(static_cast<size_t>(n_blocks) * dk);
  }
  for (; means.n_blocks < n_blocks; ++means.n_blocks) {
    const std::byte* block = h.k_block(means.n_blocks);
    float* mean = means.mean.data() + static_cast<size_t>(means.n_blocks) * dk;
    for (size_t d = 0; d < dk; ++d) {
      float sum = 0;
      for (size_t c = 0; c < kKeyBlock; ++c) sum += key_element(h, block, c, d, byte_bias);
      mean[d] = sum / kKeyBlock;
    }
  }
  return means.mean.data();
}

void CpuKv::forget_means(int32_t layer, int32_t first) {
  if (means_.empty()) return;
  for (int32_t h = 0; h < shape.n_kv_head; ++h) {
    Means& means = means_[static_cast<size_t>(layer * shape.n_kv_head + h)];
    means.n_blocks = std::min(means.n_blocks, first / kKeyBlock);
  }
}

/// Heads that share a head of keys and see the same blocks.
struct Attention::HeadSet {
  std::vector<int32_t> heads;
  bool prunes = false;
};

void Attention::copy_labels(const AttentionArgs& args) {
  // Kernels read whole blocks of labels; the caller's arrays end with the last cell.
  const auto n = static_cast<size_t>(args.first_cell + args.n_tokens);
  const auto padded = static_cast<size_t>(round_up(args.first_cell + args.n_tokens, kKeyBlock));
  assert(args.cells->size() >= n);
  const auto copy = [&](const std::vector<int32_t>& from, std::vector<int32_t>& to) {
    to.assign(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    to.resize(padded, 0);
  };
  if (args.mode == StructureMode::tree) {
    const auto scopes = args.tree->scopes();
    copy({scopes.begin(), scopes.end()}, scope_);
  } else {
    copy(args.cells->scope, scope_);
  }
  copy(args.cells->last, last_);
  copy(args.cells->place, place_);
}

namespace {

// Eight sums side by side, which a compiler may keep in vectors.
float product(const float* a, const float* b, int32_t n) {
  constexpr int32_t kSums = 8;
  float sums[kSums] = {};
  int32_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int32_t j = 0; j < kSums; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < n; ++i) sums[0] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace

void Attention::choose_blocks(const AttentionArgs& args, CpuKv& kv, int32_t kv_head) {
  const int32_t group = args.n_head / kv.shape.n_kv_head, dim = kv.shape.head_dim_k;
  const auto dk = static_cast<size_t>(kv.head(args.layer, kv_head).dk);
  std::vector<float> share, score;
  for (int32_t t = 0; t < args.n_tokens; ++t) {
    const int32_t cell = args.first_cell + t;
    auto& chosen = chosen_[static_cast<size_t>(kv_head * args.n_tokens + t)];
    const SparseRange range = sparse_range(args.sparse, cell, kKeyBlock);
    if (range.best == 0) continue;
    const float* means = kv.block_means(args.layer, kv_head, range.last, kernels_.byte_bias);
    const auto n = static_cast<size_t>(range.last - range.first);
    share.assign(n, 0);
    score.resize(n);
    for (int32_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      const float* q = args.q + (int64_t{t} * args.n_head + h) * dim;
      float top = kNothing;
      for (size_t b = 0; b < n; ++b) {
        const float* mean = means + (static_cast<size_t>(range.first) + b) * dk;
        score[b] = product(q, mean, dim) * args.scale;
        top = std::max(top, score[b]);
      }
      float total = 0;
      for (float& s : score) total += s = std::exp(s - top);
      for (size_t b = 0; b < n; ++b) share[b] += score[b] / total;
    }
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::nth_element(order.begin(), order.begin() + range.best, order.end(),
                     [&](int32_t a, int32_t b) {
                       const float x = share[static_cast<size_t>(a)];
                       const float y = share[static_cast<size_t>(b)];
                       return x != y ? x > y : a < b;
                     });
    order.resize(static_cast<size_t>(range.best));
    std::ranges::sort(order);
    for (int32_t b = 0; b < range.first; ++b) chosen.push_back(b);
    for (const int32_t b : order) chosen.push_back(range.first + b);
    for (int32_t b = range.last; b < range.end; ++b) chosen.push_back(b);
  }
}

/// What a query of `head` in `cell` adds to the score of a key, by the key's scope: out [n_scopes].
void Attention::bias_of_scopes(const AttentionArgs& args, int32_t cell, int32_t head,
                               float* out) const {
  const int32_t own = scope_[static_cast<size_t>(cell)];
  for (int32_t s = 0; s < args.tree->n_scopes(); ++s)
    out[s] = args.tree_bias[args.tree->tree_class(own, s) * args.n_head + head];
}

float* Attention::scratch(int thread, size_t floats) {
  std::vector<float>& s = scratch_[static_cast<size_t>(thread)];
  if (s.size() < floats) s.resize(floats);
  return s.data();
}

size_t Attention::bytes() const {
  size_t floats = partial_.capacity() + scope_.capacity() * 3;
  for (const std::vector<float>& s : scratch_) floats += s.capacity();
  return floats * sizeof(float);
}

void Attention::run_heads(const AttentionArgs& args, const CpuKv& kv, int32_t kv_head,
                          const HeadSet& set, int32_t first_token, int32_t last_token,
                          int32_t first_block, int32_t last_block, float* partial, int thread,
                          std::span<const int32_t> chosen) {
  const KvShape& shape = kv.shape;
  AttentionTile tile;
  tile.kv = kv.head(args.layer, kv_head);
  tile.head_dim = shape.head_dim_k;
  tile.scale = args.scale;
  tile.first_block = first_block;
  tile.hides = args.hidden != nullptr;
  if (structured(args) && (args.mode != StructureMode::prune || set.prunes)) {
    tile.mode = args.mode;
    tile.scope = scope_.data();
    tile.last = last_.data();
    tile.place = place_.data();
    tile.prune = args.prune;
  }
  const size_t work = attention_scratch_floats(tile.kv.dk, tile.kv.dv);
  const auto sums = static_cast<size_t>(kAttentionRows * tile.kv.dv);
  const size_t n_scopes =
      tile.mode == StructureMode::tree ? static_cast<size_t>(args.tree->n_scopes()) : 0;
  tile.scratch = scratch(thread, work + sums + kAttentionRows * n_scopes);
  AttentionState state;
  state.o = tile.scratch + work;
  if (!chosen.empty()) {
    tile.blocks = chosen.data();
    tile.n_blocks = static_cast<int32_t>(chosen.size());
  }
  const VisibleBlocks* visible =
      tile.mode == StructureMode::prune && args.visible != nullptr ? args.visible : nullptr;
  assert(visible == nullptr || visible->key_block == kKeyBlock);

  const auto per_token = static_cast<int32_t>(set.heads.size());
  const auto dv = static_cast<size_t>(tile.kv.dv);
  for (int32_t segment = first_token; segment < last_token;) {
    int32_t end = last_token;
    if (visible != nullptr) {
      const int32_t v = segment / visible->query_tile;
      end = std::min(end, (v + 1) * visible->query_tile);
      const int32_t from = visible->offsets[static_cast<size_t>(v)];
      tile.n_blocks = visible->offsets[static_cast<size_t>(v) + 1] - from;
      tile.blocks = visible->blocks.data() + from;
      tile.full = visible->full.empty() ? nullptr : visible->full.data() + from;
    }
    const int32_t n_rows = (end - segment) * per_token;
    for (int32_t row = 0; row < n_rows; row += kAttentionRows) {
      tile.n_rows = std::min(kAttentionRows, n_rows - row);
      int32_t token[kAttentionRows], head[kAttentionRows];
      for (int32_t r = 0; r < tile.n_rows; ++r) {
        token[r] = segment + (row + r) / per_token;
        head[r] = set.heads[static_cast<size_t>((row + r) % per_token)];
        tile.cell[r] = args.first_cell + token[r];
        if (tile.hides) tile.hidden[r] = args.hidden[token[r]];
        tile.q[r] =
            args.q + (static_cast<int64_t>(token[r]) * args.n_head + head[r]) * shape.head_dim_k;
        if (tile.mode != StructureMode::off) {
          const auto cell = static_cast<size_t>(tile.cell[r]);
          tile.label[r] = {scope_[cell], last_[cell], place_[cell]};
        }
        if (tile.mode == StructureMode::emphasis) {
          for (int i = 0; i < 3; ++i) {
            tile.factor[i][r] = 1.0f + args.emphasis_scale[i * args.n_head + head[r]];
            tile.offset[i][r] = args.emphasis_bias[i * args.n_head + head[r]];
          }
        }
        if (tile.mode == StructureMode::tree) {
          float* bias = tile.scratch + work + sums + static_cast<size_t>(r) * n_scopes;
          bias_of_scopes(args, tile.cell[r], head[r], bias);
          tile.scope_bias[r] = bias;
        }
        state.m[r] = kNothing;
        state.l[r] = 0;
      }
      tile.last_block = std::min(last_block, tile.cell[tile.n_rows - 1] / kKeyBlock + 1);
      kernels_.attend(tile, state);
      for (int32_t r = 0; r < tile.n_rows; ++r) {
        const size_t index = static_cast<size_t>(token[r]) * static_cast<size_t>(args.n_head) +
                             static_cast<size_t>(head[r]);
        const float* o = state.o + static_cast<size_t>(r) * dv;
        if (partial != nullptr) {
          float* to = partial + index * (dv + 2);
          to[0] = state.m[r];
          to[1] = state.l[r];
          std::copy_n(o, dv, to + 2);
        } else {
          float* out = args.out + index * static_cast<size_t>(shape.head_dim_v);
          const bool any = state.m[r] != kNothing;
          const float inverse = any ? 1.0f / state.l[r] : 0.0f;
          for (int32_t d = 0; d < shape.head_dim_v; ++d) out[d] = any ? o[d] * inverse : 0.0f;
        }
      }
    }
    segment = end;
  }
}

void Attention::merge_chunks(const AttentionArgs& args, const CpuKv& kv, int32_t n_chunks) {
  const int32_t dv = kv.head(0, 0).dv;
  const size_t row = static_cast<size_t>(dv) + 2;
  const size_t n = static_cast<size_t>(args.n_tokens) * static_cast<size_t>(args.n_head);
  for (size_t i = 0; i < n; ++i) {
    AttentionState sum;
    float* first = partial_.data() + i * row;
    sum.m[0] = first[0];
    sum.l[0] = first[1];
    sum.o = first + 2;
    for (int32_t c = 1; c < n_chunks; ++c) {
      float* next = first + static_cast<size_t>(c) * n * row;
      AttentionState chunk;
      chunk.m[0] = next[0];
      chunk.l[0] = next[1];
      chunk.o = next + 2;
      kernels_.merge(chunk, sum, 1, dv);
    }
    const bool any = sum.m[0] != kNothing;
    const float inverse = any ? 1.0f / sum.l[0] : 0.0f;
    float* out = args.out + i * static_cast<size_t>(kv.shape.head_dim_v);
    for (int32_t d = 0; d < kv.shape.head_dim_v; ++d) out[d] = any ? sum.o[d] * inverse : 0.0f;
  }
}

void Attention::run(const AttentionArgs& args) {
  // The summaries of keys are a cache within the store, which is the engine thread's alone.
  auto& kv = const_cast<CpuKv&>(static_cast<const CpuKv&>(*args.kv));
  const int32_t n_kv_head = kv.shape.n_kv_head;
  const int32_t group = args.n_head / n_kv_head;
  assert(args.n_head % n_kv_head == 0);
  assert(args.first_cell + args.n_tokens <= kv.shape.n_cells);
  scratch_.resize(static_cast<size_t>(pool_.size()));
  if (structured(args)) copy_labels(args);
  const bool prunes = structured(args) && args.mode == StructureMode::prune;

  // Two sets a head of keys at most: the heads that prune and those that see everything.
  std::vector<HeadSet> sets(static_cast<size_t>(n_kv_head) * 2);
  for (int32_t h = 0; h < args.n_head; ++h) {
    const bool pruning = prunes && reference::head_prunes(args.prune_heads, h);
    HeadSet& set = sets[static_cast<size_t>(h / group * 2 + (pruning ? 1 : 0))];
    set.prunes = pruning;
    set.heads.push_back(h);
  }

  const int32_t n_cells = args.first_cell + args.n_tokens;
  const int32_t n_blocks = (n_cells + kKeyBlock - 1) / kKeyBlock;
  const int32_t n_chunks = (n_blocks + kChunkBlocks - 1) / kChunkBlocks;
  const bool split = args.n_tokens <= kSplitTokens && n_chunks > 1;
  if (split) {
    const size_t row = static_cast<size_t>(kv.head(0, 0).dv) + 2;
    const size_t chunk_floats =
        static_cast<size_t>(args.n_tokens) * static_cast<size_t>(args.n_head) * row;
    if (partial_.size() < chunk_floats * static_cast<size_t>(n_chunks)) {
      partial_.resize(chunk_floats * static_cast<size_t>(n_chunks));
    }
    const bool sparse = args.sparse.from > 0 && n_cells > args.sparse.from && !structured(args) &&
                        args.hidden == nullptr && args.n_tokens <= kMostSparseTokens;
    if (sparse) {
      chosen_.assign(static_cast<size_t>(n_kv_head * args.n_tokens), {});
      kv.block_means(args.layer, 0, 0, 0);  // room for every head, before the threads
      pool_.run(n_kv_head,
                [&](int64_t h, int) { choose_blocks(args, kv, static_cast<int32_t>(h)); });
    }
    pool_.run(int64_t{n_kv_head} * n_chunks, [&](int64_t i, int thread) {
      const auto kv_head = static_cast<int32_t>(i / n_chunks);
      const auto chunk = static_cast<int32_t>(i % n_chunks);
      const int32_t first = chunk * kChunkBlocks;
      for (int32_t s = 0; s < 2; ++s) {
        const HeadSet& set = sets[static_cast<size_t>(kv_head * 2 + s)];
        if (set.heads.empty()) continue;
        // Queries of one step choose each its own blocks: drafts change no text.
        const int32_t step = sparse ? 1 : args.n_tokens;
        for (int32_t t = 0; t < args.n_tokens; t += step) {
          run_heads(args, kv, kv_head, set, t, t + step, first,
                    std::min(first + kChunkBlocks, n_blocks),
                    partial_.data() + static_cast<size_t>(chunk) * chunk_floats, thread,
                    sparse ? std::span<const int32_t>(
                                 chosen_[static_cast<size_t>(kv_head * args.n_tokens + t)])
                           : std::span<const int32_t>());
        }
      }
    });
    merge_chunks(args, kv, n_chunks);
    return;
  }
  constexpr int32_t kTokens = 8;  // a task's queries
  const int32_t n_tiles = (args.n_tokens + kTokens - 1) / kTokens;
  pool_.run(int64_t{n_kv_head} * n_tiles, [&](int64_t i, int thread) {
    // The last queries see the most cells: they go first, so that the tail is short.
    const auto tile = n_tiles - 1 - static_cast<int32_t>(i / n_kv_head);
    const auto kv_head = static_cast<int32_t>(i % n_kv_head);
    const int32_t first = tile * kTokens;
    for (int32_t s = 0; s < 2; ++s) {
      const HeadSet& set = sets[static_cast<size_t>(kv_head * 2 + s)];
      if (set.heads.empty()) continue;
      run_heads(args, kv, kv_head, set, first, std::min(first + kTokens, args.n_tokens), 0,
                n_blocks, nullptr, thread);
    }
  });
}

}  // namespace cambium::engine::cpu
