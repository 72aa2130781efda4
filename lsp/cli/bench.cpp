// `cambium bench`: the figures of this machine, beside the goals the project has set itself.
#include "lsp/cli/bench.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <ostream>
#include <set>

#include "engine/bench.h"
#include "engine/gguf_writer.h"
#include "lsp/cli/cli.h"
#include "lsp/cli/verbs.h"
#include "lsp/eval/cases.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Better = Figure::Better;

constexpr std::array kSections{"syntax",    "alignment", "lsp",   "typing",
                               "attention", "review",    "engine"};
constexpr const char* kLong = "long";  // only where asked for: it takes minutes

struct Flags {
  std::vector<std::string> only;
  std::string against;  ///< folder with node_modules/node-llama-cpp
  bool json = false, large = false, moe_stats = false;
  bool gpu = false;
  std::string shape, type = "q4_k";
  std::vector<std::string> replay;  ///< texts for speculation's row of --gpu
  std::string data;                 ///< attention, long: sources to read
  /// Attention: of the rule; -1: as PruneRule has them.
  int32_t window = -1, sinks = -1, scope_window = -1;
};

/// A folder of our own, removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(fs::temp_directory_path() / ("cambium-bench-" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// llama.cpp's best figures for a file, by the script that drives its prebuilt library.
Result<json> run_llama_cpp(const std::string& folder, const std::string& model, int threads) {
  const std::string script = std::string(CAMBIUM_SOURCE_DIR) + "/tests/bench/llama_cpp.mjs";
  std::string command = "node " + quoted(script) + " " + quoted(folder) + " " + quoted(model);
  if (threads > 0) command += " --threads 1," + std::to_string(threads);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return cambium::fail(ErrorCode::io, "cannot run node");
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), n);
  const int status = pclose(pipe);
  json figures = json::parse(output, nullptr, false);
  if (status != 0 || !figures.is_object() || !figures.contains("prefill")) {
    return cambium::fail(
        ErrorCode::unavailable,
        "llama.cpp did not run: " + folder +
            "/node_modules must hold the npm package node-llama-cpp, and node must be on PATH");
  }
  return figures;
}

void add_engine_figures(const std::string& name, const engine::BenchFigures& ours,
                        const json& theirs, Figures& figures, bool moe_stats = false) {
  const auto add = [&](const char* what, double rate, const char* key, double goal) {
    figures.push_back({"engine", name + ": " + what, rate, "tok/s", 0, Better::more});
    if (!theirs.is_object()) return;
    // Its best of several settings, which differ from figure to figure.
    const json& best = theirs.at(key);
    const double other = best.value("tps", 0.0);
    const std::string setting =
        fmt::format("{}, llama.cpp ({} thread{}, flash attention {})", what,
                    best.value("threads", 0), best.value("threads", 0) == 1 ? "" : "s",
                    best.value("flash_attention", false) ? "on" : "off");
    figures.push_back({"engine", name + ": " + setting, other, "tok/s", 0, Better::more});
    if (other > 0) {
      figures.push_back(
          {"engine", name + ": " + what + ", ratio", rate / other, "x", goal, Better::more});
    }
  };
  add("prefill of 512", ours.prefill_tps, "prefill", 0.9);
  add("decode, empty context", ours.decode_tps, "decode", 0.9);
  add("decode after 1,500 tokens", ours.decode_context_tps, "decode_1500", 1.5);
  figures.push_back(
      {"engine", name + ": one pass of 8 tokens after 1,500", ours.verify_8_ms, "ms"});
  add_expert_figures(name, ours.expert_loads, moe_stats, figures);
}

Result<void> bench_engine(const std::string& bundled, const Config& config, const Flags& flags,
                          json& opponent, Figures& figures) {
  engine::BenchOptions options;
  options.load = load_options(config);
  auto ours = engine::bench_model(bundled, options);
  if (!ours) return tl::unexpected(ours.error());
  add_engine_figures(ours->model, *ours, nullptr, figures, flags.moe_stats);

  // Plain files with random weights, which llama.cpp reads too: speed depends on shapes and types.
  const TemporaryFolder folder;
  const auto vocabulary = engine::GgufFile::open(bundled);
  std::vector<std::string> shapes{"cambium-40m"};
  if (flags.large) shapes.emplace_back("deepseek-coder-1.3b");
  for (const std::string& shape_name : shapes) {
    for (const engine::DType type : {engine::DType::q8_0, engine::DType::q4_k}) {
      auto shape = engine::model_shape(shape_name);
      if (!shape) return tl::unexpected(shape.error());
      engine::RandomModelOptions random;
      random.shape = *shape;
      random.shape.architecture = "llama";
      random.type = type;
      if (vocabulary && shape_name == "cambium-40m") random.tokenizer = vocabulary->get();
      const std::string path = folder.file("model.gguf");
      if (auto written = engine::write_random_model(path, random); !written) return written;
      auto mine = engine::bench_model(path, options);
      if (!mine) return tl::unexpected(mine.error());
      json theirs;
      if (!flags.against.empty()) {
        auto run = run_llama_cpp(flags.against, path, config.threads);
        if (!run) return tl::unexpected(run.error());
        theirs = std::move(*run);
        opponent = {{"llama_cpp", theirs.value("llama_cpp", "")}, {"cpu", theirs.value("cpu", "")}};
      }
      const std::string name =
          fmt::format("random {} {}", shape_name, engine::type_traits(type)->name);
      add_engine_figures(name, *mine, theirs, figures);
    }
  }
  return {};
}

