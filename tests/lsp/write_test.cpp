#include "lsp/handlers/write.h"

#include <doctest/doctest.h>

#include <boost/asio/post.hpp>
#include <string>
#include <vector>

#include "tests/support/lsp/lsp_client.h"
#include "tests/support/review_folder.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

const std::string kText = "def take(items, n):\n    return items[n]\n";
constexpr const char* kComment = R"({"comment": "Takes one item."})";

Json range(uint32_t line, uint32_t from, uint32_t to) {
  return {{"start", {{"line", line}, {"character", from}}},
          {"end", {{"line", line}, {"character", to}}}};
}

const Json kAble = {
    {"window", {{"workDoneProgress", true}, {"showDocument", {{"support", true}}}}},
    {"workspace",
     {{"applyEdit", true},
      {"workspaceEdit", {{"documentChanges", true}, {"resourceOperations", {"create"}}}}}},
    {"textDocument", {{"codeAction", {{"codeActionLiteralSupport", Json::object()}}}}},
    {"experimental", {{"cambium", {{"requests", true}}}}}};

/// An editor with a model that answers as the test says; it makes the edits it is given.
struct Editor {
  explicit Editor(std::string answer, const Json& capabilities = kAble)
      : model(std::make_shared<ScriptedGenerator>(
            "r1", [answer](const engine::Request&) { return Result<std::string>(answer); })),
        client(prepared()) {
    client.on_call["workspace/applyEdit"] = [this](const Json& params) {
      applied.push_back(params);
      return Json{{"applied", makes_edits}};
    };
    client.on_call["window/showDocument"] = [this](const Json& params) {
      shown = params["uri"];
      return Json{{"success", true}};
    };
    client.on_call["window/workDoneProgress/create"] = [](const Json&) { return Json(nullptr); };
    client.initialize(
        {{"capabilities", capabilities},
         {"workspaceFolders", {{{"uri", "file://" + folder.root()}, {"name", "w"}}}}});
    uri = folder.uri("take.py");
    client.open(uri, kText, "python");
  }
  LspServer& prepared() {
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::reasoning, model);
    server.context->assistant = std::make_shared<assist::Assistant>(models);
    return server;
  }
  Json argument(const std::string& task, const std::string& request = "") const {
    return {{"uri", uri}, {"task", task}, {"range", range(0, 5, 5)}, {"request", request}};
  }
  int64_t send(Json argument) {
    return client.send_request("workspace/executeCommand", {{"command", "cambium.write"},
                                                            {"arguments", {std::move(argument)}}});
  }
  Json run(Json argument) { return client.wait(send(std::move(argument))); }
  std::vector<Json> actions(Json context = Json::object(), uint32_t line = 0) {
    // The tree comes from another thread, which does not wake this one.
    server.run_until([&] {
      boost::asio::post(server.io, [] {});
      return client.session().documents().snapshot(uri)->tree != nullptr;
    });
    return client.result_of("textDocument/codeAction", {{"textDocument", {{"uri", uri}}},
                                                        {"range", range(line, 5, 5)},
                                                        {"context", std::move(context)}});
  }
  /// How many pieces of progress have begun, less those that have ended.
  int spinning() {
    int open = 0;
    for (const Json& message : client.messages) {
      if (message.value("method", "") != "$/progress") continue;
      const std::string kind = message["params"]["value"]["kind"];
      open += kind == "begin" ? 1 : kind == "end" ? -1 : 0;
    }
    return open;
  }

  ReviewFolder folder;
  std::shared_ptr<ScriptedGenerator> model;
  LspServer server;
  LspClient client;
  std::string uri, shown;
  std::vector<Json> applied;
  bool makes_edits = true;
};

bool says(const Json& answer, const std::string& part) {
  return answer.contains("error") &&
         answer["error"]["message"].get<std::string>().find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a comment comes as an edit of the version that was asked about") {
  Editor editor(kComment);
  const Json answer = editor.run(editor.argument("comment"));
  REQUIRE(answer.contains("result"));
  REQUIRE(editor.applied.size() == 1);
  const Json change = editor.applied[0]["edit"]["documentChanges"][0];
  CHECK(change["textDocument"] == Json{{"uri", editor.uri}, {"version", 1}});
  CHECK(change["edits"] ==
        Json{{{"range", range(1, 0, 0)}, {"newText", "    \"\"\"Takes one item.\"\"\"\n"}}});
  CHECK(answer["result"]["timings"]["route"]["model"] == "r1");
  CHECK(editor.spinning() == 0);
}

