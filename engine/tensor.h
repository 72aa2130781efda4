// Element types of GGUF files and their block geometry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cambium::engine {

/// Values are GGML's type ids, as they stand in a GGUF file.
enum class DType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
};

struct TypeTraits {
  std::string_view name;    ///< "Q4_K"
  uint32_t block_elements;  ///< elements a block: 1, 32 or 256
  uint32_t block_bytes;     ///< bytes a block
};

/// nullptr for a type id this build does not know.
const TypeTraits* type_traits(DType type);

/// Bytes of a row of `elements`, which must be a multiple of the block's elements.
size_t row_bytes(DType type, int64_t elements);

/// A matrix in memory that someone else owns: `rows` rows of `cols` contiguous elements. A vector has
/// one row. GGUF's ne[0] is cols, ne[1] is rows.
struct TensorView {
  DType type = DType::f32;
  int64_t rows = 0, cols = 0;
  const std::byte* data = nullptr;
};

}  // namespace cambium::engine
