#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/lsp/lsp_client.h"
#include "tests/support/markers.h"

using namespace cambium;
using namespace cambium::test;
using lsp::Json;

namespace {

constexpr const char* kMethod = "textDocument/inlineCompletion";
constexpr const char* kUri = "file:///work/a.cpp";

Json encodings(const char* one) {
  return {{"capabilities", {{"general", {{"positionEncodings", {one}}}}}}};
}

/// A session with one document, its cursor where the "^" is.
struct Editor {
  explicit Editor(const char* source, const char* encoding = "utf-16", const char* uri = kUri,
                  const char* language = "cpp")
      : client(server), marked(parse_markers(source)), uri_text(uri) {
    client.initialize(encodings(encoding));
    client.open(uri, marked.text, language);
  }
  Json params() const {
    const lsp::LineIndex lines(marked.text);
    const auto at = lines.position(marked.text, marked.cursor(),
                                   const_cast<Editor*>(this)->client.session().encoding());
    return client.position_params(uri_text, at.line, at.character);
  }
  Json complete() { return client.result_of(kMethod, params()); }

  LspServer server;
  LspClient client;
  MarkedText marked;
  std::string uri_text;
};

}  // namespace

TEST_CASE("a cursor becomes a byte offset and back, in every encoding") {
  struct Case {
    const char* encoding;
    int character;
  };
  // é is 2 bytes and 1 unit, 😀 is 4 bytes and 2 or 1 units.
  for (const Case& c : {Case{"utf-8", 9}, Case{"utf-16", 6}, Case{"utf-32", 5}}) {
    CAPTURE(c.encoding);
    Editor editor("x\r\n(é😀 )^;\n", c.encoding);
    const Json result = editor.complete();
    REQUIRE(result["items"].size() == 1);
    CHECK(editor.server.completion->inputs.at(0).cursor == editor.marked.cursor());
    const Json position = {{"line", 1}, {"character", c.character}};
    CHECK(result["items"][0]["range"]["start"] == position);
    CHECK(result["items"][0]["range"]["end"] == position);
    CHECK(result["items"][0]["insertText"] == "completed");
  }
}

TEST_CASE("an item counts its acceptance by a command") {
  Editor editor("a^");
  const Json item = editor.complete()["items"][0];
  CHECK(item["command"]["command"] == "cambium.accepted");
  CHECK(item["command"]["arguments"][0].is_string());
}

TEST_CASE("what the completer sees") {
  Editor editor("int ^", "utf-16", kUri, "c");
  editor.client.notify("workspace/didChangeConfiguration",
                       {{"settings", {{"completion", {{"maxTokens", 7}, {"multiline", false}}}}}});
  editor.complete();
  const auto& input = editor.server.completion->inputs.at(0);
  CHECK(*input.text == "int ");
  CHECK(input.path == "/work/a.cpp");
  CHECK(input.language_id == "c");
  CHECK(input.settings.max_tokens == 7);
  CHECK_FALSE(input.settings.multiline);
  CHECK_FALSE(input.has_selected);
}

TEST_CASE("no suggestion is an empty list, never null") {
  Editor editor("a^");
  editor.server.completion->respond = [](const auto&) { return assist::CompletionOutput{}; };
  CHECK(editor.complete() == Json{{"items", Json::array()}});
  editor.server.completion->respond = [](const auto&) -> Result<assist::CompletionOutput> {
    return fail(ErrorCode::device, "hot");
  };
  CHECK(editor.complete() == Json{{"items", Json::array()}});
  const auto statuses = editor.client.take("cambium/status");
  CHECK(statuses.back()["state"] == "problem");
  CHECK(statuses.back()["message"] == "hot");
}

TEST_CASE("an item that clients would show wrongly is left out") {
  const auto answer = [](Editor& editor, assist::CompletionItem item) {
    editor.server.completion->respond = [item](const auto&) {
      assist::CompletionOutput output;
      output.items.push_back(item);
      return output;
    };
    return editor.complete()["items"];
  };
  Editor editor("one\ntwo^ three");
  CHECK(answer(editor, {"x", 2, 7}).empty());    // over a line's end
  CHECK(answer(editor, {"x", 7, 999}).empty());  // outside
  CHECK(answer(editor, {"x", 7, 5}).empty());    // backwards
  CHECK(answer(editor, {"", 7, 7}).empty());
  const Json items = answer(editor, {"two more", 4, 7});
  REQUIRE(items.size() == 1);
  CHECK(items[0]["filterText"] == "two");
  CHECK(items[0]["range"]["start"]["character"] == 0);
}

