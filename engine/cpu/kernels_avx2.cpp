// The kernels of simd_avx2.h's instruction set; this file alone is compiled for it.
#include "engine/cpu/attention_kernels.h"
#include "engine/cpu/matmul_kernels.h"
#include "engine/cpu/vector_kernels.h"

namespace cambium::engine::cpu {

const Kernels* avx2_kernels() {
  static constexpr Kernels kKernels = {
      .name = "AVX2",
      .lanes = avx2::kLanes,
      .byte_bias = avx2::kByteBias,
      .widths = avx2::kWidths,
      .quantize_tile = avx2::quantize_tile,
      .matmul = avx2::matmul,
      .rms_norm = avx2::rms_norm,
      .silu_mul = avx2::silu_mul,
      .add = avx2::add,
      .kv_store = avx2::kv_store,
      .attend = avx2::attend,
      .merge = avx2::merge,
  };
  return &kKernels;
}

}  // namespace cambium::engine::cpu
