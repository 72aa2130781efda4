#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <system_error>

#include "engine/config.h"
#include "lsp/cli/cli.h"
#include "lsp/cli/verbs.h"
#include "lsp/text.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBundledModel = "cambium-coder.gguf";
constexpr uint64_t kMostSource = uint64_t{2} << 30;

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// The nearest .cambium/config.json in the folder of `file` or above it.
fs::path workspace_config(const std::string& file) {
  std::error_code ignored;
  fs::path folder = fs::absolute(file, ignored).parent_path();
  for (int depth = 0; depth < 64 && !folder.empty(); ++depth) {
    fs::path config = folder / ".cambium" / "config.json";
    if (fs::is_regular_file(config, ignored)) return config;
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
  return {};
}

bool parse_number(std::string_view text, uint32_t& number) {
  if (text.empty() || text.size() > 9) return false;
  number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<uint32_t>(c - '0');
  }
  return true;
}

}  // namespace

int Run::fail(const Error& error) {
  err << "cambium: " << one_line(error.message) << '\n';
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::not_found:
    case ErrorCode::bad_format:
    case ErrorCode::unsupported:
      exit = kBadInput;
      break;
    default:
      exit = kFailed;
  }
  return exit;
}

bool Run::color() const {
  if (flags.color != "auto") return flags.color == "always";
  return flags.no_color.empty() && &out == &std::cout && isatty(STDOUT_FILENO) == 1;
}

void add_common_flags(CLI::App& verb, CommonFlags& flags) {
  verb.add_option("--model", flags.model,
                  "Model file (GGUF); default: the one that ships with Cambium");
  verb.add_option("--adapter", flags.adapter, "Adapter (GGUF) laid over the model");
  verb.add_option("--device", flags.device, "auto, cpu, cuda or cuda:N");
  verb.add_option("--threads", flags.threads, "Compute threads; 0: one a physical core");
  verb.add_option("--context", flags.context, "Tokens a sequence can hold");
  verb.add_option("--structure", flags.structure, "auto, off, emphasis, prune, own or tree");
  verb.add_option("--config", flags.config, "Config file to use in place of the user's");
  verb.add_option("--models", flags.models, "models.json to use in place of the user's");
  verb.add_option("--color", flags.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  verb.add_option("--no-color", flags.no_color)->envname("NO_COLOR")->group("");
}

Result<Settings> settings_for(Run& run, const std::string& near, nlohmann::json overrides) {
  const CommonFlags& flags = run.flags;
  if (!flags.model.empty()) overrides["model"] = flags.model;
  if (!flags.adapter.empty()) overrides["adapter"] = flags.adapter;
  if (!flags.device.empty()) overrides["device"] = flags.device;
  if (!flags.structure.empty()) overrides["structure"] = flags.structure;
  if (flags.threads >= 0) overrides["threads"] = flags.threads;
  if (flags.context >= 0) overrides["context"] = flags.context;
  std::error_code ignored;
  if (!flags.config.empty() && !fs::exists(flags.config, ignored)) {
    return cambium::fail(ErrorCode::not_found, flags.config + ": no such config file");
  }
  std::vector<std::string> warnings;
  auto settings = load_settings(
      overrides, flags.config.empty() ? user_config_path() : fs::path(flags.config), warnings);
  if (!settings) return settings;
  if (const fs::path file = near.empty() ? fs::path{} : workspace_config(near); !file.empty()) {
    auto values = read_config_file(file);
    if (!values) {
      warnings.push_back(values.error().message);
    } else {
      for (const std::string& problem : settings->set_layer(Origin::workspace, *values)) {
        warnings.push_back(file.string() + ": " + problem);
      }
    }
  }
  for (const std::string& warning : warnings) run.err << "cambium: " << one_line(warning) << '\n';
  return settings;
}

std::vector<std::string> bundled_model_paths() {
  std::vector<std::string> paths;
  std::error_code failed;
  const fs::path binary = fs::read_symlink("/proc/self/exe", failed);
  if (!failed) {
    paths.push_back(
        (binary.parent_path().parent_path() / "share/cambium/models" / kBundledModel).string());
  }
  paths.push_back((fs::path(CAMBIUM_SOURCE_DIR) / "engine/models" / kBundledModel).string());
  return paths;
}

Result<ModelChoice> choose_model(const Config& config) {
  if (!config.model.empty()) return ModelChoice{config.model, false};
  std::string looked;
  std::error_code ignored;
  for (const std::string& path : bundled_model_paths()) {
    if (fs::is_regular_file(path, ignored)) return ModelChoice{path, true};
    looked += (looked.empty() ? "" : " and ") + path;
  }
  return cambium::fail(ErrorCode::not_found,
                       "the model that ships with Cambium is not at " + looked +
                           "; name a GGUF file with --model or in the config file");
}

engine::LoadOptions load_options(const Config& config) {
  engine::LoadOptions options;
  options.engine.threads = config.threads;
  options.adapter = config.adapter;
  options.engine.device = config.device;
  options.engine.context = config.context;
  options.structure = engine::structure_mode(config.structure);  // auto: as the file says
  if (config.sparse_attention == "on") options.sparse_from = engine::kSparseFrom;
  return options;
}

Result<std::shared_ptr<engine::Generator>> load_generator(Run& run, const Config& config) {
  auto choice = choose_model(config);
  if (!choice) return tl::unexpected(choice.error());
  engine::LoadOptions options = load_options(config);
  options.engine.on_notice = [&run](const std::string& text) {
    run.err << "cambium: " + text + '\n' << std::flush;
  };
  options.on_progress = loading_line(run);
  return engine::load_model(choice->path, options);
}

std::function<void(double)> loading_line(Run& run) {
  if (&run.err != &std::cerr || isatty(STDERR_FILENO) != 1) return [](double) {};
  // -1: nothing is shown.
  const std::shared_ptr<int> shown(new int(-1), [&run](int* percent) {
    if (*percent >= 0) run.err << "\r\x1b[K" << std::flush;
    delete percent;
  });
  return [&run, shown](double fraction) {
    const int percent = static_cast<int>(fraction * 100);
    if (percent == *shown) return;
    *shown = percent;
    run.err << "\rloading the model " << percent << " %" << std::flush;
  };
}

Result<std::shared_ptr<const std::string>> read_source(const std::string& path) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (status.type() == fs::file_type::not_found) {
    return cambium::fail(ErrorCode::not_found, path + ": no such file");
  }
  if (fs::is_directory(status)) {
    return cambium::fail(ErrorCode::invalid_argument, path + ": is a directory; name a file in it");
  }
  if (!fs::is_regular_file(status)) {
    return cambium::fail(ErrorCode::invalid_argument, path + ": is not a regular file");
  }
  const uint64_t size = fs::file_size(path, failed);
  if (!failed && size >= kMostSource) {
    return cambium::fail(
        ErrorCode::unsupported,
        path + ": is " + bytes_text(size) + "; source files of 2 GiB or more are not read");
  }
  std::ifstream in(path, std::ios::binary);
  auto text = std::make_shared<std::string>();
  text->resize(failed ? 0 : size);
  in.read(text->data(), static_cast<std::streamsize>(text->size()));
  if (!in && !text->empty()) {
    return cambium::fail(ErrorCode::io, path + ": cannot be read (permissions?)");
  }
  if (!in.is_open())
    return cambium::fail(ErrorCode::io, path + ": cannot be opened (permissions?)");
  const size_t nul = text->find('\0');
  if (nul != text->npos) {
    return cambium::fail(ErrorCode::bad_format,
                         fmt::format("{}: is binary (a zero byte at offset {})", path, nul));
  }
  if (const auto bad = lsp::first_invalid_utf8(*text)) {
    const auto line =
        std::count(text->begin(), text->begin() + static_cast<std::ptrdiff_t>(*bad), '\n') + 1;
    return cambium::fail(
        ErrorCode::bad_format,
        fmt::format("{}:{}: is not UTF-8 (byte 0x{:02x} at offset {}); convert it first", path,
                    line, static_cast<unsigned char>((*text)[*bad]), *bad));
  }
  return std::shared_ptr<const std::string>(std::move(text));
}

