#include <doctest/doctest.h>

#include <boost/asio/post.hpp>
#include <future>
#include <string>
#include <utility>

#include "tests/support/lsp/lsp_client.h"
#include "tests/support/review_folder.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

const Json kPull = {{"workspace",
                     {{"diagnostics", {{"refreshSupport", true}}},
                      {"applyEdit", true},
                      {"workspaceEdit", {{"documentChanges", true}}}}},
                    {"textDocument",
                     {{"diagnostic", Json::object()},
                      {"codeAction",
                       {{"codeActionLiteralSupport", Json::object()},
                        {"resolveSupport", {{"properties", {"edit"}}}}}}}}};
const Json kPush = {
    {"textDocument", {{"codeAction", {{"codeActionLiteralSupport", Json::object()}}}}}};

constexpr const char* kBroken = "local x = f(1\nlocal y = 2\n";

struct Editor {
  explicit Editor(const Json& capabilities) : client(server) {
    client.initialize(
        {{"capabilities", capabilities},
         {"workspaceFolders", {{{"uri", "file://" + folder.root()}, {"name", "w"}}}}});
    uri = folder.uri("a.lua");
  }
  void open(const std::string& text, const std::string& language = "lua") {
    client.open(uri, text, language);
  }
  Json pull(const std::string& previous = "") {
    Json params = {{"textDocument", {{"uri", uri}}}};
    if (!previous.empty()) params["previousResultId"] = previous;
    return client.result_of("textDocument/diagnostic", params);
  }
  /// What was pushed last; null after ten seconds without.
  Json pushed() {
    std::vector<Json> all;
    server.run_until(
        [&] { return !(all = client.take("textDocument/publishDiagnostics")).empty(); });
    return all.empty() ? Json() : all.back();
  }
  Json actions(uint32_t line = 0, Json only = Json::array(), Json shown = Json::array()) {
    return client.result_of("textDocument/codeAction",
                            {{"textDocument", {{"uri", uri}}},
                             {"range",
                              {{"start", {{"line", line}, {"character", 0}}},
                               {"end", {{"line", line}, {"character", 99}}}}},
                             {"context", {{"diagnostics", std::move(shown)}, {"only", only}}}});
  }
  void replace(uint32_t line, uint32_t from, uint32_t to, const std::string& text) {
    client.notify("textDocument/didChange",
                  {{"textDocument", {{"uri", uri}, {"version", ++version}}},
                   {"contentChanges",
                    {{{"range",
                       {{"start", {{"line", line}, {"character", from}}},
                        {"end", {{"line", line}, {"character", to}}}}},
                      {"text", text}}}}});
  }
  Json command(const std::string& name, Json arguments) {
    return client.request("workspace/executeCommand",
                          {{"command", name}, {"arguments", std::move(arguments)}});
  }

  ReviewFolder folder;
  LspServer server;
  LspClient client;
  std::string uri;
  int version = 1;
};

Json range(uint32_t line, uint32_t from, uint32_t to) {
  return {{"start", {{"line", line}, {"character", from}}},
          {"end", {{"line", line}, {"character", to}}}};
}

}  // namespace

TEST_CASE("a file with an error is pulled with a finding, its fix and its id") {
  Editor editor(kPull);
  editor.open(kBroken);
  const Json report = editor.pull();
  REQUIRE(report["kind"] == "full");
  REQUIRE(report["items"].size() == 1);
  const Json item = report["items"][0];
  CHECK(item["source"] == "cambium");
  CHECK(item["code"] == "syntax/missing");
  CHECK(item["severity"] == 1);
  CHECK(item["message"] == "Expected ')' after '1'.");
  CHECK(item["range"] == range(0, 12, 13));
  CHECK(editor.pull(report["resultId"])["kind"] == "unchanged");

  const Json actions = editor.actions();
  REQUIRE(actions.size() == 2);
  CHECK(actions[0]["title"] == "Insert ')'");
  CHECK_FALSE(actions[0].contains("edit"));
  const Json resolved = editor.client.result_of("codeAction/resolve", actions[0]);
  const Json edit = resolved["edit"]["documentChanges"][0];
  CHECK(edit["textDocument"] == Json{{"uri", editor.uri}, {"version", 1}});
  CHECK(edit["edits"] == Json{{{"range", range(0, 13, 13)}, {"newText", ")"}}});
  CHECK(editor.actions(1).empty());
  // A client that shows it while the cursor is elsewhere means it all the same; a stranger's says nothing.
  CHECK(editor.actions(1, Json::array(), {item}) == actions);
  CHECK(editor.actions(1, Json::array(), {{{"message", "x"}}, {{"data", 1}}, 7}).empty());
  CHECK(editor.actions(0, {"refactor"}).empty());
}

