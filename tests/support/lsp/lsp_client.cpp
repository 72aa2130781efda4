#include "tests/support/lsp/lsp_client.h"

#include <doctest/doctest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>

namespace cambium::test {

FakeCompletion::Respond FakeCompletion::inserting(std::string text) {
  return [text = std::move(text)](const assist::CompletionInput& input) {
    assist::CompletionOutput output;
    output.items.push_back({text, input.cursor, input.cursor});
    return output;
  };
}

void FakeCompletion::complete(assist::CompletionInput input, Done done) {
  inputs.push_back(input);
  if (hold) {
    held.push_back(std::move(done));
  } else {
    done(respond(input));
  }
}

LspServer::LspServer(lsp::LoadModel load) : context(std::make_shared<lsp::ServerContext>()) {
  if (!load) {
    load = [fake = completion](const std::function<void(double)>&) -> Result<lsp::LoadedModel> {
      lsp::LoadedModel model;
      model.completion = fake;
      model.capabilities.model = "fake";
      model.capabilities.description = "fake · no device";
      return model;
    };
  }
  context->strand = io.get_executor();
  context->log = lsp::null_logger();
  lsp::PooledModel model;
  model.name = "fake.gguf";
  model.roles = {assist::Role::completion};
  model.load = std::move(load);
  lsp::PoolOptions options;
  options.idle = std::chrono::minutes(0);
  context->use(lsp::ModelPool::create(context->strand, {std::move(model)}, std::move(options)));
}

LspServer::~LspServer() { context->close(); }

bool LspServer::run_until(const std::function<bool()>& ready) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto work = boost::asio::make_work_guard(io);
  io.restart();
  while (!ready()) {
    if (io.run_one_until(deadline) == 0) return ready();
  }
  return true;
}

void LspServer::run() {
  io.restart();
  io.poll();
}

LspClient::LspClient(LspServer& server) : server_(server) {
  session_ = lsp::Session::create(
      server.context, [this](const std::string& body) { receive(body); },
      [this](int code) { exit_code = code; });
}

LspClient::~LspClient() {
  session_->disconnected();
  server_.run();
}

void LspClient::disconnect() { session_->disconnected(); }

void LspClient::send_raw(const std::string& body) {
  lsp::Frame frame;
  frame.body = body;
  session_->receive(frame);
  server_.run();
}

Json LspClient::initialize(Json params) {
  if (!params.contains("capabilities")) params["capabilities"] = Json::object();
  Json result = result_of("initialize", std::move(params));
  notify("initialized");
  return result;
}

int64_t LspClient::send_request(const std::string& method, Json params) {
  const int64_t id = next_id_++;
  Json message = {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}};
  message["params"] = std::move(params);
  send_raw(message.dump());
  return id;
}

Json LspClient::wait(int64_t id) {
  const std::string key = Json(id).dump();
  if (!server_.run_until([&] { return answers_.contains(key); })) return nullptr;
  return answers_[key];
}

Json LspClient::request(const std::string& method, Json params) {
  return wait(send_request(method, std::move(params)));
}

Json LspClient::result_of(const std::string& method, Json params) {
  const Json answer = request(method, std::move(params));
  INFO(method << " -> " << answer.dump());
  REQUIRE(answer.is_object());
  REQUIRE(answer.contains("result"));
  return answer["result"];
}

void LspClient::notify(const std::string& method, Json params) {
  Json message = {{"jsonrpc", "2.0"}, {"method", method}};
  message["params"] = std::move(params);
  send_raw(message.dump());
}

void LspClient::open(const std::string& uri, const std::string& text, const std::string& language) {
  notify(
      "textDocument/didOpen",
      {{"textDocument", {{"uri", uri}, {"languageId", language}, {"version", 1}, {"text", text}}}});
}

Json LspClient::position_params(const std::string& uri, uint32_t line, uint32_t character) const {
  return {{"textDocument", {{"uri", uri}}},
          {"position", {{"line", line}, {"character", character}}},
          {"context", {{"triggerKind", 2}}}};
}

std::vector<Json> LspClient::take(const std::string& method) {
  std::vector<Json> out;
  std::vector<std::pair<std::string, Json>> rest;
  for (auto& [name, params] : notifications_) {
    if (name == method) {
      out.push_back(std::move(params));
    } else {
      rest.emplace_back(name, std::move(params));
    }
  }
  notifications_ = std::move(rest);
  return out;
}

void LspClient::receive(const std::string& body) {
  Json message = Json::parse(body);
  messages.push_back(message);
  if (!message.contains("method")) {
    const std::string key = message["id"].dump();
    ++answer_counts[key];
    answers_[key] = std::move(message);
    return;
  }
  const std::string method = message["method"];
  if (!message.contains("id")) {
    notifications_.emplace_back(method, message["params"]);
    return;
  }
  const auto answer = on_call.find(method);
  if (answer == on_call.end()) return;
  Json reply = {{"jsonrpc", "2.0"}, {"id", message["id"]}};
  reply["result"] = answer->second(message["params"]);
  // Not from within the server's own call.
  boost::asio::post(server_.io, [weak = std::weak_ptr<lsp::Session>(session_), reply] {
    lsp::Frame frame;
    frame.body = reply.dump();
    if (const auto session = weak.lock()) session->receive(frame);
  });
}

}  // namespace cambium::test
