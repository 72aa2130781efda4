// What the verbs share. Each verb is a file here that adds its subcommand and runs it.
#pragma once

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/result.h"
#include "lsp/settings.h"

namespace cambium::cli {

/// Flags every verb takes that loads a model or reads settings.
struct CommonFlags {
  std::string model, adapter, device, structure, config;
  std::string models;  ///< models.json in place of the user's
  int32_t threads = -1, context = -1;
  std::string color = "auto";  ///< "auto", "always", "never"
  std::string no_color;        ///< NO_COLOR (no-color.org); not empty: never
};

/// One command line being run.
struct Run {
  std::ostream& out;
  std::ostream& err;
  CommonFlags flags;
  int exit = 0;

  /// One line on `err`; sets and returns the exit code that the kind of error has.
  int fail(const Error& error);
  bool color() const;  ///< whether `out` may carry colours
};

void add_common_flags(CLI::App& verb, CommonFlags& flags);

void add_complete(CLI::App& app, Run& run);
void add_check(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);
void add_eval(CLI::App& app, Run& run);
void add_models(CLI::App& app, Run& run);
void add_lsp(CLI::App& app, Run& run);

// --- settings and models ----------------------------------------------------------------------

/// Defaults, user file, the workspace's file found from `near` upwards (empty: none), flags, and
/// `overrides` (dotted keys) as if they were flags. Warnings go to run.err.
Result<Settings> settings_for(Run& run, const std::string& near,
                              nlohmann::json overrides = nlohmann::json::object());

struct ModelChoice {
  std::string path;
  bool bundled = false;
};
/// The model the settings name, or the one that ships with Cambium: installed beside the binary, or
/// in the source tree this binary was built from. The error says where it was looked for.
Result<ModelChoice> choose_model(const Config& config);
/// Where choose_model() looks for the bundled model.
std::vector<std::string> bundled_model_paths();

/// Shows how far a load is, on a terminal only; the line goes with the last copy of the function.
std::function<void(double)> loading_line(Run& run);
engine::LoadOptions load_options(const Config& config);
Result<std::shared_ptr<engine::Generator>> load_generator(Run& run, const Config& config);

// --- source files ------------------------------------------------------------------------------

/// A text file, as it is. Errors name the file: not there, a directory, binary, invalid UTF-8 (with
/// its line), unreadable, 2 GiB or more.
Result<std::shared_ptr<const std::string>> read_source(const std::string& path);

/// FILE:LINE:COL, 1-based, columns in characters.
struct Target {
  std::string path;
  uint32_t line = 0, column = 0;
};
Result<Target> parse_target(const std::string& argument);
/// Byte of the place; the error says how many lines, or columns in the line, there are.
Result<size_t> locate(const std::string& text, const Target& target);

// --- numbers for people ------------------------------------------------------------------------

std::string milliseconds(double ms);     ///< "0.42 ms", "18 ms", "1.2 s"
std::string bytes_text(uint64_t bytes);  ///< "27.4 MB" (powers of ten)
/// Peak and present resident memory of this process, bytes; 0 where the system does not say.
uint64_t resident_bytes();

}  // namespace cambium::cli
