#include "engine/cuda/backend.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/cpu/half.h"
#include "engine/cpu/quantize.h"
#include "engine/cuda/kv.cuh"

namespace cambium::engine::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{64} << 20;  // of a matrix on its way to the device
constexpr size_t kCublasBytes = size_t{32} << 20;
constexpr int32_t kFewTokens = 24;  // up to here passes of 8 columns beat dequantizing a matrix

const CudaWeight& of(const Weight& w) { return static_cast<const CudaWeight&>(w); }

}  // namespace

KvCells CudaKv::layer(int32_t l) const {
  KvCells c;
  c.n_cells = n_cells;
  c.n_kv_head = shape.n_kv_head;
  c.head_dim_k = shape.head_dim_k;
  c.head_dim_v = shape.head_dim_v;
  c.q8 = shape.type == DType::q8_0;
  c.latent = shape.latent;
  c.k = k.as<uint8_t>() + l * kv_layer_bytes(c, c.head_dim_k);
  if (!c.latent) c.v = v.as<uint8_t>() + l * kv_layer_bytes(c, c.head_dim_v);
  return c;
}

// --- memory
// -----------------------------------------------------------------------------------------

Result<std::unique_ptr<CudaBackend>> CudaBackend::create(int device) {
  int count = 0;
  if (auto r = check(cudaGetDeviceCount(&count), "no usable device"); !r)
    return tl::unexpected(r.error());
  if (device < 0 || device >= count)
    return fail(ErrorCode::not_found, "GPU: device " + std::to_string(device) + " was asked for, " +
                                          std::to_string(count) + " are there");
  cudaDeviceProp properties;
  if (auto r = check(cudaGetDeviceProperties(&properties, device), "reading device properties"); !r)
    return tl::unexpected(r.error());
  const int capability = properties.major * 10 + properties.minor;
  if (capability < 75)
    return fail(ErrorCode::device,
                std::string("GPU: ") + properties.name + " has compute capability " +
                    std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                    "; 7.5 (Turing) or newer is needed");
  std::unique_ptr<CudaBackend> b(new CudaBackend);
  b->device_ = device;
  if (auto r = check(cudaSetDevice(device), "selecting the device"); !r)
    return tl::unexpected(r.error());
  if (auto r = check(cudaStreamCreateWithFlags(&b->launch_.stream, cudaStreamNonBlocking),
                     "creating a stream");
      !r)
    return tl::unexpected(r.error());
  for (cudaEvent_t& event : b->paces_)
    if (auto r =
            check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
        !r)
      return tl::unexpected(r.error());
  b->launch_.multiprocessors = properties.multiProcessorCount;
  b->dependent_launch_ = properties.major >= 9;
  b->description_ = std::string(properties.name) + ", " +
                    std::to_string(properties.totalGlobalMem >> 30) + " GiB, compute " +
                    std::to_string(properties.major) + "." + std::to_string(properties.minor);
  auto arrivals = DeviceMemory::allocate(kMaxArrivals * sizeof(int32_t), &b->in_use_);
  if (!arrivals) return tl::unexpected(arrivals.error());
  b->arrivals_ = std::move(*arrivals);
  if (auto r =
          check(cudaMemsetAsync(b->arrivals_.data(), 0, b->arrivals_.bytes(), b->launch_.stream),
                "first use of the device");
      !r)
    return tl::unexpected(r.error());
  if (auto r = b->synchronize(); !r) return tl::unexpected(r.error());
  return b;
}

CudaBackend::~CudaBackend() {
  bind();
  if (launch_.stream != nullptr) {
    cudaStreamSynchronize(launch_.stream);
    cublas_.reset();
    for (const cudaEvent_t event : paces_)
      if (event != nullptr) cudaEventDestroy(event);
    cudaStreamDestroy(launch_.stream);
  }
}

bool CudaBackend::note(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return pending_.has_value();
  cudaGetLastError();
  if (pending_) pending_ = tl::unexpected(to_error(e, what));
  return false;
}

bool CudaBackend::note(Result<void> r) {
  if (!r && pending_) pending_ = std::move(r);
  return pending_.has_value();
}

