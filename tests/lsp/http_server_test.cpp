#include "lsp/serve/http_server.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "engine/gguf_writer.h"
#include "engine/remote/remote_generator.h"
#include "tests/support/engine/blocking.h"
#include "tests/support/scripted_generator.h"

using namespace cambium;
using namespace cambium::engine;
using namespace cambium::test;
using Json = nlohmann::json;
namespace asio = boost::asio;
namespace fs = std::filesystem;

namespace {

/// The server on a thread of its own.
class Served {
 public:
  explicit Served(std::shared_ptr<assist::Models> models,
                  const std::string& listen = "127.0.0.1:0") {
    lsp::serve::HttpServerOptions options;
    options.listen = {listen};
    options.models = std::move(models);
    options.max_body_bytes = 1 << 20;
    std::promise<void> ready;
    options.on_listening = [&](const std::string& address, const std::function<void()>& stop) {
      address_ = address;
      stop_ = stop;
      ready.set_value();
    };
    thread_ = std::thread([options = std::move(options)]() mutable {
      const auto ended = lsp::serve::run_http_server(std::move(options));
      CHECK(ended.has_value());
    });
    ready.get_future().wait();
  }
  ~Served() {
    stop_();
    thread_.join();
  }
  const std::string& address() const { return address_; }
  std::string url() const { return "http://" + address_ + "/v1"; }

  asio::ip::tcp::socket connect() {
    asio::ip::tcp::socket socket(io_);
    const auto port = static_cast<uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1)));
    socket.connect({asio::ip::make_address("127.0.0.1"), port});
    return socket;
  }
  /// Everything that comes back for these bytes.
  std::string raw(const std::string& bytes) {
    auto socket = connect();
    boost::system::error_code error;
    asio::write(socket, asio::buffer(bytes), error);
    std::string answer;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    return answer;
  }
  std::string post(const std::string& path, const std::string& body,
                   const std::string& headers = "") {
    return raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  std::string get(const std::string& path) {
    return raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }

 private:
  asio::io_context io_;
  std::string address_;
  std::function<void()> stop_;
  std::thread thread_;
};

std::string body_of(const std::string& answer) {
  const size_t head = answer.find("\r\n\r\n");
  return head == answer.npos ? std::string() : answer.substr(head + 4);
}

std::shared_ptr<assist::FixedModels> saying(const std::string& text) {
  auto models = std::make_shared<assist::FixedModels>();
  auto generator = std::make_shared<ScriptedGenerator>(
      "scripted", [text](const Request&) -> Result<std::string> { return text; });
  generator->can.fill_in_middle = true;
  generator->can.chat_defaults.thinks = true;
  models->set(assist::Role::completion, generator);
  models->set(assist::Role::general, generator);
  return models;
}

RemoteOptions client_of(const Served& served, FimStyle fim) {
  RemoteOptions options;
  options.url = served.url();
  options.model = "completion";
  options.fim = fim;
  options.http.silence = std::chrono::seconds(30);
  return options;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Generates until it is cancelled; tells when it was.
class Endless final : public Generator {
 public:
  Capabilities capabilities() const override {
    Capabilities can;
    can.model = "endless";
    can.chat = true;
    return can;
  }
  const Tokenizer* tokenizer() const override { return nullptr; }
  const PromptFormat* prompt_format() const override { return nullptr; }
  void generate(Request request, OnText on_text, OnDone on_done) override {
    thread_ = std::thread([this, request, on_text, on_done] {
      if (on_text) on_text("and ");
      while (!request.cancel->load()) std::this_thread::yield();
      Generated out;
      out.stop = StopReason::cancelled;
      on_done(std::move(out));
      cancelled.set_value();
    });
  }
  void score(ScoreRequest, OnScored) override {}
  ~Endless() override {
    if (thread_.joinable()) thread_.join();
  }
  std::promise<void> cancelled;

 private:
  std::thread thread_;
};

}  // namespace

