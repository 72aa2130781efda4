#include "engine/bench_long.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "engine/device.h"
#include "engine/sampler.h"
#include "engine/tokenizer.h"

namespace cambium::engine {

namespace {

using Clock = std::chrono::steady_clock;

std::vector<float> normal(std::mt19937& random, size_t n) {
  std::normal_distribution<float> unit;
  std::vector<float> x(n);
  for (float& v : x) v = unit(random);
  return x;
}

constexpr SparseRule kRule{.from = 1};

// The steps of one text.
struct Read {
  double stretch = 1;
  std::vector<float> logits;  // [steps, n_vocab]
  std::vector<double> ms;
};

Result<Read> read(const std::shared_ptr<const GgufFile>& file, const LoadOptions& load,
                  const SparseRule& sparse, std::span<const TokenId> tokens, int32_t first) {
  auto config = ModelConfig::from_gguf(*file, {load.structure, load.prune});
  if (!config) return tl::unexpected(config.error());
  const auto n_tokens = static_cast<int32_t>(tokens.size());
  Read result;
  result.stretch = std::max(1.0, static_cast<double>(n_tokens) / config->context);
  config->stretch(n_tokens);
  config->sparse = sparse;
  EngineOptions wanted = load.engine;
  wanted.context = n_tokens;
  wanted.slots = 1;
  wanted.device = "cpu";
  auto placed = place_model(file, *config, wanted, nullptr);
  if (!placed) return tl::unexpected(placed.error());
  Model& model = *placed->model;
  auto kv = model.create_kv(n_tokens);
  if (!kv) return tl::unexpected(kv.error());
  constexpr int32_t kChunk = 256;
  for (int32_t at = 0; at < first;) {
    // A rest of a few tokens would be sparse.
    const int32_t left = first - at;
    const int32_t n = left < kChunk + kMostSparseTokens + 1 ? left : kChunk;
    auto done = model.forward({tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(n)),
                               at,
                               kv->get(),
                               nullptr,
                               {},
                               nullptr});
    if (!done) return tl::unexpected(done.error());
    at += n;
  }
  const int32_t only = 0;
  for (int32_t at = first; at + 1 < n_tokens; ++at) {
    const auto start = Clock::now();
    auto done = model.forward(
        {tokens.subspan(static_cast<size_t>(at), 1), at, kv->get(), nullptr, {&only, 1}, nullptr});
    if (!done) return tl::unexpected(done.error());
    result.ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    result.logits.insert(result.logits.end(), done->logits.begin(), done->logits.end());
  }
  return result;
}

// KL(a || b) of the distributions that two rows of logits give, nats.
double divergence(std::span<const float> a, std::span<const float> b) {
  const auto log_sum = [](std::span<const float> x) {
    const float top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const float v : x) sum += std::exp(static_cast<double>(v) - top);
    return top + std::log(sum);
  };
  const double of_a = log_sum(a), of_b = log_sum(b);
  double nats = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_a = a[i] - of_a;
    nats += std::exp(log_a) * (log_a - (b[i] - of_b));
  }
  return nats;
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

}  // namespace

Result<std::vector<LongStep>> bench_long_steps(std::span<const int32_t> lengths, int threads) {
  constexpr int32_t kHeads = 32, kKvHeads = 8, kDim = 128, kRepeat = 12;
  const auto backend = make_cpu_backend(threads);
  std::mt19937 random(1);
  std::vector<LongStep> steps;
  for (const int32_t cells : lengths) {
    auto kv = backend->create_kv({1, kKvHeads, kDim, kDim, cells, DType::f16});
    if (!kv) return tl::unexpected(kv.error());
    constexpr int32_t kChunk = 512;
    for (int32_t at = 0; at < cells; at += kChunk) {
      const int32_t n = std::min(kChunk, cells - at);
      const auto x = normal(random, static_cast<size_t>(n * kKvHeads * kDim));
      backend->kv_write(**kv, 0, at, n, x.data(), x.data());
    }
    const auto q = normal(random, kHeads * kDim);
    std::vector<float> out(q.size());
    AttentionArgs args;
    args.q = q.data();
    args.out = out.data();
    args.kv = kv->get();
    args.n_tokens = 1;
    args.first_cell = cells - 1;
    args.n_head = kHeads;
    args.scale = 1.0f / std::sqrt(static_cast<float>(kDim));
    const auto best = [&](const SparseRule& rule) {
      args.sparse = rule;
      double ms = INFINITY;
      backend->attention(args);  // summaries of the keys, once
      for (int32_t i = 0; i < kRepeat; ++i) {
        const auto start = Clock::now();
        backend->attention(args);
        ms = std::min(ms, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
      }
      return ms;
    };
    steps.push_back({cells, best({}), best(kRule)});
  }
  return steps;
}

Result<LongAgreement> bench_long_agreement(const std::string& path, const LoadOptions& load,
                                           std::span<const std::string> texts,
                                           const LongAgreementOptions& options) {
  auto file = GgufFile::open(path);
  if (!file) return tl::unexpected(file.error());
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  const auto context = static_cast<size_t>(options.context);
  const int32_t first = options.context - options.steps - 1;
  LongAgreement result;
  std::vector<double> differences, dense_ms, sparse_ms;
  double read_blocks = 0, all_blocks = 0;
  for (const std::string& text : texts) {
    std::vector<TokenId> tokens = (*tokenizer)->encode(text);
    if (tokens.size() < context) continue;
    tokens.resize(context);
    const auto dense = read(*file, load, {}, tokens, first);
    if (!dense) return tl::unexpected(dense.error());
    const auto sparse = read(*file, load, options.rule, tokens, first);
    if (!sparse) return tl::unexpected(sparse.error());
    ++result.texts;
    result.stretch = dense->stretch;
    dense_ms.insert(dense_ms.end(), dense->ms.begin(), dense->ms.end());
    sparse_ms.insert(sparse_ms.end(), sparse->ms.begin(), sparse->ms.end());
    const size_t n_vocab = dense->logits.size() / dense->ms.size();
    for (size_t i = 0; i < dense->ms.size(); ++i) {
      const auto a = std::span(dense->logits).subspan(i * n_vocab, n_vocab);
      const auto b = std::span(sparse->logits).subspan(i * n_vocab, n_vocab);
      const int32_t cell = first + static_cast<int32_t>(i);
      const TokenId next = tokens[static_cast<size_t>(cell) + 1];
      const double nats = -log_probability(a, next);
      result.same_best += argmax(a) == argmax(b) ? 1 : 0;
      result.divergence += divergence(a, b);
      result.dense_nats += nats;
      differences.push_back(-log_probability(b, next) - nats);
      const SparseRange range = sparse_range(options.rule, cell, 32);
      read_blocks += range.n_read();
      all_blocks += range.end;
    }
  }
  if (differences.empty()) {
    return fail(ErrorCode::invalid_argument,
                "no text has the " + std::to_string(options.context) +
                    " tokens this bench reads; give longer ones, or a shorter context");
  }
  const auto n = static_cast<double>(differences.size());
  result.steps = static_cast<int32_t>(differences.size());
  result.same_best /= n;
  result.divergence /= n;
  result.dense_nats /= n;
  for (const double d : differences) result.loss_difference += d / n;
  double squares = 0;
  for (const double d : differences)
    squares += (d - result.loss_difference) * (d - result.loss_difference);
  result.loss_interval = 1.96 * std::sqrt(squares / n / n);
  result.read = read_blocks / all_blocks;
  result.dense_ms = median(std::move(dense_ms));
  result.sparse_ms = median(std::move(sparse_ms));
  return result;
}

}  // namespace cambium::engine
