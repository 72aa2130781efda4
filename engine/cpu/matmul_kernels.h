// Matrix products of repacked weights and tiles of columns, for the instruction set of the
// including file.
//
// Every output is one lane of one accumulator: acc = fma(dot of 32, scales, acc), group after group
// in the order of the inputs. Neither the width of the tile nor the number of threads enters, so a
// column's result has the same bits however many columns go with it.
#pragma once

#include <type_traits>
#include <utility>

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd.h"

namespace cambium::engine::cpu::CAMBIUM_SIMD {

template <int n, class Function>
[[gnu::always_inline]] inline void unrolled(Function&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, n>{});
}

inline const std::byte* at(const std::byte* p, int64_t lane_bytes) {
  return p + lane_bytes * kLanes;
}

/// Where the integer sum of a group starts, so that the weights' zero point costs nothing.
enum class Start { zero, minus_8, minus_16, byte_bias };

// A format opens a unit, then its groups one after another; weight<j>() is inputs 4j..4j+3 of every
// lane. kHalves: two scales a group, and the start is −32·Σx of each half.

struct FormatQ8 {
  static constexpr int kGroups = 2, kLaneBytes = 68;
  static constexpr bool kMin = false, kHalves = false, kSigned = true;
  static constexpr Start kStart = kByteBias != 0 ? Start::byte_bias : Start::zero;
  const std::byte *unit, *q;
  F scale[1];
  explicit FormatQ8(const std::byte* p) : unit(p) {}
  void open(int g) {
    scale[0] = load_half(at(unit, 2 * g));
    q = at(unit, 4 + 32 * g);
  }
  template <int j>
  B weight() const {
    return load_bytes(at(q, 4 * j));
  }
};

/// Nibbles of q4, q5, q4k and q5k; the fifth bits follow them.
struct Nibbles {
  B low[4];
  void read(const std::byte* q) {
    for (int j = 0; j < 4; ++j) low[j] = load_bytes(at(q, 4 * j));
  }
  template <int j>
  B nibble() const {
    if constexpr (j < 4)
      return and_bytes(low[j], set1_byte(15));
    else
      return and_bytes(shift<4>(low[j - 4]), set1_byte(15));
  }
  template <int j>
  B with_fifth(B fifth) const {
    return or_and(nibble<j>(), shift<j - 4>(fifth), set1_byte(16));
  }
};

struct FormatQ4 : Nibbles {
  static constexpr int kGroups = 2, kLaneBytes = 36;
  static constexpr bool kMin = false, kHalves = false, kSigned = false;
  static constexpr Start kStart = Start::minus_8;
  const std::byte* unit;
  F scale[1];
  explicit FormatQ4(const std::byte* p) : unit(p) {}
  void open(int g) {
    scale[0] = load_half(at(unit, 2 * g));
    read(at(unit, 4 + 16 * g));
  }
  template <int j>
  B weight() const {
    return nibble<j>();
  }
};

struct FormatQ5 : Nibbles {
  static constexpr int kGroups = 2, kLaneBytes = 44;
  static constexpr bool kMin = false, kHalves = false, kSigned = false;
  static constexpr Start kStart = Start::minus_16;
  const std::byte* unit;
  B fifth;
  F scale[1];
  explicit FormatQ5(const std::byte* p) : unit(p) {}
  void open(int g) {
    scale[0] = load_half(at(unit, 2 * g));
    read(at(unit, 4 + 20 * g));
    fifth = load_bytes(at(unit, 4 + 20 * g + 16));
  }
  template <int j>
  B weight() const {
    return with_fifth<j>(fifth);
  }
};

template <bool five>
struct FormatQ45K : Nibbles {
  static constexpr int kGroups = 8, kGroupBytes = five ? 20 : 16, kLaneBytes = 20 + 8 * kGroupBytes;
  static constexpr bool kMin = true, kHalves = false, kSigned = false;
  static constexpr Start kStart = Start::zero;
  const std::byte* unit;
  F d, dmin, min;
  B fifth;
  F scale[1];
  explicit FormatQ45K(const std::byte* p) : unit(p), d(load_half(p)), dmin(load_half(at(p, 2))) {}
  void open(int g) {
    scale[0] = mul(d, load_u8(at(unit, 4 + g)));
    min = mul(dmin, load_u8(at(unit, 12 + g)));
    const std::byte* q = at(unit, 20 + kGroupBytes * g);
    read(q);
    if constexpr (five) fifth = load_bytes(at(q, 16));
  }
  template <int j>
  B weight() const {
    if constexpr (five)
      return with_fifth<j>(fifth);
    else
      return nibble<j>();
  }
};

