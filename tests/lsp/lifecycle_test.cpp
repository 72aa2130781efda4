#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

#include "tests/support/lsp/lsp_client.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {
int error_code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}
}  // namespace

TEST_CASE("the order of a session's life is kept") {
  LspServer server;
  LspClient client(server);
  CHECK(error_code(client.request("textDocument/completion")) == -32002);
  CHECK(error_code(client.request("shutdown")) == -32002);
  client.open("file:///a.cpp", "early");  // dropped
  client.initialize();
  CHECK_FALSE(client.session().documents().is_open("file:///a.cpp"));
  CHECK(error_code(client.request("initialize", {{"capabilities", Json::object()}})) == -32600);
  CHECK(error_code(client.request("no/such/method")) == -32601);
  CHECK(client.request("shutdown")["result"].is_null());
  CHECK(error_code(client.request("textDocument/completion")) == -32600);
  CHECK(error_code(client.request("shutdown")) == -32600);
  client.notify("exit");
  CHECK(client.exit_code == 0);
}

TEST_CASE("leaving without shutdown is told by the exit code") {
  LspServer server;
  SUBCASE("after initialize") {
    LspClient client(server);
    client.initialize();
    client.notify("exit");
    CHECK(client.exit_code == 1);
  }
  SUBCASE("before it") {
    LspClient client(server);
    client.notify("exit");
    CHECK(client.exit_code == 1);
  }
  SUBCASE("by closing the stream") {
    LspClient client(server);
    client.initialize();
    CHECK(client.session().exit_code() == 1);
    client.request("shutdown");
    CHECK(client.session().exit_code() == 0);
  }
}

TEST_CASE("the position encoding is agreed on") {
  struct Case {
    Json offered;
    const char* chosen;
  };
  const Case cases[] = {
      {nullptr, "utf-16"},
      {Json::array(), "utf-16"},
      {{"utf-16"}, "utf-16"},
      {{"utf-16", "utf-8"}, "utf-8"},
      {{"utf-32", "utf-8", "utf-16"}, "utf-8"},
      {{"utf-32", "utf-16"}, "utf-16"},
      {{"utf-32"}, "utf-32"},
      {{"utf-7"}, "utf-16"},
      {"utf-8", "utf-16"},  // not a list: as if nothing was said
  };
  for (const Case& c : cases) {
    CAPTURE(c.offered.dump());
    LspServer server;
    LspClient client(server);
    const Json result =
        client.initialize({{"capabilities", {{"general", {{"positionEncodings", c.offered}}}}}});
    CHECK(result["capabilities"]["positionEncoding"] == c.chosen);
    CHECK(lsp::to_string(client.session().encoding()) == std::string(c.chosen));
  }
}

TEST_CASE("what initialize announces") {
  LspServer server;
  LspClient client(server);
  const Json result = client.initialize();
  const Json& offers = result["capabilities"];
  CHECK(result["serverInfo"]["name"] == "cambium");
  CHECK(offers["inlineCompletionProvider"] == true);
  CHECK(offers["completionProvider"]["triggerCharacters"].is_array());
  CHECK(offers["textDocumentSync"]["change"] == 2);
  CHECK(offers["textDocumentSync"]["openClose"] == true);
  // Every command that is announced is there.
  for (const Json& command : offers["executeCommandProvider"]["commands"]) {
    CAPTURE(command);
    const Json answer =
        client.request("workspace/executeCommand", {{"command", command}, {"arguments", {"s1"}}});
    // Those that want other arguments say so; none is unknown.
    if (answer.contains("error")) {
      CHECK(std::string(answer["error"]["message"]).find("arguments") == 0);
    }
  }
}

TEST_CASE("the popup is offered to clients without ghost text only") {
  LspServer server;
  LspClient with(server), without(server);
  CHECK(without.initialize()["capabilities"].contains("completionProvider"));
  CHECK_FALSE(with.initialize({{"capabilities",
                                {{"textDocument",
                                  {{"inlineCompletion", Json::object()}}}}}})["capabilities"]
                  .contains("completionProvider"));
}

TEST_CASE("odd parameters of initialize do not keep a client out") {
  for (const char* params :
       {R"({"processId":null,"rootUri":null,"capabilities":{}})", R"({"capabilities":[]})", R"({})",
        R"({"capabilities":{"general":7,"window":[],"workspace":null}})",
        R"({"clientInfo":null,"workspaceFolders":null,"capabilities":{},"trace":"off"})"}) {
    CAPTURE(params);
    LspServer server;
    LspClient client(server);
    CHECK(client.request("initialize", Json::parse(params)).contains("result"));
  }
  LspServer server;
  LspClient client(server);
  CHECK(error_code(client.request("initialize", {{"processId", "abc"}})) == -32602);
}

