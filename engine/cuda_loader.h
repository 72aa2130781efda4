// Opens libcambium_cuda.so at run time, so that the binary starts on machines without a driver.
#pragma once

#include <memory>
#include <string>

#include "engine/ops.h"
#include "engine/result.h"

namespace cambium::engine {

/// A backend on GPU `device` (0-based). Looks for the module beside the running binary, in
/// ../lib/cambium from there, then where the system looks for libraries; `module_path` names
/// another. The module stays open for the life of the process. Errors: unsupported without a
/// module, not_found without driver or device, device for one that is too old, bad_format for a
/// module of another build; the message says which.
Result<std::unique_ptr<Backend>> load_cuda_backend(int device = 0,
                                                   const std::string& module_path = "");

}  // namespace cambium::engine
