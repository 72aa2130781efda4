#include "engine/models/workspace.h"

#include <algorithm>
#include <cassert>

#include "engine/sampler.h"

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
  n_rows_ = n_rows;
  return {};
}

Result<PassResult> OutputRows::answer(Backend& backend, const Weights& weights, const float* x,
                                      float* h, const Pass& pass, PassResult result) {
  if (!pass.ranked.empty()) {
    if (auto done = rank(backend, weights, x, h, pass, result); !done)
      return tl::unexpected(done.error());
    return result;
  }
  auto logits = compute(backend, weights, x, h, pass.logits_at);
  if (!logits) return tl::unexpected(logits.error());
  result.logits = *logits;
  return result;
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

Result<void> OutputRows::rank(Backend& backend, const Weights& weights, const float* x, float* h,
                              const Pass& pass, PassResult& result) {
  const int64_t n_embd = weights.matrix->cols, n_vocab = weights.matrix->rows;
  const std::span<const int32_t> rows = pass.logits_at;
  const auto top = static_cast<size_t>(pass.top);
  assert(pass.ranked.size() == rows.size());
  logprobs_.resize(rows.size());
  best_.resize(rows.size() * top);
  const auto piece = std::max<size_t>(
      kMaxLogitRows, static_cast<size_t>(kRankedBytes / (n_vocab * int64_t{sizeof(float)})));
  const auto most = static_cast<int32_t>(std::min(piece, rows.size()));
  if (auto ready = prepare(backend, most, static_cast<int32_t>(n_vocab)); !ready) return ready;
  for (size_t first = 0; first < rows.size(); first += piece) {
    const size_t end = std::min(rows.size(), first + piece);
    // The rows wanted stand side by side in h, so that the matrix is read once.
    for (size_t row = first; row < end;) {
      size_t next = row + 1;
      while (next < end && rows[next] == rows[next - 1] + 1) ++next;
      backend.rms_norm(x + rows[row] * n_embd, *weights.norm, weights.norm_eps,
                       static_cast<int32_t>(next - row),
                       h + static_cast<int64_t>(row - first) * n_embd);
      row = next;
    }
    const MatmulTarget out[] = {{weights.matrix, logits_->f32()}};
    backend.matmul(out, h, static_cast<int32_t>(end - first));
    auto done =
        rank_piece(backend, n_vocab, pass.ranked.subspan(first, end - first), pass.top, first);
    if (!done) return done;
  }
  result.logprobs = logprobs_;
  result.best = best_;
  return {};
}

Result<void> OutputRows::rank_piece(Backend& backend, int64_t n_vocab,
                                    std::span<const TokenId> wanted, int32_t top, size_t first) {
  const size_t n = wanted.size(), cols = static_cast<size_t>(n_vocab),
               best = static_cast<size_t>(top);
  if (top <= kMostRanked) {
    auto done =
        backend.rank(logits_->f32(), n_vocab, wanted, top, std::span(logprobs_).subspan(first, n),
                     std::span(best_).subspan(first * best, n * best));
    if (done || done.error().code != ErrorCode::unsupported) return done;
  }
  const std::span<float> logits = host(n * cols);
  auto done = backend.download(logits.data(), logits_->f32(), logits.size() * sizeof(float));
  if (!done) return done;
  for (size_t row = 0; row < n; ++row) {
    const Ranked ranks = ranked(logits.subspan(row * cols, cols), wanted[row], top);
    logprobs_[first + row] = ranks.logprob;
    for (size_t i = 0; i < ranks.best.size(); ++i)
      best_[(first + row) * best + i] = {ranks.best[i].token, ranks.best[i].logprob};
  }
  return {};
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
