#include "engine/cpu/panels.h"

#include <algorithm>
#include <cstring>

#include "engine/cpu/blocks.h"

namespace cambium::engine::cpu {
namespace {

struct Geometry {
  PanelFormat format;
  int64_t inputs;     // a unit
  size_t lane_bytes;  // a unit, for one lane
};

Geometry geometry(DType type) {
  switch (type) {
    case DType::q8_0:
      return {PanelFormat::q8, 64, 68};
    case DType::q4_0:
      return {PanelFormat::q4, 64, 36};
    case DType::q5_0:
      return {PanelFormat::q5, 64, 44};
    case DType::q4_k:
      return {PanelFormat::q4k, 256, 148};
    case DType::q5_k:
      return {PanelFormat::q5k, 256, 180};
    case DType::q6_k:
      return {PanelFormat::q6k, 256, 212};
    case DType::f16:
      return {PanelFormat::f16, 1, 2};
    case DType::bf16:
      return {PanelFormat::bf16, 1, 2};
    case DType::f32:
      return {PanelFormat::f32, 1, 4};
    default:
      return {PanelFormat::rows, 1, 0};
  }
}

constexpr uint32_t kLowNibbles = 0x0f0f0f0fu;
constexpr uint32_t kOnes = 0x01010101u;

uint32_t word(const void* p, int i) {
  uint32_t w;
  std::memcpy(&w, static_cast<const std::byte*>(p) + i * 4, 4);
  return w;
}

/// Writes 4-byte words and small fields of one lane into a unit.
class Lane {
 public:
  Lane(std::byte* unit, int lanes, int lane) : unit_(unit), lanes_(lanes), lane_(lane) {}

  /// Word of this lane in vector `vector` of the area that starts `area` lane-bytes into the unit.
  void put_word(int area, int vector, uint32_t w) {
    std::memcpy(unit_ + (area + vector * 4) * lanes_ + lane_ * 4, &w, 4);
  }
  void put_half(int area, int vector, uint16_t h) {
    std::memcpy(unit_ + (area + vector * 2) * lanes_ + lane_ * 2, &h, 2);
  }
  void put_byte(int area, int vector, uint8_t b) {
    unit_[(area + vector) * lanes_ + lane_] = static_cast<std::byte>(b);
  }

