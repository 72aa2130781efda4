// Roles of models.json as the command line sees them: cascades, sparse attention, what is wrong.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lsp/cli/roles.h"
#include "tests/support/lsp/cli_folder.h"

using namespace cambium;
using namespace cambium::test;
using nlohmann::json;

namespace {

/// A folder with two small models, a models.json and a Python file.
struct Roles : Folder {
  explicit Roles(const std::string& models) {
    auto shape = *engine::model_shape("tiny");
    shape.name = "small";
    model(shape, "small.gguf");
    shape.name = "large";
    shape.n_layer += 1;
    model(shape, "large.gguf", 2);
    std::string text = models;
    for (size_t at; (at = text.find("@")) != text.npos;) text.replace(at, 1, this->at(""));
    write("models.json", text);
    write("a.py", "def area(w, h):\n    \n\nprint(area(1, 2))\n");
  }
  Ran run_verb(std::vector<std::string> arguments) const {
    for (const char* more : {"--threads", "1", "--context", "512", "--config"}) {
      arguments.emplace_back(more);
    }
    arguments.insert(arguments.end(), {at("config.json"), "--models", at("models.json")});
    return run(std::move(arguments));
  }
  json route(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"complete", at("a.py") + ":2:5", "--json", "--prompt-tokens", "64",
                               "--max-tokens", "4"});
    const Ran ran = run_verb(std::move(more));
    CAPTURE(ran.err);
    REQUIRE(ran.code == cli::kOk);
    return json::parse(ran.out)["timings"]["route"];
  }
};

std::string cascade(const std::string& threshold) {
  return R"({"roles": {"completion": {"file": "@small.gguf", "larger": {"file": "@large.gguf"},
            "threshold": )" +
         threshold + "}}}";
}

}  // namespace

TEST_CASE("complete goes by the role completion, and a cascade says how it chose") {
  const json sure = Roles(cascade("0")).route();
  CHECK(sure["role"] == "completion");
  // A random model may write what cannot be shown: then the larger one is asked whatever it is sure of.
  CHECK(sure["confidence"].is_number());
  const json asked = Roles(cascade("1")).route();
  CHECK(asked["reason"].get<std::string>().find("the small model ") == 0);

  const Roles roles(cascade("1"));
  const Ran check = roles.run_verb({"check", roles.at("a.py")});
  CAPTURE(check.out);
  CHECK(check.code == cli::kOk);
  CHECK(check.out.find("roles\n  completion   " + roles.at("small.gguf")) != std::string::npos);
  CHECK(check.out.find("    below 1.00 " + roles.at("large.gguf")) != std::string::npos);
  CHECK(check.out.find("  cascade       ") != std::string::npos);

  // A model named by a flag is asked alone.
  const json named = roles.route({"--model", roles.at("large.gguf")});
  CHECK(named["model"] == "large");
  CHECK_FALSE(named.contains("confidence"));
}

TEST_CASE("a larger model that is damaged takes no completion away") {
  const Roles roles(cascade("1"));
  roles.write("large.gguf", "not a model");
  const json route = roles.route();
  CHECK(route["model"] == "small");
  CHECK(route["reason"].get<std::string>().find("large.gguf: ") != std::string::npos);
}

TEST_CASE("a models.json that cannot be read is told, and completions go on") {
  const Roles roles("{\"roles\": {\"completion\": {\"flie\": \"x\"}}}");
  const Ran ran = roles.run_verb({"complete", roles.at("a.py") + ":2:5", "--model",
                                  roles.at("small.gguf"), "--max-tokens", "2"});
  CHECK(ran.code == cli::kOk);
  CHECK(one_line(ran.err));
  CHECK(ran.err.find("models.json: roles.completion") != std::string::npos);
}

