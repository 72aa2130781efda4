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

Result<void> CudaKv::reserve_means(size_t* counter) {
  if (!means_from_.empty()) return {};
  if (n_cells > kMostSparseCells)
    return fail(ErrorCode::unsupported, "GPU: sparse attention takes contexts of up to " +
                                            std::to_string(kMostSparseCells) +
                                            " tokens, this one has " + std::to_string(n_cells) +
                                            "; use a shorter one, or sparseAttention off");
  const auto floats = static_cast<size_t>(shape.n_layer) * static_cast<size_t>(shape.n_kv_head) *
                      static_cast<size_t>(n_cells / kKeyBlock) *
                      static_cast<size_t>(shape.head_dim_k);
  auto memory = DeviceMemory::allocate(floats * sizeof(float), counter);
  if (!memory) return tl::unexpected(memory.error());
  means_ = std::move(*memory);
  means_from_.assign(static_cast<size_t>(shape.n_layer), 0);
  return {};
}

float* CudaKv::means(int32_t l) const {
  return means_.as<float>() +
         int64_t{l} * shape.n_kv_head * (n_cells / kKeyBlock) * shape.head_dim_k;
}

SparseSpace::SparseSpace(const SparseRule& rule, const KvShape& kv, int32_t n_head,
                         int32_t n_tokens) {
  const int64_t blocks = ceil_div(kv.n_cells, kKeyBlock);
  capacity = most_sparse_blocks(rule, static_cast<int32_t>(blocks) * kKeyBlock, kKeyBlock);
  score_bytes = int64_t{n_tokens} * n_head * blocks * static_cast<int64_t>(sizeof(float));
  bytes = score_bytes +
          int64_t{n_tokens} * kv.n_kv_head * capacity * static_cast<int64_t>(sizeof(uint32_t));
}

SparseArgs SparseSpace::args(const SparseRule& rule, const CudaKv& kv, int32_t l,
                             void* memory) const {
  SparseArgs a;
  a.rule = rule;
  a.means = kv.means(l);
  a.means_from = {nullptr, kv.means_from(l)};
  a.scores = static_cast<float*>(memory);
  a.blocks = reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(memory) + score_bytes);
  a.capacity = capacity;
  return a;
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
  b->launch_.shared_bytes = static_cast<int64_t>(properties.sharedMemPerMultiprocessor);
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

}  // namespace cambium::engine::cuda