TEST_CASE("our own client and server understand each other, in every shape") {
  const fs::path file = fs::temp_directory_path() / ("serve-" + std::to_string(getpid()) + ".gguf");
  RandomModelOptions options;
  options.shape = *model_shape("tiny");
  Request request;
  request.max_tokens = 12;
  request.text = FimPrompt{"int main() {", "}\n"};
  REQUIRE(write_random_model(file.string(), options).has_value());
  const auto local = load(file.string());
  const Generated own = generate(*local, request);
  const std::string& expected = own.text;
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::completion, local);
  Served served(models);
  for (const FimStyle style : {FimStyle::suffix, FimStyle::infill}) {
    const auto remote = make_remote(client_of(served, style));
    REQUIRE(remote.has_value());
    std::string shown;
    const Generated out =
        generate(**remote, request, [&](std::string_view piece) { shown += piece; });
    CHECK(out.text == expected);
    CHECK(shown == out.text);
    CHECK(out.timings.generated_tokens == own.timings.generated_tokens);
    CHECK(out.timings.prompt_tokens > 10);
    CHECK(out.stop == own.stop);
    if (style == FimStyle::suffix) CHECK(out.logprobs.size() == own.logprobs.size());
  }
  request.text = RawPrompt{"int x", false};
  CHECK(generate(**make_remote(client_of(served, FimStyle::none)), request).text ==
        generate(*local, request).text);
  // A base model asked to chat: one sentence, not a crash.
  request.text = ChatPrompt{{{ChatMessage::Role::user, "hi"}}};
  const auto refused = try_generate(**make_remote(client_of(served, FimStyle::none)), request);
  REQUIRE_FALSE(refused.has_value());
  CHECK(contains(refused.error().message, "refuses the request (400)"));
  fs::remove(file);
}

TEST_CASE("chat: streamed and whole, thinking apart") {
  Served served(saying("<think>\nhm\n</think>\n\nHello"));
  const auto remote = make_remote(client_of(served, FimStyle::none));
  Request request;
  request.text = ChatPrompt{{{ChatMessage::Role::user, "hi"}}};
  CHECK(generate(**remote, request).text == "<think>\nhm\n\n</think>\n\nHello");
  const Json whole = Json::parse(body_of(
      served.post("/v1/chat/completions",
                  R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]})")));
  CHECK(whole["object"] == "chat.completion");
  CHECK(whole["choices"][0]["message"]["content"] == "Hello");
  CHECK(whole["choices"][0]["message"]["reasoning_content"] == "hm\n");
  CHECK(whole["choices"][0]["finish_reason"] == "stop");
  CHECK(whole["usage"]["completion_tokens"] > 0);
  const std::string stream = served.post(
      "/v1/chat/completions", R"({"stream":true,"messages":[{"role":"user","content":"x"}]})");
  CHECK(contains(stream, "Content-Type: text/event-stream"));
  CHECK(contains(stream, "data: [DONE]\n\n"));
}

TEST_CASE(
    "a cascade: the small model's answer where it is sure, else the larger one's, never both") {
  using Script = std::function<Result<std::string>()>;
  const auto text = [](const char* what) -> Script {
    return [what]() -> Result<std::string> { return what; };
  };
  const Script broken = []() -> Result<std::string> {
    return fail(ErrorCode::unavailable, "it is down");
  };
  struct Case {
    const char* what;
    Script small, larger;
    std::vector<float> logprobs;  ///< of the small model's answer
    const char *answer, *model;   ///< nothing: an error
    const char* reason;
    int asked_larger;
  };
  const Case cases[] = {
      {"sure",
       text("small"),
       text("larger"),
       {-0.1F, -0.1F},
       "small",
       "s",
       "the small model is sure: its mean token probability 0.90 is at least 0.80",
       0},
      {"not sure",
       text("small"),
       text("larger"),
       {-0.1F, -2.0F},
       "larger",
       "l",
       "the small model is not sure: its mean token probability 0.52 is below 0.80",
       1},
      {"does not say",
       text("small"),
       text("larger"),
       {},
       "larger",
       "l",
       "the small model does not say how sure it is",
       1},
      {"nothing to show",
       text(" \n"),
       text("larger"),
       {0.0F},
       "larger",
       "l",
       "the small model has nothing to show",
       1},
      {"fails", broken, text("larger"), {}, "larger", "l", "the small model failed: it is down", 1},
      {"the larger one fails",
       text("small"),
       broken,
       {-2.0F},
       "small",
       "s",
       "the small model is not sure: its mean token probability 0.14 is below 0.80; l: it is down",
       1},
      {"the larger one has nothing",
       text("small"),
       text(""),
       {-2.0F},
       "small",
       "s",
       "the small model is not sure: its mean token probability 0.14 is below 0.80; the larger "
       "model has nothing to show",
       1},
      {"both fail", broken, broken, {}, nullptr, nullptr, "it is down", 1},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    std::atomic<int> asked_small = 0, asked_larger = 0;
    const auto counted = [](const Script& script, std::atomic<int>& count) {
      return [&script, &count](const Request&) {
        ++count;
        return script();
      };
    };
    auto small = std::make_shared<ScriptedGenerator>("s", counted(c.small, asked_small));
    auto larger = std::make_shared<ScriptedGenerator>("l", counted(c.larger, asked_larger));
    small->logprobs = c.logprobs;
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::completion, small);
    models->set_larger(assist::Role::completion, larger, 0.8);
    Served served(models);
    for (const bool infill : {false, true}) {
      for (const bool stream : {false, true}) {
        CAPTURE(infill);
        CAPTURE(stream);
        asked_small = asked_larger = 0;
        Json body = infill ? Json{{"input_prefix", "a"}, {"input_suffix", "b"}}
                           : Json{{"prompt", "a"}, {"suffix", "b"}, {"model", "any"}};
        body["stream"] = stream;
        const std::string answer = served.post(infill ? "/infill" : "/v1/completions", body.dump());
        CHECK(asked_small == 1);
        CHECK(asked_larger == c.asked_larger);
        if (c.answer == nullptr) {
          CHECK(answer.starts_with("HTTP/1.1 503"));
          CHECK(contains(answer, c.reason));
          continue;
        }
        const auto text_of = [infill](const Json& json) {
          return (infill ? json["content"] : json["choices"][0]["text"]).get<std::string>();
        };
        std::string said;
        Json last;
        if (stream) {
          size_t at = 0;
          while ((at = answer.find("data: {", at)) != answer.npos) {
            last = Json::parse(answer.substr(at + 6, answer.find('\n', at) - at - 6));
            said += text_of(last);
            ++at;
          }
        } else {
          last = Json::parse(body_of(answer));
          said = text_of(last);
        }
        CHECK(said == c.answer);
        CHECK((infill && stream ? c.model : last["model"].get<std::string>()) == c.model);
        const Json& route = last["timings"]["route"];
        CHECK(route["model"] == c.model);
        CHECK(route["role"] == "completion");
        CHECK(route["reason"] == c.reason);
        CHECK(route["larger"] == (std::string(c.model) == "l"));
        CHECK(route["small_ms"] >= 0);
      }
    }
  }
}

