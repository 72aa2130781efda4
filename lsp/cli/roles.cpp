#include "lsp/cli/roles.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using assist::Role;

lsp::LoadModel loader_of(Run& run, const Config& config, const ModelSource& source, bool sparse) {
  return lsp::load_completer(
      [&run, config, source, sparse](const std::function<void(double)>& progress)
          -> Result<std::shared_ptr<engine::Generator>> {
        if (source.remote()) return open_endpoint(source);
        engine::LoadOptions options = load_options(config);
        options.adapter = source.adapter;
        options.sparse_from = sparse ? engine::kSparseFrom : 0;
        if (source.context > 0) options.engine.context = source.context;
        options.on_progress = progress;
        options.engine.on_notice = [&run](const std::string& text) {
          run.err << "cambium: " + text + '\n' << std::flush;
        };
        return engine::load_model(source.file, options);
      });
}

bool is_instruct(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name.find("instruct") != name.npos || name.find("chat") != name.npos;
}

uint64_t estimate(const ModelSource& source) {
  return source.remote() ? 0 : model_file_bytes(source.file);
}

bool is_sparse(const Config& config, const ModelSource& source, bool reasons) {
  if (source.remote()) return false;
  return source.sparse_attention.value_or(config.sparse_attention == "on" ||
                                          (config.sparse_attention == "auto" && reasons));
}

/// The file that completes, where models.json names none or a flag names another.
ModelsConfig with_completion(const Run& run, const Config& config, const ModelsConfig& models) {
  ModelsConfig chosen = models;
  auto& completion = chosen.roles[static_cast<size_t>(Role::completion)];
  if (!completion || !run.flags.model.empty() || !run.flags.adapter.empty()) {
    const auto choice = choose_model(config);
    completion.emplace();
    // Where nothing is found, loading says so.
    completion->file = choice ? choice->path : config.model;
    completion->adapter = config.adapter;
    if (completion->file.empty()) completion->file = "cambium-coder.gguf";
  }
  return chosen;
}

}  // namespace

uint64_t model_file_bytes(const std::string& path) {
  std::error_code failed;
  uint64_t bytes = fs::file_size(path, failed);
  if (failed) return 0;
  // "name-00001-of-00003.gguf": the others lie beside it.
  const size_t of = path.rfind("-of-");
  if (of == path.npos || of < 6 || !path.ends_with(".gguf") || path.size() != of + 4 + 5 + 5) {
    return bytes;
  }
  const int parts = std::atoi(path.substr(of + 4, 5).c_str());
  for (int part = 2; part <= parts && part < 1000; ++part) {
    std::string number = std::to_string(part);
    number.insert(0, 5 - number.size(), '0');
    const uint64_t size = fs::file_size(path.substr(0, of - 5) + number + path.substr(of), failed);
    if (!failed) bytes += size;
  }
  return bytes;
}

Result<ModelsConfig> configured_models(const Run& run) {
  const std::string& path = run.flags.models;
  std::error_code ignored;
  if (!path.empty() && !fs::exists(path, ignored)) {
    return cambium::fail(ErrorCode::not_found, path + ": no such models file");
  }
  return read_models_config(path.empty() ? models_config_path() : fs::path(path));
}

std::vector<lsp::PooledModel> pooled_models(Run& run, const Config& config,
                                            const ModelsConfig& models) {
  const ModelsConfig chosen = with_completion(run, config, models);
  std::vector<lsp::PooledModel> pool;
  std::vector<ModelSource> sources;
  std::map<std::string, size_t> by_id;
  const auto place = [&](const ModelSource& source, Role role) -> lsp::PooledModel& {
    const auto [at, fresh] = by_id.emplace(source.id(), pool.size());
    if (fresh) {
      sources.push_back(source);
      lsp::PooledModel& model = pool.emplace_back();
      model.name = source.name();
      model.bytes = estimate(source);
      model.chats = is_instruct(model.name);
    }
    lsp::PooledModel& model = pool[at->second];
    model.chats = model.chats || role != Role::completion;
    return model;
  };
  for (const Role role : assist::kRoles) {
    if (const auto& wanted = chosen.role(role)) place(*wanted, role).roles.push_back(role);
  }
  for (const Role role : assist::kRoles) {
    const auto& wanted = chosen.role(role);
    if (!wanted || !wanted->larger) continue;
    place(*wanted->larger, role).larger_of[role] = wanted->threshold;
  }
  for (size_t i = 0; i < pool.size(); ++i) {
    const auto& roles = pool[i].roles;
    const bool reasons = std::find(roles.begin(), roles.end(), Role::reasoning) != roles.end() ||
                         pool[i].larger_of.contains(Role::reasoning);
    pool[i].load = loader_of(run, config, sources[i], is_sparse(config, sources[i], reasons));
  }
  return pool;
}

