#include "engine/gpu_bench.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "engine/config.h"
#include "engine/device.h"
#include "engine/draft.h"
#include "engine/gguf.h"
#include "engine/gpu_bench_parts.h"
#include "engine/models/model.h"

namespace cambium::engine {
namespace {

// --- the limits -----------------------------------------------------------------------------------

/// F16 operations a second of y = W·x at a size that fills the chip, conversions of x included.
Result<double> matrix_rate(Backend& backend) {
  constexpr int64_t kSide = 8192, kTokens = 4096;
  std::vector<uint16_t> weights(static_cast<size_t>(kSide * kSide));
  std::vector<float> x(static_cast<size_t>(kSide * kTokens));
  uint32_t state = 1;
  const auto next = [&] { return state = state * 1664525u + 1013904223u; };
  // Random signs and mantissas, sizes near 1/4.
  for (uint16_t& w : weights) w = static_cast<uint16_t>(0x3400u | (next() >> 16 & 0x83ffu));
  for (float& v : x) v = static_cast<float>(static_cast<int32_t>(next())) / 2147483648.0f;
  auto weight = backend.load_weight(
      {DType::f16, kSide, kSide, reinterpret_cast<const std::byte*>(weights.data())},
      WeightUse::matmul);
  auto in = backend.allocate(x.size() * sizeof(float));
  auto out = backend.allocate(x.size() * sizeof(float));
  if (!weight) return tl::unexpected(weight.error());
  if (!in) return tl::unexpected(in.error());
  if (!out) return tl::unexpected(out.error());
  backend.upload((*in)->data(), x.data(), x.size() * sizeof(float));
  Result<void> done;
  const Timing t = repeated(7, [&] {
    const auto start = Clock::now();
    const MatmulTarget target[] = {{weight->get(), (*out)->f32()}};
    backend.matmul(target, (*in)->f32(), kTokens);
    done = backend.synchronize();
    return done ? ms_since(start) : -1.0;
  });
  if (!done) return tl::unexpected(done.error());
  return 2.0 * kSide * kSide * kTokens / t.median * 1e3;
}

constexpr const char* kAttentionShape = "deepseek-coder-6.7b";
constexpr const char* kLongShape = "r1-distill-llama-8b";

// --- one file -------------------------------------------------------------------------------------

struct Goals {
  const char *shape, *type, *row;
  double must, stretch;
};
// What the project has set itself on one H200.
constexpr Goals kGoals[] = {
    {"deepseek-coder-6.7b", "Q4_K", "decode at 64 cells", 550, 700},
    {"deepseek-coder-6.7b", "Q8_0", "decode at 64 cells", 400, 480},
    {"deepseek-coder-1.3b", "Q4_K", "decode at 64 cells", 1400, 2000},
    {"deepseek-coder-6.7b", "Q4_K", "share of the limit at 8192 cells against 64", 0.75, 0},
    {"deepseek-coder-6.7b", "Q4_K", "verify 8 tokens", 1.3, 1.15},
    {"deepseek-coder-6.7b", "Q4_K", "prefill of 2048", 16000, 25000},
    {"deepseek-coder-6.7b", "Q4_K", "first token, 5 typed at a warm 2048", 8, 4},
    {"deepseek-coder-6.7b", "Q4_K", "cancel in a prefill to an idle device", 1, 0},
    {"deepseek-coder-6.7b", "Q4_K", "load from the page cache to the first token", 3, 1.5},
    {"r1-distill-llama-8b", "Q4_K", "decode at 64 cells", 450, 0},
    {"v2-lite", "Q4_K", "decode at 64 cells", 500, 0},
    {"v2-lite", "Q4_K", "prefill of 2048", 12000, 0}};

class Bench {
 public:
  Bench(const GpuBenchOptions& options, GpuReport& report) : options_(options), report_(report) {}

