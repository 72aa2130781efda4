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
// For a model whose context is short: with the usual window nothing would be left out.
constexpr SparseRule kShortRule{.from = 1, .sinks = 32, .window = 128};

// Mean loss of tokens [first, end) and the most likely token of each step.
struct Read {
  double nats = 0;
  std::vector<int32_t> best;
};

Result<Read> read(const std::shared_ptr<const GgufFile>& file, const LoadOptions& options,
                  const SparseRule& sparse, std::span<const TokenId> tokens, int32_t first) {
  auto config = ModelConfig::from_gguf(*file, {options.structure, options.prune});
  if (!config) return tl::unexpected(config.error());
  config->sparse = sparse;
  EngineOptions wanted = options.engine;
  wanted.context = static_cast<int32_t>(tokens.size());
  wanted.slots = 1;
  wanted.device = "cpu";
  auto placed = place_model(file, *config, wanted, nullptr);
  if (!placed) return tl::unexpected(placed.error());
  Model& model = *placed->model;
  auto kv = model.create_kv(wanted.context);
  if (!kv) return tl::unexpected(kv.error());
  constexpr int32_t kChunk = 256;
  for (int32_t at = 0; at < first; at += kChunk) {
    const auto n = static_cast<size_t>(std::min(kChunk, first - at));
    auto done = model.forward(
        {tokens.subspan(static_cast<size_t>(at), n), at, kv->get(), nullptr, {}, nullptr});
    if (!done) return tl::unexpected(done.error());
  }
  Read result;
  const int32_t only = 0;
  const auto end = static_cast<int32_t>(tokens.size()) - 1;
  for (int32_t at = first; at < end; ++at) {
    const auto here = static_cast<size_t>(at);
    auto done =
        model.forward({tokens.subspan(here, 1), at, kv->get(), nullptr, {&only, 1}, nullptr});
    if (!done) return tl::unexpected(done.error());
    result.best.push_back(argmax(done->logits));
    result.nats -= log_probability(done->logits, tokens[here + 1]) / (end - first);
  }
  return result;
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

Result<LongAgreement> bench_long_agreement(const std::string& path, const LoadOptions& options,
                                           const std::string& text, int32_t steps) {
  auto file = GgufFile::open(path);
  if (!file) return tl::unexpected(file.error());
  auto config = ModelConfig::from_gguf(**file, {});
  if (!config) return tl::unexpected(config.error());
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  std::vector<TokenId> tokens = (*tokenizer)->encode(text);
  if (static_cast<int32_t>(tokens.size()) > config->context) {
    tokens.resize(static_cast<size_t>(config->context));
  }
  const auto n = static_cast<int32_t>(tokens.size());
  if (n < 2 * steps) {
    return fail(ErrorCode::invalid_argument, "the text has only " + std::to_string(n) +
                                                 " tokens; this bench needs twice the " +
                                                 std::to_string(steps) + " steps");
  }
  const int32_t first = n - steps - 1;
  const auto dense = read(*file, options, {}, tokens, first);
  if (!dense) return tl::unexpected(dense.error());
  const auto sparse = read(*file, options, kShortRule, tokens, first);
  if (!sparse) return tl::unexpected(sparse.error());
  LongAgreement result;
  result.cells = first;
  result.steps = steps;
  result.dense_nats = dense->nats;
  result.sparse_nats = sparse->nats;
  for (size_t i = 0; i < dense->best.size(); ++i) {
    result.same_best += dense->best[i] == sparse->best[i] ? 1.0 / steps : 0.0;
  }
  const double chosen =
      32 * std::sqrt(static_cast<double>(first)) + kShortRule.sinks + kShortRule.window;
  result.read = std::min(1.0, chosen / first);
  return result;
}

}  // namespace cambium::engine