TEST_CASE("a cascade is passed by where a request names a model, and does not chat") {
  auto models = std::make_shared<assist::FixedModels>();
  const auto says = [](const char* name) {
    return std::make_shared<ScriptedGenerator>(
        name, [name](const Request&) -> Result<std::string> { return name; });
  };
  models->set(assist::Role::completion, says("s"));
  models->set_larger(assist::Role::completion, says("l"), 0.8);
  Served served(models);
  const auto answered = [&](const std::string& model) {
    const Json body = Json::parse(
        body_of(served.post("/v1/completions", Json{{"prompt", "a"}, {"model", model}}.dump())));
    CHECK(body["choices"][0]["text"] == body["model"]);
    CHECK(body["timings"]["route"].contains("larger") == (model == "gpt"));
    return body["model"].get<std::string>();
  };
  CHECK(answered("completion") == "s");
  CHECK(answered("s") == "s");
  CHECK(answered("l") == "l");
  CHECK(answered("gpt") == "l");
  const Json chat = Json::parse(body_of(
      served.post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"x"}]})")));
  CHECK(chat["model"] == "s");
  CHECK(chat["timings"]["route"]["reason"] == "the model of the role completion");
  const Json listed = Json::parse(body_of(served.get("/v1/models")))["data"];
  REQUIRE(listed.size() == 2);
  CHECK(listed[0]["id"] == "s");
  CHECK(listed[1]["id"] == "l");
  CHECK(listed[1]["larger_of"] == "completion");
  const std::string metrics = body_of(served.get("/metrics"));
  CHECK(contains(metrics, "cambium_cascade_answers_total{model=\"small\"} 0\n"));
  CHECK(contains(metrics, "cambium_cascade_answers_total{model=\"larger\"} 1\n"));
}

TEST_CASE("a client that leaves before the small model is judged costs the larger one nothing") {
  auto endless = std::make_shared<Endless>();
  auto cancelled = endless->cancelled.get_future();
  std::atomic<int> asked = 0;
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::completion, endless);
  models->set_larger(
      assist::Role::completion,
      std::make_shared<ScriptedGenerator>("l",
                                          [&](const Request&) -> Result<std::string> {
                                            ++asked;
                                            return "larger";
                                          }),
      0.8);
  {
    Served served(models);
    {
      auto socket = served.connect();
      const std::string body = R"({"prompt":"x","stream":true})";
      asio::write(socket, asio::buffer("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                                       "Content-Length: " +
                                       std::to_string(body.size()) + "\r\n\r\n" + body));
    }
    CHECK(cancelled.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  }
  CHECK(asked == 0);
}

