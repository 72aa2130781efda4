// The command line run in the test's own process, in a folder of its own with a small random model.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/gguf_writer.h"
#include "lsp/cli/cli.h"

namespace cambium::test {

struct Ran {
  int code = 0;
  std::string out, err;
};

inline Ran run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "cambium");
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  Ran ran;
  ran.code = cli::run_cli(static_cast<int>(argv.size()), argv.data(), out, err);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

/// A folder with files of its own, an empty config and a small random model; gone afterwards.
class Folder {
 public:
  Folder()
      : path_(std::filesystem::temp_directory_path() /
              ("cambium-cli-test-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
    write("config.json", "{}");
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string at(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(at(name), std::ios::binary) << bytes;
    return at(name);
  }
  std::string model(engine::ModelShape shape = *engine::model_shape("tiny"),
                    const std::string& name = "tiny.gguf", uint64_t seed = 1) const {
    engine::RandomModelOptions options;
    options.shape = std::move(shape);
    options.seed = seed;
    REQUIRE(engine::write_random_model(at(name), options).has_value());
    return at(name);
  }
  /// `complete`, with the folder's config and model.
  Ran complete(const std::string& target, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"complete", target, "--config", at("config.json"), "--threads", "1",
                               "--context", "512", "--prompt-tokens", "128", "--max-tokens", "8"});
    if (std::find(more.begin(), more.end(), "--model") == more.end()) {
      more.insert(more.end(), {"--model", std::filesystem::exists(at("tiny.gguf")) ? at("tiny.gguf")
                                                                                   : model()});
    }
    return run(std::move(more));
  }

 private:
  std::filesystem::path path_;
};

/// Files, each a path and a text, as `eval` reads them (lsp/training/container.h).
inline std::string container_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string container;
  const auto number = [&](size_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) container += static_cast<char>(value >> 8 * i & 255);
  };
  for (const auto& [path, text] : files) {
    number(path.size(), 2);
    number(text.size(), 4);
    container += path + text;
  }
  return container;
}

inline bool one_line(const std::string& text) {
  return !text.empty() && text.find('\n') == text.size() - 1;
}

}  // namespace cambium::test
