#include "engine/remote/remote_generator.h"

#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/engine/blocking.h"
#include "tests/support/engine/scripted_server.h"
#include "tests/support/engine/tiny_model.h"

using namespace cambium;
using namespace cambium::engine;
using namespace cambium::test;
using Json = nlohmann::json;
using Connection = ScriptedServer::Connection;

namespace {

using namespace std::chrono_literals;

RemoteOptions options_for(const std::string& url) {
  RemoteOptions options;
  options.url = url;
  options.model = "deepseek-coder-6.7b-base";
  options.fim = FimStyle::suffix;
  options.http.back_off = 1ms;
  options.http.silence = 8s;
  return options;
}

std::shared_ptr<Generator> remote(const RemoteOptions& options) {
  auto generator = make_remote(options);
  REQUIRE_MESSAGE(generator.has_value(), generator.error().message);
  return *generator;
}

Request fim(const std::string& prefix, const std::string& suffix) {
  Request request;
  request.text = FimPrompt{prefix, suffix};
  request.max_tokens = 32;
  return request;
}

Request chat(const std::string& text) {
  Request request;
  request.text = ChatPrompt{{{ChatMessage::Role::user, text}}};
  request.max_tokens = 32;
  return request;
}

std::string piece(const std::string& text) {
  return event(Json{{"choices", {{{"index", 0}, {"text", text}}}}}.dump());
}

std::string delta(const Json& delta, const Json& finish = nullptr) {
  return event(
      Json{{"choices", {{{"index", 0}, {"delta", delta}, {"finish_reason", finish}}}}}.dump());
}

/// What the endpoint's error says, after one request.
std::string error_of(const std::shared_ptr<Generator>& generator, Request request = chat("x")) {
  const auto result = try_generate(*generator, std::move(request));
  REQUIRE_FALSE(result.has_value());
  return result.error().message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a completion with a suffix, streamed in any pieces") {
  const std::string stream =
      stream_head() + ": a comment\r\n\r\n" + piece("return ") + piece("a + ") + piece("b") +
      event(R"({"choices":[{"text":"","finish_reason":"stop"}]})") +
      event(R"({"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":5,)"
            R"("prompt_tokens_details":{"cached_tokens":7}}})") +
      event("[DONE]");
  for (const size_t size : {size_t{1}, size_t{7}, stream.size()}) {
    ScriptedServer server([&](Connection& client, const std::string&) {
      for (size_t at = 0; at < stream.size(); at += size) {
        if (!client.send(stream.substr(at, size))) return;
      }
    });
    auto options = options_for(server.url("/v1"));
    options.key = "secret";
    const auto generator = remote(options);
    std::string shown;
    Request request = fim("def f(a, b):\n    ", "\nprint(f(1, 2))");
    request.stop = {"\n\n"};
    const Generated out =
        generate(*generator, request, [&](std::string_view text) { shown += text; });
    CHECK(out.text == "return a + b");
    CHECK(shown == out.text);
    CHECK(out.stop == StopReason::end_of_text);
    CHECK(out.timings.prompt_tokens == 12);
    CHECK(out.timings.generated_tokens == 5);
    CHECK(out.timings.reused_tokens == 7);
    CHECK(out.timings.ttft_ms > 0);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 1);
    CHECK(requests[0].starts_with("POST /v1/completions HTTP/1.1\r\n"));
    CHECK(contains(requests[0], "Authorization: Bearer secret\r\n"));
    const Json body = Json::parse(body_of(requests[0]));
    CHECK(body["prompt"] == "def f(a, b):\n    ");
    CHECK(body["suffix"] == "\nprint(f(1, 2))");
    CHECK(body["max_tokens"] == 32);
    CHECK(body["stream"] == true);
    CHECK(body["stop"] == Json::array({"\n\n"}));
    CHECK(body["temperature"] == 0);
  }
}

