#include "lsp/handlers/chat.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "tests/support/lsp/lsp_client.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

constexpr const char* kUri = "file:///work/a.cpp";

/// A server whose general model answers as the test says.
struct Chatting {
  LspServer server;
  std::shared_ptr<ScriptedGenerator> general;
  LspClient client;

  explicit Chatting(ScriptedGenerator::Script script = nullptr)
      : general(std::make_shared<ScriptedGenerator>("v2", std::move(script))), client(prepared()) {
    client.initialize();
    client.open(kUri, "int one();\nint two();\nint three();\n");
  }
  LspServer& prepared() {
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::general, general);
    server.context->assistant = std::make_shared<assist::Assistant>(models);
    return server;
  }
  std::string streamed(const Json& token, const std::string& kind) {
    std::string text;
    for (const Json& progress : client.take("$/progress")) {
      if (progress["token"] == token && progress["value"]["kind"] == kind) {
        text += progress["value"]["text"].get<std::string>();
      }
    }
    return text;
  }
};

Json asking(const std::string& text) {
  return {{"messages", {{{"role", "user"}, {"content", text}}}}};
}

}  // namespace

TEST_CASE("chat: streamed by $/progress, answered with its timings and the router's reason") {
  Chatting c([](const engine::Request&) -> Result<std::string> {
    return "<think>well</think>It is a declaration.";
  });
  c.general->can.chat_defaults.thinks = true;
  Json params = asking("Hello, who are you?");
  params["partialResultToken"] = "t1";
  const auto id = c.client.send_request("cambium/chat", params);
  const Json answer = c.client.wait(id)["result"];
  CHECK(answer["text"] == "It is a declaration.");
  CHECK(answer["thinking"] == "well");
  CHECK(answer["stop"] == "end_of_text");
  const Json route = answer["timings"]["route"];
  CHECK(route["role"] == "general");
  CHECK(route["model"] == "v2");
  CHECK(route["reason"].get<std::string>().find("a question about general") == 0);
  CHECK(route["classifyMs"].is_number());
  // Pieces come before the answer.
  size_t last_piece = 0, answered = 0;
  for (size_t i = 0; i < c.client.messages.size(); ++i) {
    const Json& message = c.client.messages[i];
    if (message.value("method", "") == "$/progress") last_piece = i;
    if (message.value("id", Json()) == Json(id)) answered = i;
  }
  CHECK(last_piece < answered);
  CHECK(c.streamed("t1", "text") == "It is a declaration.");
}

TEST_CASE("explain quotes the range, and only it") {
  Chatting c;
  const Json range = {{"start", {{"line", 1}, {"character", 0}}},
                      {"end", {{"line", 2}, {"character", 0}}}};
  const Json answer = c.client.result_of(
      "workspace/executeCommand",
      {{"command", "cambium.explain"},
       {"arguments", {{{"uri", kUri}, {"range", range}, {"partialResultToken", 7}}}}});
  CHECK(answer["text"] == "an answer");
  const std::string sent = c.general->messages(0).back().content;
  CHECK(sent.find("a.cpp, line 2:\n```cpp\nint two();\n```\n") == 0);
  CHECK(sent.find("three") == std::string::npos);
  CHECK(sent.find("Explain what this code does") != std::string::npos);
  CHECK(c.streamed(7, "text") == "an answer");

  c.client.result_of("workspace/executeCommand",
                     {{"command", "cambium.explain"},
                      {"arguments", {{{"uri", kUri}, {"question", "Is it safe?"}}}}});
  const std::string whole = c.general->messages(1).back().content;
  CHECK(whole.find("three") != std::string::npos);
  CHECK(whole.starts_with("a.cpp, lines 1 to 3:\n"));
  CHECK(whole.ends_with("Is it safe?"));

  // A fence in the text does not end the quotation, and a long text is cut between lines.
  std::string text = "```\n";
  for (int i = 0; i < 20000; ++i) text += "x = é;\n";
  c.client.open("file:///work/b.md", text, "markdown");
  c.client.result_of("workspace/executeCommand",
                     {{"command", "cambium.explain"},
                      {"arguments", Json::array({Json{{"uri", "file:///work/b.md"}}})}});
  const std::string cut = c.general->messages(2).back().content;
  CHECK(cut.starts_with("b.md, lines 1 to "));
  CHECK(cut.find(":\n````markdown\n```\nx = é;\n") != std::string::npos);
  CHECK(cut.find("é;\n````\n\nExplain") != std::string::npos);
  CHECK(cut.size() < 66 * 1024);
}

