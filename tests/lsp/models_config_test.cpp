#include "lsp/models_config.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "lsp/settings.h"
#include "tests/support/source_dir.h"

using namespace cambium;
namespace fs = std::filesystem;
using assist::Role;

namespace {

/// A folder of its own, gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("cambium-models-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return path / name;
  }
  Result<ModelsConfig> read(const std::string& text) const {
    return read_models_config(write("models.json", text));
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("roles: files and endpoints") {
  Folder folder;
  CHECK(read_models_config(folder.path / "none.json").has_value());
  const auto config = folder.read(R"({
    // comments are allowed
    "memoryGB": 12.5, "unloadAfterMinutes": 3, "classifyBy": "model", "conversationTokens": 9000,
    "roles": {
      "completion": {"file": "/m/large.gguf"},
      "reasoning": {"url": "https://r1.example.com/v1", "model": "deepseek-ai/DeepSeek-R1",
                    "key": {"env": "R1_KEY"}, "context": 65536, "timeoutSeconds": 300},
      "general": {"file": "/m/large.gguf"}
    }})");
  REQUIRE_MESSAGE(config.has_value(), config.error().message);
  CHECK(config->memory_bytes == 12'500'000'000);
  CHECK(config->unload_after == std::chrono::minutes(3));
  CHECK(config->classify_by_model);
  CHECK(config->conversation_tokens == 9000);
  CHECK(config->role(Role::completion)->id() == config->role(Role::general)->id());
  const ModelSource& r1 = *config->role(Role::reasoning);
  CHECK(r1.remote());
  CHECK(r1.key_env == "R1_KEY");
  CHECK(r1.context == 65536);
  CHECK(r1.name() == "deepseek-ai/DeepSeek-R1");
}

TEST_CASE("a role may have a larger model behind its own") {
  Folder folder;
  const auto config = folder.read(R"({"roles": {
      "completion": {"file": "/m/small.gguf", "larger": {"file": "/m/large.gguf"},
                     "threshold": 0.9},
      "general": {"file": "/m/v2.gguf", "larger": "reasoning", "sparseAttention": true},
      "reasoning": {"file": "/m/r1.gguf", "larger": {"url": "http://h/v1", "model": "r1"}}}})");
  REQUIRE_MESSAGE(config.has_value(), config.error().message);
  const ModelSource& completion = *config->role(Role::completion);
  REQUIRE(completion.larger);
  CHECK(completion.larger->file == "/m/large.gguf");
  CHECK(completion.threshold == 0.9);
  const ModelSource& general = *config->role(Role::general);
  REQUIRE(general.larger);
  CHECK(general.larger->id() == config->role(Role::reasoning)->id());
  CHECK_FALSE(general.larger->larger);  // two models are asked at most
  CHECK(general.threshold == assist::kDefaultThreshold);
  CHECK(general.sparse_attention == true);
  CHECK_FALSE(completion.sparse_attention.has_value());
  CHECK(config->role(Role::reasoning)->larger->remote());
}