TEST_CASE("raw prompts spell the model's tokens, /infill is at the root") {
  ScriptedServer server([&](Connection& client, const std::string& request) {
    if (request.starts_with("POST /infill ")) {
      client.send(stream_head() + event(R"({"content":"x","stop":false})") +
                  event(R"({"content":"","stop":true,"stop_type":"limit","tokens_predicted":1,)"
                        R"("tokens_evaluated":9,"timings":{"prompt_ms":2.5,"predicted_ms":1.5,)"
                        R"("cache_n":4}})"));
    } else {
      client.send(stream_head() + piece("x") + event("[DONE]"));
    }
  });
  auto options = options_for(server.url("/v1"));
  options.fim = FimStyle::raw;
  CHECK(generate(*remote(options), fim("a", "b")).text == "x");
  options.fim = FimStyle::infill;
  const Generated out = generate(*remote(options), fim("a", "b"));
  CHECK(out.text == "x");
  CHECK(out.stop == StopReason::max_tokens);
  CHECK(out.timings.prompt_tokens == 9);
  CHECK(out.timings.reused_tokens == 4);
  CHECK(out.timings.prefill_ms == doctest::Approx(2.5));
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK(Json::parse(body_of(requests[0]))["prompt"] ==
        "<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>");
  CHECK(Json::parse(body_of(requests[1]))["input_suffix"] == "b");
}

TEST_CASE("chat: reasoning comes apart from the answer, whichever field it is in") {
  for (const char* field : {"reasoning_content", "reasoning"}) {
    ScriptedServer server([&](Connection& client, const std::string&) {
      client.send(stream_head() + delta({{"role", "assistant"}, {"content", ""}}) +
                  delta({{field, "six "}}) + delta({{field, "times seven"}}) +
                  delta({{"content", "42"}}) + delta(Json::object(), "stop") + event("[DONE]"));
    });
    const Generated out = generate(*remote(options_for(server.url("/v1"))), chat("6*7?"));
    CHECK(out.text == "<think>\nsix times seven\n</think>\n\n42");
    const Json body = Json::parse(body_of(server.requests().at(0)));
    CHECK(body["messages"] == Json::parse(R"([{"role":"user","content":"6*7?"}])"));
  }
}

TEST_CASE("chat: log-probabilities come where they are asked for") {
  const auto say = [](const std::string& text, double logprob) {
    return event(Json{{"choices",
                       {{{"delta", {{"content", text}}},
                         {"logprobs", {{"content", {{{"token", text}, {"logprob", logprob}}}}}}}}}}
                     .dump());
  };
  ScriptedServer server([&](Connection& client, const std::string&) {
    client.send(stream_head() + say("4", -0.25) + say("2", -0.5) + event("[DONE]"));
  });
  const auto generator = remote(options_for(server.url("/v1")));
  Request request = chat("6*7?");
  generate(*generator, request);
  request.logprobs = true;
  const Generated out = generate(*generator, request);
  CHECK(out.text == "42");
  CHECK(out.logprobs == std::vector<float>{-0.25f, -0.5f});
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_FALSE(Json::parse(body_of(requests[0])).contains("logprobs"));
  CHECK(Json::parse(body_of(requests[1]))["logprobs"] == true);
}