/// One shape, on whatever device the settings name.
Result<void> bench_shape(const Config& config, const Flags& flags, Figures& figures) {
  auto shape = engine::model_shape(flags.shape);
  if (!shape) return tl::unexpected(shape.error());
  auto type = weight_type(flags.type);
  if (!type) return tl::unexpected(type.error());
  const TemporaryFolder folder;
  engine::RandomModelOptions random;
  random.shape = *shape;
  random.type = *type;
  const std::string path = folder.file("model.gguf");
  if (auto written = engine::write_random_model(path, random); !written) return written;
  engine::BenchOptions options;
  options.load = load_options(config);
  auto measured = engine::bench_model(path, options);
  if (!measured) return tl::unexpected(measured.error());
  add_engine_figures(
      fmt::format("{} {}, {}", shape->name, engine::type_traits(*type)->name, measured->backend),
      *measured, nullptr, figures, flags.moe_stats);
  return {};
}

void print_table(Run& run, const Figures& figures) {
  const bool color = run.color();
  std::string section;
  for (const Figure& figure : figures) {
    if (figure.section != section) {
      section = figure.section;
      run.out << (color ? "\x1b[1m" : "") << section << (color ? "\x1b[0m" : "") << '\n';
    }
    std::string goal;
    if (figure.goal != 0) {
      goal =
          fmt::format("goal {} {:g}  {}", figure.better == Better::less ? "<=" : ">=", figure.goal,
                      figure.met() ? "met" : "MISSED");
    }
    const int digits = figure.value >= 100 ? 0 : figure.value >= 10 ? 1 : figure.value >= 1 ? 2 : 3;
    run.out << fmt::format("  {:<92} {:>9.{}f} {:<7} {}\n", figure.name, figure.value, digits,
                           figure.unit, goal);
  }
}

json figures_json(const Figures& figures) {
  json out = json::array();
  for (const Figure& figure : figures) {
    json one{{"section", figure.section},
             {"name", figure.name},
             {"value", figure.value},
             {"unit", figure.unit}};
    if (figure.goal != 0) {
      one["goal"] = figure.goal;
      one["better"] = figure.better == Better::less ? "less" : "more";
      one["met"] = figure.met();
    }
    out.push_back(std::move(one));
  }
  return out;
}

/// The files of --data; none where it is not given.
Result<std::vector<BenchText>> data_files(const Flags& flags) {
  std::vector<BenchText> files;
  if (flags.data.empty()) return files;
  auto sources = eval::read_sources(flags.data);
  if (!sources) return tl::unexpected(sources.error());
  for (const training::SourceFile& file : sources->files)
    files.push_back({std::string(file.path), std::string(file.text)});
  return files;
}

Result<void> attention(const engine::Generator& model, int threads, const Flags& flags,
                       Figures& figures) {
  engine::PruneRule rule;
  if (flags.window >= 0) rule.window = flags.window;
  if (flags.sinks >= 0) rule.sinks = flags.sinks;
  if (flags.scope_window >= 0) rule.scope_window = flags.scope_window;
  auto files = data_files(flags);
  if (!files) return tl::unexpected(files.error());
  return bench_attention(model, threads, rule, *files, figures);
}

