// Weights as the matmul kernels read them.
//
// Rows are taken `lanes` at a time (16 with AVX-512, 8 with AVX2) and interleaved, so that one
// vector load brings 4 consecutive inputs of `lanes` outputs: no horizontal sums, one stream of
// memory per panel, and the same code for one column and for sixteen. A panel is a sequence of
// units over the inputs; in units of R = lanes:
//
//   format   inputs  bytes  content (h: binary16, u: byte; [g] a group of 32 inputs)
//   q8       64      68 R   h d[2][R]; [g] u q[8][R][4], biased as Kernels::byte_bias says
//   q4       64      36 R   h d[2][R]; [g] u q[4][R][4]: low nibble input i, high nibble input i +
//   16 q5       64      44 R   h d[2][R]; [g] as q4, then u[R][4]: bit j the fifth bit of input 4j
//   + b q4k      256    148 R   h d[R], dmin[R]; u scale[8][R]; u min[8][R]; [g] as q4 q5k      256
//   180 R   as q4k; [g] as q5 q6k      256    212 R   h d[R], R·2 bytes free; i8 scale[16][R]; [g]
//   as q4, then u[2][R][4]: bits
//                           2(j mod 4) the upper two bits of input 4j + b
//   f16,bf16 1       2 R    h[R]
//   f32      1       4 R
//
// Groups of 32 that pad the inputs to a whole unit, and rows that pad the last panel, are zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor.h"

namespace cambium::engine::cpu {

enum class PanelFormat : uint8_t {
  q8,
  q4,
  q5,
  q4k,
  q5k,
  q6k,
  f16,
  bf16,
  f32,
  rows,  ///< not repacked: rows are dequantized when they are used
};

struct PanelLayout {
  PanelFormat format = PanelFormat::rows;
  int lanes = 0;
  int64_t units = 0;  ///< units a panel
  int64_t n_panels = 0;
  size_t unit_bytes = 0;
  size_t panel_bytes() const { return static_cast<size_t>(units) * unit_bytes; }
  size_t bytes() const { return panel_bytes() * static_cast<size_t>(n_panels); }
  /// True if inputs are quantized to bytes for it.
  bool takes_bytes() const { return format <= PanelFormat::q6k; }
};

PanelLayout panel_layout(const TensorView& view, int lanes);

/// Writes panels [first, last) of `view`; out is panel 0's place, zeroed memory of layout.bytes().
/// Not for PanelFormat::rows.
void pack_panels(const TensorView& view, const PanelLayout& layout, uint8_t byte_bias,
                 int64_t first, int64_t last, std::byte* out);

}  // namespace cambium::engine::cpu
