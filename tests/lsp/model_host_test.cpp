#include "lsp/model_host.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <string>

#include "tests/support/lsp/lsp_client.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;
using lsp::LoadedModel;

namespace {

constexpr const char* kMethod = "textDocument/inlineCompletion";
constexpr const char* kUri = "file:///work/a.cpp";

/// A load that waits for the test: progress and end come when told.
struct SlowLoad {
  std::promise<Result<LoadedModel>> outcome;
  std::promise<void> started;
  std::atomic<int> loads{0};

  lsp::LoadModel loader() {
    return [this](const std::function<void(double)>& progress) -> Result<LoadedModel> {
      ++loads;
      progress(0.25);
      progress(0.255);  // too small a step to tell
      progress(0.5);
      started.set_value();
      return outcome.get_future().get();
    };
  }
  static LoadedModel model(std::shared_ptr<FakeCompletion> completion) {
    LoadedModel out;
    out.completion = std::move(completion);
    out.capabilities.model = "slow";
    return out;
  }
};

Json progress_client() { return {{"capabilities", {{"window", {{"workDoneProgress", true}}}}}}; }

std::vector<std::string> kinds_of(const std::vector<Json>& progress) {
  std::vector<std::string> out;
  for (const Json& p : progress) out.push_back(p["value"]["kind"]);
  return out;
}

}  // namespace

TEST_CASE("a model loads at first need, without holding anything up, with progress") {
  SlowLoad load;
  LspServer server(load.loader());
  LspClient client(server);
  Json token;
  client.on_call["window/workDoneProgress/create"] = [&](const Json& params) {
    token = params["token"];
    return Json();
  };
  client.initialize(progress_client());
  client.open(kUri, "x");
  CHECK(load.loads == 0);
  std::vector<double> steps;
  server.context->model->subscribe([&] {
    if (server.context->model->state() == lsp::ModelHost::State::loading) {
      steps.push_back(server.context->model->progress());
    }
  });
  const auto waiting = client.send_request(kMethod, client.position_params(kUri, 0, 1));
  load.started.get_future().wait();
  REQUIRE(server.run_until([&] { return !token.is_null(); }));
  // Everything else goes on meanwhile; a newer request supersedes one that waits for the model.
  CHECK(client.result_of("workspace/executeCommand", {{"command", "cambium.models"}})[0]["state"] ==
        "loading");
  CHECK(client.request("workspace/executeCommand",
                       {{"command", "cambium.unload"}})["error"]["code"] == -32803);
  const auto newer = client.send_request(kMethod, client.position_params(kUri, 0, 0));
  CHECK(client.wait(waiting)["result"]["items"].empty());
  const auto cancelled =
      client.send_request("textDocument/completion", client.position_params(kUri, 0, 0));
  client.notify("$/cancelRequest", {{"id", cancelled}});
  CHECK(client.wait(cancelled)["error"]["code"] == -32800);

  load.outcome.set_value(SlowLoad::model(server.completion));
  CHECK(client.wait(newer)["result"]["items"].size() == 1);
  CHECK(server.completion->inputs.size() == 1);
  CHECK(load.loads == 1);
  CHECK(steps == std::vector<double>{0, 0.25, 0.5});

  const auto progress = client.take("$/progress");
  const auto kinds = kinds_of(progress);
  REQUIRE(kinds.size() >= 2);
  CHECK(kinds.front() == "begin");
  CHECK(kinds.back() == "end");
  for (const Json& p : progress) CHECK(p["token"] == token);

  std::vector<std::string> states;
  for (const Json& status : client.take("cambium/status")) {
    const auto state = status["state"].get<std::string>();
    if (states.empty() || states.back() != state) states.push_back(state);
  }
  CHECK(states == std::vector<std::string>{"ready", "loading", "busy", "ready"});
}

TEST_CASE("no bar where the client knows none, or does not grant it") {
  SlowLoad load;
  LspServer server(load.loader());
  LspClient client(server);
  bool asked = false;
  client.on_call["window/workDoneProgress/create"] = [&](const Json&) {
    asked = true;
    return Json();
  };
  client.initialize();
  client.open(kUri, "x");
  const auto id = client.send_request(kMethod, client.position_params(kUri, 0, 1));
  load.outcome.set_value(SlowLoad::model(server.completion));
  client.wait(id);
  CHECK_FALSE(asked);
  CHECK(client.take("$/progress").empty());
}

TEST_CASE("a failed load is told once, and completions are empty") {
  int loads = 0;
  bool there = false;
  auto completion = std::make_shared<FakeCompletion>();
  LspServer server([&](const std::function<void(double)>&) -> Result<LoadedModel> {
    ++loads;
    if (!there) return fail(ErrorCode::not_found, "/m.gguf: no such file; pass --model FILE");
    return SlowLoad::model(completion);
  });
  LspClient client(server);
  client.initialize();
  client.open(kUri, "x");
  for (int i = 0; i < 3; ++i) {
    CHECK(client.result_of(kMethod, client.position_params(kUri, 0, 1)) ==
          Json{{"items", Json::array()}});
  }
  CHECK(loads == 1);
  const auto told = client.take("window/showMessage");
  REQUIRE(told.size() == 1);
  CHECK(told[0]["type"] == 1);
  CHECK(told[0]["message"].get<std::string>().find("/m.gguf: no such file") != std::string::npos);
  CHECK(client.take("cambium/status").back()["state"] == "problem");

  // The way out that the message names.
  there = true;
  client.result_of("workspace/executeCommand", {{"command", "cambium.unload"}});
  CHECK(client.result_of(kMethod, client.position_params(kUri, 0, 1))["items"].size() == 1);
  CHECK(client.take("cambium/status").back()["state"] == "ready");
  CHECK(loads == 2);
}

TEST_CASE("a model at work outlives its unloading, and goes when it is done") {
  auto completion = std::make_shared<FakeCompletion>();
  completion->hold = true;
  const std::weak_ptr<FakeCompletion> alive = completion;
  LspServer server([completion](const std::function<void(double)>&) -> Result<LoadedModel> {
    return SlowLoad::model(completion);
  });
  LspClient client(server);
  client.initialize();
  client.open(kUri, "x");
  const auto id = client.send_request(kMethod, client.position_params(kUri, 0, 1));
  REQUIRE(server.run_until([&] { return completion->held.size() == 1; }));
  client.result_of("workspace/executeCommand", {{"command", "cambium.unload"}});
  const long before = completion.use_count();
  auto done = std::move(completion->held[0]);
  done(FakeCompletion::inserting("x")(completion->inputs[0]));
  CHECK(client.wait(id)["result"]["items"].size() == 1);
  server.run();
  CHECK(completion.use_count() == before - 1);
}

TEST_CASE("a session that leaves while the model loads does no harm") {
  SlowLoad load;
  LspServer server(load.loader());
  {
    LspClient client(server);
    client.initialize(progress_client());
    client.open(kUri, "x");
    client.send_request(kMethod, client.position_params(kUri, 0, 1));
    load.started.get_future().wait();
  }
  load.outcome.set_value(SlowLoad::model(server.completion));
  REQUIRE(server.run_until(
      [&] { return server.context->model->state() == lsp::ModelHost::State::ready; }));
  CHECK(server.completion->inputs.empty());
}
