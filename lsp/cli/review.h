// `cambium review`.
#pragma once

#include "lsp/cli/verbs.h"

namespace cambium::cli {

void add_review(CLI::App& app, Run& run);

}  // namespace cambium::cli
