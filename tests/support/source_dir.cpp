#include "tests/support/source_dir.h"

namespace cambium::test {

std::string source_dir() { return CAMBIUM_SOURCE_DIR; }

}  // namespace cambium::test