TEST_CASE("a wrong entry is told with its place, and what is expected") {
  Folder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "expected an object"},
      {"{", "not valid JSON"},
      {R"({"role": {}})", "role: expected one of the keys of the schema"},
      {R"({"roles": {"chat": {"file": "x"}}})", "roles.chat: expected one of the roles"},
      {R"({"roles": {"general": {}}})", "roles.general: expected \"file\", a GGUF file, or"},
      {R"({"roles": {"general": {"file": "a", "url": "b"}}})", "roles.general: expected \"file\""},
      {R"({"roles": {"general": {"file": "a", "model": "b"}}})", "no \"model\""},
      {R"({"roles": {"general": {"url": "http://h", "key": "sk-secret"}}})",
       "a key itself does not belong here"},
      {R"({"roles": {"general": {"url": "http://h", "key": {}}}})", "roles.general.key"},
      {R"({"roles": {"general": {"url": "http://h", "fim": "yes"}}})", "none, suffix, raw"},
      {R"({"roles": {"general": {"url": "http://h", "fimTokens": ["a"]}}})", "three strings"},
      {R"({"roles": {"general": {"url": "http://h", "timeoutSeconds": 0}}})", "timeoutSeconds"},
      {R"({"roles": {"completion": {"flie": "a", "file": "b"}}})", "roles.completion.flie"},
      {R"({"roles": {"general": {"url": "http://h", "adapter": "a"}}})", "to lay it over"},
      {R"({"roles": {"general": {"url": "http://h", "sparseAttention": true}}})",
       "its own attention"},
      {R"({"roles": {"general": {"file": "a", "sparseAttention": 1}}})", "true or false"},
      {R"({"roles": {"general": {"file": "a", "threshold": 0.5}}})", "a \"larger\" model to ask"},
      {R"({"roles": {"general": {"file": "a", "larger": {"file": "b"}, "threshold": 80}}})",
       "roles.general.threshold: expected a mean token probability, 0 to 1"},
      {R"({"roles": {"general": {"file": "a", "larger": "chat"}}})",
       "roles.general.larger: expected a model, or one of the roles"},
      {R"({"roles": {"general": {"file": "a", "larger": "reasoning"}}})",
       "roles.general.larger: expected a role that has a model"},
      {R"({"roles": {"general": {"file": "a", "larger": {"file": "a"}}}})",
       "roles.general.larger: expected another model than the role's own"},
      {R"({"roles": {"general": {"file": "a", "larger": {"file": "b", "larger": "general"}}}})",
       "roles.general.larger.larger: expected one of the keys of the schema"},
      {R"({"memoryGB": -1})", "memoryGB"},
      {R"({"unloadAfterMinutes": -1})", "unloadAfterMinutes"},
      {R"({"classifyBy": "magic"})", "classifyBy"},
      {R"({"conversationTokens": -1})", "conversationTokens"},
  };
  for (const auto& [text, says] : cases) {
    CAPTURE(text);
    const auto config = folder.read(text);
    REQUIRE_FALSE(config.has_value());
    CAPTURE(config.error().message);
    CHECK(contains(config.error().message, says));
    CHECK(contains(config.error().message, "models.json"));
    CHECK_FALSE(contains(config.error().message, "sk-secret"));
  }
}

TEST_CASE("keys: a file that is the user's alone, or the environment") {
  Folder folder;
  const fs::path key = folder.write("key", "sk-123 \nsecond line\n");
  ::chmod(key.c_str(), 0600);
  CHECK(*read_key_file(key.string()) == "sk-123");
  for (const mode_t open : {0640, 0604, 0644, 0660}) {
    ::chmod(key.c_str(), open);
    const auto refused = read_key_file(key.string());
    REQUIRE_FALSE(refused.has_value());
    CHECK(contains(refused.error().message, "chmod 600"));
  }
  ::chmod(key.c_str(), 0600);
  folder.write("key", "\n");
  CHECK_FALSE(read_key_file(key.string()).has_value());
  CHECK_FALSE(read_key_file((folder.path / "none").string()).has_value());
  CHECK_FALSE(read_key_file(folder.path.string()).has_value());

  ModelSource source;
  source.url = "https://h.example.com/v1";
  source.model = "m";
  source.key_env = "CAMBIUM_TEST_NO_SUCH_KEY";
  const auto missing = open_endpoint(source);
  REQUIRE_FALSE(missing.has_value());
  CHECK(contains(missing.error().message, "set CAMBIUM_TEST_NO_SUCH_KEY"));
}

TEST_CASE("how an endpoint fills in the middle") {
  ModelSource source;
  source.url = "http://127.0.0.1:8000/v1";
  const auto fills = [&](const char* model, const char* fim) {
    source.model = model;
    source.fim = fim;
    const auto opened = open_endpoint(source);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
    return (*opened)->capabilities().fill_in_middle;
  };
  CHECK(fills("deepseek-ai/deepseek-coder-6.7b-base", ""));
  CHECK_FALSE(fills("mystery", ""));
  CHECK(fills("mystery", "suffix"));
  CHECK(fills("mystery", "infill"));
  CHECK_FALSE(fills("deepseek-ai/deepseek-coder-6.7b-base", "none"));
}

TEST_CASE("the published schema is the one that is made") {
  std::ifstream file(test::source_dir() + "/lsp/models.schema.json");
  const auto published = nlohmann::json::parse(file, nullptr, false);
  CHECK(published == models_schema());
}