TEST_CASE("requests that are open at shutdown are answered") {
  LspServer server;
  server.completion->hold = true;
  LspClient client(server);
  client.initialize();
  client.open("file:///a.cpp", "int x");
  const auto id = client.send_request("textDocument/inlineCompletion",
                                      client.position_params("file:///a.cpp", 0, 5));
  REQUIRE(server.run_until([&] { return server.completion->held.size() == 1; }));
  CHECK_FALSE(client.answered(id));
  client.request("shutdown");
  CHECK(error_code(client.wait(id)) == -32800);
  CHECK(server.completion->inputs[0].cancel->load());
}

TEST_CASE("settings from the client: pulled where it can, pushed where not, harmless only") {
  LspServer server;
  LspClient client(server);
  const auto tokens = [&] { return client.session().settings().config().completion_max_tokens; };
  SUBCASE("pulled") {
    int asked = 0;
    client.on_call["workspace/configuration"] = [&](const Json& params) {
      CHECK(params["items"][0]["section"] == "cambium");
      ++asked;
      return Json::array({{{"completion", {{"maxTokens", 10 + asked}}}, {"model", "/etc/shadow"}}});
    };
    Json registered;
    client.on_call["client/registerCapability"] = [&](const Json& params) {
      registered = params["registrations"];
      return Json();
    };
    client.initialize({{"capabilities",
                        {{"workspace",
                          {{"configuration", true},
                           {"didChangeConfiguration", {{"dynamicRegistration", true}}},
                           {"didChangeWatchedFiles", {{"dynamicRegistration", true}}}}}}}});
    REQUIRE(server.run_until([&] { return asked == 1; }));
    server.run();
    CHECK(tokens() == 11);
    CHECK(client.session().settings().config().model.empty());
    CHECK(registered.size() == 2);
    client.notify("workspace/didChangeConfiguration", {{"settings", nullptr}});
    REQUIRE(server.run_until([&] { return asked == 2; }));
    server.run();
    CHECK(tokens() == 12);
    bool warned = false;
    for (const Json& message : client.take("window/logMessage")) {
      warned = warned || message["message"].get<std::string>().find("'model'") != std::string::npos;
    }
    CHECK(warned);
  }
  SUBCASE("pushed, and by initializationOptions") {
    client.initialize({{"initializationOptions", {{"completion", {{"maxTokens", 5}}}}}});
    CHECK(tokens() == 5);
    client.notify("workspace/didChangeConfiguration",
                  {{"settings", {{"cambium", {{"completion.maxTokens", 6}}}, {"editor", 1}}}});
    CHECK(tokens() == 6);
    client.notify("workspace/didChangeConfiguration", {{"settings", {{"cambium", nullptr}}}});
    CHECK(tokens() == 96);
  }
}

TEST_CASE("the workspace's own file sets harmless keys, and is read again when it changes") {
  std::string root = (std::filesystem::temp_directory_path() / "cambium-ws-XXXXXX").string();
  REQUIRE(::mkdtemp(root.data()) != nullptr);
  std::filesystem::create_directories(root + "/.cambium");
  const auto write = [&](const char* text) {
    std::ofstream(root + "/.cambium/config.json") << text;
  };
  write(R"({"completion": {"maxTokens": 33}, "log.file": "/tmp/evil"})");
  {
    LspServer server;
    LspClient client(server);
    const std::string uri = lsp::uri_of_path(root);
    client.initialize({{"workspaceFolders", {{{"uri", uri}, {"name", "w"}}}},
                       {"initializationOptions", {{"completion.maxTokens", 44}}}});
    const auto& config = client.session().settings().config();
    CHECK(config.completion_max_tokens == 33);  // above the client's
    CHECK(config.log_file.empty());
    write(R"({"completion": {"maxTokens": 34}})");
    client.notify("workspace/didChangeWatchedFiles",
                  {{"changes", {{{"uri", uri + "/.cambium/config.json"}, {"type", 2}}}}});
    CHECK(config.completion_max_tokens == 34);
    client.notify(
        "workspace/didChangeWorkspaceFolders",
        {{"event", {{"added", Json::array()}, {"removed", {{{"uri", uri}, {"name", "w"}}}}}}});
    CHECK(config.completion_max_tokens == 44);
  }
  std::filesystem::remove_all(root);
}