TEST_CASE("what is streamed comes under the client's token, with no progress of ours beside it") {
  Editor editor("Here:\n```python\ndef take(items, n):\n    return items[:n]\n```\n");
  Json argument = editor.argument("change", "Take the first n.");
  argument["partialResultToken"] = "t";
  REQUIRE(editor.run(argument).contains("result"));
  std::string streamed;
  for (const Json& progress : editor.client.take("$/progress")) {
    CHECK(progress["token"] == "t");
    streamed += progress["value"]["text"].get<std::string>();
  }
  CHECK(streamed.starts_with("Here:\n```python"));
  REQUIRE(editor.applied.size() == 1);
  CHECK(editor.applied[0].dump().find("items[:n]") != std::string::npos);
}

TEST_CASE("a document that changed meanwhile is left as it is, and the user is told") {
  Editor editor(kComment);
  editor.model->hold = true;
  const int64_t id = editor.send(editor.argument("comment"));
  editor.server.run_until([&] { return !editor.model->held.empty(); });
  editor.client.notify("textDocument/didChange",
                       {{"textDocument", {{"uri", editor.uri}, {"version", 2}}},
                        {"contentChanges", {{{"range", range(0, 0, 0)}, {"text", "# x\n"}}}}});
  editor.model->answer_held();
  const Json answer = editor.client.wait(id);
  CHECK(says(answer, "has changed meanwhile"));
  CHECK(editor.applied.empty());
  CHECK(editor.spinning() == 0);

  Editor refusing(kComment);
  refusing.makes_edits = false;
  CHECK(says(refusing.run(refusing.argument("comment")), "the editor did not make the edit"));
  CHECK(refusing.spinning() == 0);
}

TEST_CASE("prose, half an answer and no model change nothing") {
  for (const char* said :
       {"I would rather not.", R"({"comment": "Takes)", "```python\ndef f(:\n```", ""}) {
    for (const char* task : {"comment", "tests", "change"}) {
      CAPTURE(said);
      CAPTURE(task);
      Editor editor(said);
      const Json answer = editor.run(editor.argument(task, "Do it."));
      CHECK(says(answer, "nothing was changed"));
      CHECK(editor.applied.empty());
      CHECK(editor.spinning() == 0);
    }
  }
  Editor editor(kComment);
  CHECK(says(editor.run(editor.argument("change", " ")), "say what is to be changed"));
  CHECK(says(editor.run({{"uri", editor.uri}, {"task", "poem"}}), "comment, tests or change"));
  CHECK(says(editor.run({{"uri", "file:///none.py"}, {"task", "comment"}}), "not open"));
  editor.client.open(editor.folder.uri(".env"), "KEY=1\n", "shellscript");
  CHECK(says(editor.run({{"uri", editor.folder.uri(".env")}, {"task", "comment"}}),
             "not shown to a model"));
  CHECK(editor.model->requests.empty());
  editor.server.context->assistant =
      std::make_shared<assist::Assistant>(std::make_shared<assist::FixedModels>());
  CHECK(editor.run(editor.argument("comment")).contains("error"));
  CHECK(editor.spinning() == 0);
}

