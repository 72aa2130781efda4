// `cambium review FILE…` and `cambium review --diff BASE`: findings for people, programs and CI.
#include "lsp/cli/review.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <set>

#include "lsp/assist/git.h"
#include "lsp/assist/privacy.h"
#include "lsp/assist/reviewer.h"
#include "lsp/assist/team_rules.h"
#include "lsp/cli/cli.h"
#include "lsp/text.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using assist::Finding;
using assist::Severity;
using nlohmann::json;

constexpr size_t kMostFiles = 200;

struct Flags {
  std::vector<std::string> files;
  std::string diff, reasoning, rules, format = "text", fail_on = "warning";
  bool no_model = false;
};

struct Reviewed {
  std::string path;  ///< as it is shown
  std::shared_ptr<const std::string> text;
  assist::ReviewOutput output;
};

/// 1-based, in characters: as an editor shows it.
struct Place {
  lsp::Position begin, end;
};
Place place_of(const std::string& text, const lsp::LineIndex& lines, syntax::ByteRange range) {
  Place place{lines.position(text, range.begin, lsp::PositionEncoding::utf32),
              lines.position(text, range.end, lsp::PositionEncoding::utf32)};
  for (lsp::Position* at : {&place.begin, &place.end}) ++at->line, ++at->character;
  return place;
}

json region_of(const Place& place) {
  return {{"startLine", place.begin.line},
          {"startColumn", place.begin.character},
          {"endLine", place.end.line},
          {"endColumn", place.end.character}};
}

void print_text(std::ostream& out, const Reviewed& file, bool color) {
  const lsp::LineIndex lines(*file.text);
  for (const Finding& finding : file.output.findings) {
    const Place place = place_of(*file.text, lines, finding.range);
    const char* tint = finding.severity == Severity::error ? "\x1b[31m" : "\x1b[33m";
    out << fmt::format("{}{}:{}:{}: {}{}{}: {} [{}]\n", color ? "\x1b[1m" : "", file.path,
                       place.begin.line, place.begin.character, color ? tint : "",
                       assist::to_string(finding.severity), color ? "\x1b[0m" : "", finding.message,
                       finding.code);
    const std::string_view line = lines.line(*file.text, place.begin.line - 1);
    if (line.size() > 200) continue;
    std::string under;
    for (size_t i = 0; i + 1 < place.begin.character && i < line.size(); ++i) {
      under += line[i] == '\t' ? '\t' : ' ';
    }
    const bool one_line = place.begin.line == place.end.line;
    const size_t width = one_line ? place.end.character - place.begin.character : 1;
    out << "  " << line << "\n  " << under << std::string(std::max<size_t>(width, 1), '^') << '\n';
    if (finding.fix) out << "  " << finding.fix->title << '\n';
  }
}

json json_of(const Reviewed& file) {
  const lsp::LineIndex lines(*file.text);
  json findings = json::array();
  for (const Finding& finding : file.output.findings) {
    json one = region_of(place_of(*file.text, lines, finding.range));
    one["file"] = file.path;
    one["code"] = finding.code;
    one["severity"] = assist::to_string(finding.severity);
    one["message"] = finding.message;
    one["fingerprint"] = finding.fingerprint;
    if (finding.fix) {
      one["fix"]["title"] = finding.fix->title;
      for (const assist::TextChange& change : finding.fix->changes) {
        json edit = region_of(place_of(*file.text, lines, change.range));
        edit["text"] = change.text;
        one["fix"]["changes"].push_back(std::move(edit));
      }
    }
    findings.push_back(std::move(one));
  }
  return findings;
}