int bench(Run& run, const Flags& flags) {
  std::set<std::string> sections(flags.only.begin(), flags.only.end());
  if (sections.empty()) sections.insert(kSections.begin(), kSections.end());
  const auto wanted = [&](const char* name) { return sections.count(name) != 0; };
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  const Config& config = settings->config();

  if (flags.gpu) {
    const TemporaryFolder folder;
    GpuFlags gpu{flags.shape,  flags.type, config.device, folder.file(""),
                 flags.replay, flags.json, wanted(kLong)};
    if (gpu.replay.empty())
      for (const char* name : {"engine/gguf.cpp", "engine/scheduler.cpp", "lsp/cli/bench.cpp"})
        gpu.replay.push_back(std::string(CAMBIUM_SOURCE_DIR) + "/" + name);
    if (auto done = bench_gpu(run, gpu); !done) return run.fail(done.error());
    return run.exit;
  }
  Figures figures;
  std::string model_text;
  json opponent;
  const bool terminal = !flags.json;
  const auto say = [&](const char* what) {
    if (terminal) run.err << "measuring: " << what << '\n' << std::flush;
  };
  if (!flags.shape.empty()) {
    sections.clear();
    say(flags.shape.c_str());
    if (auto done = bench_shape(config, flags, figures); !done) return run.fail(done.error());
  }
  // What needs memory figures of its own comes before what leaves large models behind.
  if (wanted("typing") || wanted("lsp") || wanted("alignment") || wanted("attention") ||
      wanted("review")) {
    auto model = load_generator(run, config);
    if (!model) return run.fail(model.error());
    const engine::Capabilities can = (*model)->capabilities();
    if (!can.fill_in_middle) {
      return run.fail(
          {ErrorCode::unsupported,
           can.model + ": has no fill-in-the-middle tokens, so there is no typing to measure"});
    }
    model_text = can.description;
    if (wanted("typing")) {
      say("typing");
      if (auto done = bench_typing(*model, figures); !done) return run.fail(done.error());
    }
    if (wanted("alignment")) {
      say("alignment");
      bench_alignment(**model, figures);
    }
    if (wanted("attention")) {
      say("attention");
      if (auto done = attention(**model, config.threads, flags, figures); !done)
        return run.fail(done.error());
    }
    if (wanted("review")) {
      say("review");
      if (auto done = bench_review(**model, figures); !done) return run.fail(done.error());
    }
    if (wanted("lsp")) {
      say("lsp");
      if (auto done = bench_lsp(*model, figures); !done) return run.fail(done.error());
    }
  }
  if (wanted("syntax")) {
    say("syntax");
    bench_syntax(figures);
  }
  if (wanted("engine")) {
    say("engine");
    auto choice = choose_model(config);
    if (!choice) return run.fail(choice.error());
    if (auto done = bench_engine(choice->path, config, flags, opponent, figures); !done) {
      return run.fail(done.error());
    }
  }

  if (wanted(kLong)) {
    say(kLong);
    auto choice = choose_model(config);
    if (!choice) return run.fail(choice.error());
    auto files = data_files(flags);
    if (!files) return run.fail(files.error());
    if (auto done = bench_long(choice->path, load_options(config), *files, figures); !done) {
      return run.fail(done.error());
    }
  }

  const std::string machine = engine::machine_description();
  if (flags.json) {
    json out{{"machine", machine}, {"model", model_text}, {"figures", figures_json(figures)}};
    if (!opponent.is_null()) out["against"] = opponent;
    run.out << out.dump(2) << '\n';
    return run.exit;
  }
  run.out << machine << '\n';
  if (!model_text.empty()) run.out << model_text << '\n';
  if (!opponent.is_null()) run.out << "llama.cpp: " << opponent.dump() << '\n';
  print_table(run, figures);
  return run.exit;
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("bench", "The figures of this machine, as a table or as JSON");
  std::vector<std::string> known(kSections.begin(), kSections.end());
  known.emplace_back(kLong);
  verb->add_option("--only", flags->only,
                   "Sections: syntax, alignment, lsp, typing, attention, review, engine; and long, "
                   "which only runs "
                   "where it is named")
      ->delimiter(',')
      ->check(CLI::IsMember(known));
  verb->add_flag("--moe-stats", flags->moe_stats,
                 "Of a mixture of experts, the share of tokens each expert had");
  verb->add_option("--against-llama-cpp", flags->against,
                   "Folder whose node_modules holds node-llama-cpp: run it on the same files");
  verb->add_flag("--large", flags->large,
                 "Also a model of 1.3 B parameters (2 GB of temporary files)");
  verb->add_flag("--gpu", flags->gpu,
                 "What the GPU reaches on models of real shapes, against what it could (16 GB of "
                 "its memory, 8 GB of temporary files)");
  verb->add_option(
      "--shape", flags->shape,
      "Only a model of this shape with random weights: 1.3b, 6.7b, r1-distill-llama-8b, "
      "qwen-1.5b, v2-lite");
  verb->add_option("--type", flags->type, "Type of its weights: q4_k, q5_k, q6_k, q8_0, q4_0, f16");
  verb->add_option("--replay", flags->replay, "With --gpu: texts that speculation is tried on");
  verb->add_option("--data", flags->data,
                   "For attention and long: sources to read, a folder or a container");
  verb->add_option("--window", flags->window, "For attention: places on either side always seen")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--scope-window", flags->scope_window,
                   "For attention: places up to which a token sees its own scope or path")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--sinks", flags->sinks, "For attention: first cells always seen")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--json", flags->json, "As JSON");
  add_common_flags(*verb, run.flags);
  verb->callback([&run, flags] { run.exit = bench(run, *flags); });
}

}  // namespace cambium::cli