struct FormatQ6K : Nibbles {
  static constexpr int kGroups = 8, kLaneBytes = 212;
  static constexpr bool kMin = false, kHalves = true, kSigned = false;
  static constexpr Start kStart = Start::zero;
  const std::byte* unit;
  F d;
  B upper[2];
  F scale[2];
  explicit FormatQ6K(const std::byte* p) : unit(p), d(load_half(p)) {}
  void open(int g) {
    scale[0] = mul(d, load_i8(at(unit, 4 + 2 * g)));
    scale[1] = mul(d, load_i8(at(unit, 5 + 2 * g)));
    const std::byte* q = at(unit, 20 + 24 * g);
    read(q);
    upper[0] = load_bytes(at(q, 16));
    upper[1] = load_bytes(at(q, 20));
  }
  template <int j>
  B weight() const {
    return or_and(nibble<j>(), shift<2 * (j % 4) - 4>(upper[j / 4]), set1_byte(0x30));
  }
};

/// One group of one tile: the fields of kernels.h's Tile.
template <int C>
struct TileGroup {
  const std::byte* p;
  const std::byte* q(int c, int j) const { return p + c * 32 + j * 4; }
  F scale(int c) const { return set1(reinterpret_cast<const float*>(p + C * 32)[c]); }
  F scaled_sum(int c) const { return set1(reinterpret_cast<const float*>(p + C * 36)[c]); }
  int32_t sum_128(int c) const { return reinterpret_cast<const int32_t*>(p + C * 40)[c]; }
  int32_t half_32(int c, int h) const {
    return reinterpret_cast<const int32_t*>(p + C * (44 + 4 * h))[c];
  }
};

template <class Format, int C>
[[gnu::always_inline]] inline I start(const TileGroup<C>& x, int c, int half) {
  if constexpr (Format::kHalves)
    return set1_int(x.half_32(c, half));
  else if constexpr (Format::kStart == Start::byte_bias)
    return set1_int(x.sum_128(c));
  else if constexpr (Format::kStart == Start::minus_16) {
    return shift_right_arithmetic<3>(set1_int(x.sum_128(c)));
  } else if constexpr (Format::kStart == Start::minus_8) {
    return shift_right_arithmetic<4>(set1_int(x.sum_128(c)));
  } else {
    return set1_int(0);
  }
}

template <class Format>
[[gnu::always_inline]] inline I dot(I acc, B w, const std::byte* x) {
  if constexpr (Format::kSigned)
    return dot_s8(acc, w, broadcast_4(x));
  else
    return dot_u7(acc, w, broadcast_4(x));
}

template <class Format, int C>
[[gnu::always_inline]] inline void finish_group(const Format& f, const TileGroup<C>& x, int c,
                                                I sum, F& acc) {
  acc = fma(to_float(sum), mul(f.scale[0], x.scale(c)), acc);
  if constexpr (Format::kMin) acc = fnma(f.min, x.scaled_sum(c), acc);
}

template <class Format, int C>
[[gnu::always_inline]] inline void multiply_group(Format& f, const TileGroup<C>& x, F* acc) {
  if constexpr (Format::kHalves && kManyRegisters) {
    B w[8];
    unrolled<8>([&](auto j) __attribute__((always_inline)) { w[j] = f.template weight<j>(); });
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      I a = start<Format>(x, c, 0), b = start<Format>(x, c, 1);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        a = dot<Format>(a, w[j], x.q(c, j));
        b = dot<Format>(b, w[j + 4], x.q(c, j + 4));
      }
      const F both = fma(to_float(b), f.scale[1], mul(to_float(a), f.scale[0]));
      acc[c] = fma(both, x.scale(c), acc[c]);
    }
  } else if constexpr (kManyRegisters) {
    B w[8];
    unrolled<8>([&](auto j) __attribute__((always_inline)) { w[j] = f.template weight<j>(); });
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      I sum = start<Format>(x, c, 0);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sum = dot<Format>(sum, w[j], x.q(c, j));
      finish_group(f, x, c, sum, acc[c]);
    }
  } else if constexpr (Format::kHalves) {
    F both[C];
    unrolled<2>([&](auto half) __attribute__((always_inline)) {
      I sum[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[c] = start<Format>(x, c, half);
      unrolled<4>([&](auto j) __attribute__((always_inline)) {
        constexpr int k = half * 4 + j;
        const B w = f.template weight<k>();
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[c] = dot<Format>(sum[c], w, x.q(c, k));
      });
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        if constexpr (half == 0)
          both[c] = mul(to_float(sum[c]), f.scale[0]);
        else
          both[c] = fma(to_float(sum[c]), f.scale[1], both[c]);
      }
    });
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) acc[c] = fma(both[c], x.scale(c), acc[c]);
  } else {
    I sum[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[c] = start<Format>(x, c, 0);
    unrolled<8>([&](auto j) __attribute__((always_inline)) {
      const B w = f.template weight<j>();
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[c] = dot<Format>(sum[c], w, x.q(c, j));
    });
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) finish_group(f, x, c, sum[c], acc[c]);
  }
}