TEST_CASE("the popup's selected entry must be extended") {
  Editor editor("x.pu^");
  Json params = editor.params();
  params["context"] = {
      {"triggerKind", 0},
      {"selectedCompletionInfo",
       {{"text", "push_back"},
        {"range",
         {{"start", {{"line", 0}, {"character", 2}}}, {"end", {{"line", 0}, {"character", 4}}}}}}}};
  const auto answer = [&](const char* text) {
    editor.server.completion->respond = [text](const auto& input) {
      assist::CompletionOutput output;
      output.items.push_back({text, input.selected_begin, input.cursor});
      return output;
    };
    return editor.client.result_of(kMethod, params)["items"];
  };
  CHECK(answer("push_back(1);").size() == 1);
  CHECK(answer("pull").empty());
  const auto& input = editor.server.completion->inputs.at(0);
  CHECK(input.has_selected);
  CHECK(input.selected_text == "push_back");
  CHECK(input.selected_begin == 2);
}

TEST_CASE("trigger kinds and contexts of all clients are taken") {
  Editor editor("a^");
  for (const char* context : {"null", "{}", R"({"triggerKind":0})", R"({"triggerKind":1})",
                              R"({"triggerKind":2,"selectedCompletionInfo":null})"}) {
    Json params = editor.params();
    params["context"] = Json::parse(context);
    CAPTURE(context);
    CHECK(editor.client.result_of(kMethod, params)["items"].size() == 1);
  }
  Json without = editor.params();
  without.erase("context");
  CHECK(editor.client.result_of(kMethod, without)["items"].size() == 1);
}

TEST_CASE("a newer request supersedes the older one of its method and document") {
  Editor editor("a^");
  editor.server.completion->hold = true;
  editor.client.open("file:///work/b.cpp", "b");
  const auto first = editor.client.send_request(kMethod, editor.params());
  const auto popup = editor.client.send_request("textDocument/completion", editor.params());
  const auto other = editor.client.send_request(
      kMethod, editor.client.position_params("file:///work/b.cpp", 0, 1));
  auto& held = editor.server.completion->held;
  REQUIRE(editor.server.run_until([&] { return held.size() == 3; }));
  const auto second = editor.client.send_request(kMethod, editor.params());
  REQUIRE(editor.server.run_until([&] { return held.size() == 4; }));
  CHECK(editor.client.wait(first)["result"] == Json{{"items", Json::array()}});
  CHECK(editor.server.completion->inputs[0].cancel->load());
  CHECK_FALSE(editor.client.answered(popup));
  CHECK_FALSE(editor.client.answered(other));
  for (auto& done : held) done(fail(ErrorCode::cancelled, "cancelled"));
  for (const auto id : {popup, other, second}) {
    CHECK(editor.client.wait(id)["result"]["items"].empty());
    CHECK(editor.client.answer_counts[Json(id).dump()] == 1);
  }
  const Json stats =
      editor.client.result_of("workspace/executeCommand", {{"command", "cambium.stats"}});
  CHECK(stats["superseded"] == 1);
}

TEST_CASE("even a refused request supersedes the one before it") {
  Editor editor("a^");
  editor.server.completion->hold = true;
  const auto first = editor.client.send_request(kMethod, editor.params());
  REQUIRE(editor.server.run_until([&] { return editor.server.completion->held.size() == 1; }));
  CHECK(editor.client.request(
            kMethod, editor.client.position_params(kUri, 99, 0))["error"]["code"] == -32602);
  CHECK(editor.client.answered(first));
  CHECK(editor.server.completion->inputs[0].cancel->load());
}

TEST_CASE("a cancel is answered at once and stops the work") {
  Editor editor("a^");
  editor.server.completion->hold = true;
  const auto id = editor.client.send_request(kMethod, editor.params());
  REQUIRE(editor.server.run_until([&] { return editor.server.completion->held.size() == 1; }));
  editor.client.notify("$/cancelRequest", {{"id", id}});
  CHECK(editor.client.wait(id)["error"]["code"] == -32800);
  CHECK(editor.server.completion->inputs[0].cancel->load());
  editor.server.completion->held[0](
      FakeCompletion::inserting("late")(editor.server.completion->inputs[0]));
  editor.server.run();
  CHECK(editor.client.answer_counts[Json(id).dump()] == 1);
}

