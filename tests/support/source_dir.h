#pragma once
#include <string>

namespace cambium::test {

/// The root of this checkout, without a slash at its end.
std::string source_dir();

}  // namespace cambium::test
