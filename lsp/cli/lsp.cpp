// `cambium lsp`: the language server.
#include <memory>

#include "lsp/cli/cli.h"
#include "lsp/cli/roles.h"
#include "lsp/cli/verbs.h"
#include "lsp/server.h"

namespace cambium::cli {
namespace {

struct Flags {
  std::vector<std::string> listen;
  std::string log_level, log_file;
  bool stdio = false;  ///< says what is so anyway
};

int serve(Run& run, const Flags& flags) {
  nlohmann::json overrides = nlohmann::json::object();
  if (!flags.log_level.empty()) overrides["log.level"] = flags.log_level;
  if (!flags.log_file.empty()) overrides["log.file"] = flags.log_file;
  auto settings = settings_for(run, {}, std::move(overrides));
  if (!settings) return run.fail(settings.error());
  const Config& config = settings->config();

  if (flags.stdio && !flags.listen.empty()) {
    return run.fail({ErrorCode::invalid_argument, "--stdio and --listen exclude each other"});
  }
  lsp::ServerOptions options;
  options.listen = flags.listen;
  options.settings = *settings;
  auto models = configured_models(run);
  if (!models) {  // completions go on with what works
    options.notices.push_back(models.error().message + " (until then no role has a model)");
    run.err << "cambium: " << options.notices.back() << std::endl;
    models = ModelsConfig{};
  }
  // A model that is not there is told to the client when it first asks: the server starts anyway.
  options.models = pooled_models(run, config, *models);
  options.pool = pool_options(*models);
  options.assistant.classify_by_model = models->classify_by_model;
  options.assistant.conversation_tokens = models->conversation_tokens;
  options.on_listening = [&run](const std::string& address) {
    run.err << "cambium: listening on " << address << std::endl;
  };
  return lsp::run_server(std::move(options));
}

}  // namespace

void add_lsp(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("lsp", "The language server, on stdin and stdout or a socket");
  verb->add_option(
      "--listen", flags->listen,
      "Address to listen at: 127.0.0.1:PORT, [::1]:PORT or unix:PATH; may be given twice");
  verb->add_flag("--stdio", flags->stdio,
                 "Speak over stdin and stdout (the default; editors like to say so)");
  verb->add_option("--log-level", flags->log_level, "trace, debug, info, warn, error or off");
  verb->add_option("--log-file", flags->log_file, "File to append the log to");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = serve(run, *flags); });
}

}  // namespace cambium::cli
