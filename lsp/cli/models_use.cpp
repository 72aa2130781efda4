#include "lsp/cli/models_use.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>

#include "lsp/cli/verbs.h"
#include "lsp/models_config.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Flags {
  std::string role, what, model, key_env, key_file;
};

/// What models.json says of the role then. A file is named by its whole path: models.json is read from
/// wherever the server starts.
Result<json> source_of(const Flags& flags) {
  const bool remote = flags.what.starts_with("http://") || flags.what.starts_with("https://");
  if (!remote) {
    std::error_code error;
    if (!fs::is_regular_file(flags.what, error)) {
      return cambium::fail(
          ErrorCode::not_found,
          flags.what + ": no such file; an endpoint begins with http:// or https://");
    }
    if (!flags.model.empty() || !flags.key_env.empty() || !flags.key_file.empty()) {
      return cambium::fail(ErrorCode::invalid_argument,
                           "--name, --key-env and --key-file are of endpoints, not of files");
    }
    return json{{"file", fs::absolute(flags.what).lexically_normal().string()}};
  }
  if (flags.model.empty()) {
    return cambium::fail(ErrorCode::invalid_argument,
                         "say which of the endpoint's models with --name");
  }
  json source{{"url", flags.what}, {"model", flags.model}};
  if (!flags.key_env.empty()) source["key"]["env"] = flags.key_env;
  if (!flags.key_file.empty()) {
    source["key"]["file"] =
        flags.key_file.starts_with("~") ? flags.key_file : fs::absolute(flags.key_file).string();
  }
  return source;
}

/// models.json as it is, comments of nobody in it; an empty object where there is none.
Result<json> present(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return json::object();
  // What can't be read is not written over.
  if (auto readable = read_models_config(path); !readable) {
    return tl::unexpected(readable.error());
  }
  std::ifstream in(path);
  return json::parse(in);
}

/// All or nothing: written beside it, read as the server would, then put in its place.
Result<void> write_checked(const fs::path& path, const json& config) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error)
    return cambium::fail(ErrorCode::io, path.parent_path().string() + ": " + error.message());
  const fs::path beside = path.string() + "." + std::to_string(getpid());
  {
    std::ofstream out(beside);
    out << config.dump(2) << '\n';
    if (!out.flush()) return cambium::fail(ErrorCode::io, beside.string() + ": cannot be written");
  }
  const auto checked = read_models_config(beside);
  if (checked) fs::rename(beside, path, error);
  std::error_code ignored;
  if (!checked || error) fs::remove(beside, ignored);
  if (!checked) return tl::unexpected(checked.error());
  if (error) return cambium::fail(ErrorCode::io, path.string() + ": " + error.message());
  return {};
}

int use(Run& run, const Flags& flags) {
  const fs::path path =
      run.flags.models.empty() ? models_config_path() : fs::path(run.flags.models);
  if (path.empty()) {
    return run.fail({ErrorCode::not_found, "there is no home folder; name a file with --models"});
  }
  auto config = present(path);
  if (!config) return run.fail(config.error());
  if (flags.what == "none") {
    if (config->contains("roles")) (*config)["roles"].erase(flags.role);
  } else {
    auto source = source_of(flags);
    if (!source) return run.fail(source.error());
    (*config)["roles"][flags.role] = std::move(*source);
  }
  if (const auto written = write_checked(path, *config); !written) return run.fail(written.error());
  run.out << path.string() << ": " << flags.role << " is "
          << (flags.what == "none" ? "nobody's" : "done by " + flags.what)
          << "; servers that run take it at their next start\n";
  return run.exit;
}

}  // namespace

void add_use(CLI::App& models, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = models.add_subcommand(
      "use", "Give a role to a model, in models.json; what else is there stays as it is");
  verb->add_option("ROLE", flags->role)
      ->required()
      ->check(CLI::IsMember({"completion", "reasoning", "general"}));
  verb->add_option("MODEL", flags->what, "A GGUF file, an endpoint's URL, or \"none\"")->required();
  verb->add_option("--name", flags->model, "Which of the endpoint's models");
  verb->add_option("--key-env", flags->key_env, "The variable that holds the endpoint's key");
  verb->add_option("--key-file", flags->key_file, "The file that holds the endpoint's key");
  verb->add_option("--models", run.flags.models, "The models.json to write; default: the user's");
  verb->callback([&run, flags] { run.exit = use(run, *flags); });
}

}  // namespace cambium::cli