TEST_CASE("sparse attention is the reasoning role's, unless somebody says otherwise") {
  struct Case {
    const char *roles, *setting;
    std::vector<int32_t> from;  ///< of each model
  };
  const std::string both =
      R"({"roles": {"completion": {"file": "@small.gguf"}, "reasoning": {"file": "@large.gguf"}}})";
  const std::string told =
      R"({"roles": {"completion": {"file": "@small.gguf", "sparseAttention": true},
                    "reasoning": {"file": "@large.gguf", "sparseAttention": false}}})";
  const std::string shared =
      R"({"roles": {"completion": {"file": "@small.gguf"}, "reasoning": {"file": "@small.gguf"}}})";
  constexpr int32_t kFrom = engine::kSparseFrom;
  const Case cases[] = {{both.c_str(), "auto", {0, kFrom}},   {both.c_str(), "off", {0, 0}},
                        {both.c_str(), "on", {kFrom, kFrom}}, {told.c_str(), "auto", {kFrom, 0}},
                        {told.c_str(), "on", {kFrom, 0}},     {shared.c_str(), "auto", {kFrom}}};
  for (const Case& c : cases) {
    CAPTURE(c.roles);
    CAPTURE(c.setting);
    const Roles roles(c.roles);
    std::ostringstream out, err;
    cli::Run run{out, err, {}, 0};
    run.flags.models = roles.at("models.json");
    Config config;
    config.sparse_attention = c.setting;
    config.threads = 1;
    config.device = "cpu";
    const auto models = cli::configured_models(run);
    REQUIRE(models.has_value());
    const auto pool = cli::pooled_models(run, config, *models);
    REQUIRE(pool.size() == c.from.size());
    for (size_t i = 0; i < pool.size(); ++i) {
      const auto loaded = pool[i].load([](double) {});
      REQUIRE(loaded.has_value());
      CHECK(loaded->capabilities.sparse_from == c.from[i]);
    }
  }
  const Roles roles(both);
  const Ran check = roles.run_verb({"check", roles.at("a.py")});
  CHECK(check.out.find("sparse attention past 8192 tokens (its context of 512 ends before)") !=
        std::string::npos);
}

TEST_CASE("eval --cascade: a threshold of one half of the projects, figures of the other") {
  const Roles roles("{}");
  std::string text;
  for (int i = 0; i < 8; ++i) {
    const std::string n = std::to_string(i);
    text += "def f" + n + "(x):\n    total = x + " + n + "\n    return total\n\n\n";
  }
  // Projects are the first two folders of a path; names of both halves.
  for (const char* project : {"alpha", "beta", "gamma", "three"}) {
    std::filesystem::create_directories(roles.at("data/python/") + project);
    roles.write(std::string("data/python/") + project + "/m.py", text);
  }
  const std::vector<std::string> common = {"eval",
                                           "--config",
                                           roles.at("config.json"),
                                           "--data",
                                           roles.at("data"),
                                           "--cases",
                                           "12",
                                           "--threads",
                                           "1",
                                           "--context",
                                           "256",
                                           "--prompt-tokens",
                                           "64",
                                           "--max-tokens",
                                           "3",
                                           "--cascade",
                                           roles.at("small.gguf"),
                                           roles.at("large.gguf")};
  const auto with = [&](const std::vector<std::string>& more) {
    auto all = common;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const Ran ran = with({"--json", "--table", roles.at("cases.tsv")});
  CAPTURE(ran.err);
  REQUIRE(ran.code == cli::kOk);
  const json report = json::parse(ran.out);
  CHECK(report["threshold_by"] == "calibration");
  CHECK(report["small"].get<std::string>().find("small") == 0);
  CHECK(report["larger"].get<std::string>().find("large") == 0);
  const size_t reported = report["report"]["cases"], calibrated = report["calibration"]["cases"];
  CHECK(reported > 0);
  CHECK(calibrated > 0);
  CHECK(report["line"]["cases"].get<size_t>() + report["block"]["cases"].get<size_t>() == reported);
  // Random models are exact in nothing, so nothing is lost by asking the small one alone.
  CHECK(report["report"]["threshold"] == 0.0);
  CHECK(report["report"]["gain"]["mean"] == 0.0);
  std::ifstream table(roles.at("cases.tsv"));
  std::string line;
  size_t lines = 0;
  while (std::getline(table, line)) ++lines;
  CHECK(lines == 1 + reported + calibrated);

  const Ran given = with({"--threshold", "0.9"});
  CHECK(given.code == cli::kOk);
  CHECK(given.out.find("0.90 given") != std::string::npos);
  CHECK(given.out.find("time saved") != std::string::npos);
  CHECK(with({"--threshold", "90"}).code == cli::kBadInput);
}
