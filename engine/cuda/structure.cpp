#include <algorithm>

#include "engine/cuda/backend.h"

namespace cambium::engine::cuda {

Result<void> DeviceStructure::reserve(int32_t n_cells, cudaStream_t stream, size_t* counter) {
  const auto wanted = static_cast<int32_t>(ceil_div(n_cells, kKeyBlock)) * kKeyBlock;
  if (wanted <= capacity_) return {};
  const auto n = static_cast<size_t>(wanted);
  labels_ = DeviceMemory();
  capacity_ = 0;
  auto labels = DeviceMemory::allocate(3 * n * sizeof(int32_t), counter);
  if (!labels) return tl::unexpected(labels.error());
  labels_ = std::move(*labels);
  // Cells past the end are read with their block and masked; they need not be anything in
  // particular. On the stream that uploads: the default one would not wait, nor be waited for.
  if (auto r =
          check(cudaMemsetAsync(labels_.data(), 0, labels_.bytes(), stream), "clearing labels");
      !r)
    return r;
  capacity_ = wanted;
  shadow_ = {};
  return {};
}

Result<void> DeviceStructure::update(const TokenStructure& cells, int32_t n_cells,
                                     const VisibleBlocks* visible, int32_t streams,
                                     cudaStream_t stream, size_t* counter) {
  if (auto r = reserve(std::max(n_cells, 2 * kKeyBlock), stream, counter); !r) return r;
  const auto n = static_cast<size_t>(n_cells);
  const auto send = [&](const std::vector<int32_t>& from, std::vector<int32_t>& held,
                        int32_t* to) -> Result<void> {
    size_t first = 0;
    const size_t common = std::min(n, held.size());
    while (first < common && from[first] == held[first]) ++first;
    held.assign(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    if (first == n) return {};
    return check(cudaMemcpyAsync(to + first, from.data() + first, (n - first) * sizeof(int32_t),
                                 cudaMemcpyHostToDevice, stream),
                 "uploading labels");
  };
  auto* base = labels_.as<int32_t>();
  if (auto r = send(cells.scope, shadow_.scope, base); !r) return r;
  if (auto r = send(cells.last, shadow_.last, base + capacity_); !r) return r;
  if (auto r = send(cells.place, shadow_.place, base + 2 * capacity_); !r) return r;

  listed_ = visible != nullptr;
  if (!listed_) return {};
  query_tile_ = visible->query_tile;
  const size_t n_tiles = visible->offsets.size() - 1;
  host_offsets_.clear();
  host_blocks_.clear();
  const int32_t top = visible->blocks.empty()
                          ? 0
                          : *std::max_element(visible->blocks.begin(), visible->blocks.end());
  if (n_cells > 0 && top >= static_cast<int32_t>(ceil_div(n_cells, kKeyBlock)))
    return fail(ErrorCode::invalid_argument, "GPU: a list of visible blocks names block " +
                                                 std::to_string(top) + " of " +
                                                 std::to_string(ceil_div(n_cells, kKeyBlock)));
  for (size_t tile = 0; tile < n_tiles; ++tile)
    for (int32_t s = 0; s < streams; ++s) {
      host_offsets_.push_back(static_cast<int32_t>(host_blocks_.size()));
      for (auto i = static_cast<size_t>(visible->offsets[tile]);
           i < static_cast<size_t>(visible->offsets[tile + 1]); ++i)
        if (visible->blocks[i] % streams == s)
          host_blocks_.push_back(static_cast<uint32_t>(visible->blocks[i]) |
                                 (visible->full[i] != 0 ? 0x80000000u : 0u));
    }
  host_offsets_.push_back(static_cast<int32_t>(host_blocks_.size()));
  if (host_blocks_.empty()) host_blocks_.push_back(0);
  const auto put = [&](DeviceMemory& memory, const void* data, size_t bytes) -> Result<void> {
    if (memory.bytes() < bytes) {
      memory = DeviceMemory();
      auto fresh = DeviceMemory::allocate(2 * bytes, counter);
      if (!fresh) return tl::unexpected(fresh.error());
      memory = std::move(*fresh);
    }
    return check(cudaMemcpyAsync(memory.data(), data, bytes, cudaMemcpyHostToDevice, stream),
                 "uploading visible blocks");
  };
  if (auto r = put(offsets_, host_offsets_.data(), host_offsets_.size() * sizeof(int32_t)); !r)
    return r;
  return put(blocks_, host_blocks_.data(), host_blocks_.size() * sizeof(uint32_t));
}

StructureArgs DeviceStructure::args() const {
  StructureArgs a;
  a.scope = labels_.as<int32_t>();
  a.last = a.scope + capacity_;
  a.place = a.scope + 2 * capacity_;
  a.query_tile = query_tile_;
  if (listed_) {
    a.offsets = offsets_.as<int32_t>();
    a.blocks = blocks_.as<uint32_t>();
  }
  return a;
}

}  // namespace cambium::engine::cuda
