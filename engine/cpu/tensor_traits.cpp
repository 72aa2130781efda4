#include <array>

#include "engine/tensor.h"

namespace cambium::engine {
namespace {

struct Row {
  DType type;
  TypeTraits traits;
};

constexpr std::array<Row, 15> kTypes = {{
    {DType::f32, {"F32", 1, 4}},
    {DType::f16, {"F16", 1, 2}},
    {DType::bf16, {"BF16", 1, 2}},
    {DType::q4_0, {"Q4_0", 32, 18}},
    {DType::q4_1, {"Q4_1", 32, 20}},
    {DType::q5_0, {"Q5_0", 32, 22}},
    {DType::q5_1, {"Q5_1", 32, 24}},
    {DType::q8_0, {"Q8_0", 32, 34}},
    {DType::q2_k, {"Q2_K", 256, 84}},
    {DType::q3_k, {"Q3_K", 256, 110}},
    {DType::q4_k, {"Q4_K", 256, 144}},
    {DType::q5_k, {"Q5_K", 256, 176}},
    {DType::q6_k, {"Q6_K", 256, 210}},
    {DType::iq4_nl, {"IQ4_NL", 32, 18}},
    {DType::iq4_xs, {"IQ4_XS", 256, 136}},
}};

}  // namespace

const TypeTraits* type_traits(DType type) {
  for (const Row& row : kTypes) {
    if (row.type == type) return &row.traits;
  }
  return nullptr;
}

size_t row_bytes(DType type, int64_t elements) {
  const TypeTraits* traits = type_traits(type);
  if (traits == nullptr || elements < 0) return 0;
  return static_cast<size_t>(elements) / traits->block_elements * traits->block_bytes;
}

}  // namespace cambium::engine
