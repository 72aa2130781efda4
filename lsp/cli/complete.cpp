// `cambium complete FILE:LINE:COL…`: the completion at a cursor, as ghost text inside the code.
#include <memory>
#include <ostream>

#include "lsp/cli/completion_view.h"
#include "lsp/cli/roles.h"
#include "lsp/cli/verbs.h"

namespace cambium::cli {
namespace {

struct Flags {
  std::vector<std::string> targets;
  int32_t max_tokens = -1, prompt_tokens = -1;
  bool json = false, one_line = false;
};

struct Place {
  Target target;
  std::shared_ptr<const std::string> text;
  size_t cursor = 0;
};

Result<Place> open(const std::string& argument) {
  Place place;
  auto target = parse_target(argument);
  if (!target) return tl::unexpected(target.error());
  place.target = *target;
  auto text = read_source(target->path);
  if (!text) return tl::unexpected(text.error());
  place.text = *text;
  auto cursor = locate(*place.text, place.target);
  if (!cursor) return tl::unexpected(cursor.error());
  place.cursor = *cursor;
  return place;
}

int complete(Run& run, const Flags& flags) {
  // Everything that is wrong with the input is said before a model is loaded.
  std::vector<Place> places;
  for (const std::string& argument : flags.targets) {
    auto place = open(argument);
    if (!place) return run.fail(place.error());
    places.push_back(std::move(*place));
  }
  nlohmann::json overrides = nlohmann::json::object();
  if (flags.max_tokens >= 0) overrides["completion.maxTokens"] = flags.max_tokens;
  if (flags.prompt_tokens >= 0) overrides["completion.promptTokens"] = flags.prompt_tokens;
  if (flags.one_line) overrides["completion.multiline"] = false;
  auto settings = settings_for(run, places.front().target.path, std::move(overrides));
  if (!settings) return run.fail(settings.error());
  const Config& config = settings->config();
  auto models = load_completion(run, config);
  if (!models) return run.fail(models.error());
  const engine::Capabilities capabilities = models->generator->capabilities();

  nlohmann::json all = nlohmann::json::array();
  const bool color = run.color();
  for (const Place& place : places) {
    auto output = complete_now(
        *models->service, completion_input(config, place.text, place.cursor, place.target.path));
    if (!output) return run.fail(output.error());
    if (flags.json) {
      nlohmann::json one = to_json(place.target, *output);
      one["model"] = capabilities.description;
      all.push_back(std::move(one));
      continue;
    }
    const std::string name = place.target.path + ":" + std::to_string(place.target.line) + ":" +
                             std::to_string(place.target.column);
    run.out << (color ? "\x1b[1m" : "") << name << (color ? "\x1b[0m" : "") << '\n';
    print_code(run.out, *place.text, place.cursor, *output, color);
    print_timings(run.out, *output, color);
    if (&place != &places.back()) run.out << '\n';
    run.out.flush();
  }
  if (flags.json) {
    // Nothing of a text file is invalid UTF-8, and of a generated one only what was cut off.
    run.out << (places.size() == 1 ? all.front() : all)
                   .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
            << '\n';
  }
  return run.exit;
}

}  // namespace

void add_complete(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("complete", "The completion at a cursor");
  // CLI11 2.4 takes no colon in a name.
  verb->add_option(
          "CURSOR", flags->targets,
          "FILE:LINE:COL, one or more; lines and columns count from 1, columns in characters")
      ->required();
  verb->add_flag("--json", flags->json, "Text, scope, why it stopped and timings, as JSON");
  verb->add_flag("--one-line", flags->one_line, "End with the line");
  verb->add_option("--max-tokens", flags->max_tokens, "Longest completion");
  verb->add_option("--prompt-tokens", flags->prompt_tokens, "Text shown to the model, in tokens");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = complete(run, *flags); });
}

}  // namespace cambium::cli
