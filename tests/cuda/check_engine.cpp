// A model through the engine: text against the CPU's, cells reused after edits, speculation,
// cancel. The kernels are checked elsewhere; here it is what holds them together.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <future>
#include <sstream>

#include "engine/gguf.h"
#include "engine/kv_cache.h"
#include "engine/models/model.h"
#include "engine/prompt_format.h"
#include "engine/scheduler.h"
#include "engine/tokenizer.h"
#include "tests/cuda/check.h"
#include "tests/cuda/subject.h"

namespace cambium::engine::cuda::verify {
namespace {

using Clock = std::chrono::steady_clock;
using Tokens = std::vector<TokenId>;

constexpr int32_t kCells = 1536;

/// With `mask` by the file's own structure; where it has none, every layer prunes.
Result<std::unique_ptr<Model>> open_model(const Subject& subject, bool on_gpu, bool mask) {
  auto config = ModelConfig::from_gguf(*subject.file);
  if (config && mask && !config->structure.any())
    config = ModelConfig::from_gguf(*subject.file, {StructureMode::prune, PruneRule{48, 4}});
  if (!config) return tl::unexpected(config.error());
  std::unique_ptr<Backend> backend;
  if (on_gpu) {
    auto made = CudaBackend::create(0);
    if (!made) return tl::unexpected(made.error());
    backend = std::move(*made);
  } else {
    backend = make_cpu_backend();
  }
  return load_model_weights(subject.file, *config, std::move(backend), nullptr);
}

/// Feeds `tokens` to cells first...; logits of the last `rows` go to `logits`, flat.
bool feed(Model& model, KvStore& kv, std::span<const TokenId> tokens, int32_t first, int32_t chunk,
          int32_t rows, const TokenStructure* labels, std::vector<float>& logits, Report& report) {
  const auto n = static_cast<int32_t>(tokens.size());
  logits.clear();
  for (int32_t at = 0; at < n; at += chunk) {
    const int32_t count = std::min(chunk, n - at);
    std::vector<int32_t> wanted;
    for (int32_t i = std::max(0, n - rows - at); i < count; ++i) wanted.push_back(i);
    auto result =
        model.forward({tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
                       first + at, &kv, labels, wanted, nullptr});
    if (!report.expect_value(result, "forward")) return false;
    logits.insert(logits.end(), result->logits.begin(), result->logits.end());
  }
  return true;
}

TokenId best_of(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

struct Written {
  Tokens tokens;
  std::vector<std::vector<float>> logits;  ///< a row a token
};

/// Greedy, without scheduler or sampler.
bool write(Model& model, KvStore& kv, const Tokens& prompt, int32_t n, const TokenStructure* labels,
           Written& out, Report& report) {
  std::vector<float> logits;
  if (!feed(model, kv, prompt, 0, 512, 1, labels, logits, report)) return false;
  auto at = static_cast<int32_t>(prompt.size());
  while (true) {
    out.tokens.push_back(best_of(logits));
    out.logits.push_back(logits);
    if (static_cast<int32_t>(out.tokens.size()) == n) return true;
    if (!feed(model, kv, std::span(&out.tokens.back(), 1), at++, 1, 1, labels, logits, report))
      return false;
  }
}

/// Real text cut at random places: every other prompt ends in a hole, with what follows it.
std::vector<Tokens> make_prompts(const Subject& subject, Random& random,
                                 std::span<const std::string> texts, int n) {
  std::vector<Tokens> prompts;
  std::vector<PromptFormat::Part> layout;
  if (auto parts = subject.format->fim_layout(FimOrder::psm)) layout = *parts;
  while (static_cast<int>(prompts.size()) < n) {
    const std::string& text =
        texts[static_cast<size_t>(random.below(static_cast<int32_t>(texts.size())))];
    const auto size = static_cast<int32_t>(text.size());
    const int32_t cut = 200 + random.below(std::max(1, size - 400));
    const int32_t before = std::min(cut, 100 + random.below(700));
    const int32_t after = std::min(size - cut, 100 + random.below(200));
    if (before < 100 || after < 50) continue;
    const std::string_view all(text);
    const Tokens prefix = subject.tokenizer->encode(
        all.substr(static_cast<size_t>(cut - before), static_cast<size_t>(before)));
    const Tokens suffix =
        subject.tokenizer->encode(all.substr(static_cast<size_t>(cut), static_cast<size_t>(after)));
    Tokens prompt;
    if (prompts.size() % 2 == 0 || layout.empty()) {
      if (subject.format->bos) prompt.push_back(*subject.format->bos);
      prompt.insert(prompt.end(), prefix.begin(), prefix.end());
    } else {
      for (const PromptFormat::Part& part : layout) {
        using Kind = PromptFormat::Part::Kind;
        if (part.kind == Kind::special) prompt.push_back(part.special);
        if (part.kind == Kind::prefix) prompt.insert(prompt.end(), prefix.begin(), prefix.end());
        if (part.kind == Kind::suffix) prompt.insert(prompt.end(), suffix.begin(), suffix.end());
      }
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

/// Bodies of random length, some with an inner one; scope numbers in pre-order.
TokenStructure make_labels(std::span<const int32_t> body_of) {
  TokenStructure labels;
  for (size_t i = 0; i < body_of.size(); ++i) {
    const int32_t body = body_of[i];  // 0: the file; odd: a body; even: the one inside body - 1
    const auto place = static_cast<int32_t>(i);
    labels.push_back(body == 0       ? TokenLabel{0, INT32_MAX, place}
                     : body % 2 != 0 ? TokenLabel{body, body + 1, place}
                                     : TokenLabel{body, body, place});
  }
  return labels;
}
std::vector<int32_t> make_bodies(Random& random, size_t n) {
  std::vector<int32_t> body_of;
  for (int32_t body = 1; body_of.size() < n; body += 2) {
    const int32_t runs[] = {random.below(12), random.below(40), random.below(20), random.below(20)};
    const int32_t of[] = {0, body, body + 1, body};
    for (int r = 0; r < 4; ++r) body_of.insert(body_of.end(), static_cast<size_t>(runs[r]), of[r]);
  }
  body_of.resize(n);
  return body_of;
}

// --- the checks -----------------------------------------------------------------------------------

/// Greedy text of both backends. Int8 activations round apart, so that logits differ by some noise;
/// where the text parts, what decides it must lie within that noise.
void check_text(const Subject& subject, std::span<const Tokens> prompts, Random& random, bool mask,
                Report& report) {
  report.group(mask ? "text against the CPU, mask" : "text against the CPU");
  auto cpu = open_model(subject, false, mask), gpu = open_model(subject, true, mask);
  if (!report.expect_value(cpu, "CPU model") || !report.expect_value(gpu, "GPU model")) return;
  auto cpu_kv = (*cpu)->create_kv(kCells), gpu_kv = (*gpu)->create_kv(kCells);
  if (!report.expect_value(cpu_kv, "cells") || !report.expect_value(gpu_kv, "cells")) return;
  constexpr int32_t kLength = 24;
  double noise = 0, rows = 0;
  struct Parting {
    size_t prompt, at;
    double cpu_gap, gpu_gap;
    TokenId cpu, gpu;
  };
  std::vector<Parting> partings;
  for (size_t p = 0; p < prompts.size(); ++p) {
    TokenStructure labels;
    if (mask)
      labels = make_labels(make_bodies(random, prompts[p].size() + static_cast<size_t>(kLength)));
    Written want, got;
    if (!write(**cpu, **cpu_kv, prompts[p], kLength, mask ? &labels : nullptr, want, report) ||
        !write(**gpu, **gpu_kv, prompts[p], kLength, mask ? &labels : nullptr, got, report))
      return;
    for (size_t i = 0; i < want.tokens.size(); ++i) {
      const std::vector<float>&a = want.logits[i], &b = got.logits[i];
      double squares = 0;
      for (size_t k = 0; k < a.size(); ++k) squares += (a[k] - b[k]) * (a[k] - b[k]);
      noise += squares / static_cast<double>(a.size());
      ++rows;
      const auto x = static_cast<size_t>(want.tokens[i]), y = static_cast<size_t>(got.tokens[i]);
      if (x == y) continue;
      partings.push_back({p, i, a[x] - a[y], b[y] - b[x], want.tokens[i], got.tokens[i]});
      break;
    }
  }
  noise = std::sqrt(noise / rows);
  std::printf("  %zu prompts, %.0f tokens, logits differ by %.4f (rms); %zu texts part\n",
              prompts.size(), rows, noise, partings.size());
  for (const Parting& d : partings) {
    std::printf("  prompt %zu token %zu: CPU %d, GPU %d, top two apart by %.4f (CPU), %.4f (GPU)\n",
                d.prompt, d.at, d.cpu, d.gpu, d.cpu_gap, d.gpu_gap);
    // The difference of two logits has twice the variance; six deviations.
    report.expect(d.cpu_gap + d.gpu_gap, 6 * std::sqrt(2.0) * noise, "a parting beyond rounding");
  }
  report.expect(noise, 0.25, "noise of the logits");
  report.expect(rows > 0, "something was written");
}

/// Cells kept after an edit must give what a fresh cache gives.
void check_reuse(const Subject& subject, std::span<const Tokens> prompts, Random& random, bool mask,
                 Report& report) {
  report.group(mask ? "reuse after edits, mask" : "reuse after edits");
  auto model = open_model(subject, true, mask);
  if (!report.expect_value(model, "model")) return;
  const auto create = [&] { return (*model)->create_kv(kCells); };
  KvCache::Options options;
  options.slots = 1;
  if (mask) options.structure = (*model)->config().structure.reuse_rule();
  KvCache cache(options, create);
  auto fresh_kv = create();
  if (!report.expect_value(fresh_kv, "cells")) return;
  Tokens tokens;
  for (size_t i = 0; tokens.size() < 1000; ++i)
    tokens.insert(tokens.end(), prompts[i].begin(), prompts[i].end());
  tokens.resize(1000);
  std::vector<int32_t> bodies = make_bodies(random, tokens.size());
  const int32_t n_vocab = (*model)->config().n_vocab;
  double kept = 0, all = 0, worst = 0, apart = 0;
  for (int round = 0; round < 60; ++round) {
    // An edit: a few tokens replaced by a few others, in the body that stands there; near the end
    // twice as often as anywhere.
    const auto size = static_cast<int32_t>(tokens.size());
    const int32_t at = round % 3 == 0 ? random.below(size - 20) : size - 20 - random.below(200);
    const int32_t removed = random.below(12);
    const int32_t added = removed == 0 ? 1 + random.below(12) : random.below(12);
    Tokens fresh_tokens;
    for (int32_t i = 0; i < added; ++i) fresh_tokens.push_back(32 + random.below(n_vocab - 32));
    const int32_t body = bodies[static_cast<size_t>(at)];
    tokens.erase(tokens.begin() + at, tokens.begin() + at + removed);
    bodies.erase(bodies.begin() + at, bodies.begin() + at + removed);
    tokens.insert(tokens.begin() + at, fresh_tokens.begin(), fresh_tokens.end());
    bodies.insert(bodies.begin() + at, static_cast<size_t>(added), body);
    const TokenStructure labels = mask ? make_labels(bodies) : TokenStructure{};
    auto slot = cache.acquire(tokens, labels, 1);
    if (!report.expect_value(slot, "slot") || *slot == nullptr) return;
    (*slot)->truncate(static_cast<int32_t>(tokens.size()) - 4);
    const int32_t cached = (*slot)->size();
    std::vector<float> reused, fresh, other;
    const TokenStructure* given = mask ? &labels : nullptr;
    const std::span<const TokenId> rest = std::span(tokens).subspan(static_cast<size_t>(cached));
    if (!feed(**model, *(*slot)->kv, rest, cached, 512, 4, given, reused, report) ||
        !feed(**model, **fresh_kv, tokens, 0, 512, 4, given, fresh, report) ||
        !feed(**model, **fresh_kv, tokens, 0, 96, 4, given, other, report))
      return;
    (*slot)->append(rest, labels);
    cache.park(*slot);
    kept += cached;
    all += static_cast<double>(tokens.size());
    const double error = relative_error(reused, fresh), noise = relative_error(other, fresh);
    worst = std::max(worst, error);
    apart = std::max(apart, noise);
    report.expect(error, 4e-2, "edit " + std::to_string(round) + " at " + std::to_string(at));
  }
  std::printf(
      "  60 edits, %.0f%% of the cells kept; worst relative difference from fresh %.4f, "
      "between two fresh passes in other chunks %.4f\n",
      100 * kept / all, worst, apart);
}

Generated run(Scheduler& scheduler, Request request, Report& report) {
  std::promise<Result<Generated>> done;
  scheduler.generate(std::move(request), nullptr,
                     [&](Result<Generated> r) { done.set_value(std::move(r)); });
  auto result = done.get_future().get();
  if (!report.expect_value(result, "generate")) return {};
  return std::move(*result);
}

/// The same requests with and without drafts, each in a scheduler of its own.
void check_speculation(const Subject& subject, std::span<const Tokens> prompts, Report& report) {
  report.group("speculation");
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (int i = 0; i < 2; ++i) {
    auto model = open_model(subject, true, false);
    if (!report.expect_value(model, "model")) return;
    schedulers.push_back(std::make_unique<Scheduler>(
        std::move(*model), subject.tokenizer, subject.format, Scheduler::Options{kCells, 2, 512}));
  }
  int64_t drafted = 0, accepted = 0;
  double ms[2] = {0, 0};
  for (size_t p = 0; p < prompts.size(); ++p) {
    std::string texts[2];
    for (int i = 0; i < 2; ++i) {
      Request request;
      request.prompt = prompts[p];
      request.max_tokens = 64;
      request.speculate = i == 1;
      const Generated g = run(*schedulers[static_cast<size_t>(i)], std::move(request), report);
      texts[i] = g.text;
      ms[i] += g.timings.decode_ms;
      drafted += g.timings.drafted_tokens;
      accepted += g.timings.accepted_tokens;
    }
    report.expect(texts[0] == texts[1], "prompt " + std::to_string(p) + " differs with drafts");
  }
  std::printf("  %zu prompts: %lld drafted, %lld accepted, decoding %.2f times as fast\n",
              prompts.size(), static_cast<long long>(drafted), static_cast<long long>(accepted),
              ms[0] / ms[1]);
}

/// From raising the flag to a device that does nothing, in the middle of a long prompt.
void check_cancel(const Subject& subject, std::span<const Tokens> prompts, Report& report) {
  report.group("cancel to idle");
  auto model = open_model(subject, true, false);
  if (!report.expect_value(model, "model")) return;
  auto kv = (*model)->create_kv(kCells);
  if (!report.expect_value(kv, "cells")) return;
  Tokens tokens;
  for (size_t i = 0; tokens.size() < 1024; ++i)
    tokens.insert(tokens.end(), prompts[i].begin(), prompts[i].end());
  tokens.resize(1024);
  std::vector<float> logits;
  std::vector<double> step, idle, whole;
  const auto ms_since = [](Clock::time_point t) {
    return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
  };
  for (int round = 0; round < 20; ++round) {
    auto start = Clock::now();
    if (!feed(**model, **kv, tokens, 0, 1024, 1, nullptr, logits, report)) return;
    whole.push_back(ms_since(start));
    start = Clock::now();
    if (!feed(**model, **kv, std::span(tokens).first(1), 1024, 1, 1, nullptr, logits, report))
      return;
    step.push_back(ms_since(start));
    int asked = 0;
    Clock::time_point raised;
    const auto result = (*model)->forward({tokens, 0, kv->get(), nullptr, {}, [&] {
                                             if (++asked != 6) return false;
                                             raised = Clock::now();
                                             return true;
                                           }});
    report.expect(!result && result.error().code == ErrorCode::cancelled, "given up");
    report.expect_value((*model)->backend().synchronize(), "synchronize");
    idle.push_back(ms_since(raised));
  }
  const auto median = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  std::printf("  a pass of 1024 tokens %.3f ms, a step %.3f ms; cancel to idle %.3f ms\n",
              median(whole), median(step), median(idle));
}

}  // namespace

void check_engine(const std::string& model_path, std::span<const std::string> text_paths,
                  Random& random, Report& report) {
  report.group("engine");
  Subject subject;
  if (!open_subject(model_path, subject, report)) return;
  std::vector<std::string> texts;
  for (const std::string& path : text_paths) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    if (text.str().size() > 1000) texts.push_back(text.str());
  }
  report.expect(!texts.empty(), "texts to cut prompts from (--text FILE...)");
  if (texts.empty()) return;
  const std::vector<Tokens> prompts = make_prompts(subject, random, texts, 208);
  check_text(subject, prompts, random, false, report);
  check_reuse(subject, prompts, random, false, report);
  check_reuse(subject, prompts, random, true, report);
  check_speculation(subject, std::span(prompts).first(64), report);
  check_cancel(subject, prompts, report);
  check_text(subject, std::span(prompts).first(48), random, true, report);
}

}  // namespace cambium::engine::cuda::verify
