#include "lsp/jsonrpc.h"

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lsp/protocol/basics.h"

using namespace cambium::lsp;

namespace {

/// A peer whose other side is the test.
struct Rig {
  Rig() {
    peer = std::make_shared<Peer>(
        io.get_executor(), [this](const std::string& body) { sent.push_back(Json::parse(body)); },
        null_logger());
  }
  ~Rig() {
    peer->close();
    peer.reset();
    run();
  }
  void run() {
    io.restart();
    io.poll();
  }
  void receive(const std::string& body) {
    peer->receive(body);
    run();
  }
  /// The code of the only message sent since the last call, 0 for a result.
  int only_code() {
    REQUIRE(sent.size() == 1);
    const Json message = sent.front();
    sent.clear();
    return message.contains("error") ? message["error"]["code"].get<int>() : 0;
  }

  boost::asio::io_context io{1};
  std::vector<Json> sent;
  std::shared_ptr<Peer> peer;
};

}  // namespace

TEST_CASE("what cannot be read is answered with the error JSON-RPC has for it") {
  struct Case {
    const char* body;
    int code;
    const char* id;  ///< of the answer, as JSON
  };
  const Case cases[] = {
      {"{", -32700, "null"},
      {"", -32700, "null"},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xFF\"}", -32700, "null"},
      {"[]", -32600, "null"},
      {"[{\"id\":1,\"method\":\"echo\"}]", -32600, "null"},
      {"7", -32600, "null"},
      {"{}", -32600, "null"},
      {R"({"id":1})", -32600, "null"},
      {R"({"id":1,"method":5})", -32600, "null"},
      {R"({"id":{},"method":"echo"})", -32600, "null"},
      {R"({"id":null,"method":"echo"})", -32600, "null"},
      {R"({"id":1.5,"method":"echo"})", -32600, "null"},
      {R"({"id":1,"method":"nothing/here"})", -32601, "1"},
      {R"({"id":"x","method":"$/here"})", -32601, "\"x\""},
      {R"({"id":1,"method":"position","params":{"line":-1,"character":0}})", -32602, "1"},
      {R"({"id":1,"method":"position","params":[1,2]})", -32602, "1"},
      {R"({"id":1,"method":"position"})", -32602, "1"},
      {R"({"id":1,"method":"position","params":{"line":1,"character":0}})", 0, "1"},
      {R"({"id":"a b","method":"echo","params":{"x":[1]}})", 0, "\"a b\""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.body);
    Rig rig;
    rig.peer->on_request<Position>("position", Latency::instant,
                                   [](Position, Reply reply) { reply(true); });
    rig.peer->on_request<Json>("echo", Latency::instant,
                               [](Json params, Reply reply) { reply(std::move(params)); });
    rig.receive(c.body);
    REQUIRE(rig.sent.size() == 1);
    CHECK(rig.sent[0]["id"].dump() == c.id);
    CHECK(rig.only_code() == c.code);
  }
}

TEST_CASE("an error about parameters names the field") {
  Rig rig;
  rig.peer->on_request<TextDocumentPosition>("at", Latency::instant,
                                             [](TextDocumentPosition, Reply reply) { reply(1); });
  rig.receive(
      R"({"id":1,"method":"at","params":{"textDocument":{"uri":"a"},"position":{"line":"x"}}})");
  CHECK(rig.sent.at(0)["error"]["message"] ==
        "position.line: expected a number from 0 to 2147483647");
}

TEST_CASE("notifications are never answered, known or not") {
  Rig rig;
  int seen = 0;
  rig.peer->on_notification<Position>("here", Latency::instant, [&](Position) { ++seen; });
  rig.receive(R"({"method":"here","params":{"line":1,"character":2}})");
  rig.receive(R"({"method":"here","params":{"line":"one"}})");
  rig.receive(R"({"method":"$/whatever"})");
  rig.receive(R"({"method":"no/such"})");
  CHECK(seen == 1);
  CHECK(rig.sent.empty());
}

TEST_CASE("a request is answered once, by whoever comes first") {
  Rig rig;
  std::vector<Reply> held;
  int abandoned = 0;
  rig.peer->on_request<NoParams>("hold", Latency::instant, [&](NoParams, Reply reply) {
    reply.on_abandoned([&] { ++abandoned; });
    held.push_back(std::move(reply));
  });

  SUBCASE("a reply, then another") {
    rig.receive(R"({"id":1,"method":"hold"})");
    held[0](1);
    held[0](2);
    held[0].fail(RpcCode::internal_error, "no");
    held.clear();
    rig.run();
    CHECK(rig.sent.size() == 1);
    CHECK(rig.sent[0]["result"] == 1);
    CHECK(abandoned == 0);
  }
  SUBCASE("dropped without one") {
    rig.receive(R"({"id":1,"method":"hold"})");
    held.clear();
    rig.run();
    CHECK(rig.only_code() == -32603);
    CHECK(abandoned == 1);
  }
  SUBCASE("cancelled, then a late result") {
    rig.receive(R"({"id":"q","method":"hold"})");
    rig.receive(R"({"method":"$/cancelRequest","params":{"id":"q"}})");
    CHECK(abandoned == 1);
    held[0](1);
    rig.run();
    CHECK(rig.only_code() == -32800);
    CHECK(rig.peer->open_requests() == 0);
  }
  SUBCASE("a result, then a late cancel") {
    rig.receive(R"({"id":1,"method":"hold"})");
    held[0](1);
    rig.receive(R"({"method":"$/cancelRequest","params":{"id":1}})");
    rig.receive(R"({"method":"$/cancelRequest","params":{}})");
    CHECK(rig.only_code() == 0);
    CHECK(abandoned == 0);
  }
  SUBCASE("from another thread, raced by a cancel") {
    rig.receive(R"({"id":1,"method":"hold"})");
    std::thread other([reply = std::make_shared<Reply>(std::move(held[0]))] { (*reply)(5); });
    rig.receive(R"({"method":"$/cancelRequest","params":{"id":1}})");
    other.join();
    rig.run();
    CHECK(rig.sent.size() == 1);
  }
  SUBCASE("numbers and strings are different ids; an open id is not taken twice") {
    rig.receive(R"({"id":1,"method":"hold"})");
    rig.receive(R"({"id":"1","method":"hold"})");
    CHECK(held.size() == 2);
    rig.receive(R"({"id":1,"method":"hold"})");
    CHECK(rig.only_code() == -32600);
    CHECK(held.size() == 2);
  }
  SUBCASE("all at once when the peer gives up") {
    for (int i = 0; i < 5; ++i)
      rig.receive(R"({"id":)" + std::to_string(i) + R"(,"method":"hold"})");
    rig.peer->abandon_all({RpcCode::request_cancelled, "stop"});
    held.clear();
    rig.run();
    CHECK(rig.sent.size() == 5);
    CHECK(abandoned == 5);
  }
  SUBCASE("a closed peer says nothing, but stops the work") {
    rig.receive(R"({"id":1,"method":"hold"})");
    rig.peer->close();
    CHECK(abandoned == 1);
    CHECK(rig.sent.empty());
  }
}

