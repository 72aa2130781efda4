// The backend made of the plain twins: one thread, no repacking, any processor.
#pragma once

#include <memory>

#include "engine/ops.h"

namespace cambium::engine::cpu {

std::unique_ptr<Backend> make_plain_backend();

}  // namespace cambium::engine::cpu
