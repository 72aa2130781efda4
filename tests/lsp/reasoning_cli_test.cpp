// `cambium eval --review --reasoning`: the role decides whether the model is here or elsewhere.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "syntax/review_sites.h"
#include "tests/support/engine/scripted_server.h"
#include "tests/support/lsp/cli_folder.h"

using namespace cambium;
using namespace cambium::test;
using nlohmann::json;

namespace {

const std::string kPython =
    "def f(first, second):\n    total = first\n    if total < second:\n        return g(total, "
    "second)\n    return total\n";
const std::string kC =
    "int f(int first, int second) {\n  int total = first;\n  if (total < second)\n"
    "    return g(total, second);\n  return total;\n}\n";

/// A folder with a function of either language in each of four projects.
struct Held : Folder {
  Held() {
    std::vector<std::pair<std::string, std::string>> files;
    for (const char* project : {"p0", "p1", "p2", "p3"}) {
      files.emplace_back(std::string("python/") + project + "/a.py", kPython);
      files.emplace_back(std::string("c/") + project + "/a.c", kC);
    }
    write("held.bin", container_of(files));
  }
  Ran eval(const std::string& reasoning, std::vector<std::string> more = {}) const {
    write("models.json",
          reasoning.empty() ? "{}" : R"({"roles": {"reasoning": )" + reasoning + "}}");
    more.insert(more.begin(), {"eval", "--review", "--reasoning", "--config", at("config.json"),
                               "--models", at("models.json")});
    if (std::find(more.begin(), more.end(), "--data") == more.end())
      more.insert(more.end(), {"--data", at("held.bin")});
    return run(std::move(more));
  }
};

std::string endpoint(const std::string& url) {
  return R"({"url": ")" + url + R"(", "model": "judge", "context": 65536})";
}

/// What a reviewer who knows the original says of what it is shown: the line that differs, as it was.
std::string answer_to(const json& body) {
  std::string shown;
  for (const json& message : body["messages"]) shown += message["content"].get<std::string>();
  if (shown.find("You check a claim") != shown.npos) return R"({"confirmed": true})";
  std::istringstream clean(shown.find("a.py") != shown.npos ? kPython : kC);
  json findings = json::array();
  int number = 1;
  for (std::string line; std::getline(clean, line); ++number) {
    const std::string mark = "\n+" + std::to_string(number) + " ";
    const size_t at = shown.find(mark);
    if (at == shown.npos) return "I see no line " + std::to_string(number) + ".";
    const size_t begin = at + mark.size();
    const std::string stands = shown.substr(begin, shown.find('\n', begin) - begin);
    if (stands == line) continue;
    findings.push_back({{"line", number},
                        {"quote", stands},
                        {"message", "It was otherwise."},
                        {"severity", "error"},
                        {"replacement", line}});
  }
  return json{{"findings", findings}}.dump();
}

std::string answered(const std::string& text) {
  return response(
      200, "application/json",
      json{{"choices",
            {{{"index", 0}, {"message", {{"content", text}}}, {"finish_reason", "stop"}}}},
           {"usage", {{"prompt_tokens", 700}, {"completion_tokens", 20}}}}
          .dump());
}

}  // namespace

TEST_CASE("eval --review --reasoning judges the endpoint that has the role") {
  const Held held;
  ScriptedServer server([](ScriptedServer::Connection& client, const std::string& request) {
    client.send(answered(answer_to(json::parse(body_of(request)))));
  });
  const std::string details = held.at("details.jsonl");
  const Ran ran = held.eval(endpoint(server.url("/v1")), {"--json", "--details", details});
  CAPTURE(ran.err);
  REQUIRE(ran.code == cli::kOk);
  const json report = json::parse(ran.out);
  CHECK(report["half"] == "report");
  CHECK(report["model"] == "judge · " + server.url());
  CHECK(report["functions"] == 8);
  const json& all = report["all"];
  CHECK(all["slips"] == 4);
  CHECK(all["reported"] == 4);
  CHECK(all["precision"] == 1.0);
  CHECK(all["recall"] == 1.0);
  CHECK(all["fixesRestoring"] == 1.0);
  CHECK(all["falsePer1000Lines"] == 0.0);
  CHECK(all["intervals"]["recall"]["n"] == 2);
  CHECK(all["answers"]["cases"] == 8);
  CHECK(all["answers"]["failed"] == 0);
  CHECK(all["answers"]["prose"] == 0);
  CHECK(all["answers"]["promptTokens"]["mean"] == 700.0 * 12 / 8);
  CHECK(all["answers"]["generatedTokens"]["mean"] == 20.0 * 12 / 8);
  CHECK(all["answers"]["ms"]["mean"].get<double>() > 0);
  CHECK(report["kinds"].size() == syntax::kSiteKinds);
  CHECK_FALSE(report["kinds"]["name"].contains("precision"));
  CHECK(report["languages"].size() == 2);
  CHECK(report["languages"]["c"]["slips"] == 2);
  CHECK(server.requests().size() == 12);
  std::ifstream lines(details);
  size_t written = 0, hits = 0;
  for (std::string line; std::getline(lines, line); ++written) {
    const json one = json::parse(line);
    for (const json& finding : one["findings"])
      hits += finding["hit"] == true && finding["restores"] == true ? 1 : 0;
  }
  CHECK(written == 8);
  CHECK(hits == 4);

  const Ran table = held.eval(endpoint(server.url("/v1")), {"--languages", "c"});
  CHECK(table.code == cli::kOk);
  CHECK(table.out.find("half to report: 4 functions, 2 of them with a slip; reviewed by judge") !=
        std::string::npos);
  CHECK(table.out.find("c                      2        2   1.00 (1.00-1.00)") !=
        std::string::npos);
  CHECK(table.out.find("1050 (1050-1050)") != std::string::npos);
  CHECK(table.out.find("python") == std::string::npos);
  // A folder of sources, where a project is what is second in a path, does as well.
  for (const char* project : {"p0", "p1", "p2", "p3"}) {
    std::filesystem::create_directories(held.at(std::string("tree/c/") + project));
    held.write(std::string("tree/c/") + project + "/a.c", kC);
  }
  const Ran folder = held.eval(endpoint(server.url("/v1")), {"--json", "--data", held.at("tree")});
  CHECK(json::parse(folder.out)["all"]["recall"] == 1.0);
  const Ran fewer = held.eval(endpoint(server.url("/v1")), {"--json", "--per-language", "1"});
  CHECK(json::parse(fewer.out)["functions"] == 4);
}

