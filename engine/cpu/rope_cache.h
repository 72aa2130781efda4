// Cosines and sines of one step's positions: every layer rotates by the same angles.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops.h"

namespace cambium::engine::cpu {

class RopeCache {
 public:
  /// Angles of positions [first_pos, first_pos + n_tokens), kept until others are asked for.
  void prepare(const RopeTable& table, int32_t first_pos, int32_t n_tokens);
  /// Angles of tokens at these positions, likewise.
  void prepare(const RopeTable& table, std::span<const int32_t> positions);
  /// Rotates the heads of token i (counted from the first prepared): x [n_head, head_dim].
  void rotate(float* x, int32_t i, int32_t n_head, int32_t head_dim) const;

 private:
  /// Takes the table over; whether it is the one there is.
  bool keep(const RopeTable& table);
  void add(int32_t position);

  RopeLayout layout_ = RopeLayout::interleaved;
  float magnitude_ = 0;
  int32_t first_pos_ = 0, n_tokens_ = 0;  // of a run
  std::vector<int32_t> positions_;        // or these
  std::vector<float> freq_;
  std::vector<float> cos_, sin_;  // [n_tokens, n_rot / 2]
};

}  // namespace cambium::engine::cpu
