#include "engine/models/workspace.h"

#include <algorithm>

namespace cambium::engine {

Result<void> grow_buffers(Backend& backend, int64_t rows, std::span<const WantedBuffer> wanted) {
  for (const auto& [buffer, cols] : wanted) {
    buffer->reset();  // first give back, then take
    auto fresh = backend.allocate(static_cast<size_t>(rows * cols) * sizeof(float));
    if (!fresh) return tl::unexpected(fresh.error());
    *buffer = std::move(*fresh);
  }
  return {};
}

std::span<float> OutputRows::host(size_t n) {
  if (host_.size() < n) host_.resize(n);
  return std::span(host_).first(n);
}

Result<void> OutputRows::prepare(Backend& backend, int32_t n_rows, int32_t n_vocab) {
  if (n_rows <= n_rows_) return {};
  n_rows_ = 0;
  const WantedBuffer wanted[] = {{&logits_, n_vocab}};
  if (auto grown = grow_buffers(backend, n_rows, wanted); !grown) return grown;
  host(static_cast<size_t>(n_rows) * static_cast<size_t>(n_vocab));
  n_rows_ = n_rows;
  return {};
}

Result<std::span<const float>> OutputRows::compute(Backend& backend, const Weights& weights,
                                                   const float* x, float* h,
                                                   std::span<const int32_t> rows) {
  const int64_t n_embd = weights.matrix->cols, n_vocab = weights.matrix->rows;
  float* logits = rows.empty() ? nullptr : logits_->f32();
  for (size_t row = 0; row < rows.size();) {  // consecutive rows go together
    const int32_t first = rows[row];
    int32_t count = 1;
    while (row + static_cast<size_t>(count) < rows.size() &&
           rows[row + static_cast<size_t>(count)] == first + count) {
      ++count;
    }
    backend.rms_norm(x + first * n_embd, *weights.norm, weights.norm_eps, count, h);
    const MatmulTarget out[] = {{weights.matrix, logits + static_cast<int64_t>(row) * n_vocab}};
    backend.matmul(out, h, count);
    row += static_cast<size_t>(count);
  }
  const std::span<float> to = host(rows.size() * static_cast<size_t>(n_vocab));
  auto done = rows.empty() ? backend.synchronize()
                           : backend.download(to.data(), logits, to.size() * sizeof(float));
  if (!done) return tl::unexpected(done.error());
  return to;
}

Result<PassResult> FusedStep::run(const Pass& pass, const AttentionArgs& attention, int32_t n_vocab,
                                  OutputRows& output, PassResult result) {
  if (pass.give_up && pass.give_up()) return fail(ErrorCode::cancelled, "the pass was given up");
  const auto n_rows = pass.logits_at.size();
  rows_.assign(pass.logits_at.begin(), pass.logits_at.end());
  std::array<BestToken, kMostTokens> best;
  auto done = program_->step(pass.tokens, *pass.kv, pass.first_cell, attention.cells,
                             attention.visible, std::span(best).first(pass.tokens.size()));
  if (!done) return tl::unexpected(done.error());
  if (n_rows == 0) return result;
  if (pass.greedy) {
    for (size_t i = 0; i < n_rows; ++i) best_[i] = best[static_cast<size_t>(rows_[i])];
    result.best = std::span(best_).first(n_rows);
    return result;
  }
  auto rows = logits(n_vocab, output);
  if (!rows) return tl::unexpected(rows.error());
  result.logits = *rows;
  return result;
}

Result<std::span<const float>> FusedStep::logits(int32_t n_vocab, OutputRows& output) {
  // Rows up to the last one wanted come over; those wanted move to the front.
  const auto cols = static_cast<size_t>(n_vocab), n = static_cast<size_t>(rows_.back()) + 1;
  float* host = output.host(n * cols).data();
  if (auto done = program_->logits({host, n * cols}); !done) return tl::unexpected(done.error());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto from = static_cast<size_t>(rows_[i]);
    if (from != i) std::copy_n(host + from * cols, cols, host + i * cols);
  }
  return std::span<const float>(host, rows_.size() * cols);
}

}  // namespace cambium::engine