TEST_CASE("each workspace folder has its own settings, pulled by its URI") {
  LspServer server;
  LspClient client(server);
  Json asked;
  client.on_call["workspace/configuration"] = [&](const Json& params) {
    asked = params["items"];
    Json answer = Json::array();
    for (const Json& item : asked) {
      const std::string scope = item.value("scopeUri", "");
      const int tokens = scope.empty() ? 10 : scope.ends_with("/a") ? 11 : 12;
      answer.push_back({{"completion", {{"maxTokens", tokens}}}});
    }
    return answer;
  };
  client.initialize(
      {{"capabilities", {{"workspace", {{"configuration", true}}}}},
       {"workspaceFolders",
        {{{"uri", "file:///w/a"}, {"name", "a"}}, {{"uri", "file:///w/a/b"}, {"name", "b"}}}}});
  REQUIRE(server.run_until([&] { return asked.size() == 3; }));
  server.run();
  const auto tokens = [&](const char* path) {
    return client.session().settings_for(path).config().completion_max_tokens;
  };
  CHECK(tokens("/elsewhere/x.c") == 10);
  CHECK(tokens("/w/a/x.c") == 11);
  CHECK(tokens("/w/ab.c") == 10);
  CHECK(tokens("/w/a/b/x.c") == 12);  // the innermost
  client.open("file:///w/a/b/x.c", "int f() { return 0; }\n", "c");
  client.result_of("textDocument/inlineCompletion",
                   client.position_params("file:///w/a/b/x.c", 0, 9));
  REQUIRE(server.completion->inputs.size() == 1);
  CHECK(server.completion->inputs[0].settings.max_tokens == 12);
  // A folder that is gone has no settings; those of another stay.
  client.notify(
      "workspace/didChangeWorkspaceFolders",
      {{"event",
        {{"added", Json::array()}, {"removed", {{{"uri", "file:///w/a/b"}, {"name", "b"}}}}}}});
  server.run();
  CHECK(tokens("/w/a/b/x.c") == 11);
}

TEST_CASE("a large message is read apart: nobody else waits, and what follows it stays behind it") {
  LspServer server;
  LspClient client(server), other(server);
  client.initialize();
  other.initialize();
  other.open("file:///o.c", "int f() { return 0; }\n", "c");
  std::string text = "int f() {\n  \n}\n";
  while (text.size() < 2'000'000) text += "// a line of a large file\n";
  std::mutex reading;  // holds the reader up until the other session is answered
  std::unique_lock held(reading);
  server.context->reader->post([&] { const std::lock_guard wait(reading); });
  client.open("file:///large.c", text, "c");
  const auto id = client.send_request("textDocument/inlineCompletion",
                                      client.position_params("file:///large.c", 1, 2));
  client.notify("textDocument/didClose", {{"textDocument", {{"uri", "file:///large.c"}}}});
  CHECK_FALSE(client.answered(id));
  other.result_of("textDocument/inlineCompletion", other.position_params("file:///o.c", 0, 9));
  held.unlock();
  const Json answer = client.wait(id);
  REQUIRE(answer.contains("result"));
  CHECK(answer["result"]["items"].size() == 1);  // it was open then
  CHECK_FALSE(client.session().documents().is_open("file:///large.c"));
}

TEST_CASE("sessions of one process share the model and nothing else") {
  LspServer server;
  LspClient first(server), second(server);
  first.initialize();
  second.initialize({{"initializationOptions", {{"completion.enabled", false}}}});
  first.open("file:///a.cpp", "one");
  second.open("file:///a.cpp", "two");
  const Json one = first.result_of("textDocument/inlineCompletion",
                                   first.position_params("file:///a.cpp", 0, 3));
  CHECK(one["items"].size() == 1);
  CHECK(second
            .result_of("textDocument/inlineCompletion",
                       second.position_params("file:///a.cpp", 0, 3))["items"]
            .empty());
  CHECK(*server.completion->inputs.at(0).text == "one");
  CHECK(server.completion->inputs.size() == 1);
  const Json stats = first.result_of("workspace/executeCommand", {{"command", "cambium.stats"}});
  CHECK(stats["sessions"] == 2);
  first.notify("exit");
  CHECK(second.result_of("workspace/executeCommand", {{"command", "cambium.models"}})[0]["state"] ==
        "ready");
}

TEST_CASE("a session whose parent process is gone ends") {
  // A child that has ended and was waited for: its number means no process now.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  REQUIRE(child > 0);
  LspServer server;
  LspClient client(server);
  client.initialize({{"processId", static_cast<int>(::getpid())}});
  client.session().watch_parent(child, std::chrono::milliseconds(1));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(server.run_until([&] { return client.exit_code != -1; }));
  CHECK(client.exit_code == 1);
}
