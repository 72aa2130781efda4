#include "engine/cpu/host_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace cambium::engine::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

HostMemory::HostMemory(size_t bytes, size_t* in_use) : in_use_(in_use) {
  constexpr size_t kPage = 4096;
  if (bytes > SIZE_MAX / 2) return;
  const size_t size = std::max(kPage, (bytes + kPage - 1) / kPage * kPage);
  // Weights and keys are streamed once a token: with small pages every 4 KiB would miss the TLB and
  // stop the hardware's prefetcher. Huge pages need aligned memory; the advice may be ignored.
  const bool huge = size >= kHugePage / 2;
  const size_t asked = huge ? size + kHugePage : size;
  void* p = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return;
  auto* first = static_cast<std::byte*>(p);
  if (huge) {
    const size_t lead = (kHugePage - reinterpret_cast<uintptr_t>(p) % kHugePage) % kHugePage;
    if (lead > 0) munmap(first, lead);
    if (kHugePage > lead) munmap(first + lead + size, kHugePage - lead);
    first += lead;
    madvise(first, size, MADV_HUGEPAGE);
  }
  data_ = first;
  mapped_ = size;
  bytes_ = bytes;
  *in_use_ += bytes_;
}

HostMemory::~HostMemory() { release(); }

HostMemory::HostMemory(HostMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      mapped_(std::exchange(other.mapped_, 0)),
      in_use_(std::exchange(other.in_use_, nullptr)) {}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    mapped_ = std::exchange(other.mapped_, 0);
    in_use_ = std::exchange(other.in_use_, nullptr);
  }
  return *this;
}

void HostMemory::release() {
  if (data_ == nullptr) return;
  munmap(data_, mapped_);
  *in_use_ -= bytes_;
  data_ = nullptr;
}

std::byte* Arena::take(size_t bytes, std::shared_ptr<HostMemory>* owner, size_t* in_use) {
  const size_t size = (bytes + kAlign - 1) / kAlign * kAlign;
  if (size >= kChunk / 2) {
    *owner = std::make_shared<HostMemory>(bytes, in_use);
    return (*owner)->data();
  }
  if (chunk_ == nullptr || used_ + size > kChunk) {
    chunk_ = std::make_shared<HostMemory>(kChunk, in_use);
    used_ = 0;
    if (chunk_->data() == nullptr) {
      chunk_ = nullptr;
      return nullptr;
    }
  }
  *owner = chunk_;
  used_ += size;
  return chunk_->data() + used_ - size;
}

Result<std::unique_ptr<Buffer>> allocate_host(size_t bytes, size_t* in_use) {
  HostMemory memory(bytes, in_use);
  if (memory.data() == nullptr) {
    return fail(ErrorCode::out_of_memory,
                "no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  return std::make_unique<HostBuffer>(std::move(memory));
}

void copy_rows_host(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                    int64_t n_rows) {
  for (int64_t r = 0; r < n_rows; ++r, x += x_stride, y += y_stride) std::copy_n(x, width, y);
}

Result<void> check_view(const TensorView& view) {
  const TypeTraits* traits = type_traits(view.type);
  if (traits == nullptr) {
    return fail(ErrorCode::unsupported, "tensor type " +
                                            std::to_string(static_cast<uint32_t>(view.type)) +
                                            " is not known to the CPU backend");
  }
  if (view.data == nullptr || view.rows <= 0 || view.cols <= 0 ||
      view.cols % traits->block_elements != 0) {
    return fail(ErrorCode::bad_format,
                "a " + std::string(traits->name) + " matrix of " + std::to_string(view.rows) +
                    " rows and " + std::to_string(view.cols) + " columns: columns must be a " +
                    "positive multiple of " + std::to_string(traits->block_elements));
  }
  return {};
}

}  // namespace cambium::engine::cpu