void* CudaBackend::workspace(DeviceMemory& memory, size_t bytes) {
  if (memory.bytes() >= bytes) return memory.data();
  // Kernels still queued may read the old one; freeing waits for them.
  memory = DeviceMemory();
  auto fresh = DeviceMemory::allocate(bytes, &in_use_);
  if (!fresh) {
    note(tl::unexpected(fresh.error()));
    return nullptr;
  }
  memory = std::move(*fresh);
  return memory.data();
}

Result<std::unique_ptr<Buffer>> CudaBackend::allocate(size_t bytes) {
  bind();
  auto memory = DeviceMemory::allocate(bytes, &in_use_);
  if (!memory) return tl::unexpected(memory.error());
  return std::make_unique<CudaBuffer>(std::move(*memory));
}

Result<std::unique_ptr<Weight>> CudaBackend::load_weight(const TensorView& view, WeightUse use) {
  bind();
  const TypeTraits* traits = type_traits(view.type);
  if (traits == nullptr || view.rows <= 0 || view.cols <= 0 ||
      view.cols % traits->block_elements != 0)
    return fail(ErrorCode::unsupported, "a matrix of " + std::to_string(view.rows) + "x" +
                                            std::to_string(view.cols) +
                                            " is not of a type and shape this build knows");
  auto w = std::make_unique<CudaWeight>();
  w->type = view.type;
  w->rows = view.rows;
  w->cols = view.cols;
  const auto n_rows = static_cast<size_t>(view.rows), n_cols = static_cast<size_t>(view.cols);
  const size_t stride = row_bytes(view.type, view.cols);
  const auto* raw = reinterpret_cast<const uint8_t*>(view.data);
  const auto take = [&](size_t bytes) -> Result<void> {
    auto memory = DeviceMemory::allocate(bytes, &in_use_);
    if (!memory) return tl::unexpected(memory.error());
    w->memory = std::move(*memory);
    return {};
  };
  const auto plain_copy = [&](const void* data, size_t bytes) -> Result<std::unique_ptr<Weight>> {
    if (auto r = take(bytes); !r) return tl::unexpected(r.error());
    if (auto r = check(
            cudaMemcpyAsync(w->memory.data(), data, bytes, cudaMemcpyHostToDevice, launch_.stream),
            "copying a weight");
        !r)
      return tl::unexpected(r.error());
    if (auto r = synchronize(); !r) return tl::unexpected(r.error());
    return std::move(w);
  };
  const bool is_float =
      view.type == DType::f32 || view.type == DType::f16 || view.type == DType::bf16;
  if (use == WeightUse::vector) {
    std::vector<float> values(n_rows * n_cols);
    for (size_t r = 0; r < n_rows; ++r)
      cpu::dequantize_row(view.type, raw + r * stride, values.data() + r * n_cols, view.cols);
    w->stored = DType::f32;
    return plain_copy(values.data(), values.size() * sizeof(float));
  }
  if (is_float) {
    w->stored = view.type;
    return plain_copy(raw, n_rows * stride);
  }
  if (!tile_type(view.type, &w->tile)) {
    // Rare types become F16.
    std::vector<float> row(n_cols);
    std::vector<uint16_t> values(n_rows * n_cols);
    for (size_t r = 0; r < n_rows; ++r) {
      cpu::dequantize_row(view.type, raw + r * stride, row.data(), view.cols);
      for (size_t c = 0; c < n_cols; ++c) values[r * n_cols + c] = cpu::float_to_half(row[c]);
    }
    w->stored = DType::f16;
    return plain_copy(values.data(), values.size() * sizeof(uint16_t));
  }

  w->tiled = true;
  const int64_t col_tiles = ceil_div(view.cols, kTileCols);
  const auto row_tile_bytes = static_cast<size_t>(col_tiles * tile_bytes(w->tile));
  if (auto r = take(static_cast<size_t>(ceil_div(view.rows, kTileRows)) * row_tile_bytes); !r)
    return tl::unexpected(r.error());
  const size_t staged_rows = std::max<size_t>(1, kStagingBytes / (stride * kTileRows)) * kTileRows;
  auto* staging =
      static_cast<uint8_t*>(workspace(staging_, std::min(staged_rows, n_rows) * stride));
  for (size_t first = 0; staging != nullptr && first < n_rows; first += staged_rows) {
    const size_t n = std::min(staged_rows, n_rows - first);
    if (!note(cudaMemcpyAsync(staging, raw + first * stride, n * stride, cudaMemcpyHostToDevice,
                              launch_.stream),
              "copying a weight") ||
        !note(repack(launch_, view.type, w->tile, staging, static_cast<int64_t>(stride),
                     static_cast<int64_t>(n), view.cols,
                     w->memory.as<uint8_t>() + first / kTileRows * row_tile_bytes),
              "repacking a weight"))
      break;
  }
  if (auto r = synchronize(); !r) return tl::unexpected(r.error());
  return w;
}

