// The text of queries/<language>.scm, embedded at build time.
#pragma once

#include <string_view>

namespace cambium::syntax {

/// Empty where there is no such file.
std::string_view embedded_query(std::string_view language);

}  // namespace cambium::syntax
