// How large the scalars of GGUF metadata are; shared by the reader and the writer.
#pragma once

#include <cstddef>

#include "engine/gguf.h"

namespace cambium::engine {

/// Bytes of a scalar; 0 for strings, arrays and unknown ids.
inline size_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

}  // namespace cambium::engine
