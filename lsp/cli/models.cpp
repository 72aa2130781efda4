// `cambium models`: what model files are here and what is in one.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <vector>

#include "engine/adapter.h"
#include "engine/config.h"
#include "engine/cpu_variants.h"
#include "engine/gguf.h"
#include "engine/prompt_format.h"
#include "engine/remote/download.h"
#include "engine/tokenizer.h"
#include "lsp/cli/models_pull.h"
#include "lsp/cli/models_use.h"
#include "lsp/cli/roles.h"
#include "lsp/cli/verbs.h"
#include "lsp/environment.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct TypeCount {
  int tensors = 0;
  int64_t elements = 0;
  uint64_t bytes = 0;
};

std::map<std::string, TypeCount> tensors_by_type(const engine::GgufFile& file) {
  std::map<std::string, TypeCount> types;
  for (const engine::GgufTensor& tensor : file.tensors()) {
    TypeCount& count = types[std::string(engine::type_traits(tensor.type)->name)];
    ++count.tensors;
    count.elements += tensor.elements();
    count.bytes += tensor.bytes;
  }
  return types;
}

// `n_head`: of a layer.
std::string structure_text(const engine::StructureConfig& structure, int32_t n_head) {
  if (!structure.any()) return "off (plain attention)";
  using Mode = engine::StructureMode;
  const size_t layers = structure.mode.size();
  const auto layers_of = [&](Mode mode) {
    return std::count(structure.mode.begin(), structure.mode.end(), mode);
  };
  std::vector<std::string> parts;
  if (const auto n = layers_of(Mode::emphasis); n > 0)
    parts.push_back(fmt::format("{} of {} layers emphasise", n, layers));
  const auto heads = [&](Mode mode, const char* what) {
    if (const int64_t n = structure.heads_of(mode, n_head); n > 0)
      parts.push_back(
          fmt::format("{} of {} heads see {}", n, static_cast<int64_t>(layers) * n_head, what));
  };
  heads(Mode::prune, "only their path to the root");
  heads(Mode::own, "only their own scope");
  if (const auto n = layers_of(Mode::tree); n > 0)
    parts.push_back(fmt::format("{} of {} layers have tree positions", n, layers));
  std::string text = fmt::to_string(fmt::join(parts, ", "));
  const engine::PruneRule& rule = structure.rule;
  if (structure.prunes()) {
    text += fmt::format(" (window {}, sinks {}", rule.window, rule.sinks);
    if (rule.scope_window != INT32_MAX)
      text += fmt::format(", scopes seen {} tokens far", rule.scope_window);
    text += ")";
  }
  return text;
}

std::string fim_text(const engine::PromptFormat& format) {
  if (!format.fim) return "none: not a completion model";
  std::string orders = format.fim->psm ? "prefix-suffix-middle" : "";
  if (format.fim->spm)
    orders += std::string(orders.empty() ? "" : " and ") + "suffix-prefix-middle";
  return fmt::format("{}; tokens {}, {}, {}", orders, format.fim->prefix, format.fim->suffix,
                     format.fim->middle);
}

/// What a completion model needs of a file, or why this build cannot use it.
struct Inside {
  std::shared_ptr<const engine::GgufFile> file;
  Result<engine::ModelConfig> config = cambium::fail(ErrorCode::bad_format, "");
  std::shared_ptr<const engine::PromptFormat> format;  ///< null: `problem` says why
  int32_t vocabulary = 0;
  std::string problem;
};

Result<Inside> look_inside(const std::string& path) {
  Inside inside;
  auto file = engine::GgufFile::open(path);
  if (!file) return tl::unexpected(file.error());
  inside.file = *file;
  inside.config = engine::ModelConfig::from_gguf(**file);
  if (!inside.config) inside.problem = inside.config.error().message;
  auto tokenizer = engine::Tokenizer::from_gguf(**file);
  if (!tokenizer) {
    if (inside.problem.empty()) inside.problem = tokenizer.error().message;
    return inside;
  }
  inside.vocabulary = (*tokenizer)->size();
  auto format = engine::PromptFormat::from_gguf(**file, **tokenizer);
  if (format) {
    inside.format = *format;
  } else if (inside.problem.empty()) {
    inside.problem = format.error().message;
  }
  return inside;
}

