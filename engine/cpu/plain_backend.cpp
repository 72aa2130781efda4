#include "engine/cpu/plain_backend.h"

#include <cassert>
#include <cstring>
#include <vector>

#include "engine/cpu/half.h"
#include "engine/cpu/host_buffer.h"
#include "engine/cpu/quantize.h"
#include "engine/cpu/reference.h"

namespace cambium::engine::cpu {
namespace {

struct PlainWeight final : Weight {
  TensorView view;
  std::vector<float> vector;  // WeightUse::vector: the values
};

struct PlainStack final : Weight {
  TensorView view;  // all of them
  int32_t n = 0;
};

struct PlainKv final : KvStore {
  // Floats, rounded through the store's type on writing. [n_layer][n_cells][n_kv_head][head_dim]
  HostMemory k, v;
  int64_t k_row() const { return int64_t{shape.n_kv_head} * shape.head_dim_k; }
  int64_t v_row() const { return int64_t{shape.n_kv_head} * shape.head_dim_v; }
  bool ok() const { return k.data() != nullptr && v.data() != nullptr; }
  float* k_layer(int32_t l) const {
    return reinterpret_cast<float*>(k.data()) + l * k_row() * shape.n_cells;
  }
  float* v_layer(int32_t l) const {
    return reinterpret_cast<float*>(v.data()) + l * v_row() * shape.n_cells;
  }
};

/// Rounds rows of `dim` floats as the cache's type would.
void round_rows(DType type, float* x, int64_t n, int32_t dim) {
  if (type == DType::q8_0 && dim % 32 == 0) {
    std::vector<std::byte> bytes(row_bytes(DType::q8_0, n));
    quantize_row(DType::q8_0, x, bytes.data(), n);
    dequantize_row(DType::q8_0, bytes.data(), x, n);
  } else {
    for (int64_t i = 0; i < n; ++i) x[i] = half_to_float(float_to_half(x[i]));
  }
}

class PlainBackend final : public Backend {
 public:
  std::string description() const override { return "CPU, plain loops, 1 thread"; }

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override {
    return allocate_host(bytes, &in_use_);
  }

  Result<std::unique_ptr<Weight>> load_weight(const TensorView& view, WeightUse use) override {
    if (Result<void> ok = check_view(view); !ok) return tl::unexpected<Error>(ok.error());
    auto weight = std::make_unique<PlainWeight>();
    weight->type = view.type;
    weight->rows = view.rows;
    weight->cols = view.cols;
    weight->view = view;
    if (use == WeightUse::vector) {
      weight->vector.resize(static_cast<size_t>(view.rows * view.cols));
      dequantize_row(view.type, view.data, weight->vector.data(), view.rows * view.cols);
    }
    return weight;
  }

  Result<std::unique_ptr<KvStore>> create_kv(const KvShape& shape) override {
    auto kv = std::make_unique<PlainKv>();
    kv->shape = shape;
    const auto cells = static_cast<size_t>(shape.n_layer) * static_cast<size_t>(shape.n_cells);
    kv->k = HostMemory(cells * static_cast<size_t>(kv->k_row()) * 4, &in_use_);
    kv->v = HostMemory(cells * static_cast<size_t>(kv->v_row()) * 4, &in_use_);
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
  size_t bytes_in_use() const override { return in_use_; }

  void embed(const Weight& table, std::span<const int32_t> ids, float* x) override {
    reference::embed(static_cast<const PlainWeight&>(table).view, ids, x);
  }
  void rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) override {
    reference::rms_norm(x, static_cast<const PlainWeight&>(w).vector.data(), eps, n_rows,
                        w.rows * w.cols, y);
  }
  void matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) override {
    for (const MatmulTarget& t : targets) {
      const float* bias =
          t.bias == nullptr ? nullptr : static_cast<const PlainWeight*>(t.bias)->vector.data();
      reference::matmul(static_cast<const PlainWeight*>(t.weight)->view, bias, x, n_tokens,
                        t.accumulate, t.y);
    }
  }
  void rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens, int32_t n_head,
            int32_t head_dim) override {
    reference::rope(x, table, first_pos, n_tokens, n_head, head_dim);
  }
  void rope_at(float* x, const RopeTable& table, std::span<const int32_t> positions, int32_t n_head,
               int32_t head_dim) override {
    reference::rope_at(x, table, positions, n_head, head_dim);
  }
  void kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens, const float* k,
                const float* v) override {
    const auto& store = static_cast<PlainKv&>(kv);
    assert(first_cell >= 0 && first_cell + n_tokens <= store.shape.n_cells);
    float* to_k = store.k_layer(layer) + first_cell * store.k_row();
    float* to_v = store.v_layer(layer) + first_cell * store.v_row();
    std::memcpy(to_k, k, static_cast<size_t>(n_tokens * store.k_row()) * 4);
    round_rows(store.shape.type, to_k, n_tokens * store.k_row(), store.shape.head_dim_k);
    if (store.shape.latent) {
      copy_rows(to_k + store.k_row() - store.v_row(), store.k_row(), to_v, store.v_row(),
                store.v_row(), n_tokens);
      return;
    }
    std::memcpy(to_v, v, static_cast<size_t>(n_tokens * store.v_row()) * 4);
    round_rows(store.shape.type, to_v, n_tokens * store.v_row(), store.shape.head_dim_v);
  }
  void attention(const AttentionArgs& args) override {
    const auto& store = static_cast<const PlainKv&>(*args.kv);
    reference::attention(args, store.shape, store.k_layer(args.layer), store.v_layer(args.layer));
  }
  void silu_mul(const float* gate, const float* up, float* y, int64_t n) override {
    reference::silu_mul(gate, up, y, n);
  }
  void add(const float* x, float* y, int64_t n) override { reference::add(x, y, n); }

  Result<std::unique_ptr<Weight>> load_stack(const TensorView& view, int32_t n) override {
    if (Result<void> ok = check_view(view); !ok) return tl::unexpected<Error>(ok.error());
    auto stack = std::make_unique<PlainStack>();
    stack->type = view.type;
    stack->rows = view.rows / n;
    stack->cols = view.cols;
    stack->view = view;
    stack->n = n;
    return stack;
  }
  void route(const float* logits, const ExpertRule& rule, int32_t n_tokens, int32_t* ids,
             float* weights, uint32_t* counts) override {
    const float* bias =
        rule.bias == nullptr ? nullptr : static_cast<const PlainWeight*>(rule.bias)->vector.data();
    reference::route(logits, rule, bias, n_tokens, ids, weights, counts);
  }
  void experts(const ExpertsArgs& args) override {
    const auto& gate = static_cast<const PlainStack&>(*args.gate);
    reference::experts(args, gate.view, static_cast<const PlainStack&>(*args.up).view,
                       static_cast<const PlainStack&>(*args.down).view, gate.n);
  }
  void head_matmul(const HeadMatmulArgs& args) override {
    reference::head_matmul(args, static_cast<const PlainStack&>(*args.weight).view);
  }
  void copy_rows(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                 int64_t n_rows) override {
    copy_rows_host(x, x_stride, y, y_stride, width, n_rows);
  }

  int32_t query_tile(int32_t) const override { return 1; }
  int32_t key_block() const override { return 32; }

 private:
  size_t in_use_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_plain_backend() { return std::make_unique<PlainBackend>(); }

}  // namespace cambium::engine::cpu
