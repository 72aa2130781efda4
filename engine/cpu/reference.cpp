#include "engine/cpu/reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/cpu/quantize.h"
#include "engine/tree_paths.h"

namespace cambium::engine::cpu::reference {

void matmul(const TensorView& w, const float* bias, const float* x, int32_t n_tokens,
            bool accumulate, float* y) {
  std::vector<float> row(static_cast<size_t>(w.cols));
  const size_t stride = row_bytes(w.type, w.cols);
  for (int64_t r = 0; r < w.rows; ++r) {
    dequantize_row(w.type, w.data + static_cast<size_t>(r) * stride, row.data(), w.cols);
    for (int32_t t = 0; t < n_tokens; ++t) {
      double sum = bias != nullptr ? bias[r] : 0.0;
      for (int64_t c = 0; c < w.cols; ++c) {
        sum += static_cast<double>(row[static_cast<size_t>(c)]) * x[t * w.cols + c];
      }
      float& out = y[t * w.rows + r];
      out = static_cast<float>(accumulate ? out + sum : sum);
    }
  }
}

void embed(const TensorView& table, std::span<const int32_t> ids, float* x) {
  const size_t stride = row_bytes(table.type, table.cols);
  for (const int32_t id : ids) {
    dequantize_row(table.type, table.data + static_cast<size_t>(id) * stride, x, table.cols);
    x += table.cols;
  }
}

void rms_norm(const float* x, const float* w, float eps, int32_t n_rows, int64_t n_cols, float* y) {
  for (int32_t r = 0; r < n_rows; ++r, x += n_cols, y += n_cols) {
    double sum = 0;
    for (int64_t c = 0; c < n_cols; ++c) sum += static_cast<double>(x[c]) * x[c];
    const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(n_cols) + eps);
    for (int64_t c = 0; c < n_cols; ++c) y[c] = static_cast<float>(x[c] * inverse * w[c]);
  }
}

void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens, int32_t n_head,
          int32_t head_dim) {
  const auto half = static_cast<int32_t>(table.freq.size());
  for (int32_t t = 0; t < n_tokens; ++t) {
    for (int32_t h = 0; h < n_head; ++h, x += head_dim) {
      for (int32_t i = 0; i < half; ++i) {
        const double angle =
            static_cast<double>(first_pos + t) * table.freq[static_cast<size_t>(i)];
        const double c = std::cos(angle) * table.magnitude, s = std::sin(angle) * table.magnitude;
        const bool split = table.layout == RopeLayout::split;
        float& a = x[split ? i : 2 * i];
        float& b = x[split ? i + half : 2 * i + 1];
        const double a0 = a, b0 = b;
        a = static_cast<float>(a0 * c - b0 * s);
        b = static_cast<float>(a0 * s + b0 * c);
      }
    }
  }
}

void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions, int32_t n_head,
             int32_t head_dim) {
  for (size_t i = 0; i < positions.size(); ++i) {
    rope(x + static_cast<int64_t>(i) * n_head * head_dim, table, positions[i], 1, n_head, head_dim);
  }
}

void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i];
    y[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
}