TEST_CASE("a service that forgets a request leaves it answered") {
  Editor editor("a^");
  editor.server.completion->hold = true;
  const auto id = editor.client.send_request(kMethod, editor.params());
  REQUIRE(editor.server.run_until([&] { return editor.server.completion->held.size() == 1; }));
  editor.server.completion->held.clear();
  CHECK(editor.client.wait(id)["error"]["code"] == -32603);
  const auto statuses = editor.client.take("cambium/status");
  CHECK(statuses.back()["state"] == "ready");
}

TEST_CASE("positions outside and documents unknown") {
  Editor editor("one\ntwo^");
  CHECK(editor.client.request(
            kMethod, editor.client.position_params(kUri, 2, 0))["error"]["code"] == -32602);
  CHECK(editor.client.result_of(kMethod, editor.client.position_params("file:///no.cpp", 0, 0)) ==
        Json{{"items", Json::array()}});
  CHECK(editor.client.request(kMethod, {{"textDocument", {{"uri", kUri}}}})["error"]["code"] ==
        -32602);
  // Past a line's end means its end.
  editor.client.result_of(kMethod, editor.client.position_params(kUri, 0, 99));
  CHECK(editor.server.completion->inputs.back().cursor == 3);
}

TEST_CASE("an answer's range belongs to the text that was asked about") {
  Editor editor("one\ntwo^");
  editor.server.completion->hold = true;
  const auto id = editor.client.send_request(kMethod, editor.params());
  REQUIRE(editor.server.run_until([&] { return editor.server.completion->held.size() == 1; }));
  editor.client.notify("textDocument/didChange", {{"textDocument", {{"uri", kUri}, {"version", 2}}},
                                                  {"contentChanges", {{{"text", ""}}}}});
  const auto& input = editor.server.completion->inputs[0];
  editor.server.completion->held[0](FakeCompletion::inserting("!")(input));
  const Json item = editor.client.wait(id)["result"]["items"][0];
  CHECK(item["range"]["start"] == Json{{"line", 1}, {"character", 3}});
}

TEST_CASE("nothing is asked of the model where suggestions are off") {
  const auto off = [](Editor& editor) {
    CHECK(editor.complete() == Json{{"items", Json::array()}});
    CHECK(editor.server.completion->inputs.empty());
    CHECK(editor.server.context->model->state() == lsp::ModelHost::State::unloaded);
    const auto statuses = editor.client.take("cambium/status");
    REQUIRE_FALSE(statuses.empty());
    return std::pair(statuses.back()["state"].get<std::string>(),
                     statuses.back()["message"].get<std::string>());
  };
  SUBCASE("turned off") {
    Editor editor("a^");
    editor.client.notify("workspace/didChangeConfiguration",
                         {{"settings", {{"completion.enabled", false}}}});
    CHECK(off(editor) == std::pair<std::string, std::string>("off", "suggestions are turned off"));
  }
  SUBCASE("for a language") {
    Editor editor("a^", "utf-16", kUri, "markdown");
    editor.client.notify("workspace/didChangeConfiguration",
                         {{"settings", {{"completion.disabledLanguages", {"markdown"}}}}});
    CHECK(off(editor).second == "suggestions are turned off for markdown");
  }
  SUBCASE("a file of secrets") {
    Editor editor("KEY=^", "utf-16", "file:///work/.env");
    CHECK(off(editor).first == "off");
  }
  SUBCASE("a file of secrets behind another scheme and percent signs") {
    Editor editor("KEY=^", "utf-16", "vscode-remote://host/work/%2Eenv");
    CHECK(off(editor).first == "off");
  }
  SUBCASE("a binary") {
    LspServer server;
    LspClient client(server);
    client.initialize();
    client.open(kUri, std::string("a\0b", 3));
    CHECK(client.result_of(kMethod, client.position_params(kUri, 0, 0))["items"].empty());
    CHECK(client.take("cambium/status").back()["state"] == "problem");
    CHECK(server.completion->inputs.empty());
  }
  SUBCASE("out of step with the editor") {
    Editor editor("a^");
    editor.client.notify("textDocument/didChange",
                         {{"textDocument", {{"uri", kUri}, {"version", 2}}},
                          {"contentChanges",
                           {{{"text", "x"},
                             {"range",
                              {{"start", {{"line", 50}, {"character", 0}}},
                               {"end", {{"line", 50}, {"character", 0}}}}}}}}});
    CHECK(editor.client.take("window/showMessage").size() == 1);
    CHECK(off(editor).first == "problem");
  }
}

