// Whole deepseek2 models with random weights, every way of choosing experts, against the CPU's
// engine: a long pass, a middling one op by op, and the fused step.
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/gguf_writer.h"
#include "engine/models/model.h"
#include "tests/cuda/check.h"
#include "tests/cuda/subject.h"

namespace cambium::engine::cuda::verify {
namespace {

constexpr int32_t kTokens = 61, kPrompt = 42;

ModelShape latent_shape(const char* name, int32_t kv_rank, int32_t rope_dim) {
  ModelShape s;
  s.architecture = "deepseek2";
  s.name = name;
  s.n_vocab = 300;
  s.n_embd = 256;
  s.n_layer = 3;
  s.n_head = 5;
  s.n_kv_head = 1;
  s.head_dim = 64;
  s.n_ff = 352;
  s.context = 8192;
  s.kv_rank = kv_rank;
  s.rope_dim = rope_dim;
  s.n_expert = 8;
  s.n_expert_used = 3;
  s.n_shared = 2;
  s.n_ff_expert = 96;
  s.n_dense = 1;
  return s;
}

std::vector<ModelShape> shapes() {
  std::vector<ModelShape> all;
  all.push_back(latent_shape("V2-Lite", 512, 64));
  ModelShape v2 = latent_shape("V2", 512, 64);
  v2.q_rank = 96;
  v2.n_head = 20;
  v2.n_group = 4;
  v2.n_group_used = 2;
  v2.expert_scale = 4.0f;
  all.push_back(v2);
  ModelShape v3 = v2;
  v3.name = "V3";
  v3.sigmoid = v3.normalise = true;
  v3.n_shared = 1;
  v3.expert_scale = 2.5f;
  v3.n_ff_expert = 256;
  all.push_back(v3);
  ModelShape small = latent_shape("small", 96, 32);
  small.head_dim = 32;
  small.n_shared = 0;
  small.normalise = true;
  all.push_back(small);
  return all;
}

struct Loaded {
  std::unique_ptr<Model> model;
  std::unique_ptr<KvStore> kv;
};

/// On the GPU if told how rows go there.
bool open(const std::string& path, const StepRowsCase* rows, Loaded& out, Report& report) {
  auto file = GgufFile::open(path);
  if (!report.expect_value(file, "file")) return false;
  auto config = ModelConfig::from_gguf(**file);
  if (!report.expect_value(config, "config")) return false;
  std::unique_ptr<Backend> backend;
  if (rows != nullptr) {
    auto made = CudaBackend::create(0);
    if (!report.expect_value(made, "backend")) return false;
    (*made)->set_step_rows(rows->rows);
    backend = std::move(*made);
  } else {
    backend = make_cpu_backend();
  }
  auto model = load_model_weights(*file, *config, std::move(backend), nullptr);
  if (!report.expect_value(model, "model")) return false;
  out.model = std::move(*model);
  auto kv = out.model->create_kv(128);
  if (!report.expect_value(kv, "cells")) return false;
  out.kv = std::move(*kv);
  return true;
}

/// Logits of tokens [first, first + n), in one pass.
std::vector<float> feed(Loaded& m, std::span<const TokenId> ids, int32_t first, int32_t n,
                        Report& report) {
  std::vector<int32_t> rows(static_cast<size_t>(n));
  for (int32_t i = 0; i < n; ++i) rows[static_cast<size_t>(i)] = i;
  auto result = m.model->forward({ids.subspan(static_cast<size_t>(first), static_cast<size_t>(n)),
                                  first, m.kv.get(), nullptr, rows, nullptr});
  if (!report.expect_value(result, "forward")) return {};
  return {result->logits.begin(), result->logits.end()};
}

/// The middle of the rows' relative errors: where two experts are about equally good, rounding
/// chooses, and such a token is another one from there on.
double middle_error(std::span<const float> got, std::span<const float> want, size_t n_vocab) {
  if (got.size() != want.size() || got.empty()) return INFINITY;
  std::vector<double> errors;
  for (size_t at = 0; at < got.size(); at += n_vocab)
    errors.push_back(relative_error(got.subspan(at, n_vocab), want.subspan(at, n_vocab)));
  std::sort(errors.begin(), errors.end());
  return errors.back() == INFINITY ? INFINITY : errors[errors.size() / 2];
}

/// A model of that shape on both; the file is gone again.
bool open_both(const ModelShape& shape, DType type, const StepRowsCase& rows, Random& random,
               Loaded& cpu, Loaded& gpu, Report& report) {
  const auto path = random_model_file(shape, type, random, report);
  if (!path) return false;
  const bool opened = open(*path, nullptr, cpu, report) && open(*path, &rows, gpu, report);
  std::error_code ignored;
  std::filesystem::remove(*path, ignored);  // both have it mapped
  return opened;
}

void check_model(const ModelShape& shape, DType type, const StepRowsCase& rows, Random& random,
                 Report& report) {
  const std::string label =
      shape.name + " " + std::string(type_traits(type)->name) + ", " + rows.name;
  Loaded cpu, gpu;
  if (!open_both(shape, type, rows, random, cpu, gpu, report)) return;
  std::vector<TokenId> ids;
  for (int32_t i = 0; i < kTokens; ++i) ids.push_back(random.below(256));
  const auto vocab = static_cast<size_t>(shape.n_vocab);
  const std::vector<float> want = feed(cpu, ids, 0, kTokens, report);
  const auto tail = [&](int32_t first, int32_t n) {
    return std::span(want).subspan(static_cast<size_t>(first) * vocab,
                                   static_cast<size_t>(n) * vocab);
  };
  // Quantized, both sides round activations to int8 in every product, each in its own way.
  const double bound = type == DType::f32 ? 5e-3 : 6e-2;
  const double long_pass = middle_error(feed(gpu, ids, 0, kTokens, report), want, vocab);
  report.expect(long_pass, bound, label + " a long pass");
  feed(gpu, ids, 0, kPrompt, report);
  constexpr int32_t kRest = kTokens - kPrompt;
  const double middling =
      middle_error(feed(gpu, ids, kPrompt, kRest, report), tail(kPrompt, kRest), vocab);
  report.expect(middling, bound, label + " op by op");
  std::vector<float> together, alone;
  for (const int32_t n : {1, 8, 2, 8}) {
    const auto at = kPrompt + static_cast<int32_t>(together.size() / vocab);
    const std::vector<float> part = feed(gpu, ids, at, n, report);
    together.insert(together.end(), part.begin(), part.end());
  }
  const double steps = middle_error(together, tail(kPrompt, kRest), vocab);
  report.expect(steps, bound, label + " steps");
  for (int32_t i = 0; i < kRest; ++i) {
    const std::vector<float> part = feed(gpu, ids, kPrompt + i, 1, report);
    alone.insert(alone.end(), part.begin(), part.end());
  }
  report.expect(alone.size() == together.size() &&
                    std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)) == 0,
                label + " steps differ token by token");
  std::printf("  %-32s from the CPU: a long pass %.4f, op by op %.4f, steps %.4f\n", label.c_str(),
              long_pass, middling, steps);