  Result<void> run(const GpuBenchOptions::File& which) {
    auto shape = model_shape(which.shape);
    if (!shape) return tl::unexpected(shape.error());
    shape_ = *shape;
    which_ = which.type;
    type_ = type_traits(which.type)->name;
    name_ = which.shape + " " + type_;
    say("writing " + name_);
    RandomModelOptions random;
    random.shape = shape_;
    random.type = which.type;
    const std::string path = options_.folder + "/" + which.shape + ".gguf";
    if (auto written = write_random_model(path, random); !written) return written;
    Result<void> measured = options_.only_long ? Result<void>{} : measure(path);
    if (measured && shape_.name == kLongShape) measured = measure_long(path);
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    return measured;
  }

  const std::map<int32_t, double>& columns_ms() const { return columns_ms_; }
  double decode_share() const { return decode_share_; }
  double step_bytes() const { return weight_bytes_; }

 private:
  Result<void> measure_long(const std::string& path) {
    say("measuring long answers of " + name_);
    auto file = GgufFile::open(path);
    if (!file) return tl::unexpected(file.error());
    return add_long(*file, options_.device, name_, bytes_read(**file), report_);
  }

  Result<void> measure(const std::string& path) {
    say("measuring " + name_);
    // Load and first token, three times over where a goal is set for it; the last one stays.
    std::vector<double> load;
    std::unique_ptr<Model> model;
    std::unique_ptr<KvStore> kv;
    const int32_t wanted = std::min(shape_.context, 8192 + 64);
    for (int i = 0; i < (shape_.n_expert > 0 ? 1 : 3); ++i) {
      kv.reset();
      model.reset();
      const auto start = Clock::now();
      auto file = GgufFile::open(path);
      if (!file) return tl::unexpected(file.error());
      auto config = ModelConfig::from_gguf(**file);
      if (!config) return tl::unexpected(config.error());
      EngineOptions engine;
      engine.device = options_.device;
      engine.context = wanted;
      engine.slots = 1;
      auto placed = place_model(*file, *config, engine, nullptr);
      if (!placed) return tl::unexpected(placed.error());
      cells_ = placed->options.context;
      chunk_ = placed->options.prefill_chunk;
      report_.device = placed->device;
      model = std::move(placed->model);
      auto made = model->create_kv(cells_);
      if (!made) return tl::unexpected(made.error());
      kv = std::move(*made);
      weight_bytes_ = bytes_read(**file);
      model_ = model.get();
      kv_ = kv.get();
      if (feed(0, 1, 1) < 0) return tl::unexpected(error_);
      load.push_back(ms_since(start) / 1e3);
    }
    if (report_.copy_bandwidth == 0) {
      auto rate = model->backend().copy_bandwidth();
      if (rate) report_.copy_bandwidth = *rate;
    }
    if (report_.matrix_rate == 0 && report_.copy_bandwidth > 0) {
      auto rate = matrix_rate(model->backend());
      if (!rate) return tl::unexpected(rate.error());
      report_.matrix_rate = *rate;
    }
    rows(load);
    if (failed_) return tl::unexpected(error_);
    if (shape_.name != kAttentionShape || which_ != DType::q4_k) return {};
    kv.reset();  // its memory is wanted
    return add_attention(model->backend(), report_);
  }

