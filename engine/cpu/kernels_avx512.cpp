// The kernels of simd_avx512.h's instruction set; this file alone is compiled for it.
#include "engine/cpu/attention_kernels.h"
#include "engine/cpu/matmul_kernels.h"
#include "engine/cpu/vector_kernels.h"

namespace cambium::engine::cpu {

const Kernels* avx512_kernels() {
  static constexpr Kernels kKernels = {
      .name = "AVX-512 VNNI",
      .lanes = avx512::kLanes,
      .byte_bias = avx512::kByteBias,
      .widths = avx512::kWidths,
      .quantize_tile = avx512::quantize_tile,
      .matmul = avx512::matmul,
      .rms_norm = avx512::rms_norm,
      .silu_mul = avx512::silu_mul,
      .add = avx512::add,
      .kv_store = avx512::kv_store,
      .attend = avx512::attend,
      .merge = avx512::merge,
  };
  return &kKernels;
}

}  // namespace cambium::engine::cpu
