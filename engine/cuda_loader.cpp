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
  for (const std::string& path : candidates(module_path)) {
    module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module != nullptr) break;
    if (const char* message = dlerror(); message != nullptr) reason = message;
  }
  if (module == nullptr)
    return fail(ErrorCode::not_found,
                "the GPU module did not load: " + reason +
                    "; a build with CAMBIUM_CUDA=ON puts it beside the binary");
  using Create = Backend*(int, char*, size_t);
  auto* create = reinterpret_cast<Create*>(dlsym(module, "cambium_cuda_create"));
  if (create == nullptr)
    return fail(ErrorCode::bad_format,
                std::string(kModule) + " is of another build: it lacks cambium_cuda_create");
  std::array<char, 512> message{};
  std::unique_ptr<Backend> backend(create(device, message.data(), message.size()));
  if (backend == nullptr) return fail(ErrorCode::not_found, message.data());
  return backend;
}

}  // namespace cambium::engine