TEST_CASE("findings are pushed to clients that do not pull, and vanish when fixed") {
  Editor editor(kPush);
  editor.open(kBroken);
  const Json first = editor.pushed();
  REQUIRE(first["diagnostics"].size() == 1);
  CHECK(first["version"] == 1);
  const Json actions = editor.actions();
  REQUIRE(actions.size() >= 1);
  CHECK(actions[0]["edit"]["changes"][editor.uri] ==
        Json{{{"range", range(0, 13, 13)}, {"newText", ")"}}});
  editor.replace(0, 13, 13, ")");
  CHECK(editor.pushed()["diagnostics"].empty());
  CHECK(editor.actions().empty());
}

TEST_CASE("findings move with edits above them, and typing adds none") {
  Editor editor(kPull);
  editor.open(kBroken);
  editor.pull();
  editor.replace(0, 0, 0, "-- é\n\n");
  Json report = editor.pull();
  REQUIRE(report["items"].size() == 1);
  CHECK(report["items"][0]["range"] == range(2, 12, 13));
  const Json resolved = editor.client.result_of("codeAction/resolve", editor.actions(2)[0]);
  CHECK(resolved["edit"]["documentChanges"][0]["textDocument"]["version"] == 2);
  editor.replace(3, 11, 11, " + g(");  // a second error, half-typed
  report = editor.pull();
  CHECK(report["items"].size() == 1);
  editor.client.notify("textDocument/didSave", {{"textDocument", {{"uri", editor.uri}}}});
  editor.server.run_until([&] { return editor.pull()["items"].size() != 1; });
  CHECK(editor.pull()["items"].size() > 1);
}

TEST_CASE("an error mended elsewhere goes by itself after a pause") {
  Editor editor(kPush);
  editor.open("function f()\n  if x then\n    g()\nend\n");
  REQUIRE(editor.pushed()["diagnostics"].size() == 1);
  editor.replace(2, 7, 7, "\n  end");
  CHECK(editor.pushed()["diagnostics"].empty());
}

TEST_CASE("languages that another server watches are silent about syntax, unless set otherwise") {
  Editor editor(kPull);
  editor.open("def f(:\n", "python");
  CHECK(editor.pull()["items"].empty());
  editor.client.notify("workspace/didChangeConfiguration",
                       {{"settings", {{"cambium", {{"review", {{"syntaxElsewhere", {"c"}}}}}}}}});
  editor.client.notify("textDocument/didSave", {{"textDocument", {{"uri", editor.uri}}}});
  editor.server.run_until([&] { return !editor.pull()["items"].empty(); });
  CHECK(editor.pull()["items"].size() >= 1);
}

TEST_CASE("a dismissed finding stays away, also for the next session") {
  Editor editor(kPull);
  editor.open(kBroken);
  const Json item = editor.pull()["items"][0];
  const Json action = editor.actions().back();
  CHECK(action["command"]["command"] == "cambium.dismiss");
  CHECK_FALSE(editor.command("cambium.dismiss", action["command"]["arguments"]).contains("error"));
  CHECK(editor.pull()["items"].empty());
  CHECK(editor.actions().empty());
  CHECK(editor.folder.read(".cambium/dismissed.json").find(item["data"]["fingerprint"]) !=
        std::string::npos);
  editor.client.notify("textDocument/didClose", {{"textDocument", {{"uri", editor.uri}}}});
  editor.open(kBroken);
  CHECK(editor.pull()["items"].empty());
}

TEST_CASE("all of one kind are fixed by one edit") {
  Editor editor(kPull);
  Json applied;
  editor.client.on_call["workspace/applyEdit"] = [&](const Json& params) {
    applied = params;
    return Json{{"applied", true}};
  };
  editor.open("local x = f(1\nlocal y = 2\nlocal z = g(3\n");
  REQUIRE(editor.pull()["items"].size() == 2);
  const Json answer = editor.command("cambium.fixAll", {editor.uri, "syntax/missing"});
  CHECK(answer["result"]["fixed"] == 2);
  editor.server.run_until([&] { return !applied.is_null(); });
  CHECK(applied["edit"]["documentChanges"][0]["edits"].size() == 2);
  CHECK_FALSE(applied["edit"].contains("changeAnnotations"));
  CHECK(editor.command("cambium.fixAll", {editor.uri, "no/such"}).contains("error"));
  CHECK(editor.command("cambium.fixAll", {1}).contains("error"));
}

