#include "lsp/cli/serve.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <memory>
#include <thread>

#include "lsp/cli/roles.h"
#include "lsp/cli/verbs.h"
#include "lsp/serve/http_server.h"

namespace cambium::cli {
namespace {

struct Flags {
  std::vector<std::string> listen;
  bool expose = false;
};

int serve(Run& run, const Flags& flags) {
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  auto models = configured_models(run);
  if (!models) return run.fail(models.error());

  // The models' strand runs beside the server's.
  boost::asio::io_context strand{1};
  auto work = boost::asio::make_work_guard(strand);
  const auto pool =
      lsp::ModelPool::create(strand.get_executor(), pooled_models(run, settings->config(), *models),
                             pool_options(*models));
  std::thread thread([&strand] { strand.run(); });

  lsp::serve::HttpServerOptions options;
  options.listen = flags.listen;
  if (options.listen.empty()) options.listen.emplace_back("127.0.0.1:8012");
  options.beyond_loopback = flags.expose;
  options.models = pool;
  options.on_listening = [&run](const std::string& address, const std::function<void()>&) {
    run.err << "cambium: serving on " << address << std::endl;
  };
  const auto served = lsp::serve::run_http_server(std::move(options));

  boost::asio::post(strand, [&] {
    pool->close();
    work.reset();
  });
  thread.join();
  if (!served) return run.fail(served.error());
  return run.exit;
}

}  // namespace

void add_serve(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "serve", "The engine alone over HTTP: OpenAI's completions and chat, llama.cpp's infill");
  verb->add_option("--listen", flags->listen,
                   "Address to serve at: 127.0.0.1:PORT, [::1]:PORT or unix:PATH; may be given "
                   "twice; default: 127.0.0.1:8012");
  verb->add_flag("--expose", flags->expose,
                 "Allow addresses that other machines reach; whoever reaches them may use the "
                 "models");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = serve(run, *flags); });
}

}  // namespace cambium::cli
