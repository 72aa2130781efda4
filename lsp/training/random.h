// A small generator whose sequence is the same on every platform (Steele, Lea & Flood 2014,
// SplitMix64): prepared data must be reproducible from its seed.
#pragma once

#include <cstdint>
#include <string_view>

namespace cambium::training {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  /// Seeded by a text, so that what a file becomes does not depend on the files around it.
  Random(uint64_t seed, std::string_view text) : state_(seed) {
    for (const char c : text) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  }
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n); n > 0. The bias of the modulus is below 2^-32 for the sizes used here.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(next() % n); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  bool chance(double p) { return unit() < p; }

 private:
  uint64_t state_;
};

}  // namespace cambium::training