void print_roles(Run& run, const Config& config, const ModelsConfig& models) {
  const auto print = [&](const std::string& what, const ModelSource& source, bool reasons) {
    std::string where = source.remote() ? source.name() + " at " + source.url : source.file;
    if (!source.remote()) {
      const uint64_t bytes = model_file_bytes(source.file);
      where += bytes > 0 ? ", " + bytes_text(bytes) : ", not there";
    }
    if (is_sparse(config, source, reasons)) {
      const int32_t context = source.context > 0 ? source.context : config.context;
      where += fmt::format(", sparse attention past {} tokens", engine::kSparseFrom);
      if (context <= engine::kSparseFrom) {
        where += fmt::format(" (its context of {} ends before)", context);
      }
    }
    run.out << fmt::format("  {:<12} {}\n", what, where);
  };
  for (const Role role : assist::kRoles) {
    const auto& source = models.role(role);
    if (!source) continue;
    print(assist::to_string(role), *source, role == Role::reasoning);
    if (!source->larger) continue;
    print(fmt::format("  below {:.2f}", source->threshold), *source->larger,
          role == Role::reasoning);
  }
}

Result<CompletionModels> load_completion(Run& run, const Config& config) {
  auto models = configured_models(run);
  if (!models) {  // completions go on with what works
    run.err << "cambium: " << models.error().message << " (until then no role has a model)\n";
    models = ModelsConfig{};
  }
  auto pool = pooled_models(run, config, *models);
  const auto has_role = [](const lsp::PooledModel& model) {
    return std::find(model.roles.begin(), model.roles.end(), Role::completion) != model.roles.end();
  };
  const auto small = std::find_if(pool.begin(), pool.end(), has_role);
  auto loaded = small->load(loading_line(run));
  if (!loaded) return tl::unexpected(loaded.error());
  CompletionModels out{loaded->generator, loaded->completion, nullptr};
  const auto larger = std::find_if(pool.begin(), pool.end(), [](const lsp::PooledModel& model) {
    return model.larger_of.contains(Role::completion);
  });
  if (larger == pool.end()) return out;

  using Larger = assist::CascadeCompleter::Larger;
  // Asked by one completion at a time, which waits for the load.
  const auto there = std::make_shared<Result<lsp::LoadedModel>>(
      cambium::fail(ErrorCode::unavailable, "it is not loaded"));
  Larger asked;
  asked.name = larger->name;
  asked.get = [there, load = larger->load, &run](bool wanted, const Larger::Use& use) {
    if (!*there && wanted) *there = load(loading_line(run));
    if (!*there) return use(tl::unexpected(there->error()));
    use((*there)->completion);
  };
  out.keep = there;
  out.service = std::make_shared<assist::CascadeCompleter>(loaded->completion, std::move(asked),
                                                           larger->larger_of.at(Role::completion));
  return out;
}

lsp::PoolOptions pool_options(const ModelsConfig& models) {
  lsp::PoolOptions options;
  options.memory_bytes = models.memory_bytes;
  options.idle = models.unload_after;
  if (options.memory_bytes == 0) {
    const auto pages = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
    options.memory_bytes = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 4 * 3;
  }
  return options;
}

}  // namespace cambium::cli
