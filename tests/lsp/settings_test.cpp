#include "lsp/settings.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/source_dir.h"

using namespace cambium;
using nlohmann::json;

namespace {

/// A file that is gone at the end of the test.
struct TempFile {
  explicit TempFile(const std::string& text) {
    path = std::filesystem::temp_directory_path() /
           ("cambium-settings-" + std::to_string(reinterpret_cast<uintptr_t>(this)) + ".json");
    std::ofstream(path, std::ios::binary) << text;
  }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("the defaults of the table are the defaults of the struct") {
  const Config from_table = Settings().config();
  const Config from_struct;
  CHECK(from_table.completion_enabled == from_struct.completion_enabled);
  CHECK(from_table.completion_multiline == from_struct.completion_multiline);
  CHECK(from_table.completion_max_tokens == from_struct.completion_max_tokens);
  CHECK(from_table.completion_prompt_tokens == from_struct.completion_prompt_tokens);
  CHECK(from_table.log_level == from_struct.log_level);
  CHECK(from_table.device == from_struct.device);
  CHECK(from_table.threads == from_struct.threads);
  CHECK(from_table.context == from_struct.context);
  CHECK(from_table.structure == from_struct.structure);
  CHECK(from_table.sparse_attention == from_struct.sparse_attention);
  CHECK(from_table.model.empty());
}

TEST_CASE("the source with the higher rank wins, and says so") {
  Settings settings;
  CHECK(settings.origin("completion.maxTokens") == Origin::defaults);
  const Origin by_rank[] = {Origin::client, Origin::workspace, Origin::user, Origin::command_line};
  int tokens = 10;
  for (const Origin origin : by_rank) {
    CHECK(settings.set_layer(origin, {{"completion.maxTokens", ++tokens}}).empty());
    CHECK(settings.config().completion_max_tokens == tokens);
    CHECK(settings.origin("completion.maxTokens") == origin);
  }
  CHECK(settings.set_layer(Origin::client, {{"completion.maxTokens", 1}}).empty());
  CHECK(settings.config().completion_max_tokens == tokens);
  // A layer is replaced as a whole: what it no longer says, it no longer sets.
  settings.set_layer(Origin::command_line, json::object());
  CHECK(settings.config().completion_max_tokens == tokens - 1);
}

TEST_CASE("nested objects and dotted keys mean the same") {
  Settings settings;
  CHECK(settings
            .set_layer(Origin::client, {{"completion", {{"enabled", false}, {"maxTokens", 7}}},
                                        {"completion.multiline", false},
                                        {"log", {{"level", nullptr}}}})
            .empty());
  CHECK_FALSE(settings.config().completion_enabled);
  CHECK_FALSE(settings.config().completion_multiline);
  CHECK(settings.config().completion_max_tokens == 7);
  CHECK(settings.config().log_level == "info");
}

TEST_CASE("a workspace or a client reaches only harmless keys") {
  for (const SettingKey& key : setting_keys()) {
    // What loads a file, names a device or takes resources is for the user's own hand alone.
    const bool expected = key.key.starts_with("completion.") || key.key.starts_with("review.") ||
                          key.key == "log.level";
    CAPTURE(std::string(key.key));
    CHECK(key.harmless == expected);
  }
  for (const Origin origin : {Origin::client, Origin::workspace}) {
    Settings settings;
    const json values = {{"model", "/etc/passwd"},     {"log.file", "/tmp/x"},
                         {"device", "cuda"},           {"threads", 64},
                         {"structure", "prune"},       {"context", 512},
                         {"completion.enabled", false}};
    CHECK(settings.set_layer(origin, values).size() == 6);
    CHECK(settings.config().model.empty());
    CHECK(settings.config().log_file.empty());
    CHECK(settings.config().device == "auto");
    CHECK(settings.config().threads == 0);
    CHECK_FALSE(settings.config().completion_enabled);  // the rest is taken
    settings.set_layer(Origin::user, values);
    CHECK(settings.config().model == "/etc/passwd");
  }
}

TEST_CASE("wrong values are told and left out") {
  struct Case {
    json values;
    const char* told;
  };
  const Case cases[] = {
      {{{"completion.enabled", "yes"}}, "'completion.enabled': expected true or false"},
      {{{"completion.maxTokens", 0}},
       "'completion.maxTokens': expected a whole number from 1 to 1024"},
      {{{"completion.maxTokens", 2.5}},
       "'completion.maxTokens': expected a whole number from 1 to 1024"},
      {{{"completion.maxTokens", 1e300}},
       "'completion.maxTokens': expected a whole number from 1 to 1024"},
      {{{"completion.disabledLanguages", {1}}},
       "'completion.disabledLanguages': expected an array of strings"},
      {{{"log.level", "loud"}},
       "'log.level': expected one of trace, debug, info, warn, error, off"},
      {{{"completion", {{"speed", 1}}}}, "there is no setting 'completion.speed'"},
      {{{"a", {{"b", {{"c", {{"d", {{"e", {{"f", 1}}}}}}}}}}}}, "there is no setting 'a.b.c.d'"},
      {json::array(), "expected an object of settings"},
      {"text", "expected an object of settings"},
  };
  for (const Case& c : cases) {
    Settings settings;
    const auto problems = settings.set_layer(Origin::client, c.values);
    CAPTURE(c.values.dump());
    REQUIRE(problems.size() == 1);
    CHECK(problems[0] == c.told);
    CHECK(settings.config().completion_max_tokens == 96);
  }
}

TEST_CASE("config files") {
  std::vector<std::string> warnings;
  SUBCASE("none") {
    CHECK(load_settings(json::object(), "/no/such/config.json", warnings).has_value());
    CHECK(warnings.empty());
  }
  SUBCASE("user file under the command line, with comments, an unknown key told") {
    const TempFile file("{ // mine\n \"model\": \"a.gguf\", \"threads\": 3, \"colour\": 1 }");
    const auto settings = load_settings({{"threads", 2}}, file.path, warnings);
    REQUIRE(settings.has_value());
    CHECK(settings->config().model == "a.gguf");
    CHECK(settings->config().threads == 2);
    CHECK(settings->origin("model") == Origin::user);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].find("'colour'") != std::string::npos);
  }
  SUBCASE("damaged") {
    const TempFile file("{\"model\": ");
    const auto settings = load_settings(json::object(), file.path, warnings);
    REQUIRE_FALSE(settings.has_value());
    CHECK(settings.error().message == file.path.string() + ": not valid JSON");
  }
  SUBCASE("not an object") {
    const TempFile file("[1]");
    CHECK_FALSE(load_settings(json::object(), file.path, warnings).has_value());
  }
  SUBCASE("a folder") {
    CHECK_FALSE(load_settings(json::object(), std::filesystem::temp_directory_path(), warnings)
                    .has_value());
  }
  SUBCASE("a wrong value on the command line is an error") {
    CHECK_FALSE(load_settings({{"threads", -1}}, "", warnings).has_value());
  }
}

TEST_CASE("the published schema is the table's") {
  std::ifstream file(cambium::test::source_dir() + "/lsp/config.schema.json");
  REQUIRE(file.good());
  const json published = json::parse(file, nullptr, false);
  CHECK(published == config_schema());
}
