#include "engine/cpu/matmul.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "engine/cpu/quantize.h"

namespace cambium::engine::cpu {
namespace {

/// Bytes of one task's panels: large enough for a long stream, small enough to balance threads.
constexpr size_t kTaskBytes = size_t{128} << 10;
/// Bytes of tiles that are run against one panel after another; they should stay in a core's L2.
constexpr size_t kTileBytes = size_t{448} << 10;

int64_t groups_of(int64_t cols) { return (cols + 255) / 256 * 8; }

}  // namespace

/// Panels [first, last) of a target and tiles [first_tile, last_tile) of all.
struct Matmul::Task {
  const MatmulTarget* target = nullptr;
  int64_t first = 0, last = 0;
  int32_t first_tile = 0, last_tile = 0;
};

Result<std::unique_ptr<Weight>> Matmul::load(const TensorView& view, WeightUse use,
                                             size_t* in_use) {
  auto weight = std::make_unique<CpuWeight>();
  weight->type = view.type;
  weight->rows = view.rows;
  weight->cols = view.cols;
  weight->view = view;
  if (use == WeightUse::vector) {
    weight->vector.resize(static_cast<size_t>(view.rows * view.cols));
    dequantize_row(view.type, view.data, weight->vector.data(), view.rows * view.cols);
    return weight;
  }
  weight->layout = panel_layout(view, kernels_.lanes);
  if (use == WeightUse::embedding || weight->layout.format == PanelFormat::rows) return weight;
  weight->panels = arena_.take(weight->layout.bytes(), &weight->owner, in_use);
  if (weight->panels == nullptr) {
    return fail(ErrorCode::out_of_memory, "no memory to repack a weight of " +
                                              std::to_string(weight->layout.bytes()) + " bytes");
  }
  const int64_t step = 16;
  pool_.run((weight->layout.n_panels + step - 1) / step, [&](int64_t i, int) {
    pack_panels(view, weight->layout, kernels_.byte_bias, i * step,
                std::min((i + 1) * step, weight->layout.n_panels), weight->panels);
  });
  return weight;
}

size_t Matmul::bytes() const {
  size_t total = byte_data_.capacity() + float_data_.capacity();
  for (const std::vector<float>& r : rows_) total += r.capacity() * sizeof(float);
  return total;
}

void Matmul::cut_tiles(int32_t n_tokens) {
  int32_t widest = 1;
  for (const int32_t* w = kernels_.widths; *w != 0; ++w) widest = *w;
  for (int32_t first = 0; first < n_tokens;) {
    const int32_t rest = n_tokens - first;
    int32_t width = widest;
    for (const int32_t* w = kernels_.widths; *w != 0; ++w) {
      if (*w >= rest) {
        width = *w;
        break;
      }
    }
    byte_tiles_.push_back({nullptr, first, std::min(rest, width), width});
    first += width;
  }
}

void Matmul::lay_out(std::span<const MatmulGroup> groups) {
  inputs_.clear();
  byte_tiles_.clear();
  for (const MatmulGroup& group : groups) {
    Input input;
    input.first = byte_tiles_.size();
    if (!group.targets.empty()) cut_tiles(group.n_tokens);
    input.last = byte_tiles_.size();
    for (const MatmulTarget& t : group.targets) {
      assert(t.weight->cols == group.targets[0].weight->cols);
      const bool takes_bytes = static_cast<const CpuWeight*>(t.weight)->layout.takes_bytes();
      input.bytes = input.bytes || takes_bytes;
      input.floats = input.floats || !takes_bytes;
    }
    inputs_.push_back(input);
  }
  float_tiles_ = byte_tiles_;

  // First the sizes, then the addresses, since growing moves what is there.
  const auto each = [&](auto&& place) {
    size_t bytes = 0, floats = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      const Input& input = inputs_[g];
      if (input.first == input.last) continue;
      const int64_t cols = groups[g].targets[0].weight->cols;
      for (size_t i = input.first; i < input.last; ++i) {
        const int32_t width = byte_tiles_[i].width;
        place(groups[g], input, i, bytes, floats);
        if (input.bytes) bytes += static_cast<size_t>(groups_of(cols)) * tile_group_bytes(width);
        if (input.floats) floats += static_cast<size_t>(cols) * static_cast<size_t>(width) * 4;
      }
    }
    if (byte_data_.size() < bytes) byte_data_.resize(bytes);
    if (float_data_.size() < floats) float_data_.resize(floats);
  };
  each([](const MatmulGroup&, const Input&, size_t, size_t, size_t) {});
  each([&](const MatmulGroup& group, const Input& input, size_t i, size_t bytes, size_t floats) {
    if (input.bytes) byte_tiles_[i].data = byte_data_.data() + bytes;
    // A column alone is read where it stands.
    const bool alone = group.n_tokens == 1 && byte_tiles_[i].width == 1;
    if (input.floats) {
      float_tiles_[i].data =
          alone ? reinterpret_cast<const std::byte*>(group.x) : float_data_.data() + floats;
    }
  });
}

void Matmul::fill_byte_tile(const MatmulGroup& group, const Tile& tile) {
  const int64_t cols = group.targets[0].weight->cols;
  kernels_.quantize_tile(group.x + tile.first_column * cols, cols, groups_of(cols), tile.columns,
                         tile.width, const_cast<std::byte*>(tile.data));
}

void Matmul::fill_float_tile(const MatmulGroup& group, const Tile& tile) {
  if (tile.data == reinterpret_cast<const std::byte*>(group.x)) return;
  const int64_t cols = group.targets[0].weight->cols;
  auto* to = reinterpret_cast<float*>(const_cast<std::byte*>(tile.data));
  for (int32_t c = 0; c < tile.width; ++c) {
    const float* from = group.x + (tile.first_column + c) * cols;
    for (int64_t k = 0; k < cols; ++k) to[k * tile.width + c] = c < tile.columns ? from[k] : 0.0f;
  }
}