  auto loads = gpu.model->expert_loads();
  if (!report.expect_value(loads, label + " loads")) return;
  uint64_t sum = 0;
  for (const uint64_t load : *loads) sum += load;
  report.expect(sum == static_cast<uint64_t>((kTokens + kPrompt + 3 * kRest) * shape.n_expert_used *
                                             (shape.n_layer - shape.n_dense)),
                label + " expert loads");
}

}  // namespace

void check_latent_small(Random& random, Report& report) {
  ModelShape shape = latent_shape("small steps", 512, 64);
  shape.n_layer = shape.n_head = 2;
  shape.n_ff = shape.n_ff_expert = 64;
  shape.n_shared = 1;
  for (const StepRowsCase& rows : kStepRows) {
    Loaded cpu, gpu;
    if (!open_both(shape, DType::q4_k, rows, random, cpu, gpu, report)) return;
    std::vector<TokenId> ids;
    for (int32_t i = 0; i < 10; ++i) ids.push_back(random.below(256));
    const auto vocab = static_cast<size_t>(shape.n_vocab);
    const std::vector<float> want = feed(cpu, ids, 0, 10, report);
    std::vector<float> got;
    for (const int32_t n : {1, 8, 1}) {
      const std::vector<float> part =
          feed(gpu, ids, static_cast<int32_t>(got.size() / vocab), n, report);
      got.insert(got.end(), part.begin(), part.end());
    }
    report.expect(middle_error(got, want, vocab), 6e-2,
                  std::string("small steps of latent attention, ") + rows.name);
  }
}

void check_families(Random& random, Report& report) {
  report.group("deepseek2 models");
  for (const ModelShape& shape : shapes())
    for (const DType type : {DType::f32, DType::q8_0, DType::q4_k})
      for (const StepRowsCase& rows : kStepRows) {
        if (type == DType::f32 && rows.rows == StepRows::ready) continue;  // nothing is quantized
        check_model(shape, type, rows, random, report);
      }
}

}  // namespace cambium::engine::cuda::verify
