// The command line: one verb a file, all of them callable from a test.
#pragma once

#include <iosfwd>

namespace cambium::cli {

/// Exit codes of every verb.
inline constexpr int kOk = 0;        ///< done
inline constexpr int kFailed = 1;    ///< the work itself failed (a damaged model, a failed check)
inline constexpr int kBadInput = 2;  ///< what was asked makes no sense: one line on `err` says why

/// Runs one command line. Prints to `out` and `err` only; never exits the process. `lsp` without
/// --listen speaks over the process's own stdin and stdout, since a protocol stream is no ostream.
int run_cli(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

}  // namespace cambium::cli