Result<std::unique_ptr<KvStore>> CudaBackend::create_kv(const KvShape& shape) {
  bind();
  const bool q8 = shape.type == DType::q8_0;
  if (!q8 && shape.type != DType::f16)
    return fail(ErrorCode::unsupported, "GPU: the KV cache can be F16 or Q8_0");
  if (q8 && (shape.head_dim_k % 32 != 0 || shape.head_dim_v % 32 != 0))
    return fail(ErrorCode::unsupported,
                "GPU: a Q8_0 KV cache needs head sizes that are multiples of 32; use F16");
  if (shape.latent && (q8 || shape.n_kv_head != 1))
    return fail(ErrorCode::unsupported, "GPU: a latent KV cache is F16 and has one head");
  auto kv = std::make_unique<CudaKv>();
  kv->shape = shape;
  kv->serial = ++kv_serial_;
  kv->n_cells = static_cast<int32_t>(ceil_div(shape.n_cells, kKeyBlock)) * kKeyBlock;
  const KvCells cells = kv->layer(0);
  for (const bool is_v : {false, true}) {
    if (is_v && shape.latent) break;  // a value is a part of its key
    const auto bytes = static_cast<size_t>(
        shape.n_layer * kv_layer_bytes(cells, is_v ? shape.head_dim_v : shape.head_dim_k));
    auto memory = DeviceMemory::allocate(bytes, &in_use_);
    if (!memory) return tl::unexpected(memory.error());
    // Cells nobody wrote are multiplied by a weight of zero: they must be finite.
    if (auto r =
            check(cudaMemsetAsync(memory->data(), 0, bytes, launch_.stream), "clearing the cache");
        !r)
      return tl::unexpected(r.error());
    (is_v ? kv->v : kv->k) = std::move(*memory);
  }
  return kv;
}

uint64_t CudaBackend::free_bytes() const {
  bind();
  size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
}

uint64_t CudaBackend::weight_bytes(const TensorView& view) const {
  TileType tile;
  if (view.rows == 1) return static_cast<uint64_t>(view.cols) * sizeof(float);
  if (tile_type(view.type, &tile))
    return static_cast<uint64_t>(ceil_div(view.rows, kTileRows) * ceil_div(view.cols, kTileCols) *
                                 tile_bytes(tile));
  const int64_t size = view.type == DType::f32 ? 4 : 2;  // rare types become F16
  return static_cast<uint64_t>(view.rows * view.cols * size);
}

uint64_t CudaBackend::work_bytes() const {
  // With room for the kernels themselves, which the driver loads at first use, and the decode
  // step's buffers; the scores of latent attention over a long prompt are in it too.
  return kStagingBytes + kDequantizedBytes + kCublasBytes + (size_t{288} << 20);
}

void CudaBackend::pace() {
  bind();
  // By turns, so that one is of the last call and one of the call before it. Where layers are long
  // the device has enough to do with the last one's work; where they are short it would run dry. An
  // event that was never recorded counts as past.
  constexpr auto kLong = std::chrono::microseconds(200);
  const cudaEvent_t before_last = paces_[pace_ % 2], last = paces_[(pace_ + 1) % 2];
  ++pace_;
  const auto start = std::chrono::steady_clock::now();
  note(cudaEventSynchronize(long_layers_ ? last : before_last), "waiting for a layer");
  long_layers_ = std::chrono::steady_clock::now() - start > kLong;
  note(cudaEventRecord(before_last, launch_.stream), "waiting for a layer");
}