  void rows(std::vector<double>& load) {
    std::sort(load.begin(), load.end());
    add({"load from the page cache to the first token", load[load.size() / 2], "s", 0, 0, 0, 0,
         true, format("%.2f GB a token", weight_bytes_ / 1e9)});
    fill();
    double share_64 = 0, step_64 = 0;
    columns_ms_.clear();
    for (const int32_t at : {64, 2048, 8192}) {
      if (at + kSteps > cells_ || failed_) continue;
      const Timing t = repeated(7, [&] {
        double ms = 0;
        for (int32_t i = 0; i < kSteps && ms >= 0; ++i) {
          const double one = feed(at + i, 1, 1);
          ms = one < 0 ? -1 : ms + one;
        }
        return ms;
      });
      const double ms = t.median / kSteps;
      const double bytes = weight_bytes_ + kv_cell() * (at + kSteps / 2.0);
      const double share = limit_share(bytes, ms);
      add({format("decode at %d cells", at), 1e3 / ms, "tok/s", t.spread, share, 0, 0, false,
           format("%.3f ms", ms)});
      if (at == 64) {
        share_64 = share;
        step_64 = ms;
        columns_ms_[1] = ms;
        decode_share_ = share;
      }
      if (at == 8192 && share_64 > 0)
        add({"share of the limit at 8192 cells against 64", share / share_64, "x", 0, 0});
    }
    for (const int32_t n : {2, 4, 8}) {
      const Timing t = repeated(41, [&] { return feed(64, n, n); });
      columns_ms_[n] = t.median;
      add({format("verify %d tokens", n), t.median / step_64, "steps", t.spread,
           limit_share(weight_bytes_ + kv_cell() * 64, t.median), 0, 0, true,
           format("%.3f ms", t.median)});
    }
    if (cells_ >= 2064) {
      const Timing t = repeated(41, [&] { return feed(2048, 5, 1); });
      add({"first token, 5 typed at a warm 2048", t.median, "ms", t.spread,
           limit_share(weight_bytes_ + kv_cell() * 2048, t.median), 0, 0, true});
    }
    for (const int32_t n : {256, 512, 2048}) {
      if (n > cells_) continue;
      const Timing t = repeated(7, [&] { return prefill(n); });
      const double limit_ms =
          report_.matrix_rate > 0 ? operations(n) / report_.matrix_rate * 1e3 : 0;
      add({format("prefill of %d", n), n / t.median * 1e3, "tok/s", t.spread, limit_ms / t.median,
           0, 0, false, format("%.2f ms", t.median)});
    }
    cancel(step_64);
  }

  /// From the flag to a device at rest, in the middle of the layers of a long pass.
  void cancel(double step_ms) {
    const int32_t n = std::min(cells_, chunk_);
    const int32_t n_layer = shape_.n_layer;
    const Timing t = repeated(15, [&] {
      int32_t asked = 0;
      Clock::time_point raised;
      const auto result = model_->forward({tokens(0, n), 0, kv_, nullptr, {}, [&] {
                                             if (++asked != n_layer / 2) return false;
                                             raised = Clock::now();
                                             return true;
                                           }});
      if (result || result.error().code != ErrorCode::cancelled) return -1.0;
      return model_->backend().synchronize() ? ms_since(raised) : -1.0;
    });
    if (step_ms > 0)
      add({"cancel in a prefill to an idle device", t.median / step_ms, "steps", t.spread, 0, 0, 0,
           true, format("%.3f ms", t.median)});
  }