TEST_CASE("a form is asked for, and asked for no more where the server does not know it") {
  std::atomic<bool> knows = true, never = false;
  ScriptedServer server([&](Connection& c, const std::string& request) {
    const bool asked = contains(request, "response_format");
    if (never || (asked && !knows)) {
      const std::string body = R"({"error":{"message":"response_format is not known"}})";
      c.send("HTTP/1.1 400 Bad Request\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\nConnection: close\r\n\r\n" + body);
      return;
    }
    c.send(stream_head() + delta({{"content", "{}"}}, "stop") + event("[DONE]"));
  });
  Request request = chat("x");
  request.json_schema = R"({"type":"object","properties":{"z":{},"a":{}}})";
  const auto generator = remote(options_for(server.url()));
  CHECK(generator->capabilities().json_schema);
  CHECK(generate(*generator, request).text == "{}");
  const auto seen = [&] { return server.requests(); };
  REQUIRE(seen().size() == 1);
  const Json body = Json::parse(body_of(seen()[0]));
  CHECK(body["response_format"]["type"] == "json_schema");
  CHECK(body["response_format"]["json_schema"]["schema"]["type"] == "object");
  CHECK(contains(seen()[0], request.json_schema));  // in its order

  knows = false;
  CHECK(generate(*generator, request).text == "{}");
  CHECK(seen().size() == 3);
  CHECK_FALSE(contains(seen().at(2), "response_format"));
  CHECK_FALSE(generator->capabilities().json_schema);
  CHECK(generate(*generator, request).text == "{}");
  CHECK(seen().size() == 4);
  // What refuses without it as well is told, not asked for ever.
  never = true;
  const auto other = remote(options_for(server.url()));
  CHECK(contains(error_of(other, request), "refuses the request (400)"));
  CHECK(seen().size() == 6);
}

TEST_CASE("a server that does not stream is understood as well") {
  ScriptedServer server([&](Connection& client, const std::string&) {
    client.send(response(200, "application/json",
                         R"({"choices":[{"message":{"content":"hi"},"finish_reason":"length"}]})"));
  });
  const Generated out = generate(*remote(options_for(server.url("/v1"))), chat("x"));
  CHECK(out.text == "hi");
  CHECK(out.stop == StopReason::max_tokens);
}

TEST_CASE("a stop string and a controller close the stream") {
  bool closed = false;
  ScriptedServer server([&](Connection& client, const std::string&) {
    client.send(stream_head() + piece("one\n") + piece("two\n") + piece("three\n"));
    closed = client.wait_until_closed();
  });
  const auto generator = remote(options_for(server.url("/v1")));
  Request request = fim("", "");
  request.stop = {"two"};
  Generated out = generate(*generator, request);
  CHECK(out.text == "one\n");
  CHECK(out.stop == StopReason::stop_string);

  request.stop.clear();
  std::vector<std::string> seen;
  request.controller = controller([&](const Step& step) {
    seen.emplace_back(step.piece);
    StepDecision decision;
    if (step.piece.starts_with("two")) {
      decision.verdict = StepDecision::Verdict::stop_after;
      decision.keep_bytes = 3;
    }
    return decision;
  });
  out = generate(*generator, request);
  CHECK(out.text == "one\ntwo");
  CHECK(out.stop == StopReason::controller);
  CHECK(seen == std::vector<std::string>{"one\n", "two\n"});
  CHECK(server.requests().size() == 2);
  CHECK(closed);
}

TEST_CASE("cancelling closes the stream, in mid-answer and before the first byte") {
  for (const bool started : {true, false}) {
    std::promise<bool> closed;
    ScriptedServer server([&](Connection& client, const std::string&) {
      if (started) client.send(stream_head() + piece("one"));
      closed.set_value(client.wait_until_closed());
    });
    const auto generator = remote(options_for(server.url("/v1")));
    Request request = fim("", "");
    request.cancel = make_cancel_flag();
    std::promise<Result<Generated>> done;
    const CancelFlag flag = request.cancel;
    if (!started) flag->store(true);
    generator->generate(
        request, [&](std::string_view) { flag->store(true); },
        [&](Result<Generated> result) { done.set_value(std::move(result)); });
    const auto result = done.get_future().get();
    REQUIRE(result.has_value());
    CHECK(result->stop == StopReason::cancelled);
    CHECK(result->text == (started ? "one" : ""));
    if (started) CHECK(closed.get_future().get());
  }
}