TEST_CASE("a handler that throws a library's exception still answers") {
  Rig rig;
  rig.peer->on_request<Json>("careless", Latency::instant,
                             [](const Json& params, Reply reply) { reply(params.at("x")); });
  rig.receive(R"({"id":1,"method":"careless","params":{}})");
  CHECK(rig.only_code() == -32603);
}

TEST_CASE("text that is not UTF-8 leaves as replacement characters") {
  Rig rig;
  rig.peer->on_request<NoParams>("bytes", Latency::instant,
                                 [](NoParams, Reply reply) { reply("a\xFFz"); });
  rig.receive(R"({"id":1,"method":"bytes"})");
  CHECK(rig.sent.at(0)["result"] == "a\xEF\xBF\xBDz");
}

TEST_CASE("calls to the other side end exactly once") {
  Rig rig;
  std::vector<CallResult> results;
  const auto call = [&](std::chrono::milliseconds timeout) {
    rig.peer->call("ask", {{"a", 1}}, timeout,
                   [&](CallResult r) { results.push_back(std::move(r)); });
    const Json id = rig.sent.at(0)["id"];
    rig.sent.clear();
    return id.dump();
  };
  SUBCASE("answered") {
    const auto id = call(std::chrono::seconds(60));
    rig.receive(R"({"id":)" + id + R"(,"result":{"x":2}})");
    rig.receive(R"({"id":)" + id + R"(,"result":3})");
    REQUIRE(results.size() == 1);
    CHECK((*results[0])["x"] == 2);
  }
  SUBCASE("refused") {
    const auto id = call(std::chrono::seconds(60));
    rig.receive(R"({"id":)" + id + R"(,"error":{"code":-32601,"message":"unknown"}})");
    REQUIRE(results.size() == 1);
    CHECK(results[0].error().message == "unknown");
  }
  SUBCASE("never answered") {
    call(std::chrono::milliseconds(0));
    rig.io.restart();
    rig.io.run_one_for(std::chrono::seconds(5));
    REQUIRE(results.size() == 1);
    CHECK(results[0].error().code == RpcCode::request_failed);
  }
  SUBCASE("the peer closes") {
    call(std::chrono::seconds(60));
    rig.peer->close();
    CHECK(results.size() == 1);
  }
  SUBCASE("answers to nothing are ignored") {
    rig.receive(R"({"id":99,"result":1})");
    rig.receive(R"({"id":"odd","result":1})");
    CHECK(rig.sent.empty());
  }
}

TEST_CASE("deeply nested JSON is survived") {
  Rig rig;
  rig.peer->on_request<NoParams>("ping", Latency::instant, [](NoParams, Reply reply) { reply(1); });
  const std::string deep = std::string(30000, '[') + std::string(30000, ']');
  rig.receive(R"({"id":1,"method":"ping","params":)" + deep + "}");
  CHECK(rig.only_code() == 0);
  rig.receive(std::string(30000, '['));
  CHECK(rig.only_code() == -32700);
}

TEST_CASE("half a surrogate pair costs one character, not the message") {
  struct Case {
    const char* sent;
    const char* read;
  };
  const Case cases[] = {
      {R"(a\ud83d)", "a\xEF\xBF\xBD"},
      {R"(\ude00b)",
       "\xEF\xBF\xBD"
       "b"},
      {R"(\ud83d\ud83d\ude00)", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
      {R"(\\ud83d\ud83d)", "\\ud83d\xEF\xBF\xBD"},
      {R"(\ud83d\n\u0041)", "\xEF\xBF\xBD\nA"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.sent);
    Rig rig;
    rig.peer->on_request<Json>("echo", Latency::instant,
                               [](Json params, Reply reply) { reply(std::move(params)); });
    rig.receive(std::string(R"({"id":1,"method":"echo","params":[")") + c.sent + "\"]}");
    REQUIRE(rig.sent.size() == 1);
    REQUIRE(rig.sent[0].contains("result"));
    CHECK(rig.sent[0]["result"][0] == c.read);
  }
  Rig rig;
  rig.receive(R"({"id":1,"method":"echo","params":["\ud83d)");
  CHECK(rig.only_code() == -32700);
}
