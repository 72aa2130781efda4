#include "lsp/cli/cli.h"

#include <CLI/CLI.hpp>
#include <ostream>

namespace cambium::cli {

int run_cli(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  CLI::App app{"Completes and reviews code with a model that runs on your own machine", "cambium"};
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e, out, err);
    return code == 0 ? kOk : kBadInput;
  }
  return kOk;
}

}  // namespace cambium::cli