/// Stores one panel's outputs of one column.
inline void store_outputs(const MatmulJob& job, int64_t panel, int64_t column, F acc) {
  const int64_t row = panel * kLanes;
  float* y = job.y + column * job.rows + row;
  const int64_t n = job.rows - row;
  if (n >= kLanes) {
    if (job.bias != nullptr) acc = add(acc, load(job.bias + row));
    if (job.accumulate) acc = add(load(y), acc);
    store(y, acc);
  } else {
    const int rest = static_cast<int>(n);
    if (job.bias != nullptr) acc = add(acc, load_n(job.bias + row, rest));
    if (job.accumulate) acc = add(load_n(y, rest), acc);
    store_n(y, acc, rest);
  }
}

/// A kernel that only streams leaves prefetching to the hardware: asking for lines on top of it
/// costs 10 to 20 %. One that computes long enough on each line falls behind, since the hardware
/// follows its own loads; asking for lines early then gains 15 to 35 % on weights that come from
/// memory.
template <class Format, int C>
inline constexpr bool kPrefetch = kManyRegisters&& C >= (Format::kSigned ? 6 : 3);
inline constexpr int kPrefetchBytes = 4096;
template <class Format>
[[gnu::always_inline]] inline void prefetch_group(const std::byte* unit, int g) {
  constexpr int kBytes = Format::kLaneBytes * kLanes / Format::kGroups;
  const std::byte* ahead = unit + g * kBytes + kPrefetchBytes;
#pragma GCC unroll 9
  for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(ahead + i);
}

template <class Format, int C>
void multiply_bytes(const MatmulJob& job, int64_t panel, const Tile& tile) {
  const std::byte* unit = job.panels + static_cast<size_t>(panel - job.first) * job.panel_bytes;
  TileGroup<C> x{tile.data};
  F acc[C];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) acc[c] = zero();
  for (int64_t u = 0; u < job.units; ++u, unit = at(unit, Format::kLaneBytes)) {
    Format f(unit);
    for (int g = 0; g < Format::kGroups; ++g, x.p += tile_group_bytes(C)) {
      if constexpr (kPrefetch<Format, C>) prefetch_group<Format>(unit, g);
      f.open(g);
      multiply_group<Format, C>(f, x, acc);
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
    if (c < tile.columns) store_outputs(job, panel, tile.first_column + c, acc[c]);
  }
}

struct FloatF32 {
  static constexpr int kBytes = 4;
  static F read(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
};
struct FloatF16 {
  static constexpr int kBytes = 2;
  static F read(const std::byte* p) { return load_half(p); }
};
struct FloatBf16 {
  static constexpr int kBytes = 2;
  static F read(const std::byte* p) { return load_bfloat(p); }
};

/// P panels at once: with few columns the chains of dependent additions would be too few to fill
/// the pipeline. The order of additions within an output stays that of the inputs.
template <class Float, int C, int P>
void multiply_floats(const MatmulJob& job, int64_t panel, const Tile& tile) {
  const std::byte* w = job.panels + static_cast<size_t>(panel - job.first) * job.panel_bytes;
  const float* x = reinterpret_cast<const float*>(tile.data);
  F acc[P][C];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) acc[p][c] = zero();
  }
  for (int64_t k = 0; k < job.units; ++k, w = at(w, Float::kBytes), x += C) {
    F row[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) row[p] = Float::read(w + static_cast<size_t>(p) * job.panel_bytes);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const F column = set1(x[c]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) acc[p][c] = fma(row[p], column, acc[p][c]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      if (c < tile.columns) store_outputs(job, panel + p, tile.first_column + c, acc[p][c]);
    }
  }
}

template <class Float, int C>
void multiply_float_panels(const MatmulJob& job, int64_t panel, int64_t n, const Tile& tile) {
  constexpr int kBudget = kManyRegisters ? 24 : 9;
  constexpr int P = kBudget / C >= 4 ? 4 : (kBudget / C >= 2 ? 2 : 1);
  int64_t p = 0;
  for (; p + P <= n; p += P) multiply_floats<Float, C, P>(job, panel + p, tile);
  if constexpr (P > 1) {
    for (; p < n; ++p) multiply_floats<Float, C, 1>(job, panel + p, tile);
  }
}