Result<double> CudaBackend::copy_bandwidth() {
  bind();
  constexpr size_t kMost = size_t{1} << 30;
  const size_t bytes = std::min<size_t>(kMost, static_cast<size_t>(free_bytes() / 4));
  auto from = allocate(bytes), to = allocate(bytes);
  if (!from) return tl::unexpected(from.error());
  if (!to) return tl::unexpected(to.error());
  cudaEvent_t start = nullptr, stop = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  std::vector<float> ms;
  Result<void> done =
      check(cudaMemsetAsync((*from)->data(), 0x5a, bytes, launch_.stream), "filling a buffer");
  for (int i = -1; i < 9 && done; ++i) {
    cudaEventRecord(start, launch_.stream);
    done = check(cudaMemcpyAsync((*to)->data(), (*from)->data(), bytes, cudaMemcpyDeviceToDevice,
                                 launch_.stream),
                 "copying a buffer");
    cudaEventRecord(stop, launch_.stream);
    if (done) done = synchronize();
    float one = 0;
    cudaEventElapsedTime(&one, start, stop);
    if (i >= 0) ms.push_back(one);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  if (!done) return tl::unexpected(done.error());
  std::sort(ms.begin(), ms.end());
  return 2.0 * static_cast<double>(bytes) / ms[ms.size() / 2] * 1e3;
}

void CudaBackend::upload(void* to, const void* from_host, size_t bytes) {
  bind();
  note(cudaMemcpyAsync(to, from_host, bytes, cudaMemcpyHostToDevice, launch_.stream), "upload");
}

Result<void> CudaBackend::download(void* to_host, const void* from, size_t bytes) {
  bind();
  note(cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, launch_.stream), "download");
  return synchronize();
}

Result<void> CudaBackend::synchronize() {
  bind();
  note(cudaStreamSynchronize(launch_.stream), "a kernel failed");
  return std::exchange(pending_, Result<void>{});
}

// --- forward
// ----------------------------------------------------------------------------------------

void CudaBackend::embed(const Weight& table, std::span<const int32_t> ids, float* x) {
  bind();
  void* device_ids = workspace(ids_, ids.size_bytes());
  if (device_ids == nullptr) return;
  upload(device_ids, ids.data(), ids.size_bytes());
  const CudaWeight& w = of(table);
  note(cuda::embed(launch_, w.tiled, w.tile, w.stored, w.memory.data(), w.cols, ids_.as<int32_t>(),
                   static_cast<int>(ids.size()), x),
       "embed");
}

void CudaBackend::rms_norm(const float* x, const Weight& w, float eps, int32_t n_rows, float* y) {
  bind();
  note(cuda::rms_norm(launch_, x, of(w).f32(), eps, w.cols, n_rows, y), "rms_norm");
}

void CudaBackend::matmul(std::span<const MatmulTarget> targets, const float* x, int32_t n_tokens) {
  bind();
  if (targets.empty() || n_tokens == 0) return;
  if (cublas_for(n_tokens) != nullptr) {
    for (const MatmulTarget& t : targets) matmul_many(t, x, n_tokens);
    return;
  }
  std::vector<MatmulTarget> shifted(targets.begin(), targets.end());
  for (int32_t first = 0; first < n_tokens; first += kMaxColumns) {
    const int32_t n = std::min(kMaxColumns, n_tokens - first);
    for (size_t i = 0; i < targets.size(); ++i)
      shifted[i].y = targets[i].y + first * targets[i].weight->rows;
    matmul_few(shifted, x + first * targets[0].weight->cols, n);
  }
}

Cublas* CudaBackend::cublas_for(int32_t n_tokens) {
  if (n_tokens <= kFewTokens) return nullptr;
  if (!cublas_tried_) {
    cublas_tried_ = true;
    if (void* space = workspace(cublas_workspace_, kCublasBytes); space != nullptr) {
      auto opened = Cublas::open(launch_.stream, space, kCublasBytes);
      if (opened)
        cublas_ = std::move(*opened);
      else
        description_ += "; " + opened.error().message;
    }
  }
  return cublas_.get();
}