TEST_CASE("chat quotes what is attached, in order, and says what the model was shown") {
  Chatting c;
  c.client.open("file:///work/b.py", "def b(): pass\n", "python");
  Json params = asking("Which is older?");
  const Json range = {{"start", {{"line", 0}, {"character", 0}}},
                      {"end", {{"line", 0}, {"character", 9}}}};
  params["attachments"] = {{{"uri", kUri}, {"range", range}}, {{"uri", "file:///work/b.py"}}};
  const Json answer = c.client.result_of("cambium/chat", params);
  const std::string sent = c.general->messages(0).back().content;
  CHECK(sent ==
        "a.cpp, line 1:\n```cpp\nint one()\n```\n\nb.py, line 1:\n```python\ndef b(): pass\n```\n\n"
        "Which is older?");
  CHECK(answer["asked"] == sent);

  params["attachments"][1]["uri"] = "file:///work/gone.py";
  CHECK(c.client.request("cambium/chat", params)["error"]["code"] == -32602);
  params["attachments"] = {{{"range", range}}};
  CHECK(c.client.request("cambium/chat", params)["error"]["message"] ==
        "attachments[0].uri: expected this field");
}

TEST_CASE("a finding is explained with the definition around it, by the model for why") {
  Chatting c;
  const char* uri = "file:///work/greet.lua";
  std::string text;
  for (int i = 0; i < 40; ++i) text += "local a" + std::to_string(i) + " = 1\n";
  text += "local function greet(name)\n  print(name))\nend\n";
  c.client.open(uri, text, "lua");
  const auto diagnostics = [&] {
    return c.client.result_of("textDocument/diagnostic",
                              {{"textDocument", {{"uri", uri}}}})["items"];
  };
  REQUIRE(diagnostics().size() == 1);
  const Json finding = diagnostics()[0];
  const Json argument = {{"uri", uri}, {"finding", finding["data"]["fingerprint"]}};
  const auto explained = [&] {
    return c.client.request("workspace/executeCommand", {{"command", "cambium.explain"},
                                                         {"arguments", Json::array({argument})}});
  };
  const Json answer = explained()["result"];
  CHECK(answer["text"] == "an answer");
  CHECK(answer["timings"]["route"]["reason"].get<std::string>().find("why") != std::string::npos);
  const std::string sent = c.general->messages(0).back().content;
  CHECK(answer["asked"] == sent);
  CHECK(sent.find("A review says of line 42: " + finding["message"].get<std::string>()) !=
        std::string::npos);
  CHECK(sent.find("print(name))") != std::string::npos);
  CHECK(sent.find("local a0 =") == std::string::npos);
  CHECK(sent.find("If the review is mistaken, say so") != std::string::npos);

  c.client.notify("textDocument/didClose", {{"textDocument", {{"uri", uri}}}});
  c.client.open(uri, "local a = 1\n", "lua");
  CHECK(explained()["error"]["message"] == "this finding is gone");
}

TEST_CASE("where a block of an answer belongs is told as edits") {
  Chatting c;
  const auto place = [&](const Json& argument) {
    return c.client.request("workspace/executeCommand",
                            {{"command", "cambium.place"}, {"arguments", Json::array({argument})}});
  };
  const char* uri = "file:///work/f.js";
  c.client.open(uri, "// \U0001F600\nfunction f() {\n  return 1;\n}\n", "javascript");
  const Json placed = place({{"uri", uri}, {"text", "function f() {\n  return 2;\n}"}})["result"];
  CHECK(placed["replaced"] == Json::array({"f"}));
  CHECK(placed["added"].empty());
  CHECK(placed["leftOut"] == 0);
  CHECK(placed["version"] == 1);
  REQUIRE(placed["edits"].size() == 1);
  CHECK(placed["edits"][0]["newText"] == "function f() {\n  return 2;\n}\n");
  CHECK(placed["edits"][0]["range"]["start"] == Json{{"line", 1}, {"character", 0}});
  CHECK(placed["edits"][0]["range"]["end"] == Json{{"line", 4}, {"character", 0}});

  const Json range = {{"start", {{"line", 2}, {"character", 2}}},
                      {"end", {{"line", 2}, {"character", 8}}}};
  const Json selected = place({{"uri", uri}, {"text", "go();"}, {"range", range}})["result"];
  CHECK(selected["edits"][0]["newText"] == "  go();\n");
  CHECK(place({{"uri", uri}, {"text", "go();"}})["error"]["code"] == -32803);
  CHECK(place({{"uri", uri}})["error"]["message"] == "arguments[0].text: expected this field");
  CHECK(place({{"uri", "file:///work/no.js"}, {"text", "x"}})["error"]["code"] == -32602);
}