 private:
  std::byte* unit_;
  int lanes_, lane_;
};

template <class Block>
Block read_block(const std::byte* row, int64_t i) {
  Block block;
  std::memcpy(&block, row + static_cast<size_t>(i) * sizeof(Block), sizeof(Block));
  return block;
}

void pack_q8(const std::byte* row, int64_t block, int group, uint8_t bias, Lane out) {
  const auto b = read_block<BlockQ8_0>(row, block);
  out.put_half(0, group, b.d);
  for (int j = 0; j < 8; ++j) out.put_word(4 + group * 32, j, word(b.qs, j) ^ bias * kOnes);
}

void pack_q4(const std::byte* row, int64_t block, int group, Lane out) {
  const auto b = read_block<BlockQ4_0>(row, block);
  out.put_half(0, group, b.d);
  for (int j = 0; j < 4; ++j) out.put_word(4 + group * 16, j, word(b.qs, j));
}

void pack_q5(const std::byte* row, int64_t block, int group, Lane out) {
  const auto b = read_block<BlockQ5_0>(row, block);
  out.put_half(0, group, b.d);
  for (int j = 0; j < 4; ++j) out.put_word(4 + group * 20, j, word(b.qs, j));
  const uint32_t bits = word(b.qh, 0);
  uint32_t spread = 0;
  for (int j = 0; j < 8; ++j) {
    // The product copies the four bits of input 4j..4j+3 so that bit b lands at the foot of byte b.
    spread |= ((((bits >> (4 * j)) & 15u) * 0x00204081u) & kOnes) << j;
  }
  out.put_word(4 + group * 20 + 16, 0, spread);
}

/// Group g of a Q4_K or Q5_K block: 64 inputs share 32 bytes, the even group in the low nibbles.
void put_nibbles(const uint8_t* qs, int g, int area, Lane& out) {
  const uint8_t* from = qs + g / 2 * 32;
  const int shift = g % 2 * 4;
  for (int j = 0; j < 4; ++j) {
    const uint32_t low = (word(from, j) >> shift) & kLowNibbles;
    const uint32_t high = (word(from, j + 4) >> shift) & kLowNibbles;
    out.put_word(area, j, low | high << 4);
  }
}

void put_scales(const uint8_t* scales, Lane& out) {
  for (int g = 0; g < 8; ++g) {
    const ScaleMin sm = scale_min_k4(scales, g);
    out.put_byte(4, g, sm.scale);
    out.put_byte(12, g, sm.min);
  }
}

void pack_q4k(const std::byte* row, int64_t block, Lane out) {
  const auto b = read_block<BlockQ4_K>(row, block);
  out.put_half(0, 0, b.d);
  out.put_half(0, 1, b.dmin);
  put_scales(b.scales, out);
  for (int g = 0; g < 8; ++g) put_nibbles(b.qs, g, 20 + g * 16, out);
}

void pack_q5k(const std::byte* row, int64_t block, Lane out) {
  const auto b = read_block<BlockQ5_K>(row, block);
  out.put_half(0, 0, b.d);
  out.put_half(0, 1, b.dmin);
  put_scales(b.scales, out);
  for (int g = 0; g < 8; ++g) {
    put_nibbles(b.qs, g, 20 + g * 20, out);
    uint32_t fifth = 0;
    for (int j = 0; j < 8; ++j) fifth |= ((word(b.qh, j) >> g) & kOnes) << j;
    out.put_word(20 + g * 20 + 16, 0, fifth);
  }
}

void pack_q6k(const std::byte* row, int64_t block, Lane out) {
  const auto b = read_block<BlockQ6_K>(row, block);
  out.put_half(0, 0, b.d);
  for (int s = 0; s < 16; ++s) out.put_byte(4, s, static_cast<uint8_t>(b.scales[s]));
  for (int g = 0; g < 8; ++g) {
    const int half = g / 4, quarter = g % 4;
    const uint8_t* ql = b.ql + half * 64 + (quarter & 1) * 32;
    const uint8_t* qh = b.qh + half * 32;
    const int shift = quarter / 2 * 4;
    const int area = 20 + g * 24;
    uint32_t upper[2] = {0, 0};
    for (int j = 0; j < 4; ++j) {
      const uint32_t low = (word(ql, j) >> shift) & kLowNibbles;
      const uint32_t high = (word(ql, j + 4) >> shift) & kLowNibbles;
      out.put_word(area, j, low | high << 4);
      for (int v = 0; v < 2; ++v) {
        upper[v] |= ((word(qh, j + 4 * v) >> (2 * quarter)) & (3 * kOnes)) << (2 * j);
      }
    }
    out.put_word(area + 16, 0, upper[0]);
    out.put_word(area + 16, 1, upper[1]);
  }
}

}  // namespace

PanelLayout panel_layout(const TensorView& view, int lanes) {
  const Geometry g = geometry(view.type);
  PanelLayout layout;
  layout.format = g.format;
  layout.lanes = lanes;
  layout.units = (view.cols + g.inputs - 1) / g.inputs;
  layout.n_panels = (view.rows + lanes - 1) / lanes;
  layout.unit_bytes = g.lane_bytes * static_cast<size_t>(lanes);
  return layout;
}

void pack_panels(const TensorView& view, const PanelLayout& layout, uint8_t byte_bias,
                 int64_t first, int64_t last, std::byte* out) {
  const size_t stride = row_bytes(view.type, view.cols);
  const int64_t groups = view.cols / 32;
  for (int64_t p = first; p < last; ++p) {
    std::byte* panel = out + static_cast<size_t>(p) * layout.panel_bytes();
    const int64_t row0 = p * layout.lanes;
    const int n = static_cast<int>(std::min<int64_t>(layout.lanes, view.rows - row0));
    for (int lane = 0; lane < n; ++lane) {
      const std::byte* row = view.data + static_cast<size_t>(row0 + lane) * stride;
      const auto unit = [&](int64_t u) {
        return Lane(panel + static_cast<size_t>(u) * layout.unit_bytes, layout.lanes, lane);
      };
      switch (layout.format) {
        case PanelFormat::q8:
          for (int64_t g = 0; g < groups; ++g) pack_q8(row, g, g % 2, byte_bias, unit(g / 2));
          break;
        case PanelFormat::q4:
          for (int64_t g = 0; g < groups; ++g) pack_q4(row, g, g % 2, unit(g / 2));
          break;
        case PanelFormat::q5:
          for (int64_t g = 0; g < groups; ++g) pack_q5(row, g, g % 2, unit(g / 2));
          break;
        case PanelFormat::q4k:
          for (int64_t u = 0; u < layout.units; ++u) pack_q4k(row, u, unit(u));
          break;
        case PanelFormat::q5k:
          for (int64_t u = 0; u < layout.units; ++u) pack_q5k(row, u, unit(u));
          break;
        case PanelFormat::q6k:
          for (int64_t u = 0; u < layout.units; ++u) pack_q6k(row, u, unit(u));
          break;
        case PanelFormat::f16:
        case PanelFormat::bf16:
          for (int64_t u = 0; u < layout.units; ++u) {
            uint16_t h;
            std::memcpy(&h, row + u * 2, 2);
            unit(u).put_half(0, 0, h);
          }
          break;
        case PanelFormat::f32:
          for (int64_t u = 0; u < layout.units; ++u)
            unit(u).put_word(0, 0, word(row, static_cast<int>(u)));
          break;
        case PanelFormat::rows:
          return;
      }
    }
  }
}

}  // namespace cambium::engine::cpu