TEST_CASE("tests become a file beside, under a name that is free") {
  const std::string code = "def test_take():\n    assert True\n";
  Editor editor("```python\n" + code + "```\n");
  editor.folder.write("test_take.py", "mine\n");
  const Json answer = editor.run(editor.argument("tests"));
  REQUIRE(answer.contains("result"));
  CHECK(answer["result"]["newFile"] == editor.folder.uri("test_take2.py"));
  REQUIRE(editor.applied.size() == 1);
  const Json changes = editor.applied[0]["edit"]["documentChanges"];
  REQUIRE(changes.size() == 2);
  CHECK(changes[0]["kind"] == "create");
  CHECK(changes[0]["options"]["overwrite"] == false);
  CHECK(changes[1]["textDocument"]["uri"] == editor.folder.uri("test_take2.py"));
  CHECK(changes[1]["edits"][0]["newText"] == code);
  editor.server.run_until([&] { return !editor.shown.empty(); });
  CHECK(editor.shown == editor.folder.uri("test_take2.py"));
  CHECK(editor.folder.read("test_take.py") == "mine\n");

  Json unable = kAble;
  unable["workspace"]["workspaceEdit"].erase("resourceOperations");
  Editor old("```python\n" + code + "```\n", unable);
  CHECK(says(old.run(old.argument("tests")), "makes no files"));
  CHECK(old.applied.empty());
}

TEST_CASE("progress of our own is cancelled by its button, and by the request's cancel") {
  for (const bool button : {true, false}) {
    Editor editor(kComment);
    editor.model->hold = true;
    const int64_t id = editor.send(editor.argument("comment"));
    Json token;
    editor.server.run_until([&] {
      for (const Json& progress : editor.client.take("$/progress")) token = progress["token"];
      return !token.is_null();
    });
    REQUIRE(token.is_string());
    if (button) {
      editor.client.notify("window/workDoneProgress/cancel", {{"token", token}});
    } else {
      editor.client.notify("$/cancelRequest", {{"id", id}});
    }
    editor.model->answer_held();
    CHECK(editor.client.wait(id)["error"]["code"] == -32800);
    CHECK(editor.spinning() == 0);
    CHECK(editor.applied.empty());
    CHECK(editor.client.answer_counts[Json(id).dump()] == 1);
  }
}

TEST_CASE("actions are offered where a model can do them, quietly where nobody asked") {
  Editor editor(kComment);
  std::vector<std::string> kinds;
  for (const Json& action : editor.actions()) kinds.push_back(action["kind"]);
  CHECK(kinds == std::vector<std::string>{lsp::kWritesComment, lsp::kWritesChange,
                                          lsp::kWritesTests, lsp::kExplains});
  const auto comment = editor.actions({{"only", {"refactor.rewrite.comment"}}});
  REQUIRE(comment.size() == 1);
  CHECK(comment[0]["title"] == "Write a comment for 'take'");
  CHECK(comment[0]["command"]["command"] == "cambium.write");
  const Json answer = editor.run(comment[0]["command"]["arguments"][0]);
  CHECK(answer.contains("result"));
  // In a body, nobody is offered what nobody asked for.
  CHECK(editor.actions({{"triggerKind", 2}}, 1).empty());
  CHECK(editor.actions({{"triggerKind", 1}}, 1).size() == 4);
  CHECK(editor.actions({{"triggerKind", 2}}, 0).size() == 2);
  // As an editor asks that does every "source" action on saving.
  CHECK(editor.actions({{"triggerKind", 2}, {"only", {"source"}}}, 0).empty());

  Editor prose(kComment);
  prose.uri = prose.folder.uri("take.md");
  prose.client.open(prose.uri, "# take\n\nTakes one.\n", "markdown");
  CHECK(prose.actions().empty());

  Json plain = kAble;
  plain.erase("experimental");
  Editor other(kComment, plain);
  for (const Json& action : other.actions()) CHECK(action["kind"] != lsp::kWritesChange);
  other.server.context->assistant =
      std::make_shared<assist::Assistant>(std::make_shared<assist::FixedModels>());
  CHECK(other.actions({{"only", {"source", "refactor"}}}).empty());
}

TEST_CASE("an explanation by an action is shown to clients that drop a command's result") {
  Editor editor("It takes one.");
  const auto actions = editor.actions({{"only", {"source.explain"}}});
  REQUIRE(actions.size() == 1);
  const Json command = actions[0]["command"];
  const Json answer = editor.client.result_of(
      "workspace/executeCommand",
      {{"command", command["command"]}, {"arguments", command["arguments"]}});
  CHECK(answer["text"] == "It takes one.");
  const auto messages = editor.client.take("window/showMessage");
  REQUIRE(messages.size() == 1);
  CHECK(messages[0]["message"] == "It takes one.");
}
