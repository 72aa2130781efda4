#include "engine/cuda_loader.h"

#include <dlfcn.h>

#include <array>
#include <filesystem>
#include <system_error>
#include <vector>

namespace cambium::engine {
namespace {

constexpr const char* kModule = "libcambium_cuda.so";

std::vector<std::string> candidates(const std::string& module_path) {
  if (!module_path.empty()) return {module_path};
  std::vector<std::string> paths;
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  if (!error) {
    for (const auto& path : {folder / kModule, folder / "../lib/cambium" / kModule})
      if (std::filesystem::exists(path, error)) paths.push_back(path.string());
  }
  paths.emplace_back(kModule);  // the system's own search
  return paths;
}

}  // namespace

Result<std::unique_ptr<Backend>> load_cuda_backend(int device, const std::string& module_path) {
  void* module = nullptr;
  std::string reason;
  bool there = false;
  for (const std::string& path : candidates(module_path)) {
    module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module != nullptr) break;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) continue;
    there = true;
    if (const char* message = dlerror(); message != nullptr) reason = message;
  }
  if (module == nullptr && there)
    return fail(ErrorCode::bad_format, "the GPU module did not load: " + reason);
  if (module == nullptr)
    return fail(ErrorCode::unsupported,
                std::string("there is no ") + kModule +
                    " beside the binary; install the GPU module or use device \"cpu\"");
  using Interface = int();
  using Create = Backend*(int, char*, size_t, int*);
  auto* interface = reinterpret_cast<Interface*>(dlsym(module, "cambium_cuda_interface"));
  auto* create = reinterpret_cast<Create*>(dlsym(module, "cambium_cuda_create"));
  if (interface == nullptr || create == nullptr || interface() != backend_build())
    return fail(ErrorCode::bad_format,
                std::string(kModule) + " is of another build than the binary; install both alike");
  std::array<char, 512> message{};
  int code = static_cast<int>(ErrorCode::not_found);
  std::unique_ptr<Backend> backend(create(device, message.data(), message.size(), &code));
  if (backend == nullptr) return fail(static_cast<ErrorCode>(code), message.data());
  return backend;
}

}  // namespace cambium::engine
