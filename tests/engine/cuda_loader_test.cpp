// Which GPU modules are opened. What they then do needs a device: tests/cuda.
#include "engine/cuda_loader.h"

#include <doctest/doctest.h>

#include <filesystem>

namespace cambium::engine {

TEST_CASE("a module that hands over classes of other sizes is refused unasked") {
  const auto module =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libother_build.so";
  REQUIRE(std::filesystem::exists(module));
  const auto backend = load_cuda_backend(0, module.string());
  REQUIRE(!backend);
  CHECK(backend.error().code == ErrorCode::bad_format);
  CHECK(backend.error().message ==
        "libcambium_cuda.so is of another build than the binary; install both alike");
}

}  // namespace cambium::engine