int info(Run& run, const std::string& path, bool as_json, bool metadata) {
  auto inside = look_inside(path);
  if (!inside) return run.fail(inside.error());
  const engine::GgufFile& file = *inside->file;
  const auto architecture = file.architecture();
  int64_t parameters = 0;
  for (const engine::GgufTensor& tensor : file.tensors()) parameters += tensor.elements();
  const auto types = tensors_by_type(file);
  std::optional<engine::AdapterInfo> adapter;
  if (engine::is_adapter(file)) {
    auto told = engine::adapter_info(file);
    if (!told) return run.fail(told.error());
    adapter = *told;
    inside->problem.clear();  // no model, and none is needed
  }

  if (as_json) {
    json out{{"path", path},
             {"architecture", architecture ? std::string(*architecture) : ""},
             {"bytes", file.file_bytes()},
             {"parameters", parameters},
             {"vocabulary", inside->vocabulary},
             {"problem", inside->problem}};
    for (const auto& [name, count] : types) {
      out["tensors"][name] = {
          {"count", count.tensors}, {"elements", count.elements}, {"bytes", count.bytes}};
    }
    if (adapter) {
      out["adapter"] = {{"updates", adapter->updates},
                        {"rank", adapter->rank},
                        {"alpha", adapter->alpha},
                        {"structure_tensors", adapter->structure}};
    }
    if (inside->config) {
      const engine::ModelConfig& c = *inside->config;
      out["name"] = c.name;
      out["layers"] = c.n_layer;
      out["embedding"] = c.n_embd;
      out["feed_forward"] = c.n_ff;
      out["heads"] = c.n_head;
      out["kv_heads"] = c.n_kv_head;
      out["head_dim"] = c.head_dim_k;
      out["context"] = c.context;
      if (c.latent) out["kv_rank"] = c.latent->kv_rank;
      if (c.experts) {
        out["experts"] = c.experts->rule.n_expert;
        out["experts_used"] = c.experts->rule.n_used;
        out["experts_shared"] = c.experts->n_shared;
      }
      out["structure"] = structure_text(c.structure, c.n_head);
    }
    if (inside->format && inside->format->fim) {
      const engine::FimTokens& fim = *inside->format->fim;
      out["fim"] = {{"psm", fim.psm},
                    {"spm", fim.spm},
                    {"prefix", fim.prefix},
                    {"suffix", fim.suffix},
                    {"middle", fim.middle}};
    }
    for (const engine::CpuVariant& variant : engine::cpu_variants()) {
      out["cpu_kernels"].push_back({{"name", variant.name}, {"runs", variant.runs}});
    }
    run.out << out.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
    return run.exit;
  }

  const auto row = [&](std::string_view what, const std::string& value) {
    run.out << fmt::format("  {:<14} {}\n", what, value);
  };
  run.out << path << '\n';
  if (inside->config) row("name", inside->config->name);
  row("architecture", architecture ? std::string(*architecture) : "not said");
  row("size", fmt::format("{}, {:.1f} M parameters, GGUF v{}{}", bytes_text(file.file_bytes()),
                          static_cast<double>(parameters) / 1e6, file.version(),
                          file.parts() > 1 ? fmt::format(", {} parts", file.parts()) : ""));
  if (adapter) {
    row("adapter",
        fmt::format("{} low-rank updates of rank {} (alpha {:g}), {} tensors of structure; "
                    "use it with --adapter beside a llama model",
                    adapter->updates, adapter->rank, adapter->alpha, adapter->structure));
  }
  if (inside->config) {
    const engine::ModelConfig& c = *inside->config;
    row("shape",
        fmt::format(
            "{} layers, embedding {}, feed-forward {}, {} heads ({} for keys and values) of {}",
            c.n_layer, c.n_embd, c.n_ff, c.n_head, c.n_kv_head, c.head_dim_k));
    if (c.latent) {
      row("attention",
          fmt::format("latent of {} and {} rotated elements a token, {}", c.latent->kv_rank,
                      c.latent->rope,
                      c.latent->q_rank > 0 ? fmt::format("queries through {}", c.latent->q_rank)
                                           : std::string("queries at once")));
    }
    if (c.experts) {
      const engine::ExpertRule& rule = c.experts->rule;
      row("experts",
          fmt::format("{} of {} a token and {} shared, {} wide, from layer {}; {}", rule.n_used,
                      rule.n_expert, c.experts->n_shared, c.experts->n_ff, c.experts->n_dense,
                      rule.gating == engine::Gating::sigmoid ? "sigmoid" : "softmax"));
    }
    row("context", fmt::format("{} tokens, {} of keys and values a token", c.context,
                               bytes_text(c.kv_bytes_per_cell())));
    row("structure", structure_text(c.structure, c.n_head));
  }
  if (inside->vocabulary > 0) row("vocabulary", std::to_string(inside->vocabulary) + " tokens");
  if (inside->format) row("fill-in-middle", fim_text(*inside->format));
  row("CPU kernels", engine::cpu_variants_text());
  bool first = true;
  for (const auto& [name, count] : types) {
    row(first ? "tensors" : "",
        fmt::format("{:<8} {:>4}  {:>10}", name, count.tensors, bytes_text(count.bytes)));
    first = false;
  }
  if (metadata) {
    run.out << "metadata\n";
    for (const auto& [key, value] : file.metadata()) {
      run.out << fmt::format("  {} = {}\n", key, value.to_text());
    }
  }
  if (!inside->problem.empty()) run.out << "  cannot be used: " << inside->problem << '\n';
  return run.exit;
}

