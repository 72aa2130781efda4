#include "lsp/cli/roles.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using assist::Role;

lsp::LoadModel loader_of(Run& run, const Config& config, const ModelSource& source) {
  return lsp::load_completer([&run, config, source](const std::function<void(double)>& progress)
                                 -> Result<std::shared_ptr<engine::Generator>> {
    if (source.remote()) return open_endpoint(source);
    engine::LoadOptions options = load_options(config);
    options.adapter = source.adapter;
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
  ModelsConfig chosen = models;
  auto& completion = chosen.roles[static_cast<size_t>(Role::completion)];
  if (!completion || !run.flags.model.empty()) {
    const auto choice = choose_model(config);
    completion.emplace();
    // Where nothing is found, loading says so.
    completion->file = choice ? choice->path : config.model;
    completion->adapter = config.adapter;
    if (completion->file.empty()) completion->file = "cambium-coder.gguf";
  }
  std::vector<lsp::PooledModel> pool;
  std::map<std::string, size_t> by_id;
  for (const Role role : assist::kRoles) {
    const auto& wanted = chosen.role(role);
    if (!wanted) continue;
    const auto [at, fresh] = by_id.emplace(wanted->id(), pool.size());
    if (!fresh) {
      pool[at->second].roles.push_back(role);
      pool[at->second].chats = true;
      continue;
    }
    lsp::PooledModel& model = pool.emplace_back();
    model.name = wanted->name();
    model.roles = {role};
    model.chats = role != Role::completion || is_instruct(model.name);
    model.bytes = estimate(*wanted);
    model.load = loader_of(run, config, *wanted);
  }
  return pool;
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