/// SARIF 2.1.0 (OASIS).
json sarif_of(const std::vector<Reviewed>& files) {
  json results = json::array(), rules = json::array();
  std::set<std::string> known;
  for (const Reviewed& file : files) {
    const lsp::LineIndex lines(*file.text);
    const json artifact = {{"uri", file.path}};
    for (const Finding& finding : file.output.findings) {
      if (known.insert(finding.code).second) rules.push_back({{"id", finding.code}});
      const char* level = finding.severity == Severity::error     ? "error"
                          : finding.severity == Severity::warning ? "warning"
                                                                  : "note";
      json result = {{"ruleId", finding.code},
                     {"level", level},
                     {"message", {{"text", finding.message}}},
                     {"locations",
                      {{{"physicalLocation",
                         {{"artifactLocation", artifact},
                          {"region", region_of(place_of(*file.text, lines, finding.range))}}}}}},
                     {"partialFingerprints", {{"cambium/v1", finding.fingerprint}}}};
      if (finding.fix) {
        json replacements = json::array();
        for (const assist::TextChange& change : finding.fix->changes) {
          replacements.push_back(
              {{"deletedRegion", region_of(place_of(*file.text, lines, change.range))},
               {"insertedContent", {{"text", change.text}}}});
        }
        result["fixes"] = {{{"description", {{"text", finding.fix->title}}},
                            {"artifactChanges",
                             {{{"artifactLocation", artifact}, {"replacements", replacements}}}}}};
      }
      results.push_back(std::move(result));
    }
  }
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
          {"version", "2.1.0"},
          {"runs",
           {{{"tool",
              {{"driver", {{"name", "cambium"}, {"version", CAMBIUM_VERSION}, {"rules", rules}}}}},
             {"columnKind", "unicodeCodePoints"},
             {"results", results}}}}};
}

/// What is to be reviewed: the files named, or those that differ from the base.
Result<std::vector<std::string>> files_of(const Flags& flags, std::vector<std::string>& notes) {
  if (!flags.files.empty()) return flags.files;
  auto changed = assist::files_changed_since(".", flags.diff);
  if (!changed) return changed;
  std::error_code ignored;
  const fs::path here = fs::current_path(ignored);
  if (changed->size() > kMostFiles) {
    notes.push_back(
        fmt::format("the first {} of {} changed files were reviewed", kMostFiles, changed->size()));
    changed->resize(kMostFiles);
  }
  for (std::string& file : *changed) file = fs::path(file).lexically_proximate(here).string();
  return changed;
}

/// The model that --reasoning names, in the role of one.
Result<std::shared_ptr<const assist::Assistant>> load_assistant(const std::string& path,
                                                                const Config& config) {
  auto generator = engine::load_model(path, load_options(config));
  if (!generator) return tl::unexpected(generator.error());
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::reasoning, std::move(*generator));
  return std::make_shared<const assist::Assistant>(std::move(models));
}