Result<Target> parse_target(const std::string& argument) {
  Target target;
  const size_t second = argument.rfind(':');
  const size_t first =
      second == argument.npos || second == 0 ? argument.npos : argument.rfind(':', second - 1);
  if (first == argument.npos || first == 0 ||
      !parse_number(std::string_view(argument).substr(first + 1, second - first - 1),
                    target.line) ||
      !parse_number(std::string_view(argument).substr(second + 1), target.column) ||
      target.line == 0 || target.column == 0) {
    return cambium::fail(ErrorCode::invalid_argument,
                         "expected FILE:LINE:COL with line and column from 1, such as "
                         "src/main.py:12:5; got '" +
                             argument + "'");
  }
  target.path = argument.substr(0, first);
  return target;
}

Result<size_t> locate(const std::string& text, const Target& target) {
  const lsp::LineIndex lines(text);
  if (target.line > lines.line_count()) {
    return cambium::fail(ErrorCode::invalid_argument,
                         fmt::format("{}:{}: the file has only {} line{}", target.path, target.line,
                                     lines.line_count(), lines.line_count() == 1 ? "" : "s"));
  }
  const std::string_view line = lines.line(text, target.line - 1);
  const size_t width = lsp::count_units(line, lsp::PositionEncoding::utf32);
  if (target.column > width + 1) {
    return cambium::fail(
        ErrorCode::invalid_argument,
        fmt::format("{}:{}:{}: the line has only {} character{}, so the last column is {}",
                    target.path, target.line, target.column, width, width == 1 ? "" : "s",
                    width + 1));
  }
  return *lines.offset(text, {target.line - 1, target.column - 1}, lsp::PositionEncoding::utf32);
}

std::string milliseconds(double ms) {
  if (ms < 10) return fmt::format("{:.2f} ms", ms);
  if (ms < 1000) return fmt::format("{:.0f} ms", ms);
  return fmt::format("{:.2f} s", ms / 1000);
}

std::string bytes_text(uint64_t bytes) {
  const auto n = static_cast<double>(bytes);
  if (n < 1e3) return fmt::format("{} B", bytes);
  if (n < 1e6) return fmt::format("{:.1f} kB", n / 1e3);
  if (n < 1e9) return fmt::format("{:.1f} MB", n / 1e6);
  return fmt::format("{:.2f} GB", n / 1e9);
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0, resident = 0;
  if (!(statm >> pages >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace cambium::cli
