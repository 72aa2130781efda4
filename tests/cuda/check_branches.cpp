// Continuations scored beside each other: what they are made of against its plain twins, then whole models,
// whose scores must be those of the same sequences one by one, and the CPU's.
#include <algorithm>
#include <filesystem>
#include <future>
#include <numeric>

#include "engine/cpu/reference.h"
#include "engine/gguf_writer.h"
#include "engine/models/model.h"
#include "engine/prompt_format.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/score_branches.h"
#include "engine/tokenizer.h"
#include "tests/cuda/check.h"
#include "tests/cuda/subject.h"

namespace cambium::engine::cuda::verify {
namespace {

void check_rope_at(CudaBackend& b, Random& random, Report& report) {
  for (const RopeLayout layout : {RopeLayout::interleaved, RopeLayout::split})
    for (const int32_t n : {1, 5, 77}) {
      constexpr int32_t kHeads = 3, kDim = 64;
      std::vector<float> freq(24);
      for (size_t i = 0; i < freq.size(); ++i)
        freq[i] = std::pow(10000.0f, -2.0f * static_cast<float>(i) / 48);
      const RopeTable table{layout, freq, 1.1f};
      std::vector<int32_t> positions;
      for (int32_t i = 0; i < n; ++i) positions.push_back(random.below(900));
      for (int round = 0; round < 2; ++round) {  // the second finds the positions on the device
        std::vector<float> want = random.normal(static_cast<size_t>(n * kHeads * kDim));
        Floats x(b, want);
        b.rope_at(x.data(), table, positions, kHeads, kDim);
        cpu::reference::rope_at(want.data(), table, positions, kHeads, kDim);
        report.expect(relative_error(x.read(b, report), want), 1e-4,
                      "rope of " + std::to_string(n) + " tokens that stand anywhere");
      }
    }
}

void check_rank(CudaBackend& b, Random& random, Report& report) {
  for (const int32_t n_vocab : {3, 320, 1000, 32256, 102400})
    for (const int32_t top : {0, 1, 2, 12, kMostRanked}) {
      const int32_t n = 1 + random.below(9);
      std::vector<float> logits =
          random.normal(static_cast<size_t>(n) * static_cast<size_t>(n_vocab), 3);
      // Equals, among them the largest; the lowest index comes first.
      for (int32_t i = 0; i < n_vocab; i += 7) logits[static_cast<size_t>(i)] = 20;
      std::vector<int32_t> wanted;
      for (int32_t i = 0; i < n; ++i) wanted.push_back(random.below(n_vocab));
      const int32_t told = std::min(top, n_vocab);
      Floats rows(b, logits);
      std::vector<float> logprobs(static_cast<size_t>(n), NAN);
      std::vector<BestToken> best(static_cast<size_t>(n * told), BestToken{-1, NAN});
      if (!report.expect_value(b.rank(rows.data(), n_vocab, wanted, told, logprobs, best), "rank"))
        return;
      const std::string label = "rank " + std::to_string(told) + " of " + std::to_string(n_vocab);
      for (int32_t row = 0; row < n; ++row) {
        const auto r = static_cast<size_t>(row), cols = static_cast<size_t>(n_vocab);
        const Ranked want = ranked(std::span(logits).subspan(r * cols, cols), wanted[r], told);
        report.expect(std::abs(logprobs[r] - want.logprob), 1e-4, label);
        for (size_t i = 0; i < want.best.size(); ++i) {
          const BestToken& got = best[r * static_cast<size_t>(told) + i];
          report.expect(got.id == want.best[i].token, label + " order");
          report.expect(std::abs(got.logprob - want.best[i].logprob), 1e-4, label + " best");
        }
      }
    }
}

std::unique_ptr<Scheduler> open(const Subject& subject, bool on_gpu, StructureMode mode,
                                Report& report) {
  StructureOverride structure;
  if (mode != StructureMode::off) structure = {mode, PruneRule{20, 4}};
  auto config = ModelConfig::from_gguf(*subject.file, structure);
  if (!report.expect_value(config, "config")) return nullptr;
  std::unique_ptr<Backend> backend;
  if (on_gpu) {
    auto made = CudaBackend::create(0);
    if (!report.expect_value(made, "backend")) return nullptr;
    backend = std::move(*made);
  } else {
    backend = make_cpu_backend();
  }
  auto model = load_model_weights(subject.file, *config, std::move(backend), nullptr);
  if (!report.expect_value(model, "model")) return nullptr;
  return std::make_unique<Scheduler>(std::move(*model), subject.tokenizer, subject.format,
                                     Scheduler::Options{2048, 1, 512});
}

Scored run(Scheduler& scheduler, ScoreRequest request, Report& report) {
  std::promise<Result<Scored>> done;
  scheduler.score(std::move(request), [&](Result<Scored> r) { done.set_value(std::move(r)); });
  auto scored = done.get_future().get();
  return report.expect_value(scored, "score") ? std::move(*scored) : Scored{};
}

TokenStructure make_labels(Random& random, size_t n, int32_t place) {
  TokenStructure labels;
  int32_t body = 0;
  for (size_t i = 0; i < n; ++i) {
    if (random.below(9) == 0) body = random.below(5);
    const auto at = place + static_cast<int32_t>(i);
    labels.push_back(body == 0 ? TokenLabel{0, 100, at} : TokenLabel{10 * body, 10 * body + 9, at});
  }
  return labels;
}

std::vector<TokenId> make_tokens(Random& random, int32_t n) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < n; ++i) tokens.push_back(random.below(256));
  return tokens;
}