TEST_CASE("chat: an answer keeps to the form asked for") {
  const fs::path file = fs::temp_directory_path() / ("form-" + std::to_string(getpid()) + ".gguf");
  RandomModelOptions options;
  options.shape = *model_shape("tiny");
  auto writer = random_model(options);
  REQUIRE(writer.has_value());
  writer->set_string("tokenizer.chat_template", "User: Assistant:");
  REQUIRE(writer->write(file.string()).has_value());
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::general, load(file.string()));
  Served served(models);
  const std::string schema =
      R"({"type":"object","properties":{"z":{"type":"boolean"},"a":{"enum":["x","y"]},)"
      R"("m":{"type":"array","items":{"type":"integer"},"maxItems":2}},"required":["z","a"]})";
  for (const bool stream : {false, true}) {
    const std::string answer = served.post(
        "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":"x"}],"max_tokens":200,"stream":)" +
            std::string(stream ? "true" : "false") +
            R"(,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":)" +
            schema + "}}}");
    REQUIRE(answer.starts_with("HTTP/1.1 200"));
    if (stream) continue;  // the same, in pieces
    const Json body = Json::parse(body_of(answer));
    const std::string text = body["choices"][0]["message"]["content"];
    CAPTURE(text);
    CHECK(body["choices"][0]["finish_reason"] == "stop");
    const Json document = Json::parse(text, nullptr, false);
    REQUIRE(document.is_object());
    CHECK(document["z"].is_boolean());
    CHECK(text.find("\"z\"") < text.find("\"a\""));  // in the schema's order
  }
  fs::remove(file);
}

TEST_CASE("health, models, metrics") {
  Served served(saying("x"));
  CHECK(body_of(served.get("/health")) == R"({"status":"ok"})");
  const Json models = Json::parse(body_of(served.get("/v1/models")));
  CHECK(models["data"].size() == 2);
  CHECK(models["data"][0]["id"] == "scripted");
  served.post("/v1/completions", R"({"prompt":"a"})");
  served.post("/v1/completions", "{");
  const std::string metrics = body_of(served.get("/metrics"));
  CHECK(contains(metrics,
                 "cambium_http_requests_total{path=\"/v1/completions\",status=\"200\"} 1\n"));
  CHECK(contains(metrics, "cambium_http_requests_total{path=\"other\",status=\"400\"} 1\n"));
  CHECK(contains(metrics, "cambium_first_token_seconds_count 1\n"));
  CHECK(contains(metrics, "cambium_requests_running 0\n"));
}