TEST_CASE("a generator that goes answers what is open, even from its own callback") {
  ScriptedServer server([&](Connection& client, const std::string&) {
    client.send(stream_head() + piece("one"));
    client.wait_until_closed();
  });
  auto generator = remote(options_for(server.url("/v1")));
  std::promise<StopReason> done;
  std::promise<void> came;
  generator->generate(
      fim("", ""), [&](std::string_view) { came.set_value(); },
      [&](Result<Generated> result) { done.set_value(result->stop); });
  came.get_future().wait();
  generator.reset();
  CHECK(done.get_future().get() == StopReason::cancelled);

  generator = remote(options_for("http://127.0.0.1:1/v1"));
  std::promise<void> gone;
  generator->generate(chat("x"), nullptr, [&](const Result<Generated>&) {
    generator.reset();
    gone.set_value();
  });
  gone.get_future().wait();
}

TEST_CASE("faults: each is one sentence that names the server") {
  struct Fault {
    const char* name;
    std::function<void(Connection&)> act;
    const char* says;
  };
  const std::vector<Fault> faults = {
      {"hangs before the head", [](Connection& c) { c.wait_until_closed(); }, "no answer within"},
      {"hangs in mid-stream",
       [](Connection& c) {
         c.send(stream_head() + piece("one"));
         c.wait_until_closed();
       },
       "no answer within"},
      {"cut in mid-stream", [](Connection& c) { c.send(stream_head() + piece("one") + "data: {"); },
       "the stream ended before the answer did"},
      {"cut in mid-chunk",
       [](Connection& c) {
         c.send(
             "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
             "Transfer-Encoding: chunked\r\n\r\n100\r\ndata: ");
       },
       "cut off"},
      {"closes at once", [](Connection&) {}, "cut off"},
      {"no HTTP", [](Connection& c) { c.send("SSH-2.0-OpenSSH_9.2\r\n\r\n"); }, "speaks no HTTP"},
      {"garbage in the stream",
       [](Connection& c) { c.send(stream_head() + event("\x01\xff{{{") + event("[DONE]")); },
       "no answer of this API"},
      {"an error in mid-stream",
       [](Connection& c) {
         c.send(stream_head() + piece("one") + event(R"({"error":{"message":"out of memory"}})"));
       },
       "reports an error: out of memory"},
      {"an endless event",
       [](Connection& c) {
         c.send(stream_head() + "data: ");
         while (c.send(std::string(1 << 16, 'x'))) {
         }
       },
       "more than 1 MiB"},
      {"a web page", [](Connection& c) { c.send(response(200, "text/html", "<html>hello")); },
       "no answer of this API"},
      {"a wrong key",
       [](Connection& c) {
         c.send(response(401, "application/json", R"({"error":{"message":"bad token"}})"));
       },
       "the key is refused (401)"},
      {"a wrong model",
       [](Connection& c) {
         c.send(response(404, "application/json", R"({"error":{"message":"no such model"}})"));
       },
       "no model 'deepseek-coder-6.7b-base'"},
      {"a template that does not render",
       [](Connection& c) {
         c.send(
             response(400, "application/json", R"({"error":"Conversation roles must alternate"})"));
       },
       "refuses the request (400): Conversation roles must alternate"},
      {"500", [](Connection& c) { c.send(response(500, "text/plain", "boom")); },
       "the server failed (500); look into its log, or try again: boom"},
  };
  for (const Fault& fault : faults) {
    CAPTURE(fault.name);
    ScriptedServer server([&](Connection& client, const std::string&) { fault.act(client); });
    auto options = options_for(server.url("/v1"));
    if (contains(fault.name, "hangs")) options.http.silence = 100ms;
    const std::string message = error_of(remote(options));
    CAPTURE(message);
    CHECK(contains(message, fault.says));
    CHECK(message.starts_with("http://127.0.0.1:" + server.port()));
    CHECK(message.find('\n') == std::string::npos);
  }
}

