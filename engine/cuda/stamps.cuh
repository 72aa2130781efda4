// When the blocks of a captured step start, wait and end: a build with -DCAMBIUM_CUDA_STAMPS=ON
// keeps what the last replay did in device memory, `cambium_cuda_check --bench --stamps FILE` writes
// it down. Without the option all of this is empty.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace cambium::engine::cuda {

/// What a block's first thread has behind it.
enum class Stamp : uint8_t { start, waited, input, weights, summed, end };

#ifdef CAMBIUM_CUDA_STAMPS

inline constexpr int kStampSlots = 400;   ///< launches of a step
inline constexpr int kStampBlocks = 384;  ///< blocks of a launch

struct BlockStamps {
  uint64_t global_ns;  ///< at `start`
  uint32_t multiprocessor, kind;
  int64_t clock[6];  ///< of the multiprocessor
};

/// The number of the launch under way; a capture begins at 0.
inline int32_t next_stamp_slot = kStampSlots;
/// Copies what a file's kernels left into [kStampSlots][kStampBlocks], adding to what is there.
inline std::vector<void (*)(std::vector<BlockStamps>&)> stamp_readers;

#ifdef __CUDACC__
namespace {

__device__ BlockStamps file_stamps[kStampSlots][kStampBlocks];

const bool reader_known = [] {
  stamp_readers.push_back([](std::vector<BlockStamps>& all) {
    std::vector<BlockStamps> mine(all.size());
    cudaMemcpyFromSymbol(mine.data(), file_stamps, mine.size() * sizeof(BlockStamps));
    for (size_t i = 0; i < all.size(); ++i)
      if (mine[i].global_ns > all[i].global_ns) all[i] = mine[i];
  });
  return true;
}();

struct StampSlot {
  int32_t slot = next_stamp_slot < kStampSlots ? next_stamp_slot++ : kStampSlots;
};

class Stamps {
 public:
  __device__ __forceinline__ Stamps(StampSlot slot, uint32_t kind) {
    const unsigned block =
        blockIdx.x + gridDim.x * (blockIdx.y + static_cast<unsigned>(gridDim.y) * blockIdx.z);
    if (threadIdx.x != 0 || slot.slot >= kStampSlots || block >= kStampBlocks) return;
    mine_ = &file_stamps[slot.slot][block];
    at(Stamp::start);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(mine_->global_ns));
    asm volatile("mov.u32 %0, %%smid;" : "=r"(mine_->multiprocessor));
    mine_->kind = kind;
  }
  __device__ __forceinline__ void at(Stamp s) {
    if (mine_ == nullptr) return;
    int64_t now;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(now)::"memory");
    mine_->clock[static_cast<int>(s)] = now;
  }
  /// Once `loaded` is there: something that depends on it stands before the clock.
  __device__ __forceinline__ void at(Stamp s, uint32_t loaded) {
    asm volatile("{ .reg .pred p; setp.eq.u32 p, %0, 0x9E3779B9; @p trap; }" ::"r"(loaded)
                 : "memory");
    at(s);
  }

 private:
  BlockStamps* mine_ = nullptr;
};

}  // namespace
#endif

#else

struct StampSlot {};
#ifdef __CUDACC__
class Stamps {
 public:
  __device__ __forceinline__ Stamps(StampSlot, uint32_t) {}
  __device__ __forceinline__ void at(Stamp) {}
  __device__ __forceinline__ void at(Stamp, uint32_t) {}
};
#endif

#endif

}  // namespace cambium::engine::cuda