TEST_CASE("bad input: a status and one sentence, and the server goes on") {
  Served served(saying("x"));
  struct Case {
    const char *path, *body;
    int status;
    const char* says;
  };
  const Case cases[] = {
      {"/v1/completions", "", 400, "no JSON object"},
      {"/v1/completions", "[1]", 400, "no JSON object"},
      {"/v1/completions", "{}", 400, "prompt: expected a string"},
      {"/v1/completions", R"({"prompt":1})", 400, "prompt: expected a string"},
      {"/v1/completions", R"({"prompt":["a","b"]})", 400, "prompt: expected a string"},
      {"/v1/completions", R"({"prompt":"a","temperature":"hot"})", 400, "temperature: expected"},
      {"/v1/completions", R"({"prompt":"a","temperature":3})", 400, "from 0"},
      {"/v1/completions", R"({"prompt":"a","max_tokens":-1})", 400, "max_tokens"},
      {"/v1/completions", R"({"prompt":"a","max_tokens":1e99})", 400, "max_tokens"},
      {"/v1/completions", R"({"prompt":"a","n":2})", 400, "n: expected"},
      {"/v1/completions", R"({"prompt":"a","echo":true})", 400, "echo"},
      {"/v1/completions", R"({"prompt":"a","stop":{}})", 400, "stop"},
      {"/v1/chat/completions", R"({"messages":[]})", 400, "messages: expected"},
      {"/v1/chat/completions", R"({"messages":[{"role":"tool","content":"x"}]})", 400,
       "messages[0].role"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":[{"type":"image"}]}]})",
       400, "messages[0].content"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":[{"type":5}]}]})", 400,
       "messages[0].content"},
      {"/v1/chat/completions", R"({"messages":["hi"]})", 400, "messages[0].role"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":"x"}],"tools":[{}]})", 400,
       "tools"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}})", 400,
       "response_format.type: expected text, json_object or json_schema"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":"json"})", 400,
       "response_format.type"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema",)"
       R"("json_schema":{"schema":{"type":"string","pattern":"a"}}}})",
       400, "\"pattern\" is not kept to here"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema"}})",
       400, "no JSON"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}})",
       400, "can't be held to a form"},
      {"/v1/completions", R"({"prompt":"a","response_format":{"type":"json_object"}})", 400,
       "only chat answers"},
      {"/infill", "{}", 400, "input_prefix"},
      {"/v2/anything", "{}", 404, "no such path"},
      {"/health", "{}", 405, "takes GET"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    CAPTURE(c.body);
    const std::string answer = served.post(c.path, c.body);
    CHECK(answer.starts_with("HTTP/1.1 " + std::to_string(c.status)));
    const Json body = Json::parse(body_of(answer), nullptr, false);
    REQUIRE(body.is_object());
    CHECK(contains(body["error"]["message"], c.says));
    CHECK(body["error"]["code"] == c.status);
  }
  CHECK(served.get("/v1/completions").starts_with("HTTP/1.1 405"));
  CHECK(
      served.post("/v1/completions", std::string((1 << 20) + 1, ' ')).starts_with("HTTP/1.1 413"));
  CHECK(served.raw("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
  CHECK(served.raw("GET /" + std::string(20000, 'a') + " HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 431"));
  CHECK(served.post("/v1/completions", R"({"prompt":"a"})", "Origin: http://evil.example\r\n")
            .starts_with("HTTP/1.1 403"));
  CHECK(served.post("/v1/completions", R"({"prompt":"a"})").starts_with("HTTP/1.1 200"));
}

TEST_CASE("a client that leaves cancels its generation, streamed or not") {
  for (const char* stream : {"true", "false"}) {
    CAPTURE(stream);
    auto endless = std::make_shared<Endless>();
    auto cancelled = endless->cancelled.get_future();
    auto models = std::make_shared<assist::FixedModels>();
    models->set(assist::Role::general, endless);
    Served served(models);
    {
      auto socket = served.connect();
      const std::string body =
          std::string(R"({"messages":[{"role":"user","content":"x"}],"stream":)") + stream + "}";
      asio::write(socket, asio::buffer("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                                       "Content-Length: " +
                                       std::to_string(body.size()) + "\r\n\r\n" + body));
      if (std::string(stream) == "true") {
        char byte = 0;
        asio::read(socket, asio::buffer(&byte, 1));  // it has begun
      }
    }
    CHECK(cancelled.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  }
}

TEST_CASE("stopping the server ends what runs") {
  auto endless = std::make_shared<Endless>();
  auto cancelled = endless->cancelled.get_future();
  auto models = std::make_shared<assist::FixedModels>();
  models->set(assist::Role::general, endless);
  {
    Served served(models);
    auto socket = served.connect();
    const std::string body = R"({"messages":[{"role":"user","content":"x"}],"stream":true})";
    asio::write(socket, asio::buffer("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                                     "Content-Length: " +
                                     std::to_string(body.size()) + "\r\n\r\n" + body));
    char byte = 0;
    asio::read(socket, asio::buffer(&byte, 1));
  }
  CHECK(cancelled.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
}

TEST_CASE("several requests on one connection") {
  Served served(saying("x"));
  const std::string one =
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"prompt\":\"a\"}";
  const std::string last = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const std::string answers = served.raw(one + one + last);
  size_t count = 0;
  for (size_t at = answers.find("HTTP/1.1 200"); at != answers.npos;
       at = answers.find("HTTP/1.1 200", at + 1)) {
    ++count;
  }
  CHECK(count == 3);
}

TEST_CASE("where it listens: loopback and the user's own socket, nothing else unasked") {
  lsp::serve::HttpServerOptions options;
  options.models = saying("x");
  for (const char* address : {"0.0.0.0:0", "[::]:0", "10.1.2.3:80"}) {
    options.listen = {address};
    const auto refused = lsp::serve::run_http_server(options);
    REQUIRE_FALSE(refused.has_value());
    CHECK(contains(refused.error().message, "only loopback addresses are served"));
  }
  const fs::path file = fs::temp_directory_path() / ("serve-" + std::to_string(getpid()) + ".sock");
  {
    Served served(saying("hi"), "unix:" + file.string());
    struct stat info {};
    REQUIRE(::stat(file.c_str(), &info) == 0);
    CHECK((info.st_mode & 077) == 0);
    asio::io_context io;
    asio::local::stream_protocol::socket socket(io);
    socket.connect(asio::local::stream_protocol::endpoint(file.string()));
    asio::write(socket, asio::buffer(std::string("GET /health HTTP/1.0\r\n\r\n")));
    std::string answer;
    boost::system::error_code error;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    CHECK(contains(answer, R"({"status":"ok"})"));
  }
  CHECK_FALSE(fs::exists(file));
}