TEST_CASE("a private file is never shown to a model") {
  Chatting c;
  c.client.open("file:///work/.env", "KEY=secret\n", "plaintext");
  const Json answer =
      c.client.request("workspace/executeCommand",
                       {{"command", "cambium.explain"},
                        {"arguments", Json::array({Json{{"uri", "file:///work/.env"}}})}});
  CHECK(answer["error"]["code"] == -32803);
  CHECK(answer["error"]["message"].get<std::string>().find("not shown to a model") == 0);
  Json params = asking("what is in it?");
  params["attachments"] = Json::array({Json{{"uri", "file:///work/.env"}}});
  CHECK(c.client.request("cambium/chat", params)["error"]["code"] == -32803);
  CHECK(c.general->requests.empty());
}

TEST_CASE("cancel is answered at once and reaches the model") {
  Chatting c;
  c.general->hold = true;
  const auto id = c.client.send_request("cambium/chat", asking("x"));
  REQUIRE(c.server.run_until([&] { return c.general->held.size() == 1; }));
  c.client.notify("$/cancelRequest", {{"id", id}});
  CHECK(c.client.wait(id)["error"]["code"] == -32800);
  CHECK(c.general->requests[0].cancel->load());
  c.general->answer_held();
  c.server.run();
  CHECK(c.client.answer_counts[Json(id).dump()] == 1);
}

TEST_CASE("what is wrong with a question is said with its place") {
  Chatting c;
  const std::pair<Json, const char*> cases[] = {
      {Json::object(), "messages"},
      {{{"messages", Json::array()}}, "messages"},
      {{{"messages", {{{"role", "robot"}, {"content", "x"}}}}}, "messages[0].role"},
      {{{"messages", {{{"role", "user"}}}}}, "messages[0].content"},
      {{{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"intent", "dance"}}, "intent"},
      {{{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"role", "boss"}}, "role"},
      {{{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"maxTokens", 0}}, "maxTokens"},
      {{{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"partialResultToken", {1}}},
       "partialResultToken"},
      {{{"messages", {{{"role", "assistant"}, {"content", "x"}}}}}, "must end with a message"},
  };
  for (const auto& [params, place] : cases) {
    CAPTURE(params.dump());
    const Json answer = c.client.request("cambium/chat", params);
    CHECK(answer["error"]["code"] == -32602);
    CHECK(answer["error"]["message"].get<std::string>().find(place) != std::string::npos);
  }
  CHECK(c.client.request("workspace/executeCommand",
                         {{"command", "cambium.explain"}})["error"]["code"] == -32602);
}

TEST_CASE("without a model that answers, one sentence says what to do") {
  LspServer server;
  LspClient client(server);
  client.initialize();
  const Json answer = client.request("cambium/chat", asking("x"));
  CHECK(answer["error"]["message"].get<std::string>().find("models.json") != std::string::npos);
}

TEST_CASE("models by role: a row each, loaded at first need with a bar, unloaded together") {
  LspServer server;
  const auto scripted = [](const std::string& name, assist::Role role) {
    lsp::PooledModel model;
    model.name = name + ".gguf";
    model.roles = {role};
    model.bytes = 1000;
    model.load = lsp::load_completer(
        [name](const std::function<void(double)>&) -> Result<std::shared_ptr<engine::Generator>> {
          return std::make_shared<ScriptedGenerator>(name);
        });
    return model;
  };
  lsp::PoolOptions options;
  options.idle = std::chrono::minutes(0);
  server.context->close();
  server.context->use(lsp::ModelPool::create(
      server.context->strand,
      {scripted("coder", assist::Role::completion), scripted("v2", assist::Role::general)},
      options));
  server.context->notices = {"models.json is odd"};
  LspClient client(server);
  std::vector<std::string> tokens;
  client.on_call["window/workDoneProgress/create"] = [&](const Json& params) {
    tokens.push_back(params["token"]);
    return Json();
  };
  client.initialize({{"capabilities", {{"window", {{"workDoneProgress", true}}}}}});
  const auto shown = client.take("window/showMessage");
  REQUIRE(shown.size() == 1);
  CHECK(shown[0]["message"] == "Cambium: models.json is odd");

  const auto rows = [&] {
    return client.result_of("workspace/executeCommand", {{"command", "cambium.models"}});
  };
  CHECK(rows().size() == 2);
  CHECK(rows()[1]["roles"] == Json::array({"general"}));
  CHECK(rows()[1]["bytes"] == 1000);
  CHECK(client.result_of("cambium/chat", asking("Who are you?"))["text"] == "an answer");
  CHECK(rows()[0]["state"] == "unloaded");
  CHECK(rows()[1]["state"] == "ready");
  CHECK(rows()[1]["name"] == "v2");
  REQUIRE(tokens.size() == 1);
  client.result_of("workspace/executeCommand", {{"command", "cambium.unload"}});
  CHECK(rows()[1]["state"] == "unloaded");
}