void CudaBackend::matmul_few(std::span<const MatmulTarget> targets, const float* x,
                             int32_t n_tokens) {
  const auto cols = static_cast<int32_t>(targets[0].weight->cols);
  MatmulArgs args;
  args.cols = cols;
  args.n_tokens = n_tokens;
  args.x = x;
  bool quantized = false;
  const auto bias = [](const MatmulTarget& t) {
    return t.bias != nullptr ? of(*t.bias).f32() : nullptr;
  };
  const auto flush = [&] {
    if (args.n_targets > 0) note(matmul_tiles(launch_, args), "matmul");
    args.n_targets = 0;
  };
  args.n_targets = 0;
  for (const MatmulTarget& t : targets) {
    const CudaWeight& w = of(*t.weight);
    if (!w.tiled) {
      FloatMatmulArgs f{
          w.memory.data(), w.stored,    x, t.y, bias(t), static_cast<int32_t>(w.rows), cols,
          n_tokens,        t.accumulate};
      note(matmul_float(launch_, f), "matmul");
      continue;
    }
    if (n_tokens > 1 && !quantized) {
      const size_t padded = static_cast<size_t>(ceil_div(cols, kTileCols)) * kTileCols;
      const size_t values = padded * kMaxColumns,
                   scales = padded / 32 * kMaxColumns * sizeof(float2);
      auto* space = static_cast<int8_t*>(workspace(activations_, values + scales));
      if (space == nullptr) return;
      args.activations = {space, reinterpret_cast<float2*>(space + values)};
      note(quantize_rows(launch_, x, nullptr, 0, cols, n_tokens, args.activations), "quantize");
      quantized = true;
    }
    if (args.n_targets == 3 || (args.n_targets > 0 && args.type != w.tile)) flush();
    args.type = w.tile;
    args.target[args.n_targets++] = {w.tiles(), t.y, bias(t), static_cast<int32_t>(w.rows),
                                     t.accumulate};
  }
  flush();
}

void CudaBackend::matmul_many(const MatmulTarget& target, const float* x, int32_t n_tokens) {
  const CudaWeight& w = of(*target.weight);
  const DType type = w.tiled ? DType::f16 : w.stored;
  const void* input = x;
  if (type != DType::f32) {
    const int64_t n = w.cols * n_tokens;
    auto* half = static_cast<uint16_t*>(workspace(half_, static_cast<size_t>(n) * 2));
    if (half == nullptr || !note(to_half(launch_, x, half, n, type == DType::bf16), "to_half"))
      return;
    input = half;
  }
  const auto rows = static_cast<int>(w.rows), cols = static_cast<int>(w.cols);
  if (!w.tiled) {
    note(cublas_->gemm(type, w.memory.data(), input, target.y, rows, cols, n_tokens, rows,
                       target.accumulate));
  } else {
    const int64_t most =
        static_cast<int64_t>(kDequantizedBytes) / (2 * w.cols) / kTileRows * kTileRows;
    const int64_t step =
        std::max<int64_t>(kTileRows, std::min(most, ceil_div(rows, kTileRows) * kTileRows));
    auto* matrix =
        static_cast<uint16_t*>(workspace(dequantized_, static_cast<size_t>(step * w.cols) * 2));
    if (matrix == nullptr) return;
    for (int64_t first = 0; first < rows; first += step) {
      const int64_t n = std::min(step, rows - first);
      if (!note(dequantize_tiles(launch_, w.tile, w.tiles(), w.cols, first, n, matrix),
                "dequantize"))
        return;
      note(cublas_->gemm(DType::f16, matrix, input, target.y + first, static_cast<int>(n), cols,
                         n_tokens, rows, target.accumulate));
    }
  }
  if (target.bias != nullptr)
    note(add_bias(launch_, of(*target.bias).f32(), target.y, rows, n_tokens), "bias");
}

