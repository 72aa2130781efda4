// `cambium serve`.
#pragma once

#include <CLI/CLI.hpp>

namespace cambium::cli {

struct Run;
void add_serve(CLI::App& app, Run& run);

}  // namespace cambium::cli
