// `cambium models pull URL`.
#pragma once

#include <CLI/CLI.hpp>

namespace cambium::cli {

struct Run;
void add_pull(CLI::App& models, Run& run);

}  // namespace cambium::cli
