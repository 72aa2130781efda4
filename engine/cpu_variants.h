// The kernel variants of this build, one an instruction set, and which of them this processor runs.
#pragma once

#include <string>
#include <vector>

namespace cambium::engine {

struct CpuVariant {
  const char* isa;    ///< as make_cpu_backend() takes it: "avx512"
  const char* name;   ///< as a backend's description has it: "AVX-512 VNNI"
  bool runs = false;  ///< the processor has what it takes
};
/// The fastest first. The last is the plain twin, which runs everywhere.
std::vector<CpuVariant> cpu_variants();
/// "AVX-512 VNNI in use; also built: AVX2, plain loops"; what cannot run here is said to be so.
std::string cpu_variants_text();

}  // namespace cambium::engine