  double kv_cell() const { return static_cast<double>(model_->config().kv_bytes_per_cell()); }
  double limit_share(double bytes, double ms) const {
    return report_.copy_bandwidth > 0 ? bytes / (ms * 1e-3) / report_.copy_bandwidth : 0;
  }
  /// Weights a step reads.
  double bytes_read(const GgufFile& file) const {
    double bytes = 0;
    for (const GgufTensor& tensor : file.tensors())
      if (tensor.name != "token_embd.weight" || shape_.tied)
        bytes += static_cast<double>(tensor.bytes) * share_read(tensor.name);
    return bytes;
  }
  /// Of a stack of experts a token reads those it is sent to.
  double share_read(std::string_view tensor) const {
    const bool stack = tensor.find("_exps.") != std::string_view::npos;
    return stack ? static_cast<double>(shape_.n_expert_used) / shape_.n_expert : 1.0;
  }
  /// Of a prompt of n tokens: projections, and attention over what each token sees.
  double operations(int32_t n) const {
    const ModelShape& s = shape_;
    const double heads = static_cast<double>(s.head_dim) * s.n_head,
                 kv = static_cast<double>(s.head_dim) * s.n_kv_head;
    if (s.kv_rank > 0) {
      const double cell = s.kv_rank + s.rope_dim;
      const double attention =
          s.n_embd * (heads + static_cast<double>(s.n_head) * s.rope_dim + cell) +
          2 * heads * s.kv_rank + heads * s.n_embd;
      const double experts = 3.0 * s.n_embd * s.n_ff_expert * (s.n_expert_used + s.n_shared),
                   dense = 3.0 * s.n_embd * s.n_ff;
      return 2.0 * n *
                 (s.n_layer * attention + s.n_dense * dense +
                  (s.n_layer - s.n_dense) *
                      (experts + static_cast<double>(s.n_embd) * s.n_expert)) +
             1.0 * s.n_layer * s.n_head * (cell + s.kv_rank) * n * n;
    }
    const double layer = s.n_embd * (2 * heads + 2 * kv + 3.0 * s.n_ff);
    return 2.0 * n * (s.n_layer * layer) + 2.0 * s.n_layer * heads * n * n;
  }

  std::span<const TokenId> tokens(int32_t first, int32_t n) {
    tokens_.resize(static_cast<size_t>(n));
    for (int32_t i = 0; i < n; ++i) tokens_[static_cast<size_t>(i)] = 32 + (first + i) * 7919 % 200;
    return tokens_;
  }
  /// Milliseconds of one pass; -1 and error_ if it failed.
  double feed(int32_t first, int32_t n, int32_t rows) {
    logits_at_.resize(static_cast<size_t>(rows));
    std::iota(logits_at_.begin(), logits_at_.end(), n - rows);
    Pass pass{tokens(first, n), first, kv_, nullptr, logits_at_, nullptr};
    pass.greedy = true;
    const auto start = Clock::now();
    const auto result = model_->forward(pass);
    if (result) return ms_since(start);
    if (!failed_) error_ = result.error();
    failed_ = true;
    return -1;
  }
  double prefill(int32_t n) {
    double ms = 0;
    for (int32_t at = 0; at < n && ms >= 0; at += kPrefill) {
      const int32_t count = std::min(kPrefill, n - at);
      const double one = feed(at, count, at + count == n ? 1 : 0);
      ms = one < 0 ? -1 : ms + one;
    }
    return ms;
  }
  void fill() {
    for (int32_t at = 0; at < cells_ && !failed_; at += chunk_)
      feed(at, std::min(chunk_, cells_ - at), 0);
  }

  void add(GpuFigure figure) {
    for (const Goals& g : kGoals) {
      if (shape_.name != g.shape || type_ != g.type || figure.name != g.row) continue;
      figure.goal = g.must;
      figure.stretch = g.stretch;
    }
    figure.name = name_ + ": " + figure.name;
    report_.figures.push_back(std::move(figure));
  }
  void say(const std::string& what) const {
    if (options_.on_progress) options_.on_progress(what);
  }

  static constexpr int32_t kSteps = 48;
  static constexpr int32_t kPrefill = 2048;  // in one pass; the server takes chunks