TEST_CASE("a client that can ask about each edit of several does so before it makes them") {
  Json capabilities = kPull;
  capabilities["workspace"]["workspaceEdit"]["changeAnnotationSupport"] = Json::object();
  Editor editor(capabilities);
  Json applied;
  editor.client.on_call["workspace/applyEdit"] = [&](const Json& params) {
    applied = params;
    return Json{{"applied", false}};
  };
  editor.open("local x = f(1\nlocal y = 2\nlocal z = g(3\n");
  REQUIRE(editor.pull()["items"].size() == 2);
  editor.command("cambium.fixAll", {editor.uri, "syntax/missing"});
  editor.server.run_until([&] { return !applied.is_null(); });
  const Json edits = applied["edit"]["documentChanges"][0]["edits"];
  REQUIRE(edits.size() == 2);
  for (const Json& edit : edits) {
    const Json annotation =
        applied["edit"]["changeAnnotations"][edit["annotationId"].get<std::string>()];
    CHECK(annotation["needsConfirmation"] == true);
    CHECK(annotation["label"] == "Fix all: syntax/missing");
  }
}

TEST_CASE("a fix of a text that moved on is refused") {
  Editor editor(kPull);
  editor.open(kBroken);
  editor.pull();
  const Json action = editor.actions()[0];
  editor.replace(0, 10, 13, "g(2");
  CHECK(editor.client.request("codeAction/resolve", action).contains("error"));
}

TEST_CASE("the uncommitted diff is reviewed on demand, open or not, with progress that ends") {
  Editor editor(kPull);
  editor.folder.write("a.lua", "local x = f(1)\n");
  editor.folder.write("old.lua", "local x = f(1\n");
  editor.folder.commit();
  editor.folder.write("b.lua", kBroken);
  editor.folder.write("generated.lua", "-- Code generated by x. DO NOT EDIT.\nlocal x = (\n");
  const Json answer =
      editor.client.request("workspace/executeCommand", {{"command", "cambium.review"},
                                                         {"arguments", {{{"scope", "diff"}}}},
                                                         {"workDoneToken", "t"}});
  REQUIRE(answer.contains("result"));
  CHECK(answer["result"]["files"] == 2);
  CHECK(answer["result"]["findings"] == 1);
  CHECK(answer["result"]["notes"].size() == 1);
  const auto progress = editor.client.take("$/progress");
  REQUIRE(progress.size() >= 2);
  CHECK(progress.front()["value"]["kind"] == "begin");
  CHECK(progress.back()["value"]["kind"] == "end");

  const Json all =
      editor.client.result_of("workspace/diagnostic", {{"previousResultIds", Json::array()}});
  Json previous = Json::array();
  size_t items = 0;
  for (const Json& item : all["items"]) {
    items += item["items"].size();
    CHECK(item["version"].is_null());
    previous.push_back({{"uri", item["uri"]}, {"value", item["resultId"]}});
  }
  CHECK(items == 1);
  const Json again =
      editor.client.result_of("workspace/diagnostic", {{"previousResultIds", previous}});
  CHECK(again["items"].size() == previous.size());
  for (const Json& item : again["items"]) CHECK(item["kind"] == "unchanged");
}

TEST_CASE("a review on demand of what can't be is answered all the same") {
  Editor editor(kPull);
  editor.open(kBroken);
  const auto notes = [&](Json argument) {
    const Json answer = editor.command("cambium.review", {std::move(argument)});
    return answer.contains("error") ? Json("error") : answer["result"]["notes"];
  };
  CHECK(notes({{"uri", editor.folder.uri("no-such.lua")}}).size() == 1);
  CHECK(notes({{"uri", editor.folder.uri(".env")}}).size() == 1);
  CHECK(notes({{"uri", editor.uri}, {"range", range(90, 0, 1)}}) == "error");
  CHECK(notes({{"uri", 7}}) == "error");
  CHECK(notes({{"uri", editor.uri}, {"range", range(1, 0, 5)}}).empty());
  CHECK(editor.pull()["items"].size() == 1);
  CHECK(notes({{"scope", "diff"}}).size() == 1);  // under no version control
  for (const auto& [id, count] : editor.client.answer_counts) CHECK(count == 1);
}