void Matmul::run_task(const MatmulTarget& target, const Task& task, int thread) {
  const auto& weight = static_cast<const CpuWeight&>(*target.weight);
  if (weight.layout.format == PanelFormat::rows) return run_rows(target, task, thread);
  const std::vector<Tile>& tiles = weight.layout.takes_bytes() ? byte_tiles_ : float_tiles_;
  MatmulJob job;
  job.format = weight.layout.format;
  job.panel_bytes = weight.layout.panel_bytes();
  job.panels = weight.panels + static_cast<size_t>(task.first) * job.panel_bytes;
  job.units = weight.layout.units;
  job.first = task.first;
  job.last = task.last;
  job.rows = weight.rows;
  job.tiles = tiles.data() + task.first_tile;
  job.n_tiles = task.last_tile - task.first_tile;
  job.y = target.y;
  job.bias =
      target.bias == nullptr ? nullptr : static_cast<const CpuWeight*>(target.bias)->vector.data();
  job.accumulate = target.accumulate;
  kernels_.matmul(job);
}

void Matmul::run_rows(const MatmulTarget& target, const Task& task, int thread) {
  const auto& weight = static_cast<const CpuWeight&>(*target.weight);
  const int64_t lanes = kernels_.lanes, cols = weight.cols;
  std::vector<float>& floats = rows_[static_cast<size_t>(thread)];
  const auto panel_floats = static_cast<size_t>(lanes * cols);
  if (floats.size() < panel_floats + static_cast<size_t>(cols)) {
    floats.resize(panel_floats + static_cast<size_t>(cols));
  }
  float* row = floats.data() + panel_floats;
  const size_t stride = row_bytes(weight.type, cols);
  for (int64_t p = task.first; p < task.last; ++p) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t r = p * lanes + lane;
      if (r < weight.rows) {
        dequantize_row(weight.type, weight.view.data + static_cast<size_t>(r) * stride, row, cols);
      }
      for (int64_t k = 0; k < cols; ++k) {
        floats[static_cast<size_t>(k * lanes + lane)] = r < weight.rows ? row[k] : 0.0f;
      }
    }
    MatmulJob job;
    job.format = PanelFormat::f32;
    job.panel_bytes = panel_floats * sizeof(float);
    job.panels = reinterpret_cast<const std::byte*>(floats.data());
    job.units = cols;
    job.first = p;
    job.last = p + 1;
    job.rows = weight.rows;
    job.tiles = float_tiles_.data() + task.first_tile;
    job.n_tiles = task.last_tile - task.first_tile;
    job.y = target.y;
    job.bias = target.bias == nullptr ? nullptr
                                      : static_cast<const CpuWeight*>(target.bias)->vector.data();
    job.accumulate = target.accumulate;
    kernels_.matmul(job);
  }
}

void Matmul::run(std::span<const MatmulGroup> groups) {
  rows_.resize(static_cast<size_t>(pool_.size()));
  lay_out(groups);
  struct Fill {
    size_t group, tile;
  };
  std::vector<Fill> fills;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = inputs_[g].first; i < inputs_[g].last; ++i) fills.push_back({g, i});
  }
  pool_.run(static_cast<int64_t>(fills.size()), [&](int64_t i, int) {
    const Fill& fill = fills[static_cast<size_t>(i)];
    const Input& input = inputs_[fill.group];
    if (input.bytes) fill_byte_tile(groups[fill.group], byte_tiles_[fill.tile]);
    if (input.floats) fill_float_tile(groups[fill.group], float_tiles_[fill.tile]);
  });

  std::vector<Task> tasks;
  const auto add = [&](const MatmulGroup& group, const Input& input) {
    const int64_t cols = group.targets[0].weight->cols;
    const size_t tile_bytes = static_cast<size_t>(groups_of(cols)) *
                              tile_group_bytes(byte_tiles_[input.first].width) *
                              (input.floats ? 3 : 1);
    const size_t together = std::max<size_t>(1, kTileBytes / std::max<size_t>(tile_bytes, 1));
    for (size_t first = input.first; first < input.last; first += together) {
      const size_t last = std::min(first + together, input.last);
      for (const MatmulTarget& target : group.targets) {
        const PanelLayout& layout = static_cast<const CpuWeight*>(target.weight)->layout;
        const size_t panel = std::max<size_t>(layout.panel_bytes(), 1024);
        // Multiples of 4 panels, which float formats take together.
        int64_t step = std::max<int64_t>(4, static_cast<int64_t>(kTaskBytes / panel) / 4 * 4);
        const int64_t fair = (layout.n_panels / (int64_t{pool_.size()} * 2) + 3) / 4 * 4;
        step = std::clamp<int64_t>(fair, 1, step);
        for (int64_t p = 0; p < layout.n_panels; p += step) {
          tasks.push_back({&target, p, std::min(p + step, layout.n_panels),
                           static_cast<int32_t>(first), static_cast<int32_t>(last)});
        }
      }
    }
  };
  for (size_t g = 0; g < groups.size(); ++g) {
    if (inputs_[g].first < inputs_[g].last) add(groups[g], inputs_[g]);
  }
  pool_.run(static_cast<int64_t>(tasks.size()), [&](int64_t i, int thread) {
    const Task& task = tasks[static_cast<size_t>(i)];
    run_task(*task.target, task, thread);
  });
}

}  // namespace cambium::engine::cpu
