#include "lsp/cli/verbs.h"
namespace cambium::cli {
void add_bench(CLI::App&, Run&) {}
}  // namespace cambium::cli