  const GpuBenchOptions& options_;
  GpuReport& report_;
  ModelShape shape_;
  DType which_ = DType::q4_k;
  std::string name_, type_;
  Model* model_ = nullptr;
  KvStore* kv_ = nullptr;
  int32_t cells_ = 0, chunk_ = 0;
  double weight_bytes_ = 0, decode_share_ = 0;
  std::map<int32_t, double> columns_ms_;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> logits_at_;
  bool failed_ = false;
  Error error_;
};

// --- speculation on text that people wrote --------------------------------------------------------

double columns_cost(const std::map<int32_t, double>& ms, int32_t columns) {
  const auto above = ms.lower_bound(columns);
  if (above == ms.end()) return ms.rbegin()->second;
  if (above->first == columns || above == ms.begin()) return above->second;
  const auto below = std::prev(above);
  return below->second +
         (above->second - below->second) * (columns - below->first) / (above->first - below->first);
}

/// Passes and time that the scheduler's own lookup and policy would take to write the second half
/// of each text after reading the first, the model writing exactly that: drafts are right where the
/// text repeats itself. The passes' times are the measured ones.
void add_replay(const GpuBenchOptions& options, const std::map<int32_t, double>& columns_ms,
                GpuReport& report) {
  if (options.replay.empty() || columns_ms.empty()) return;
  double plain = 0, drafted_ms = 0;
  int64_t tokens_in_all = 0, passes = 0;
  for (const std::vector<TokenId>& text : options.replay) {
    PromptLookup lookup;
    DraftPolicy policy;
    DraftChance chance;
    const auto half = text.size() / 2;
    lookup.append(std::span(text).first(half));
    for (size_t at = half; at < text.size();) {
      const auto left = static_cast<int32_t>(std::min<size_t>(text.size() - at, 1 << 20));
      const auto draft = lookup.propose(std::min(kMaxDraft, left - 1));
      const int32_t length =
          std::min(policy.length(chance.value()), static_cast<int32_t>(draft.size()));
      if (!draft.empty() && length == 0) chance.passed_over();
      int32_t accepted = 0;
      while (accepted < length &&
             draft[static_cast<size_t>(accepted)] == text[at + static_cast<size_t>(accepted)])
        ++accepted;
      const double ms = columns_cost(columns_ms, length + 1);
      policy.measured(length + 1, ms);
      if (length > 0) chance.observed(length, accepted);
      const auto written = static_cast<size_t>(accepted) + 1;
      lookup.append(std::span(text).subspan(at, std::min(written, text.size() - at)));
      at += written;
      drafted_ms += ms;
      ++passes;
      tokens_in_all += static_cast<int64_t>(written);
      plain += columns_cost(columns_ms, 1) * static_cast<double>(written);
    }
  }
  GpuFigure figure;
  figure.name = "speculation on a replay of source files";
  figure.value = plain / drafted_ms;
  figure.unit = "x";
  figure.note = format("%lld tokens in %lld passes", static_cast<long long>(tokens_in_all),
                       static_cast<long long>(passes));
  report.figures.push_back(std::move(figure));
}

void project(double share, double step_bytes, GpuReport& report) {
  constexpr std::pair<const char*, double> kCards[] = {
      {"T4", 320}, {"RTX 3060", 360}, {"RTX 3090", 936}, {"RTX 4090", 1008}};
  constexpr double kLine = 12;
  for (const auto& [card, gigabytes] : kCards) {
    const double rate = gigabytes * 1e9 * share / step_bytes;
    report.projections.push_back({card, gigabytes, rate, kLine * 1e3 / rate});
  }
}

}  // namespace

Result<GpuReport> bench_gpu(const GpuBenchOptions& options) {
  std::vector<GpuBenchOptions::File> files = options.files;
  if (files.empty() && options.only_long) files = {{kLongShape, DType::q4_k}};
  if (files.empty())
    files = {{"deepseek-coder-6.7b", DType::q4_k},
             {"deepseek-coder-6.7b", DType::q8_0},
             {"deepseek-coder-1.3b", DType::q4_k},
             {"r1-distill-llama-8b", DType::q4_k},
             {"v2-lite", DType::q4_k}};
  GpuReport report;
  for (const GpuBenchOptions::File& file : files) {
    Bench bench(options, report);
    if (auto done = bench.run(file); !done) return tl::unexpected(done.error());
    if (options.only_long || file.shape != kAttentionShape || file.type != DType::q4_k) continue;
    add_replay(options, bench.columns_ms(), report);
    if (bench.decode_share() > 0) project(bench.decode_share(), bench.step_bytes(), report);
  }
  return report;
}

}  // namespace cambium::engine
