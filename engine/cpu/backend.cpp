#include "engine/cpu/plain_backend.h"
#include "engine/ops.h"

namespace cambium::engine {

std::unique_ptr<Backend> make_cpu_backend(int, const std::string&) {
  return cpu::make_plain_backend();
}

}  // namespace cambium::engine
