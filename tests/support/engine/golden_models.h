// Tiny models whose every bit follows from integer arithmetic, so that figures another program gave
// for them (tests/golden/llama_*.json) hold on every machine and standard library.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cambium::test {

struct GoldenModel {
  std::string name;              ///< tests/golden/llama_NAME.json
  double tolerance;              ///< relative error of a row of logits
  std::vector<std::byte> bytes;  ///< the GGUF file
};

std::vector<GoldenModel> golden_models();

/// FNV-1a of 64 bits, as 16 hexadecimal digits: tells whether a fixture was made from these bytes.
std::string fingerprint(const std::vector<std::byte>& bytes);

}  // namespace cambium::test
