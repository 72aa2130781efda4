#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "lsp/handlers/commands.h"
#include "tests/support/lsp/lsp_client.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

constexpr const char* kUri = "file:///work/a.cpp";

struct Editor {
  Editor() : client(server) {
    client.initialize();
    client.open(kUri, "x");
  }
  Json item() {
    return client.result_of("textDocument/inlineCompletion",
                            client.position_params(kUri, 0, 1))["items"][0];
  }
  Json command(const char* name, Json arguments = Json::array()) {
    return client.request("workspace/executeCommand",
                          {{"command", name}, {"arguments", std::move(arguments)}});
  }
  Json stats() { return command("cambium.stats")["result"]; }

  LspServer server;
  LspClient client;
};

}  // namespace

TEST_CASE("suggestions are counted from shown to accepted") {
  Editor editor;
  editor.server.completion->respond = FakeCompletion::inserting("ab😀");  // 4 UTF-16 units
  const Json item = editor.item();
  CHECK(editor.stats()["suggested"] == 1);
  CHECK(editor.stats()["suggestedCharacters"] == 4);

  editor.client.notify("textDocument/didShowCompletion", {{"item", item}});
  editor.client.notify("textDocument/didShowCompletion", {{"item", item}});
  CHECK(editor.stats()["shown"] == 1);

  // Cumulative, told twice, and more than there is.
  for (const int length : {1, 3, 3}) {
    editor.client.notify("textDocument/didPartiallyAcceptCompletion",
                         {{"item", item}, {"acceptedLength", length}});
  }
  CHECK(editor.stats()["acceptedCharacters"] == 3);
  CHECK(editor.stats()["partiallyAccepted"] == 1);
  editor.command("cambium.accepted", item["command"]["arguments"]);
  editor.command("cambium.accepted", item["command"]["arguments"]);
  editor.client.notify("textDocument/didPartiallyAcceptCompletion",
                       {{"item", item}, {"acceptedLength", 99}});
  const Json stats = editor.stats();
  CHECK(stats["accepted"] == 1);
  CHECK(stats["acceptedCharacters"] == 4);
  CHECK(stats["requests"] == 1);
}

TEST_CASE("what is not ours is not counted") {
  Editor editor;
  editor.client.notify("textDocument/didShowCompletion", {{"item", {{"insertText", "x"}}}});
  editor.client.notify("textDocument/didShowCompletion", {{"item", nullptr}});
  editor.client.notify("textDocument/didShowCompletion");
  editor.client.notify("textDocument/didPartiallyAcceptCompletion", {{"item", 7}});
  CHECK_FALSE(editor.command("cambium.accepted", {"unknown"}).contains("error"));
  CHECK(editor.stats()["shown"] == 0);
  CHECK(editor.stats()["accepted"] == 0);
}

TEST_CASE("commands that make no sense are refused") {
  Editor editor;
  CHECK(editor.command("cambium.accepted")["error"]["code"] == -32602);
  CHECK(editor.command("cambium.accepted", {5})["error"]["code"] == -32602);
  CHECK(editor.command("rm -rf")["error"]["code"] == -32602);
  CHECK(editor.client.request("workspace/executeCommand")["error"]["code"] == -32602);
}

TEST_CASE("the model is described, unloaded, and loaded again at need") {
  Editor editor;
  CHECK(editor.command("cambium.models")["result"][0]["state"] == "unloaded");
  editor.item();
  const Json row = editor.command("cambium.models")["result"][0];
  CHECK(row["state"] == "ready");
  CHECK(row["name"] == "fake");
  CHECK(editor.command("cambium.unload")["result"]["unloaded"] == true);
  CHECK(editor.command("cambium.models")["result"][0]["state"] == "unloaded");
  CHECK(editor.item().is_object());
  CHECK(editor.command("cambium.models")["result"][0]["state"] == "ready");
}

TEST_CASE("the page for client authors names every command and every setting a client has") {
  std::ifstream file(cambium::test::source_dir() + "/lsp/protocol/README.md");
  std::ostringstream page;
  page << file.rdbuf();
  for (const std::string& name : lsp::command_names()) {
    CAPTURE(name);
    CHECK(page.str().find("`" + name + "`") != std::string::npos);
  }
  for (const SettingKey& key : setting_keys()) {
    const std::string name(key.key);
    CAPTURE(name);
    const std::string row = "| `" + name + "` | `" + std::string(key.default_json) + "` |";
    CHECK((page.str().find(row) != std::string::npos) == key.harmless);
  }
}

TEST_CASE("where the next node of a suggestion ends, in UTF-16 units") {
  Editor editor;
  const auto ask = [&](Json argument) {
    return editor.command("cambium.node", Json::array({std::move(argument)}));
  };
  Json at = editor.client.position_params(kUri, 0, 1);
  at["text"] = " = \"\xf0\x9f\x98\x80\"; y = 1;";
  CHECK(ask(at)["result"]["length"] == 7);  // ` = "` 4, the emoji 2, `"` 1
  at["text"] = "";
  CHECK(ask(at)["result"]["length"] == 0);
  at["position"]["line"] = 7;
  CHECK(ask(at)["error"]["code"] == -32602);
  CHECK(ask(Json::object())["error"]["code"] == -32602);
  CHECK(editor.command("cambium.node")["error"]["code"] == -32602);
}