TEST_CASE("a session that ends in the middle of a review leaves nothing behind") {
  LspServer server;
  auto client = std::make_unique<LspClient>(server);
  client->initialize({{"capabilities", kPull}});
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "local x = f(1\n";
  client->open("file:///work/a.lua", text, "lua");
  const int64_t id = client->send_request("textDocument/diagnostic",
                                          {{"textDocument", {{"uri", "file:///work/a.lua"}}}});
  client->disconnect();
  CHECK_FALSE(client->answered(id));
  client.reset();
  server.run();
}

namespace {

/// An editor whose user has a model that reasons; it answers in turn, the last answer for good.
struct Reasoning {
  explicit Reasoning(std::vector<Result<std::string>> answers)
      : model(std::make_shared<ScriptedGenerator>(
            "r1",
            [answers = std::move(answers), next = size_t{0}](const engine::Request&) mutable {
              return answers[std::min(next++, answers.size() - 1)];
            })),
        editor(kPull) {
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::reasoning, model);
    editor.server.context->assistant = std::make_shared<assist::Assistant>(models);
    editor.uri = editor.folder.uri("take.py");
    editor.folder.write("limits.py", "LIMIT = 10\n");
    editor.open("def take(items, n):\n    return items[n]\n", "python");
  }
  Json review() { return editor.command("cambium.review", {{{"uri", editor.uri}}}); }

  std::shared_ptr<ScriptedGenerator> model;
  Editor editor;
};

const std::string kStated =
    R"({"findings": [{"line": 2, "quote": "items[n]", "message": "Takes one item.", )"
    R"("severity": "warning", "replacement": "items[:n]"}]})";
const std::string kConfirmed = R"({"confirmed": true})";

}  // namespace

TEST_CASE("a model that reasons is asked on demand, looks things up, and its finding has a fix") {
  Reasoning r({R"({"tool": "value", "argument": "LIMIT"})", kStated, kConfirmed});
  const Json answer = r.review();
  REQUIRE(answer.contains("result"));
  CHECK(answer["result"]["findings"] == 1);
  CHECK(answer["result"]["notes"].empty());
  REQUIRE(r.model->requests.size() == 3);
  CHECK(r.model->requests[0].priority == engine::Priority::background);
  CHECK(r.model->messages(1).back().content.find("limits.py: LIMIT = 10") != std::string::npos);

  const Json items = r.editor.pull()["items"];
  REQUIRE(items.size() == 1);
  CHECK(items[0]["code"] == "reasoning/finding");
  CHECK(items[0]["message"] == "Takes one item.");
  CHECK(items[0]["range"] == range(1, 11, 19));
  const Json actions = r.editor.actions(1, {"quickfix"});
  REQUIRE(actions.size() == 2);
  CHECK(actions[0]["title"] == "Apply the suggested change");
  const Json resolved = r.editor.client.result_of("codeAction/resolve", actions[0]);
  CHECK(resolved["edit"]["documentChanges"][0]["edits"] ==
        Json{{{"range", range(1, 11, 19)}, {"newText", "items[:n]"}}});

  // What it found stays through a save, which does not ask it again, and goes when it is mended.
  r.editor.client.notify("textDocument/didSave", {{"textDocument", {{"uri", r.editor.uri}}}});
  CHECK(r.editor.pull()["items"].size() == 1);
  r.editor.replace(1, 17, 17, ":");
  CHECK(r.editor.pull()["items"].empty());
  CHECK(r.model->requests.size() == 3);
}

TEST_CASE(
    "a model that reasons and fails, or answers with prose, leaves a note and nothing stuck") {
  for (const auto& [answer, note] : std::vector<std::pair<Result<std::string>, std::string>>{
           {fail(ErrorCode::unavailable, "the endpoint is down"), "the endpoint is down"},
           {"It is fine.", "no findings in the form asked for"}}) {
    Reasoning r({answer});
    const Json reviewed = r.review();
    REQUIRE(reviewed.contains("result"));
    CHECK(reviewed["result"]["findings"] == 0);
    REQUIRE(reviewed["result"]["notes"].size() == 1);
    CHECK(reviewed["result"]["notes"][0].get<std::string>().find(note) != std::string::npos);
    CHECK(r.editor.pull()["items"].empty());
    for (const auto& [id, count] : r.editor.client.answer_counts) CHECK(count == 1);
  }
}

