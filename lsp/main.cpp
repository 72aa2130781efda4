// The one executable: every verb is a file in lsp/cli/.
#include <csignal>
#include <iostream>

#include "lsp/cli/cli.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, not the end of the process
  return cambium::cli::run_cli(argc, argv, std::cout, std::cerr);
}