TEST_CASE("429 and 503 are asked again, with patience that ends") {
  int asked = 0;
  ScriptedServer server([&](Connection& client, const std::string&) {
    ++asked;
    if (asked == 1) {
      client.send(response(429, "application/json", "{}", "Retry-After: 0\r\n"));
    } else if (asked == 2) {
      client.send(response(503, "text/plain", "loading"));
    } else {
      client.send(stream_head() + piece("at last") + event("[DONE]"));
    }
  });
  CHECK(generate(*remote(options_for(server.url("/v1"))), fim("", "")).text == "at last");
  CHECK(server.requests().size() == 3);

  ScriptedServer busy([&](Connection& client, const std::string&) {
    client.send(response(503, "text/plain", "loading the model"));
  });
  auto options = options_for(busy.url("/v1"));
  options.http.retries = 2;
  CHECK(contains(error_of(remote(options)), "is overloaded (503)"));
  CHECK(busy.requests().size() == 3);
  // 500 is not: the same request would fail again.
}

TEST_CASE("waits double, follow the server's word, and end at half a minute") {
  HttpOptions options;
  CHECK(retry_delay(options, 0, "") == 500ms);
  CHECK(retry_delay(options, 1, "") == 1s);
  CHECK(retry_delay(options, 2, "soon") == 2s);
  CHECK(retry_delay(options, 30, "") == 30s);
  CHECK(retry_delay(options, 0, "7") == 7s);
  CHECK(retry_delay(options, 0, "3000") == 30s);
  CHECK(retry_delay(options, 0, "-5") == 500ms);
}

TEST_CASE("certificates are verified") {
  const Certificate right = make_certificate("127.0.0.1");
  const Certificate other = make_certificate("example.org");
  const auto script = [](Connection& client, const std::string&) {
    client.send(stream_head() + piece("ok") + event("[DONE]"));
  };
  const TempFile right_file = temp_file("right.pem"), other_file = temp_file("other.pem");
  std::ofstream(right_file.path()) << right.certificate;
  std::ofstream(other_file.path()) << other.certificate;

  ScriptedServer server(script, &right);
  auto options = options_for(server.url("/v1"));
  CHECK(contains(error_of(remote(options)), "certificate is not trusted"));
  options.http.ca_file = right_file.path();
  CHECK(generate(*remote(options), fim("", "")).text == "ok");
  options.http.ca_file = other_file.path();
  CHECK(contains(error_of(remote(options)), "certificate is not trusted"));

  // Trusted, but somebody else's.
  ScriptedServer impostor(script, &other);
  options = options_for(impostor.url("/v1"));
  options.http.ca_file = other_file.path();
  const std::string message = error_of(remote(options));
  CHECK(contains(message, "certificate is not trusted"));
  CHECK(contains(message, "IP address mismatch"));
  CHECK(impostor.requests().empty());

  options.http.ca_file = "/nonexistent.pem";
  CHECK(contains(error_of(remote(options)), "/nonexistent.pem: cannot be read"));
  // An http:// server behind an https:// URL.
  ScriptedServer plain([](Connection& client, const std::string&) { client.send("no TLS here"); });
  options = options_for("https://127.0.0.1:" + plain.port() + "/v1");
  CHECK(contains(error_of(remote(options)), "no TLS connection"));
}