TEST_CASE("eval --review --reasoning goes on after a case that fails, and says when all do") {
  const Held held;
  size_t asked = 0;
  ScriptedServer flaky([&](ScriptedServer::Connection& client, const std::string& request) {
    if (++asked == 2) {
      client.send(response(500, "text/plain", "out of luck"));
    } else {
      client.send(answered(asked == 1 ? "Looks fine." : answer_to(json::parse(body_of(request)))));
    }
  });
  // The first answer is prose, and what is asked for once more fails: a case without an answer.
  const Ran some = held.eval(endpoint(flaky.url("/v1")), {"--json"});
  REQUIRE(some.code == cli::kOk);
  CHECK(json::parse(some.out)["all"]["answers"]["failed"] == 1);
  CHECK(json::parse(some.out)["functions"] == 8);

  const auto says = [&](const Ran& ran, int code, const std::string& what) {
    CAPTURE(ran.err);
    CHECK(ran.code == code);
    CHECK(one_line(ran.err));
    CHECK(ran.err.find(what) != std::string::npos);
  };
  size_t most = 4;  // requests that are answered
  ScriptedServer locked([&](ScriptedServer::Connection& client, const std::string&) {
    client.send(most > 0 && most-- > 0 ? answered(R"({"findings": []})")
                                       : response(401, "text/plain", "no"));
  });
  const Ran part = held.eval(endpoint(locked.url("/v1")), {"--json"});
  says(part, cli::kFailed,
       "only the first 4 of 8 functions were reviewed, then 3 in a row failed: ");
  CHECK(json::parse(part.out)["functions"] == 4);
  const Ran refused = held.eval(endpoint(locked.url("/v1")));
  says(refused, cli::kFailed,
       "the key is refused (401); correct \"key\" of the role in models.json");
  CHECK(refused.out.empty());
  std::string gone;
  {
    ScriptedServer server([](ScriptedServer::Connection&, const std::string&) {});
    gone = server.url("/v1");
  }
  says(held.eval(endpoint(gone)), cli::kFailed, "cannot be reached");
  says(held.eval(""), cli::kBadInput,
       "models.json: no model has the role \"reasoning\"; give it a model that chats with 'cambium "
       "models use reasoning FILE'");
  says(held.eval("{\"flie\": 1}"), cli::kBadInput, "models.json: roles.reasoning");
  says(held.eval(R"({"file": "no-such.gguf"})"), cli::kBadInput, "no-such.gguf");
  says(held.eval("{\"file\": \"" + held.model() + "\"}", {"--threads", "1"}), cli::kBadInput,
       "has no chat template that is known here");
  says(held.eval(endpoint(gone), {"--details", held.at("no/such/folder.jsonl")}), cli::kFailed,
       "folder.jsonl: cannot be written");
  says(held.eval(endpoint(gone), {"--languages", "cobol"}), cli::kBadInput,
       "functions in cobol are not reviewed");
  says(held.eval(endpoint(gone), {"--languages", "go"}), cli::kBadInput, "has no functions");
  says(held.eval(endpoint(gone), {"--calibrate", "table.h"}), cli::kBadInput, "--reasoning");
  says(run({"eval", "--reasoning"}), cli::kBadInput, "--review");
}

TEST_CASE("eval --review --reasoning judges a file of this machine that has the role") {
  const Held held;
  engine::RandomModelOptions options;
  options.shape = *engine::model_shape("tiny");
  options.shape.context = 4096;
  auto writer = engine::random_model(options);
  REQUIRE(writer.has_value());
  writer->set_string("tokenizer.chat_template", "User: Assistant:");
  REQUIRE(writer->write(held.at("chats.gguf")).has_value());
  const std::string file = R"({"file": ")" + held.at("chats.gguf") + "\"}";
  const std::vector<std::string> more = {"--json", "--threads",      "1", "--languages",
                                         "c",      "--per-language", "1", "--context"};
  const auto with_context = [&](const char* tokens) {
    auto all = more;
    all.emplace_back(tokens);
    return held.eval(file, all);
  };
  const Ran ran = with_context("3072");
  CAPTURE(ran.err);
  REQUIRE(ran.code == cli::kOk);
  const json report = json::parse(ran.out);
  CHECK(report["functions"] == 2);
  const json& answers = report["all"]["answers"];
  CHECK(answers["failed"] == 0);
  CHECK(answers["promptTokens"]["mean"].get<double>() > 512);
  CHECK(answers["generatedTokens"]["mean"].get<double>() > 0);
  const Ran narrow = with_context("512");
  CHECK(narrow.code == cli::kBadInput);
  CHECK(narrow.err.find("the context holds 512") != std::string::npos);
}