TEST_CASE("a file that .gitignore names is left alone until the rule is gone") {
  std::string root = (std::filesystem::temp_directory_path() / "cambium-git-XXXXXX").string();
  REQUIRE(::mkdtemp(root.data()) != nullptr);
  std::ofstream(root + "/.gitignore") << "local.cpp\n";
  {
    LspServer server;
    LspClient client(server);
    client.initialize({{"rootUri", lsp::uri_of_path(root)}});
    const std::string uri = lsp::uri_of_path(root + "/local.cpp");
    client.open(uri, "x");
    const auto count = [&] {
      return client.result_of(kMethod, client.position_params(uri, 0, 1))["items"].size();
    };
    CHECK(count() == 0);
    CHECK(client.take("cambium/status").back()["state"] == "off");
    std::ofstream(root + "/.gitignore") << "";
    client.notify("textDocument/didSave",
                  {{"textDocument", {{"uri", lsp::uri_of_path(root + "/.gitignore")}}}});
    CHECK(count() == 1);
    CHECK(client.take("cambium/status").back()["state"] == "ready");
  }
  std::filesystem::remove_all(root);
}

TEST_CASE("a huge file is answered without a completion, and the server lives on") {
  LspServer server;
  LspClient client(server);
  client.initialize();
  client.open(kUri, std::string((size_t{8} << 20) + 1, 'x'));
  CHECK(client.result_of(kMethod, client.position_params(kUri, 0, 1))["items"].empty());
  CHECK(client.take("cambium/status").back()["message"] == "this file is larger than 8 MiB");
  client.open("file:///small.cpp", "a");
  CHECK(client.result_of(kMethod, client.position_params("file:///small.cpp", 0, 1))["items"]
            .size() == 1);
}

TEST_CASE("two completion models: the larger one answers where the small one is not sure") {
  LspServer server;
  const auto small = std::make_shared<FakeCompletion>(), large = std::make_shared<FakeCompletion>();
  small->respond = FakeCompletion::inserting("small");
  large->respond = [](const assist::CompletionInput& asked) -> Result<assist::CompletionOutput> {
    if (asked.cached_only) return assist::CompletionOutput{};
    return FakeCompletion::inserting("large")(asked);
  };
  const auto model = [](const std::string& name, std::shared_ptr<FakeCompletion> completion) {
    lsp::PooledModel pooled;
    pooled.name = name;
    pooled.load = [completion](const std::function<void(double)>&) -> Result<lsp::LoadedModel> {
      lsp::LoadedModel loaded;
      loaded.completion = completion;
      return loaded;
    };
    return pooled;
  };
  std::vector<lsp::PooledModel> models = {model("small.gguf", small), model("large.gguf", large)};
  models[0].roles = {assist::Role::completion};
  models[1].larger_of = {{assist::Role::completion, 0.8}};
  server.context->pool->close();
  server.context->use(lsp::ModelPool::create(server.context->strand, std::move(models), {}));
  LspClient client(server);
  client.initialize();
  client.open(kUri, "int a = \n");
  const auto complete = [&] {
    return client.result_of(kMethod, client.position_params(kUri, 0, 8))["items"][0]["insertText"];
  };
  CHECK(complete() == "small");  // the larger one is still to be loaded
  const auto rows = server.context->pool->rows();
  REQUIRE(
      server.run_until([&] { return rows.at(1).host->state() == lsp::ModelHost::State::ready; }));
  CHECK(complete() == "large");
  const Json stats = client.result_of("workspace/executeCommand", {{"command", "cambium.stats"}});
  CHECK(stats["cascade"] == Json{{"small", 1}, {"larger", 1}});
  CHECK(stats["models"][1]["largerOf"] == Json::array({"completion"}));
  CHECK_FALSE(stats["models"][0].contains("largerOf"));
}
