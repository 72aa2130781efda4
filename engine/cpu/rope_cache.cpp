#include "engine/cpu/rope_cache.h"

#include <algorithm>
#include <cmath>

namespace cambium::engine::cpu {

bool RopeCache::keep(const RopeTable& table) {
  layout_ = table.layout;
  if (magnitude_ == table.magnitude && std::ranges::equal(freq_, table.freq)) return true;
  magnitude_ = table.magnitude;
  freq_.assign(table.freq.begin(), table.freq.end());
  return false;
}

void RopeCache::add(int32_t position) {
  for (const float f : freq_) {
    // In double: a float angle of some thousand radians has lost the digits that matter.
    const double angle = static_cast<double>(position) * f;
    cos_.push_back(static_cast<float>(std::cos(angle) * magnitude_));
    sin_.push_back(static_cast<float>(std::sin(angle) * magnitude_));
  }
}

void RopeCache::prepare(const RopeTable& table, int32_t first_pos, int32_t n_tokens) {
  if (keep(table) && first_pos == first_pos_ && n_tokens <= n_tokens_) return;
  first_pos_ = first_pos;
  n_tokens_ = n_tokens;
  positions_.clear();
  cos_.clear();
  sin_.clear();
  for (int32_t t = 0; t < n_tokens; ++t) add(first_pos + t);
}

void RopeCache::prepare(const RopeTable& table, std::span<const int32_t> positions) {
  if (keep(table) && std::ranges::equal(positions, positions_)) return;
  n_tokens_ = 0;
  positions_.assign(positions.begin(), positions.end());
  cos_.clear();
  sin_.clear();
  for (const int32_t position : positions) add(position);
}

void RopeCache::rotate(float* x, int32_t i, int32_t n_head, int32_t head_dim) const {
  const size_t half = freq_.size();
  const float* c = cos_.data() + static_cast<size_t>(i) * half;
  const float* s = sin_.data() + static_cast<size_t>(i) * half;
  for (int32_t h = 0; h < n_head; ++h, x += head_dim) {
    if (layout_ == RopeLayout::interleaved) {
      for (size_t p = 0; p < half; ++p) {
        const float a = x[2 * p], b = x[2 * p + 1];
        x[2 * p] = a * c[p] - b * s[p];
        x[2 * p + 1] = a * s[p] + b * c[p];
      }
    } else {
      for (size_t p = 0; p < half; ++p) {
        const float a = x[p], b = x[p + half];
        x[p] = a * c[p] - b * s[p];
        x[p + half] = a * s[p] + b * c[p];
      }
    }
  }
}

}  // namespace cambium::engine::cpu
