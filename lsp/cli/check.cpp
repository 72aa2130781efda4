// `cambium check FILE[:LINE:COL]`: the whole pipeline on one file, each stage with what it did.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <ostream>

#include "lsp/assist/syntax_view.h"
#include "lsp/cli/completion_view.h"
#include "lsp/cli/roles.h"
#include "lsp/cli/verbs.h"
#include "lsp/text.h"
#include "syntax/closes.h"

namespace cambium::cli {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void heading(Run& run, std::string_view title) {
  run.out << (run.color() ? "\x1b[1m" : "") << title << (run.color() ? "\x1b[0m" : "") << '\n';
}

void print_settings(Run& run, const Settings& settings) {
  heading(run, "settings");
  for (const SettingKey& key : setting_keys()) {
    run.out << fmt::format("  {:<30} {:<24} {}\n", key.key, settings.value(key.key).dump(),
                           to_string(settings.origin(key.key)));
  }
}

void print_file(Run& run, const std::string& path, const std::string& text) {
  size_t crlf = 0, lf = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') ++(i > 0 && text[i - 1] == '\r' ? crlf : lf);
  }
  const char* ends = crlf > 0 && lf > 0 ? "CRLF and LF mixed (kept)" : crlf > 0 ? "CRLF" : "LF";
  heading(run, "file");
  run.out << fmt::format("  {}: {}, {} lines, UTF-8, line ends {}\n", path, bytes_text(text.size()),
                         lsp::LineIndex(text).line_count(), ends);
}

void print_syntax(Run& run, const std::string& text, const assist::SyntaxView& view, double ms) {
  heading(run, "syntax");
  if (view.language == nullptr) {
    run.out << "  no grammar for this file: completed as plain text, without scopes\n";
    return;
  }
  run.out << fmt::format("  language {}", view.language->title);
  if (view.tree) {
    const syntax::ErrorCount errors = syntax::count_errors(*view.tree);
    run.out << fmt::format(", {} error and {} missing nodes", errors.errors, errors.missing);
  } else {
    run.out << (text.size() > syntax::kMaxText ? ", too large to parse" : ", not parsed in time");
  }
  run.out << fmt::format(", {} scopes, {}\n", view.scopes->scopes().size(), milliseconds(ms));
}

void print_path(Run& run, const std::string& text, const assist::SyntaxView& view, size_t cursor) {
  const auto& scopes = view.scopes->scopes();
  std::vector<size_t> path;
  for (auto i = static_cast<int32_t>(view.scopes->index_at(static_cast<uint32_t>(cursor))); i >= 0;
       i = scopes[static_cast<size_t>(i)].parent) {
    path.push_back(static_cast<size_t>(i));
  }
  const lsp::LineIndex lines(text);
  run.out << "  cursor in";
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    const syntax::Scope& scope = scopes[*it];
    run.out << (it == path.rbegin() ? " " : " > ") << view.scopes->describe(*it);
    if (*it != 0) run.out << " (line " << lines.line_of(scope.opener) + 1 << ")";
  }
  run.out << '\n';
}

