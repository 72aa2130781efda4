#include "engine/cpu/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/cpu/quantize.h"

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

void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i];
    y[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
}

void add(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

bool head_prunes(uint64_t prune_heads, int32_t head) {
  return head < 64 ? ((prune_heads >> head) & 1) != 0 : prune_heads == ~0ull;
}

void attention(const AttentionArgs& args, const KvShape& shape, const float* k, const float* v) {
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