/// Roles and files, for programs. `bundled`: nothing but the model that ships has been set up.
json listed(const ModelsConfig& models, const Result<ModelChoice>& chosen,
            const std::vector<fs::path>& files) {
  json out{{"config", models_config_path().string()},
           {"roles", json::object()},
           {"bundled", chosen && chosen->bundled},
           {"files", json::array()}};
  for (const assist::Role role : assist::kRoles) {
    const auto& model = models.role(role);
    if (!model) continue;
    out["bundled"] = false;
    out["roles"][assist::to_string(role)] = {{"name", model->name()},
                                             {"where", model->remote() ? model->url : model->file}};
  }
  for (const fs::path& path : files) {
    json row{{"path", path.string()}, {"used", chosen && path == chosen->path}};
    auto inside = look_inside(path.string());
    row["problem"] = inside ? inside->problem : inside.error().message;
    if (inside) row["bytes"] = inside->file->file_bytes();
    if (inside && inside->config) row["name"] = inside->config->name;
    out["files"].push_back(std::move(row));
  }
  return out;
}

/// Folders in which model files are looked for: of the bundled model, of the one that is set, and the
/// user's own.
int list(Run& run, bool as_json) {
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& file) {
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored)) return;
    if (seen.insert(fs::weakly_canonical(file, ignored)).second) files.push_back(file);
  };
  if (!settings->config().model.empty()) add(settings->config().model);
  const auto add_folder = [&](const fs::path& folder) {
    std::error_code nowhere;
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder, nowhere)) {
      if (entry.path().extension() == ".gguf") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    for (const fs::path& file : found) add(file);
  };
  for (const std::string& bundled : bundled_model_paths()) {
    add_folder(fs::path(bundled).parent_path());
  }
  add_folder(user_models_folder());
  auto models = configured_models(run);
  if (!models) return run.fail(models.error());
  const auto chosen = choose_model(settings->config());
  if (as_json) {
    run.out << listed(*models, chosen, files).dump(2, ' ', false, json::error_handler_t::replace)
            << '\n';
    return run.exit;
  }
  print_roles(run, settings->config(), *models);
  for (const fs::path& path : files) {
    const bool used = chosen && path == chosen->path;
    auto inside = look_inside(path.string());
    std::string what = inside ? inside->problem : inside.error().message;
    if (what.empty()) {
      what = fmt::format("{}, {}, {}", inside->config->name, inside->config->architecture,
                         bytes_text(inside->file->file_bytes()));
    }
    run.out << (used ? "* " : "  ") << path.string() << "  " << what << '\n';
  }
  if (files.empty())
    return run.fail(chosen ? Error{ErrorCode::not_found, chosen->path + ": no such file"}
                           : chosen.error());
  return run.exit;
}

/// Loads the file as a completion would and makes it write, which reads every weight.
int verify(Run& run, const std::string& path) {
  // The sum finds what a few tokens would not: damage anywhere in the file.
  const auto checked = engine::verify_checksum(path);
  if (!checked) return run.fail(checked.error());
  run.flags.model = path;
  auto settings = settings_for(run, {});
  if (!settings) return run.fail(settings.error());
  auto generator = load_generator(run, settings->config());
  if (!generator) return run.fail(generator.error());
  const engine::Capabilities can = (*generator)->capabilities();
  engine::Request request;
  if ((*generator)->tokenizer() == nullptr) {
    return run.fail({ErrorCode::unsupported, path + ": has no tokenizer"});
  }
  request.prompt = (*generator)->tokenizer()->encode("int main() {");
  request.max_tokens = 4;
  std::promise<Result<engine::Generated>> promise;
  (*generator)->generate(std::move(request), nullptr, [&](Result<engine::Generated> result) {
    promise.set_value(std::move(result));
  });
  const auto generated = promise.get_future().get();
  if (!generated) return run.fail(generated.error());
  for (const float logprob : generated->logprobs) {
    if (logprob <= 0.001f) continue;
    return run.fail(
        {ErrorCode::bad_format, path + ": its output is no probability; the file is damaged"});
  }
  run.out << path << ": sound (" << can.description << (*checked ? "; its SHA-256 is right" : "")
          << ")\n";
  return run.exit;
}

}  // namespace

void add_models(CLI::App& app, Run& run) {
  struct Flags {
    std::string path;
    bool json = false, metadata = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("models", "Model files: list, info, pull, use, verify");
  verb->require_subcommand(1);

  CLI::App* one = verb->add_subcommand("info", "What is in a GGUF file");
  one->add_option("FILE", flags->path)->required();
  one->add_flag("--json", flags->json, "As JSON");
  one->add_flag("--metadata", flags->metadata, "Also every key of the file");
  one->callback([&run, flags] { run.exit = info(run, flags->path, flags->json, flags->metadata); });

  CLI::App* all = verb->add_subcommand(
      "list",
      "The roles that models have, and the model files that are here; * marks the one in use");
  add_common_flags(*all, run.flags);
  all->add_flag("--json", flags->json, "As JSON");
  all->callback([&run, flags] { run.exit = list(run, flags->json); });

  add_pull(*verb, run);
  add_use(*verb, run);

  CLI::App* sound = verb->add_subcommand(
      "verify", "Compare a model file with its SHA-256, load it and let it write");
  sound->add_option("FILE", flags->path)->required();
  add_common_flags(*sound, run.flags);
  sound->callback([&run, flags] { run.exit = verify(run, flags->path); });
}

}  // namespace cambium::cli