TEST_CASE("proxies: absolute requests, tunnels for https, none for loopback and no_proxy") {
  ScriptedServer proxy([](Connection& client, const std::string& request) {
    if (request.starts_with("CONNECT")) {
      client.send("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    } else {
      client.send(stream_head() + piece("by proxy") + event("[DONE]"));
    }
  });
  auto options = options_for("http://models.example.com:8000/v1");
  options.http.proxy.http = "http://me:pass%20word@127.0.0.1:" + proxy.port();
  options.http.proxy.https = "127.0.0.1:" + proxy.port();
  CHECK(generate(*remote(options), fim("", "")).text == "by proxy");
  CHECK(proxy.requests().at(0).starts_with(
      "POST http://models.example.com:8000/v1/completions HTTP/1.1\r\n"));

  options.url = "https://models.example.com/v1";
  CHECK(contains(error_of(remote(options)), "the proxy http://127.0.0.1:" + proxy.port() +
                                                " refuses a connection to "
                                                "https://models.example.com (status 407)"));
  CHECK(proxy.requests().at(1).starts_with("CONNECT models.example.com:443 HTTP/1.1\r\n"));

  const auto through = [&](const char* url, const char* no_proxy) {
    ProxySettings settings{"p:1", "s:2", no_proxy};
    return std::string(proxy_for(*parse_url(url), settings));
  };
  CHECK(through("http://a.example.com", "") == "p:1");
  CHECK(through("https://a.example.com", "") == "s:2");
  CHECK(through("http://localhost:1", "") == "");
  CHECK(through("http://127.0.0.2:1", "") == "");
  CHECK(through("http://[::1]:1", "") == "");
  CHECK(through("http://a.example.com", "b.com, .example.com") == "");
  CHECK(through("http://example.com", ".example.com") == "");
  CHECK(through("http://badexample.com", "example.com") == "p:1");
  CHECK(through("http://a.example.com", "*") == "");
  CHECK(through("http://10.0.0.1:8000", "10.0.0.1:8000") == "");
}

TEST_CASE("URLs") {
  const auto url = parse_url("HTTPS://Models.Example.com:8443/v1?x=1#part");
  REQUIRE(url.has_value());
  CHECK(url->secure);
  CHECK(url->host == "models.example.com");
  CHECK(url->origin() == "https://models.example.com:8443");
  CHECK(url->target == "/v1?x=1");
  CHECK(parse_url("http://[::1]:80")->authority() == "[::1]");
  CHECK(parse_url("http://h")->join("/a").target == "/a");
  CHECK(parse_url("http://h/v1/")->join("/a").target == "/v1/a");
  for (const char* bad : {"", "h:80", "ftp://h", "http://", "http://h:0", "http://h:70000",
                          "http://h:x", "http://[::1", "http://h/a b", "http://h/\r\nX: y"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_url(bad).has_value());
  }
  CHECK(resolve_url(*url, "/x")->origin() == url->origin());
  CHECK(resolve_url(*url, "y")->target == "/y");
  CHECK(resolve_url(*url, "http://other/z")->origin() == "http://other");
  CHECK(resolve_url(*url, "//other/z")->origin() == "https://other");
}

TEST_CASE("what an endpoint lacks is declared, and said in a sentence") {
  const auto generator = remote(options_for("http://127.0.0.1:1/v1"));
  const Capabilities can = generator->capabilities();
  CHECK(can.remote);
  CHECK(can.chat);
  CHECK(can.fill_in_middle);
  CHECK_FALSE(can.score);
  CHECK_FALSE(can.step_control);
  CHECK_FALSE(can.structure);
  CHECK_FALSE(can.token_prompts);
  const auto scored = try_score(*generator, ScoreRequest{});
  REQUIRE_FALSE(scored.has_value());
  CHECK(contains(scored.error().message, "needs a model on this machine"));
  Request tokens;
  tokens.prompt = {1, 2, 3};
  CHECK(contains(error_of(generator, tokens), "takes prompts as text"));
  CHECK(contains(error_of(generator), "cannot be reached"));

  auto options = options_for("http://127.0.0.1:1/v1");
  options.fim = FimStyle::none;
  CHECK(contains(error_of(remote(options), fim("", "")), "not known to fill in the middle"));
}

TEST_CASE("a key never goes where others read it") {
  auto options = options_for("http://models.example.com/v1");
  options.key = "secret";
  const auto plain = make_remote(options);
  REQUIRE_FALSE(plain.has_value());
  CHECK(contains(plain.error().message, "not sent over plain http"));
  CHECK_FALSE(contains(plain.error().message, "secret"));
  options.url = "https://user:secret@models.example.com/v1";
  CHECK_FALSE(make_remote(options).has_value());
  options.url = "https://models.example.com/v1";
  CHECK(make_remote(options).has_value());
  options.model = "mystery";
  options.fim = FimStyle::raw;
  CHECK(contains(make_remote(options).error().message, "fimTokens"));
}