void add(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void route(const float* logits, const ExpertRule& rule, const float* bias, int32_t n_tokens,
           int32_t* ids, float* weights, uint32_t* counts) {
  const auto n = static_cast<size_t>(rule.n_expert);
  const auto per_group = static_cast<std::ptrdiff_t>(rule.n_expert / rule.n_group);
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  std::vector<double> score(n), rank(n), group(static_cast<size_t>(rule.n_group));
  const auto best = [](const std::vector<double>& of) {
    return std::max_element(of.begin(), of.end()) - of.begin();
  };
  for (int32_t t = 0; t < n_tokens; ++t, logits += n) {
    if (rule.gating == Gating::softmax) {
      const double top = *std::max_element(logits, logits + n);
      double sum = 0;
      for (size_t e = 0; e < n; ++e) sum += score[e] = std::exp(logits[e] - top);
      for (double& s : score) s /= sum;
    } else {
      for (size_t e = 0; e < n; ++e) score[e] = 1.0 / (1.0 + std::exp(-double{logits[e]}));
    }
    for (size_t e = 0; e < n; ++e) rank[e] = score[e] + (bias == nullptr ? 0.0 : double{bias[e]});

    if (rule.n_group_used < rule.n_group) {
      for (size_t g = 0; g < group.size(); ++g) {
        const auto first = rank.begin() + static_cast<std::ptrdiff_t>(g) * per_group;
        std::vector<double> inside(first, first + per_group);
        std::ranges::sort(inside, std::greater<>());
        const bool two = rule.gating == Gating::sigmoid && per_group > 1;
        group[g] = inside[0] + (two ? inside[1] : 0.0);
      }
      std::vector<bool> kept(group.size(), false);
      for (int32_t i = 0; i < rule.n_group_used; ++i) {
        const auto g = static_cast<size_t>(best(group));
        kept[g] = true;
        group[g] = kNever;
      }
      for (size_t e = 0; e < n; ++e) {
        if (!kept[e / static_cast<size_t>(per_group)]) rank[e] = kNever;
      }
    }
    double sum = 0;
    for (int32_t j = 0; j < rule.n_used; ++j) {
      const auto e = static_cast<size_t>(best(rank));
      rank[e] = kNever;
      ids[j] = static_cast<int32_t>(e);
      weights[j] = static_cast<float>(score[e]);
      sum += score[e];
      if (counts != nullptr) ++counts[e];
    }
    // As the model's own code: the sum of chosen scores can be 0 in float, never by much.
    const double factor = rule.normalise ? rule.scale / (sum + 1e-20) : double{rule.scale};
    for (int32_t j = 0; j < rule.n_used; ++j) {
      weights[j] = static_cast<float>(weights[j] * factor);
    }
    ids += rule.n_used;
    weights += rule.n_used;
  }
}

TensorView stacked(const TensorView& stack, int32_t n, int32_t i) {
  const int64_t rows = stack.rows / n;
  const size_t bytes = static_cast<size_t>(rows) * row_bytes(stack.type, stack.cols);
  return {stack.type, rows, stack.cols, stack.data + static_cast<size_t>(i) * bytes};
}

void experts(const ExpertsArgs& args, const TensorView& gate, const TensorView& up,
             const TensorView& down, int32_t n_expert) {
  const auto n_ff = static_cast<size_t>(gate.rows / n_expert);
  const auto n_embd = static_cast<size_t>(gate.cols);
  std::vector<float> a(n_ff), b(n_ff), y(n_embd);
  for (int32_t t = 0; t < args.n_tokens; ++t) {
    const float* x = args.x + static_cast<size_t>(t) * n_embd;
    float* sum = args.y + static_cast<size_t>(t) * n_embd;
    for (int32_t j = 0; j < args.n_used; ++j) {
      const int32_t e = args.ids[t * args.n_used + j];
      matmul(stacked(gate, n_expert, e), nullptr, x, 1, false, a.data());
      matmul(stacked(up, n_expert, e), nullptr, x, 1, false, b.data());
      silu_mul(a.data(), b.data(), a.data(), static_cast<int64_t>(n_ff));
      matmul(stacked(down, n_expert, e), nullptr, a.data(), 1, false, y.data());
      for (size_t i = 0; i < n_embd; ++i) sum[i] += args.weights[t * args.n_used + j] * y[i];
    }
  }
}

void head_matmul(const HeadMatmulArgs& args, const TensorView& stack) {
  for (int32_t t = 0; t < args.n_tokens; ++t) {
    for (int32_t h = 0; h < args.n_head; ++h) {
      matmul(stacked(stack, args.n_head, h), nullptr, args.x + t * args.x_token + h * args.x_head,
             1, false, args.y + t * args.y_token + h * args.y_head);
    }
  }
}

bool head_prunes(uint64_t prune_heads, int32_t head) {
  return head < 64 ? ((prune_heads >> head) & 1) != 0 : prune_heads == ~0ull;
}

std::vector<double> sparse_shares(const AttentionArgs& args, const KvShape& shape, const float* k,
                                  int32_t t, int32_t kv_head) {
  const int32_t group = args.n_head / shape.n_kv_head;
  const SparseRange range = sparse_range(args.sparse, args.first_cell + t, kSparseBlock);
  if (range.best == 0 || args.n_tokens > kMostSparseTokens) return {};
  const auto n = static_cast<size_t>(range.last - range.first);
  std::vector<double> share(n, 0), score(n);
  for (int32_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const float* q = args.q + (int64_t{t} * args.n_head + h) * shape.head_dim_k;
    double total = 0;
    for (size_t b = 0; b < n; ++b) {
      double sum = 0;
      for (int32_t c = 0; c < kSparseBlock; ++c) {
        const int64_t row = (range.first + static_cast<int64_t>(b)) * kSparseBlock + c;
        const float* key = k + (row * shape.n_kv_head + kv_head) * shape.head_dim_k;
        for (int32_t d = 0; d < shape.head_dim_k; ++d) sum += static_cast<double>(q[d]) * key[d];
      }
      score[b] = std::exp(sum / kSparseBlock * args.scale);
      total += score[b];
    }
    for (size_t b = 0; b < n; ++b) share[b] += score[b] / total;
  }
  return share;
}

namespace {

// The blocks a query of kv_head reads by SparseRule, ascending; empty: all.
std::vector<int32_t> sparse_blocks(const AttentionArgs& args, const KvShape& shape, const float* k,
                                   int32_t t, int32_t kv_head) {
  std::vector<double> share = sparse_shares(args, shape, k, t, kv_head);
  if (share.empty()) return {};
  const SparseRange range = sparse_range(args.sparse, args.first_cell + t, kSparseBlock);
  std::vector<int32_t> blocks;
  for (int32_t b = 0; b < range.first; ++b) blocks.push_back(b);
  for (int32_t i = 0; i < range.best; ++i) {
    const auto b = std::max_element(share.begin(), share.end()) - share.begin();
    share[static_cast<size_t>(b)] = -1;
    blocks.push_back(range.first + static_cast<int32_t>(b));
  }
  for (int32_t b = range.last; b < range.end; ++b) blocks.push_back(b);
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

}  // namespace

void attention(const AttentionArgs& args, const KvShape& shape, const float* k, const float* v,
               const std::vector<std::vector<int32_t>>* lists) {
  const int32_t group = args.n_head / shape.n_kv_head;
  const bool structured =
      args.mode != StructureMode::off && args.cells != nullptr && !args.cells->empty();
  std::vector<double> score;
  for (int32_t t = 0; t < args.n_tokens; ++t) {
    const int32_t cell = args.first_cell + t;
    for (int32_t h = 0; h < args.n_head; ++h) {
      const float* q = args.q + (static_cast<int64_t>(t) * args.n_head + h) * shape.head_dim_k;
      const int32_t kv_head = h / group;
      const bool prunes =
          structured && args.mode == StructureMode::prune && head_prunes(args.prune_heads, h);
      std::vector<int32_t> blocks;
      if (lists != nullptr) {
        blocks = (*lists)[static_cast<size_t>(t * shape.n_kv_head + kv_head)];
      } else if (!structured && args.hidden == nullptr) {
        blocks = sparse_blocks(args, shape, k, t, kv_head);
      }
      score.assign(static_cast<size_t>(cell) + 1, 0);
      double top = -std::numeric_limits<double>::infinity();
      for (int32_t c = 0; c <= cell; ++c) {
        const float* key =
            k + (static_cast<int64_t>(c) * shape.n_kv_head + kv_head) * shape.head_dim_k;
        double s = 0;
        for (int32_t d = 0; d < shape.head_dim_k; ++d) s += static_cast<double>(q[d]) * key[d];
        s *= args.scale;
        if (structured && args.mode == StructureMode::emphasis) {
          const auto r = static_cast<int32_t>(relation(args.cells->at(static_cast<size_t>(cell)),
                                                       args.cells->at(static_cast<size_t>(c))));
          s = s * (1.0 + args.emphasis_scale[r * args.n_head + h]) +
              args.emphasis_bias[r * args.n_head + h];
        }
        if (structured && args.mode == StructureMode::tree) {
          const auto scopes = args.tree->scopes();
          s += args.tree_bias[args.tree->tree_class(scopes[static_cast<size_t>(cell)],
                                                    scopes[static_cast<size_t>(c)]) *
                                  args.n_head +
                              h];
        }
        if (!blocks.empty() &&
            !std::binary_search(blocks.begin(), blocks.end(), c / kSparseBlock)) {
          s = -std::numeric_limits<double>::infinity();
        }
        if (args.hidden != nullptr && args.hidden[t].has(c)) {
          s = -std::numeric_limits<double>::infinity();
        }
        if (prunes && !visible(args.cells->at(static_cast<size_t>(cell)),
                               args.cells->at(static_cast<size_t>(c)), c, args.prune)) {
          s = -std::numeric_limits<double>::infinity();
        }
        score[static_cast<size_t>(c)] = s;
        top = std::max(top, s);
      }
      double total = 0;
      for (double& s : score) total += s = std::exp(s - top);
      float* out = args.out + (static_cast<int64_t>(t) * args.n_head + h) * shape.head_dim_v;
      for (int32_t d = 0; d < shape.head_dim_v; ++d) {
        double sum = 0;
        for (int32_t c = 0; c <= cell; ++c) {
          sum += score[static_cast<size_t>(c)] *
                 v[(static_cast<int64_t>(c) * shape.n_kv_head + kv_head) * shape.head_dim_v + d];
        }
        out[d] = static_cast<float>(sum / total);
      }
    }
  }
}

}  // namespace cambium::engine::cpu::reference
