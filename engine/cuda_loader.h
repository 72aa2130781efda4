// Opens libcambium_cuda.so at run time, so that the binary starts on machines without a driver.
#pragma once

#include <memory>
#include <string>

#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

/// What a module answers when asked which build it is of: kBackendInterface, and the sizes of what
/// is handed over, so that a member that nobody counted does not pass.
constexpr int backend_build() {
  size_t n = kBackendInterface;
  for (const size_t size :
       {sizeof(TensorView), sizeof(TokenLabel), sizeof(VisibleBlocks), sizeof(PruneRule),
        sizeof(KvShape), sizeof(KvStore), sizeof(Weight), sizeof(RopeTable), sizeof(MatmulTarget),
        sizeof(AttentionArgs), sizeof(HiddenCells), sizeof(ExpertRule), sizeof(ExpertsArgs),
        sizeof(HeadMatmulArgs), sizeof(DecoderOps), sizeof(DecoderOps::Layer),
        sizeof(LatentDecoderOps), sizeof(LatentDecoderOps::Layer), sizeof(BestToken)})
    n = (n * 31 + size) % 1000003;
  return static_cast<int>(n);
}

/// A backend on GPU `device` (0-based). Looks for the module beside the running binary, in
/// ../lib/cambium from there, then where the system looks for libraries; `module_path` names
/// another. The module stays open for the life of the process. Errors: unsupported without a
/// module, not_found without driver or device, device for one that is too old, bad_format for a
/// module of another build; the message says which.
Result<std::unique_ptr<Backend>> load_cuda_backend(int device = 0,
                                                   const std::string& module_path = "");

}  // namespace cambium::engine
