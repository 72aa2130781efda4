#include "engine/cpu/experts.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/reference.h"

namespace cambium::engine::cpu {
namespace {

float* sized(std::vector<float>& v, int64_t n) {
  if (v.size() < static_cast<size_t>(n)) v.resize(static_cast<size_t>(n));
  return v.data();
}

const std::vector<std::unique_ptr<Weight>>& parts(const Weight* stack) {
  return static_cast<const CpuStack*>(stack)->parts;
}

}  // namespace

Result<std::unique_ptr<Weight>> Experts::load(const TensorView& view, int32_t n, size_t* in_use) {
  auto stack = std::make_unique<CpuStack>();
  stack->type = view.type;
  stack->rows = view.rows / n;
  stack->cols = view.cols;
  for (int32_t i = 0; i < n; ++i) {
    auto part = matmul_.load(reference::stacked(view, n, i), WeightUse::matmul, in_use);
    if (!part) return tl::unexpected<Error>(part.error());
    stack->parts.push_back(std::move(*part));
  }
  return stack;
}

size_t Experts::bytes() const {
  return (x_.capacity() + gate_.capacity() + up_.capacity() + y_.capacity()) * sizeof(float);
}

// An expert's tokens side by side, in the order of the tokens: then a token's results are those of
// the same columns whatever else is in the batch.
void Experts::sort_by_expert(const ExpertsArgs& args, size_t n_expert) {
  const auto n = static_cast<size_t>(args.n_tokens) * static_cast<size_t>(args.n_used);
  first_.assign(n_expert + 1, 0);
  for (size_t i = 0; i < n; ++i) ++first_[static_cast<size_t>(args.ids[i]) + 1];
  for (size_t e = 0; e < n_expert; ++e) first_[e + 1] += first_[e];
  std::vector<int32_t> next(first_.begin(), first_.end() - 1);
  row_.resize(n);
  for (size_t i = 0; i < n; ++i) row_[i] = next[static_cast<size_t>(args.ids[i])]++;
}

void Experts::run(const ExpertsArgs& args) {
  const auto &gates = parts(args.gate), &ups = parts(args.up), &downs = parts(args.down);
  const int64_t n_embd = args.gate->cols, n_ff = args.gate->rows;
  const int64_t rows = int64_t{args.n_tokens} * args.n_used;
  sort_by_expert(args, gates.size());
  // One token's experts read it where it stands.
  const bool one = args.n_tokens == 1;
  if (!one) {
    float* x = sized(x_, rows * n_embd);
    pool_.run(args.n_tokens, [&](int64_t t, int) {
      for (int64_t j = t * args.n_used; j < (t + 1) * args.n_used; ++j) {
        std::copy_n(args.x + t * n_embd, n_embd, x + row_[static_cast<size_t>(j)] * n_embd);
      }
    });
  }
  float *gate = sized(gate_, rows * n_ff), *up = sized(up_, rows * n_ff);
  float* y = sized(y_, rows * n_embd);

  const auto groups = [&](auto&& targets_of, int32_t per_group, const float* x, int64_t cols,
                          bool shared) {
    targets_.clear();
    groups_.clear();
    targets_.reserve(gates.size() * static_cast<size_t>(per_group));
    for (size_t e = 0; e < gates.size(); ++e) {
      const int32_t n = first_[e + 1] - first_[e];
      if (n == 0) continue;
      const size_t at = targets_.size();
      targets_of(e, first_[e]);
      if (shared && !groups_.empty()) {
        groups_[0].targets = targets_;
      } else {
        groups_.push_back({std::span(targets_).subspan(at), shared ? x : x + first_[e] * cols, n});
      }
    }
    matmul_.run(groups_);
  };
  groups(
      [&](size_t e, int64_t row) {
        targets_.push_back({gates[e].get(), gate + row * n_ff});
        targets_.push_back({ups[e].get(), up + row * n_ff});
      },
      2, one ? args.x : x_.data(), n_embd, one);
  pool_.run(rows, [&](int64_t r, int) {
    kernels_.silu_mul(gate + r * n_ff, up + r * n_ff, gate + r * n_ff, n_ff);
  });
  groups(
      [&](size_t e, int64_t row) {
        targets_.push_back({downs[e].get(), y + row * n_embd});
      },
      1, gate, n_ff, false);
  pool_.run(args.n_tokens, [&](int64_t t, int) {
    float* sum = args.y + t * n_embd;
    for (int64_t j = t * args.n_used; j < (t + 1) * args.n_used; ++j) {
      const float* from = y + row_[static_cast<size_t>(j)] * n_embd;
      const float weight = args.weights[j];
      for (int64_t i = 0; i < n_embd; ++i) sum[i] += weight * from[i];
    }
  });
}

void Experts::run_heads(const HeadMatmulArgs& args) {
  const auto& heads = parts(args.weight);
  const int64_t cols = args.weight->cols, rows = args.weight->rows, n = args.n_tokens;
  float *x = sized(x_, args.n_head * n * cols), *y = sized(y_, args.n_head * n * rows);
  targets_.clear();
  groups_.clear();
  targets_.reserve(heads.size());
  for (int64_t h = 0; h < args.n_head; ++h) {
    for (int64_t t = 0; t < n; ++t) {
      std::copy_n(args.x + t * args.x_token + h * args.x_head, cols, x + (h * n + t) * cols);
    }
    targets_.push_back({heads[static_cast<size_t>(h)].get(), y + h * n * rows});
    groups_.push_back({std::span(targets_).last(1), x + h * n * cols, args.n_tokens});
  }
  matmul_.run(groups_);
  for (int64_t h = 0; h < args.n_head; ++h) {
    for (int64_t t = 0; t < n; ++t) {
      std::copy_n(y + (h * n + t) * rows, rows, args.y + t * args.y_token + h * args.y_head);
    }
  }
}

}  // namespace cambium::engine::cpu