/// Calls f with the tile's width as a constant.
template <class Function>
[[gnu::always_inline]] inline void with_width(int32_t width, Function&& f) {
  switch (width) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 2:
      return f(std::integral_constant<int, 2>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    default:
      break;
  }
  if constexpr (kMaxColumns > 4) {
    switch (width) {
      case 6:
        return f(std::integral_constant<int, 6>{});
      case 8:
        return f(std::integral_constant<int, 8>{});
      case 12:
        return f(std::integral_constant<int, 12>{});
      case 16:
        return f(std::integral_constant<int, 16>{});
      default:
        break;
    }
  }
}

inline constexpr int32_t kWidths512[] = {1, 2, 3, 4, 6, 8, 12, 16, 0};
inline constexpr int32_t kWidths256[] = {1, 2, 3, 4, 0};
inline constexpr const int32_t* kWidths = kMaxColumns > 4 ? kWidths512 : kWidths256;

template <class Format>
void run_bytes(const MatmulJob& job) {
  for (int64_t p = job.first; p < job.last; ++p) {
    for (int32_t t = 0; t < job.n_tiles; ++t) {
      const Tile& tile = job.tiles[t];
      with_width(tile.width, [&](auto c) { multiply_bytes<Format, c>(job, p, tile); });
    }
  }
}

template <class Float>
void run_floats(const MatmulJob& job) {
  for (int64_t p = job.first; p < job.last; p += 4) {
    const int64_t n = job.last - p < 4 ? job.last - p : 4;
    for (int32_t t = 0; t < job.n_tiles; ++t) {
      const Tile& tile = job.tiles[t];
      with_width(tile.width, [&](auto c) { multiply_float_panels<Float, c>(job, p, n, tile); });
    }
  }
}

inline void matmul(const MatmulJob& job) {
  switch (job.format) {
    case PanelFormat::q8:
      return run_bytes<FormatQ8>(job);
    case PanelFormat::q4:
      return run_bytes<FormatQ4>(job);
    case PanelFormat::q5:
      return run_bytes<FormatQ5>(job);
    case PanelFormat::q4k:
      return run_bytes<FormatQ45K<false>>(job);
    case PanelFormat::q5k:
      return run_bytes<FormatQ45K<true>>(job);
    case PanelFormat::q6k:
      return run_bytes<FormatQ6K>(job);
    case PanelFormat::f16:
      return run_floats<FloatF16>(job);
    case PanelFormat::bf16:
      return run_floats<FloatBf16>(job);
    case PanelFormat::f32:
      return run_floats<FloatF32>(job);
    case PanelFormat::rows:
      return;
  }
}

/// Quantizes 32 inputs of one column of a tile.
inline void quantize_group(const float* x, int32_t c, int32_t width, std::byte* group) {
  constexpr int kVectors = 32 / kLanes;
  F v[kVectors];
  F top = zero();
  for (int i = 0; i < kVectors; ++i) {
    v[i] = load(x + i * kLanes);
    top = max(top, abs(v[i]));
  }
  const float largest = reduce_max(top);
  const F to_level = set1(largest > 0 ? 127.0f / largest : 0.0f);
  F sums[2] = {zero(), zero()};
  for (int i = 0; i < kVectors; ++i) {
    v[i] = round(mul(v[i], to_level));
    store_i8(group + c * 32 + i * kLanes, v[i]);
    sums[i * kLanes / 16] = add(sums[i * kLanes / 16], v[i]);
  }
  const float d = largest / 127.0f;
  const auto low = static_cast<int32_t>(reduce_add(sums[0]));
  const auto high = static_cast<int32_t>(reduce_add(sums[1]));
  auto* floats = reinterpret_cast<float*>(group + width * 32);
  floats[c] = d;
  floats[width + c] = d * static_cast<float>(low + high);
  auto* ints = reinterpret_cast<int32_t*>(group + width * 40);
  ints[c] = -128 * (low + high);
  ints[width + c] = -32 * low;
  ints[2 * width + c] = -32 * high;
}

inline void quantize_tile(const float* x, int64_t cols, int64_t groups, int32_t columns,
                          int32_t width, std::byte* tile) {
  alignas(64) static constexpr float kZero[32] = {};
  for (int64_t g = 0; g < groups; ++g, tile += tile_group_bytes(width)) {
    for (int32_t c = 0; c < width; ++c) {
      const bool there = c < columns && g * 32 + 32 <= cols;
      quantize_group(there ? x + c * cols + g * 32 : kZero, c, width, tile);
    }
  }
}

}  // namespace cambium::engine::cpu::CAMBIUM_SIMD
