// The CPU backend: owns memory and threads, cuts ops into tasks, calls the kernels of the widest
// instruction set the processor has.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/cpu/attention.h"
#include "engine/cpu/experts.h"
#include "engine/cpu/host_buffer.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/plain_backend.h"
#include "engine/cpu/quantize.h"
#include "engine/cpu/reference.h"
#include "engine/cpu/rope_cache.h"
#include "engine/cpu/thread_pool.h"
#include "engine/cpu_variants.h"
#include "engine/ops.h"

namespace cambium::engine {
namespace cpu {
namespace {

/// Floats of work below which waking the other threads costs more than it saves.
constexpr int64_t kWorthSplitting = 16384;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Kernels& kernels, int threads)
      : kernels_(kernels),
        pool_(threads),
        matmul_(kernels, pool_),
        attention_(kernels, pool_),
        experts_(kernels, pool_, matmul_) {}

  std::string description() const override {
    return std::string("CPU, ") + kernels_.name + ", " + std::to_string(pool_.size()) +
           (pool_.size() == 1 ? " thread" : " threads");
  }

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override {
    return allocate_host(bytes, &in_use_);
  }

  Result<std::unique_ptr<Weight>> load_weight(const TensorView& view, WeightUse use) override {
    if (Result<void> ok = check_view(view); !ok) return tl::unexpected<Error>(ok.error());
    return matmul_.load(view, use, &in_use_);
  }

  Result<std::unique_ptr<KvStore>> create_kv(const KvShape& shape) override {
    if (shape.type != DType::f16 && shape.type != DType::q8_0) {
      return fail(ErrorCode::unsupported, "a KV cache is kept as F16 or Q8_0, nothing else");
    }
    auto kv = std::make_unique<CpuKv>(shape, &in_use_);
    if (!kv->ok()) {
      return fail(ErrorCode::out_of_memory,
                  "no memory for a KV cache of " + std::to_string(shape.n_cells) + " cells");
    }
    return kv;
  }

  void upload(void* to, const void* from_host, size_t bytes) override {
    std::memcpy(to, from_host, bytes);
  }
  Result<void> download(void* to_host, const void* from, size_t bytes) override {
    std::memcpy(to_host, from, bytes);
    return {};
  }
  Result<void> synchronize() override { return {}; }
  size_t bytes_in_use() const override {
    return in_use_ + matmul_.bytes() + attention_.bytes() + experts_.bytes();
  }

  void embed(const Weight& table, std::span<const int32_t> ids, float* x) override {
    const TensorView& view = static_cast<const CpuWeight&>(table).view;
    const size_t stride = row_bytes(view.type, view.cols);
    for (const int32_t id : ids) {
      assert(id >= 0 && id < view.rows);
      dequantize_row(view.type, view.data + static_cast<size_t>(id) * stride, x, view.cols);
      x += view.cols;
    }
  }

  void rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) override {
    const auto& weight = static_cast<const CpuWeight&>(w);
    const auto n = static_cast<int64_t>(weight.vector.size());
    split_rows(n_rows, n, [&](int64_t first, int64_t last) {
      kernels_.rms_norm(x + first * n, weight.vector.data(), eps,
                        static_cast<int32_t>(last - first), n, y + first * n);
    });
  }