Result<RopeArgs> CudaBackend::rope_args(const RopeTable& table) {
  RopeArgs args;
  args.n_rot = static_cast<int32_t>(2 * table.freq.size());
  args.magnitude = table.magnitude;
  args.interleaved = table.layout == RopeLayout::interleaved;
  for (const RopeCopy& copy : ropes_)
    if (std::equal(copy.freq.begin(), copy.freq.end(), table.freq.begin(), table.freq.end())) {
      args.freq = copy.memory.as<float>();
      return args;
    }
  auto memory = DeviceMemory::allocate(table.freq.size_bytes(), &in_use_);
  if (!memory) return tl::unexpected(memory.error());
  upload(memory->data(), table.freq.data(), table.freq.size_bytes());
  ropes_.push_back({{table.freq.begin(), table.freq.end()}, std::move(*memory)});
  args.freq = ropes_.back().memory.as<float>();
  return args;
}

void CudaBackend::rope(float* x, const RopeTable& table, int32_t first_pos, int32_t n_tokens,
                       int32_t n_head, int32_t head_dim) {
  bind();
  auto args = rope_args(table);
  if (!args) {
    note(tl::unexpected(args.error()));
    return;
  }
  note(cuda::rope(launch_, x, *args, {nullptr, first_pos}, n_tokens, n_head, head_dim), "rope");
}

void CudaBackend::kv_write(KvStore& kv, int32_t layer, int32_t first_cell, int32_t n_tokens,
                           const float* k, const float* v) {
  bind();
  note(cuda::kv_write(launch_, static_cast<CudaKv&>(kv).layer(layer), {nullptr, first_cell},
                      n_tokens, k, v),
       "kv_write");
}

void CudaBackend::attention(const AttentionArgs& args) {
  bind();
  const auto& kv = static_cast<const CudaKv&>(*args.kv);
  if (kv.shape.latent) return latent_attention(args);
  AttentionKernelArgs a;
  a.q = args.q;
  a.out = args.out;
  a.kv = kv.layer(args.layer);
  a.n_tokens = args.n_tokens;
  a.n_head = args.n_head;
  a.first_cell = {nullptr, args.first_cell};
  a.scale = args.scale;
  if (args.mode != StructureMode::off && args.cells != nullptr && !args.cells->empty()) {
    // Layers of a pass come in ascending order; anything else is a new pass with new labels.
    if (args.cells != structure_of_.cells || args.layer <= structure_of_.layer ||
        args.first_cell != structure_of_.first_cell || args.n_tokens != structure_of_.n_tokens) {
      const int32_t streams =
          attention_streams(args.n_tokens, kv.shape.n_kv_head, launch_.multiprocessors);
      const bool usable = args.visible != nullptr && args.visible->key_block == kKeyBlock &&
                          args.visible->query_tile == query_tile(args.n_tokens);
      if (!note(structure_.update(*args.cells, args.first_cell + args.n_tokens,
                                  usable ? args.visible : nullptr, streams, launch_.stream,
                                  &in_use_)))
        return;
    }
    structure_of_ = {args.cells, args.layer, args.first_cell, args.n_tokens};
    a.structure = structure_.args();
    a.structure.mode = args.mode;
    a.structure.prune = args.prune;
    a.structure.prune_heads = args.prune_heads;
    if (args.mode == StructureMode::emphasis) {
      const size_t n = 3 * static_cast<size_t>(args.n_head);
      auto* tables = static_cast<float*>(workspace(emphasis_, 2 * n * sizeof(float)));
      if (tables == nullptr) return;
      upload(tables, args.emphasis_scale, n * sizeof(float));
      upload(tables + n, args.emphasis_bias, n * sizeof(float));
      a.structure.scale = tables;
      a.structure.bias = tables + n;
    }
  }
  const int64_t floats = attention_partial_floats(args.n_tokens, args.n_head, kv.shape.n_kv_head,
                                                  kv.shape.head_dim_v, launch_.multiprocessors);
  a.partial = static_cast<float*>(workspace(partial_, static_cast<size_t>(floats) * sizeof(float)));
  a.arrivals = arrivals();
  if (floats > 0 && a.partial == nullptr) return;
  note(cuda::attention(launch_, a), "attention");
}

void CudaBackend::silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  bind();
  note(cuda::silu_mul(launch_, gate, up, y, n), "silu_mul");
}

void CudaBackend::add(const float* x, float* y, int64_t n) {
  bind();
  note(cuda::add(launch_, x, y, n), "add");
}

}  // namespace cambium::engine::cuda