int check(Run& run, const std::string& argument) {
  // A plain path means the end of the file; a path may hold colons.
  std::error_code ignored;
  Target target;
  target.path = argument;
  const auto parsed = parse_target(argument);
  if (!std::filesystem::exists(argument, ignored) && parsed) target = *parsed;
  auto text = read_source(target.path);
  if (!text) return run.fail(text.error());
  size_t cursor = (*text)->size();
  const lsp::LineIndex lines(**text);
  if (target.line > 0) {
    auto place = locate(**text, target);
    if (!place) return run.fail(place.error());
    cursor = *place;
  } else {
    const auto end = lines.position(**text, cursor, lsp::PositionEncoding::utf32);
    target.line = end.line + 1;
    target.column = end.character + 1;
  }
  auto settings = settings_for(run, target.path);
  if (!settings) return run.fail(settings.error());
  const Config& config = settings->config();
  print_settings(run, *settings);
  print_file(run, target.path, **text);

  if (const auto roles = configured_models(run); roles && roles->any()) {
    heading(run, "roles");
    print_roles(run, config, *roles);
  }

  const auto parsing = Clock::now();
  assist::SyntaxRequest request;
  request.text = *text;
  request.cursor = cursor;
  request.path = target.path;
  const assist::SyntaxView view = assist::SyntaxView::make(request);
  print_syntax(run, **text, view, ms_since(parsing));
  print_path(run, **text, view, cursor);

  heading(run, "model");
  const auto loading = Clock::now();
  auto models = load_completion(run, config);
  if (!models) return run.fail(models.error());
  const engine::Capabilities can = models->generator->capabilities();
  run.out << fmt::format(
      "  {}\n  loaded in {}; {} tokens of context; {}; {}\n", can.description,
      milliseconds(ms_since(loading)), can.context,
      can.fill_in_middle ? "fills in the middle" : "has no fill-in-the-middle tokens",
      can.structure         ? "uses the syntax tree"
      : can.sparse_from > 0 ? fmt::format("sparse attention past {} tokens", can.sparse_from)
                            : "plain attention");

  auto input = completion_input(config, *text, cursor, target.path);
  input.scopes = view.scopes;
  input.tree = view.tree;
  const auto output = complete_now(*models->service, input);
  if (!output) return run.fail(output.error());
  const engine::Timings& t = output->timings;
  heading(run, "completion");
  run.out << fmt::format("  at {}:{}:{}\n", target.path, target.line, target.column);
  run.out << fmt::format("  prompt        {} tokens, made in {}\n", t.prompt_tokens,
                         milliseconds(output->prompt_ms));
  run.out << fmt::format("  prefill       {} ({} tokens reused)\n", milliseconds(t.prefill_ms),
                         t.reused_tokens);
  run.out << fmt::format("  decode        {} for {} tokens, {} drafted, {} of them accepted\n",
                         milliseconds(t.decode_ms), t.generated_tokens, t.drafted_tokens,
                         t.accepted_tokens);
  run.out << fmt::format("  first token   {}\n", milliseconds(t.ttft_ms));
  if (output->compare_ms > 0) {
    run.out << fmt::format("  compared      {}, with a line that stands elsewhere\n",
                           milliseconds(output->compare_ms));
  }
  if (output->route.cascade) {
    run.out << fmt::format("  cascade       {}: {}\n", output->route.model, output->route.reason);
  }
  run.out << fmt::format("  stopped by    {}\n", output->stop);
  run.out << fmt::format("  fitted in     {}{}\n", milliseconds(output->post_ms),
                         output->dropped.empty() ? "" : "; nothing to show: " + output->dropped);
  if (can.structure) {
    run.out << fmt::format("  attention     {:.0f} % of key blocks skipped\n",
                           100 * t.skipped_blocks);
  }
  if (!t.expert_loads.empty()) {
    const engine::ExpertSpread spread = engine::spread_of(t.expert_loads);
    run.out << fmt::format(
        "  experts       {}, the busiest had {:.1f} % of the tokens, {:.1f} times an even share\n",
        t.expert_loads.size(), 100 * spread.busiest, spread.imbalance);
  }
  run.out << fmt::format("  memory        {} resident\n\n", bytes_text(resident_bytes()));
  print_code(run.out, **text, cursor, *output, run.color());
  return run.exit;
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  auto argument = std::make_shared<std::string>();
  CLI::App* verb =
      app.add_subcommand("check", "Run the whole pipeline on a file and say what each stage did");
  verb->add_option("FILE", *argument, "FILE or FILE:LINE:COL, the cursor; default: the end")
      ->required();
  add_common_flags(*verb, run.flags);
  verb->callback([&run, argument] { run.exit = check(run, *argument); });
}

}  // namespace cambium::cli
