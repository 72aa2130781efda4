// The vector names of the instruction set the including file is compiled for.
#pragma once

#if defined(__AVX512VNNI__)
#include "engine/cpu/simd_avx512.h"
#elif defined(__AVX2__)
#include "engine/cpu/simd_avx2.h"
#else
#error "kernel headers are for files compiled with AVX2 or AVX-512 VNNI"
#endif