/// What a review asks for: continuations of a function from several places, and holes filled both ways.
ScoreRequest review_request(Random& random, bool labels) {
  ScoreRequest request;
  constexpr int32_t kBase = 300;
  request.tokens = make_tokens(random, kBase);
  if (labels) request.structure = make_labels(random, kBase, 0);
  request.first = kBase - 40;
  request.top = 3;
  const auto add = [&](int32_t at, int32_t n, int32_t leaves, int32_t first) {
    ScoreBranch branch;
    branch.at = at;
    branch.tokens = make_tokens(random, n);
    branch.leaves = leaves;
    branch.first = first;
    if (labels) branch.structure = make_labels(random, static_cast<size_t>(n), at);
    request.branches.push_back(std::move(branch));
    return static_cast<int32_t>(request.branches.size()) - 1;
  };
  for (int i = 0; i < 7; ++i) add(20 + random.below(kBase - 20), 30 + random.below(40), -1, 0);
  for (int i = 0; i < 3; ++i) {
    const int32_t at = 20 + random.below(kBase - 20);
    const int32_t hole = add(at, 67, -1, 67);
    add(at + 67, 1 + random.below(12), hole, 0);
    add(at + 67, 1 + random.below(12), hole, 0);
  }
  return request;
}

std::vector<float> flat(const Scored& scored) {
  std::vector<float> all = scored.logprobs;
  for (const Scored::Branch& branch : scored.branches)
    all.insert(all.end(), branch.logprobs.begin(), branch.logprobs.end());
  return all;
}

/// Relative to how far the wanted ones are apart.
double difference(std::vector<float> got, std::vector<float> want) {
  if (got.size() != want.size() || want.empty()) return INFINITY;
  const float mean =
      std::accumulate(want.begin(), want.end(), 0.0f) / static_cast<float>(want.size());
  for (float& x : got) x -= mean;
  for (float& x : want) x -= mean;
  return relative_error(got, want);
}

void check_model(const ModelShape& shape, DType type, StructureMode mode, Random& random,
                 Report& report) {
  const auto path = random_model_file(shape, type, random, report);
  if (!path) return;
  Subject subject;
  const bool opened = open_subject(*path, subject, report);
  std::error_code ignored;
  std::filesystem::remove(*path, ignored);  // it is mapped
  if (!opened) return;
  const auto cpu = open(subject, false, mode, report), gpu = open(subject, true, mode, report);
  if (!cpu || !gpu) return;
  const ScoreRequest request = review_request(random, mode != StructureMode::off);
  const std::vector<float> got = flat(run(*gpu, request, report));
  std::promise<Scored> apart;
  score_one_by_one(
      request,
      [&](ScoreRequest one, const OnScored& done) { done(run(*gpu, std::move(one), report)); },
      [&](Result<Scored> scored) { apart.set_value(std::move(*scored)); });
  const double alone = difference(got, flat(apart.get_future().get()));
  const double from_cpu = difference(got, flat(run(*cpu, request, report)));
  const double again = difference(got, flat(run(*gpu, request, report)));
  const std::string label = shape.name + " " + std::string(type_traits(type)->name) + " mode " +
                            std::to_string(static_cast<int>(mode));
  std::printf("  %-28s one by one %.4f, the CPU %.4f\n", label.c_str(), alone, from_cpu);
  // Short passes round activations to int8, long ones to F16.
  const double bound = type == DType::f32 ? 1e-2 : 8e-2;
  report.expect(alone, bound, label + " one by one");
  report.expect(from_cpu, bound, label + " the CPU");
  report.expect(again, bound, label + " again, from the cache");
}

}  // namespace

void check_branches(CudaBackend& b, Random& random, Report& report) {
  report.group("branches: positions, rank");
  check_rope_at(b, random, report);
  check_rank(b, random, report);
  check_hidden(b, random, report);
  report.group("branches: models");
  for (const auto& [head_dim, n_head, n_kv_head] :
       {std::tuple{128, 4, 4}, std::tuple{64, 8, 2}, std::tuple{80, 4, 2}}) {
    ModelShape shape;
    shape.name = "heads of " + std::to_string(head_dim);
    shape.n_vocab = 320;
    shape.n_embd = 256;
    shape.n_layer = 3;
    shape.n_head = n_head;
    shape.n_kv_head = n_kv_head;
    shape.head_dim = head_dim;
    shape.n_ff = 512;
    shape.context = 2048;
    for (const DType type : {DType::f32, DType::q4_k})
      for (const StructureMode mode :
           {StructureMode::off, StructureMode::prune, StructureMode::own})
        check_model(shape, type, mode, random, report);
  }
}

}  // namespace cambium::engine::cuda::verify
