#include "lsp/cli/cli.h"

#include <CLI/CLI.hpp>
#include <ostream>

#include "lsp/cli/review.h"
#include "lsp/cli/serve.h"
#include "lsp/cli/verbs.h"

namespace cambium::cli {

int run_cli(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  CLI::App app{"Cambium completes code with a model that runs on your own machine.", "cambium"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "cambium " CAMBIUM_VERSION);
  Run run{out, err, {}, kOk};
  add_complete(app, run);
  add_review(app, run);
  add_check(app, run);
  add_lsp(app, run);
  add_serve(app, run);
  add_models(app, run);
  add_bench(app, run);
  add_eval(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e, out, err);  // --help, --version
    err << "cambium: " << e.what() << " (see 'cambium --help')\n";
    return kBadInput;
  }
  out.flush();
  return run.exit;
}

}  // namespace cambium::cli
