// `cambium models use ROLE FILE|URL`.
#pragma once

#include <CLI/CLI.hpp>

namespace cambium::cli {

struct Run;
void add_use(CLI::App& models, Run& run);

}  // namespace cambium::cli