  void matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) override {
    matmul_.run(targets, x, n_tokens);
  }

  void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens, int32_t n_head,
            int32_t head_dim) override {
    rope_.prepare(table, first_pos, n_tokens);
    rotate(x, n_tokens, n_head, head_dim);
  }
  void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions, int32_t n_head,
               int32_t head_dim) override {
    rope_.prepare(table, positions);
    rotate(x, static_cast<int32_t>(positions.size()), n_head, head_dim);
  }

  void kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens, const float* k,
                const float* v) override {
    auto& store = static_cast<CpuKv&>(kv);
    const KvShape& s = store.shape;
    store.forget_means(layer, first_cell);
    assert(first_cell >= 0 && first_cell + n_tokens <= s.n_cells);
    const auto write_head = [&](int64_t h, int) {
      const KvHead head = store.head(layer, static_cast<int32_t>(h));
      for (int32_t t = 0; t < n_tokens; ++t) {
        const int64_t row = int64_t{t} * s.n_kv_head + h;
        const float* key = k + row * s.head_dim_k;
        const float* value = s.latent ? key + s.head_dim_k - s.head_dim_v : v + row * s.head_dim_v;
        kernels_.kv_store(head, first_cell + t, key, s.head_dim_k, value, s.head_dim_v);
      }
    };
    if (int64_t{n_tokens} * s.n_kv_head * s.head_dim_k >= kWorthSplitting) {
      pool_.run(s.n_kv_head, write_head);
    } else {
      for (int32_t h = 0; h < s.n_kv_head; ++h) write_head(h, 0);
    }
  }

  void attention(const AttentionArgs& args) override { attention_.run(args); }

  void silu_mul(const float* gate, const float* up, float* y, int64_t n) override {
    split_rows(n, 1, [&](int64_t first, int64_t last) {
      kernels_.silu_mul(gate + first, up + first, y + first, last - first);
    });
  }

  void add(const float* x, float* y, int64_t n) override {
    split_rows(n, 1, [&](int64_t first, int64_t last) {
      kernels_.add(x + first, y + first, last - first);
    });
  }

  Result<std::unique_ptr<Weight>> load_stack(const TensorView& view, int32_t n) override {
    if (Result<void> ok = check_view(view); !ok) return tl::unexpected<Error>(ok.error());
    return experts_.load(view, n, &in_use_);
  }
  void route(const float* logits, const ExpertRule& rule, int32_t n_tokens, int32_t* ids,
             float* weights, uint32_t* counts) override {
    const float* bias =
        rule.bias == nullptr ? nullptr : static_cast<const CpuWeight*>(rule.bias)->vector.data();
    reference::route(logits, rule, bias, n_tokens, ids, weights, counts);
  }
  void experts(const ExpertsArgs& args) override { experts_.run(args); }
  void head_matmul(const HeadMatmulArgs& args) override { experts_.run_heads(args); }
  void copy_rows(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                 int64_t n_rows) override {
    copy_rows_host(x, x_stride, y, y_stride, width, n_rows);
  }

  int32_t query_tile(int32_t n_tokens) const override { return attention_query_tile(n_tokens); }
  int32_t key_block() const override { return kKeyBlock; }

 private:
  /// By the angles prepared last.
  void rotate(float* x, int32_t n_tokens, int32_t n_head, int32_t head_dim) {
    const int64_t row = int64_t{n_head} * head_dim;
    split_rows(n_tokens, row, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        rope_.rotate(x + t * row, static_cast<int32_t>(t), n_head, head_dim);
      }
    });
  }

  /// f(first, last) over parts of [0, n_rows), on all threads where there is enough to do. Parts of
  /// single floats begin at multiples of 64, so that no two threads write one cache line.
  template <class Function>
  void split_rows(int64_t n_rows, int64_t row, Function&& f) {
    if (n_rows * row < kWorthSplitting || pool_.size() == 1) return f(int64_t{0}, n_rows);
    const int64_t unit = row == 1 ? 64 : 1;
    const int64_t parts = int64_t{pool_.size()} * 2;
    const int64_t step = (n_rows / parts + unit) / unit * unit;
    pool_.run((n_rows + step - 1) / step,
              [&](int64_t i, int) { f(i * step, std::min((i + 1) * step, n_rows)); });
  }

  const Kernels& kernels_;
  size_t in_use_ = 0;
  ThreadPool pool_;
  Matmul matmul_;
  Attention attention_;
  Experts experts_;
  RopeCache rope_;
};

/// The fastest of those that run here, from `isa` on in the order of cpu_variants(); null: the plain twin.
const Kernels* best_kernels(const std::string& isa) {
  bool reached = isa.empty();
  for (const CpuVariant& variant : cpu_variants()) {
    reached = reached || isa == variant.isa;
    if (!reached || !variant.runs) continue;
    if (variant.isa == std::string_view("avx512")) return avx512_kernels();
    if (variant.isa == std::string_view("avx2")) return avx2_kernels();
    break;
  }
  return nullptr;
}

}  // namespace
}  // namespace cpu

std::vector<CpuVariant> cpu_variants() {
  std::vector<CpuVariant> variants;
#if defined(__x86_64__)
  // F16C came two years before AVX2 and is on every processor that has it.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  variants.push_back({"avx512", "AVX-512 VNNI", avx512});
  variants.push_back({"avx2", "AVX2", avx2});
#endif
  variants.push_back({"scalar", "plain loops", true});
  return variants;
}

std::string cpu_variants_text() {
  std::string used, others;
  for (const CpuVariant& variant : cpu_variants()) {
    if (used.empty() && variant.runs) {
      used = variant.name;
      continue;
    }
    others += others.empty() ? "" : ", ";
    others += variant.name;
    if (!variant.runs) others += " (not on this processor)";
  }
  return used + " in use" + (others.empty() ? "" : "; also built: " + others);
}

std::unique_ptr<Backend> make_cpu_backend(int threads, const std::string& isa) {
  const cpu::Kernels* kernels = cpu::best_kernels(isa);
  if (kernels == nullptr) return cpu::make_plain_backend();
  const int n = threads > 0 ? threads : cpu::physical_cores();
  return std::make_unique<cpu::CpuBackend>(*kernels, std::min(n, 256));
}

}  // namespace cambium::engine
