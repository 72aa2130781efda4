// Rows of floats to and from GGUF's element types. Plain code: used at load, by tests, by the
// bench's random models and by the exporter's checks; kernels have their own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor.h"

namespace cambium::engine::cpu {

/// Writes n elements of `data` (any type of DType) to out. n is a multiple of the type's block.
void dequantize_row(DType type, const void* data, float* out, int64_t n);

/// True for the types quantize_row can write: all but IQ4_XS.
bool can_quantize(DType type);

/// Quantizes n floats (a multiple of the type's block) to out; returns the bytes written, 0 if the
/// type cannot be written. Values must be finite. Scales are found by a weighted least-squares
/// search per block where the type has more than one free parameter.
size_t quantize_row(DType type, const float* x, void* out, int64_t n);

}  // namespace cambium::engine::cpu