int review(Run& run, const Flags& flags) {
  if (flags.files.empty() && flags.diff.empty()) {
    return run.fail(
        {ErrorCode::invalid_argument, "name files, or --diff with what to compare with"});
  }
  std::vector<std::string> notes;
  auto files = files_of(flags, notes);
  if (!files) return run.fail(files.error());
  auto settings = settings_for(run, files->empty() ? std::string() : files->front());
  if (!settings) return run.fail(settings.error());

  assist::Privacy privacy;
  std::string rules;
  if (!flags.rules.empty()) {
    auto read = read_source(flags.rules);
    if (!read) return run.fail(read.error());
    rules = **read;
  } else if (!flags.reasoning.empty()) {
    std::error_code ignored;
    const std::string here = fs::current_path(ignored).string();
    auto own = assist::read_team_rules(
        here, assist::is_within(here, settings->config().trusted_folders),
        [&](const std::string& path) { return !privacy.why_private(path).empty(); });
    rules = std::move(own.text);
    if (!own.note.empty()) notes.push_back(std::move(own.note));
  }
  std::shared_ptr<const assist::Assistant> assistant;
  if (!flags.reasoning.empty()) {
    auto loaded = load_assistant(flags.reasoning, settings->config());
    if (!loaded) return run.fail(loaded.error());
    assistant = std::move(*loaded);
  }
  std::shared_ptr<engine::Generator> generator;
  std::vector<Reviewed> reviewed;
  for (const std::string& path : *files) {
    assist::ReviewInput input;
    std::error_code ignored;
    input.path = fs::absolute(path, ignored).lexically_normal().string();
    auto text = read_source(path);
    if (!text) {
      if (!flags.files.empty()) return run.fail(text.error());
      notes.push_back(text.error().message);  // a picture in a diff is nobody's mistake
      continue;
    }
    if (const std::string& why = privacy.why_private(input.path); !why.empty()) {
      notes.push_back(path + ": not reviewed, " + why);
      continue;
    }
    input.text = *text;
    input.extent = flags.diff.empty() ? assist::ReviewExtent::whole : assist::ReviewExtent::changes;
    input.base_revision = flags.diff.empty() ? "HEAD" : flags.diff;
    if (!flags.no_model && settings->config().review_model) {
      if (!generator) {
        auto loaded = load_generator(run, settings->config());
        if (!loaded) return run.fail(loaded.error());
        generator = std::move(*loaded);
      }
      input.generator = generator;
    }
    input.assistant = assistant;
    input.workspace = fs::current_path(ignored).string();
    input.rules = rules;
    auto output = assist::review_now(input);
    if (!output) return run.fail(output.error());
    for (const std::string& note : output->notes) notes.push_back(path + ": " + note);
    reviewed.push_back({path, *text, std::move(*output)});
  }

  size_t counts[5] = {};
  for (const Reviewed& file : reviewed) {
    for (const Finding& finding : file.output.findings)
      ++counts[static_cast<size_t>(finding.severity)];
  }
  if (flags.format == "sarif") {
    run.out << sarif_of(reviewed).dump(2) << '\n';
  } else if (flags.format == "json") {
    json all = {{"findings", json::array()}, {"files", reviewed.size()}, {"notes", notes}};
    size_t lines = 0;
    double ms = 0;
    for (const Reviewed& file : reviewed) {
      lines += file.output.lines;
      ms += file.output.ms;
      for (json& finding : json_of(file)) all["findings"].push_back(std::move(finding));
    }
    all["lines"] = lines;
    all["ms"] = ms;
    run.out << all.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
  } else {
    for (const Reviewed& file : reviewed) print_text(run.out, file, run.color());
    run.out << fmt::format("{} error{}, {} warning{}, {} hint{} in {} file{}\n", counts[1],
                           counts[1] == 1 ? "" : "s", counts[2], counts[2] == 1 ? "" : "s",
                           counts[3] + counts[4], counts[3] + counts[4] == 1 ? "" : "s",
                           reviewed.size(), reviewed.size() == 1 ? "" : "s");
  }
  if (flags.format != "json") {
    for (const std::string& note : notes) run.err << "cambium: " << note << '\n';
  }
  const size_t worst = flags.fail_on == "error"         ? 1
                       : flags.fail_on == "warning"     ? 2
                       : flags.fail_on == "information" ? 4
                                                        : 0;
  for (size_t severity = 1; severity <= worst; ++severity) {
    if (counts[severity] > 0) run.exit = kFailed;
  }
  return run.exit;
}

}  // namespace

void add_review(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("review", "What is wrong in files, or in what changed in them");
  verb->add_option("FILE", flags->files, "Files to review; default: those that differ from --diff");
  verb->add_option("--diff", flags->diff,
                   "Only lines that differ from this revision, such as main");
  verb->add_option("--format", flags->format, "text, json or sarif")
      ->check(CLI::IsMember({"text", "json", "sarif"}));
  verb->add_option(
          "--fail-on", flags->fail_on,
          "Exit with 1 if there is such a finding or a worse one: error, warning (default), "
          "information or never")
      ->check(CLI::IsMember({"error", "warning", "information", "never"}));
  verb->add_option("--reasoning", flags->reasoning,
                   "A model file that chats, best one that reasons: it reviews the change too");
  verb->add_option(
      "--rules", flags->rules,
      "With --reasoning: a file of what your team cares about; default: .cambium/review.md "
      "here, in a folder that you trust (trustedFolders in config.json)");
  verb->add_flag("--no-model", flags->no_model, "Only what does not parse");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = review(run, *flags); });
}

}  // namespace cambium::cli
