// Host memory of the CPU backends: 64-byte aligned, zeroed, counted.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/ops.h"

namespace cambium::engine::cpu {

/// Owns `bytes` of zeroed memory aligned to 64 bytes (2 MiB where that allows huge pages); data()
/// is null when the system had none. Movable. Adds its size to *in_use while it lives.
class HostMemory {
 public:
  HostMemory() = default;
  HostMemory(size_t bytes, size_t* in_use);
  ~HostMemory();
  HostMemory(HostMemory&& other) noexcept;
  HostMemory& operator=(HostMemory&& other) noexcept;
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void release();
  std::byte* data_ = nullptr;
  size_t bytes_ = 0, mapped_ = 0;
  size_t* in_use_ = nullptr;
};

/// Memory for many small things that live equally long: small weights side by side in huge pages.
/// A chunk is freed with the last of its owners and when the arena has gone on to another.
class Arena {
 public:
  /// Zeroed, aligned to 64 bytes, alive as long as *owner; null if there is no memory.
  std::byte* take(size_t bytes, std::shared_ptr<HostMemory>* owner, size_t* in_use);

 private:
  static constexpr size_t kChunk = size_t{8} << 20;
  static constexpr size_t kAlign = 64;
  std::shared_ptr<HostMemory> chunk_;
  size_t used_ = 0;
};

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(HostMemory memory) : memory_(std::move(memory)) {}
  void* data() override { return memory_.data(); }
  size_t bytes() const override { return memory_.bytes(); }

 private:
  HostMemory memory_;
};

/// A HostBuffer of `bytes`, or out_of_memory.
Result<std::unique_ptr<Buffer>> allocate_host(size_t bytes, size_t* in_use);

/// Backend::copy_rows.
void copy_rows_host(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t width,
                    int64_t n_rows);

/// nullptr error where `view` is a matrix this backend can read; its message names what is wrong.
Result<void> check_view(const TensorView& view);

}  // namespace cambium::engine::cpu