TEST_CASE("a save while a model thinks does not throw away what it then finds") {
  Editor editor(kPush);
  bool thinks = false, first = true;
  std::promise<void> saved;
  const auto after_save = saved.get_future().share();
  const auto model =
      std::make_shared<ScriptedGenerator>("r1", [&](const engine::Request&) -> Result<std::string> {
        if (!std::exchange(first, false)) return kConfirmed;
        boost::asio::post(editor.server.io, [&] { thinks = true; });
        after_save.wait();
        return kStated;
      });
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::reasoning, model);
  editor.server.context->assistant = std::make_shared<assist::Assistant>(models);
  editor.uri = editor.folder.uri("take.py");
  editor.open("def take(items, n):\n    return items[n]\n", "python");
  const int64_t id = editor.client.send_request(
      "workspace/executeCommand",
      {{"command", "cambium.review"}, {"arguments", {{{"uri", editor.uri}}}}});
  CHECK(editor.server.run_until([&] { return thinks; }));
  editor.client.notify("textDocument/didSave", {{"textDocument", {{"uri", editor.uri}}}});
  saved.set_value();
  CHECK(editor.client.wait(id)["result"]["findings"] == 1);
  CHECK(editor.pushed()["diagnostics"].size() == 1);
}

TEST_CASE(
    "the team's rules are shown to a model in a workspace that the user trusts, and only there") {
  Reasoning r({R"({"findings": []})"});
  const ReviewFolder& folder = r.editor.folder;
  folder.write(".cambium/review.md", "Money is never a float.\n");
  const auto shown = [&](size_t request) {
    return r.model->messages(request).front().content.find("never a float") != std::string::npos;
  };
  const auto notes = [&] { return r.review()["result"]["notes"]; };

  // What a workspace or its settings say of themselves counts for nothing.
  folder.write(".cambium/config.json", R"({"trustedFolders": ["/"]})");
  r.editor.client.notify(
      "workspace/didChangeWatchedFiles",
      {{"changes", {{{"uri", folder.uri(".cambium/config.json")}, {"type", 1}}}}});
  r.editor.client.notify("workspace/didChangeConfiguration",
                         {{"settings", {{"cambium", {{"trustedFolders", {"/"}}}}}}});
  const Json untrusted = notes();
  REQUIRE(untrusted.size() == 1);
  CHECK(untrusted[0].get<std::string>().find("this workspace is not trusted") != std::string::npos);
  CHECK_FALSE(shown(0));

  r.editor.client.notify("cambium/workspaceTrust", {{"folders", {"file:///elsewhere"}}});
  CHECK(notes().size() == 1);
  CHECK_FALSE(shown(1));
  r.editor.client.notify("cambium/workspaceTrust", {{"folders", {"file://" + folder.root()}}});
  CHECK(notes().empty());
  CHECK(shown(2));
  r.editor.client.notify("cambium/workspaceTrust", {{"folders", Json::array()}});
  CHECK(notes().size() == 1);
  CHECK_FALSE(shown(3));
}

TEST_CASE("folders that the user's own config lists are trusted") {
  Reasoning r({R"({"findings": []})"});
  r.editor.folder.write(".cambium/review.md", "Money is never a float.\n");
  Settings settings;
  REQUIRE(settings.set_layer(Origin::user, {{"trustedFolders", {r.editor.folder.root()}}}).empty());
  r.editor.server.context->settings = settings;
  LspClient second(r.editor.server);
  second.initialize(
      {{"capabilities", kPull},
       {"workspaceFolders", {{{"uri", "file://" + r.editor.folder.root()}, {"name", "w"}}}}});
  second.open(r.editor.uri, "def take(items, n):\n    return items[n]\n", "python");
  const Json answer =
      second.result_of("workspace/executeCommand",
                       {{"command", "cambium.review"}, {"arguments", {{{"uri", r.editor.uri}}}}});
  CHECK(answer["notes"].empty());
  CHECK(r.model->messages(0).front().content.find("never a float") != std::string::npos);
}
