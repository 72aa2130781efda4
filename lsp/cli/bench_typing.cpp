#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <future>
#include <nlohmann/json.hpp>

#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/completer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/syntax_view.h"
#include "lsp/cli/bench.h"
#include "lsp/cli/verbs.h"
#include "lsp/session.h"
#include "lsp/text.h"

namespace cambium::cli {
namespace {

using nlohmann::json;

/// What is typed at the cursor, one character at a time.
constexpr std::string_view kTyped = "if (total > limit_of(values)) return clamp(total, 0, 255);";

struct Typing {
  std::string text;
  size_t cursor = 0;
};

/// In the middle of a file, before the end of a function.
Typing typing_place(int lines) {
  Typing typing{bench_source(lines), 0};
  typing.cursor = typing.text.find("  return total", typing.text.size() / 2) + 2;
  return typing;
}

/// Answers at once with nothing: what is left is our own work.
class InstantGenerator final : public engine::Generator {
 public:
  explicit InstantGenerator(const engine::Generator& model) : model_(model) {}
  engine::Capabilities capabilities() const override { return model_.capabilities(); }
  const engine::Tokenizer* tokenizer() const override { return model_.tokenizer(); }
  const engine::PromptFormat* prompt_format() const override { return model_.prompt_format(); }
  void generate(engine::Request request, engine::OnText, engine::OnDone on_done) override {
    engine::Generated generated;
    generated.text = "value + 1;";
    generated.timings.prompt_tokens = static_cast<int32_t>(request.prompt.size());
    on_done(std::move(generated));
  }
  void score(engine::ScoreRequest, engine::OnScored on_done) override {
    on_done(cambium::fail(ErrorCode::unsupported, "this generator scores nothing"));
  }

 private:
  const engine::Generator& model_;
};

/// A session driven in process: messages in, answers out.
class Client {
 public:
  explicit Client(std::shared_ptr<assist::CompletionService> service,
                  const engine::Capabilities& can)
      : context_(std::make_shared<lsp::ServerContext>()) {
    context_->strand = io_.get_executor();
    context_->log = lsp::null_logger();
    context_->model = std::make_shared<lsp::ModelHost>(
        context_->strand, can.model,
        [service, can](const std::function<void(double)>&) -> Result<lsp::LoadedModel> {
          lsp::LoadedModel loaded;
          loaded.completion = service;
          loaded.capabilities = can;
          return loaded;
        });
    session_ = lsp::Session::create(
        context_,
        [this](const std::string& body) {
          const json message = json::parse(body);
          if (message.contains("id") && !message.contains("method"))
            answered_ = message["id"].get<int64_t>();
        },
        [](int) {});
  }
  ~Client() {
    session_->disconnected();
    io_.restart();
    io_.poll();
    context_->model->close();
  }

  void notify(const char* method, json params) {
    send({{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}});
  }
  /// False if no answer came within ten seconds.
  bool request(const char* method, json params) {
    const int64_t id = ++next_id_;
    send({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}});
    const auto work = boost::asio::make_work_guard(io_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    io_.restart();
    while (answered_ != id) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    return true;
  }

 private:
  void send(const json& message) {
    lsp::Frame frame;
    frame.body = message.dump();
    session_->receive(frame);
    io_.restart();
    io_.poll();
  }

  boost::asio::io_context io_{1};
  std::shared_ptr<lsp::ServerContext> context_;
  std::shared_ptr<lsp::Session> session_;
  int64_t answered_ = 0, next_id_ = 0;
};

}  // namespace

Result<void> bench_lsp(const engine::Generator& model, Figures& figures) {
  const Typing typing = typing_place(2000);
  const lsp::LineIndex lines(typing.text);
  lsp::Position at = lines.position(typing.text, typing.cursor, lsp::PositionEncoding::utf16);
  Client client(std::make_shared<assist::Completer>(std::make_shared<InstantGenerator>(model)),
                model.capabilities());
  const char* uri = "file:///sample.cpp";
  const auto broken = [] {
    return cambium::fail(ErrorCode::unavailable, "the session did not answer");
  };
  if (!client.request(
          "initialize",
          {{"processId", nullptr}, {"rootUri", nullptr}, {"capabilities", json::object()}})) {
    return broken();
  }
  client.notify("initialized", json::object());
  client.notify("textDocument/didOpen",
                {{"textDocument",
                  {{"uri", uri}, {"languageId", "cpp"}, {"version", 1}, {"text", typing.text}}}});
  Samples times;
  int version = 1;
  const auto keystroke = [&](const std::string& inserted, uint32_t removed) {
    const json start{{"line", at.line}, {"character", at.character - removed}};
    const json end{{"line", at.line}, {"character", at.character}};
    client.notify(
        "textDocument/didChange",
        {{"textDocument", {{"uri", uri}, {"version", ++version}}},
         {"contentChanges",
          json::array({{{"range", {{"start", start}, {"end", end}}}, {"text", inserted}}})}});
    at.character += static_cast<uint32_t>(inserted.size()) - removed;
    return client.request("textDocument/inlineCompletion",
                          {{"textDocument", {{"uri", uri}}},
                           {"position", {{"line", at.line}, {"character", at.character}}},
                           {"context", {{"triggerKind", 2}}}});
  };
  for (int round = 0; round < 5; ++round) {
    for (const char c : kTyped) {
      const Stopwatch watch;
      if (!keystroke(std::string(1, c), 0)) return broken();
      if (times.size() > 0 || round > 0)
        times.add(watch.ms());
      else
        times.add(0);  // the first request loads the model host
    }
    if (!keystroke("", static_cast<uint32_t>(kTyped.size()))) return broken();
  }
  figures.push_back({"lsp", "a keystroke and its request at 2,000 lines, all but the model, p50",
                     times.median(), "ms"});
  figures.push_back({"lsp", "a keystroke and its request at 2,000 lines, all but the model, p99",
                     times.at(0.99), "ms", 3});
  return {};
}

Result<void> bench_typing(const std::shared_ptr<engine::Generator>& model, Figures& figures) {
  Typing typing = typing_place(2000);
  const engine::Capabilities can = model->capabilities();
  assist::WindowAnchor anchor;
  const auto ask = [&](engine::Timings& timings, double& ms) -> Result<void> {
    const Stopwatch watch;
    assist::SyntaxRequest syntax;
    syntax.text = std::make_shared<const std::string>(typing.text);
    syntax.cursor = typing.cursor;
    syntax.path = "sample.cpp";
    syntax.labels = can.structure;
    syntax.scopes = std::make_shared<const syntax::ScopeMap>(
        syntax::ScopeMap::whole_file(static_cast<uint32_t>(typing.text.size())));
    const assist::SyntaxView view = assist::SyntaxView::make(syntax);
    assist::PromptInput input;
    input.text = typing.text;
    input.cursor = typing.cursor;
    input.path = "sample.cpp";
    input.scopes = &view.label_map();
    input.at_cursor = view.at_cursor();
    // Room to type: about 1,500 tokens once the window is filled.
    input.tokens = 1750;
    auto prompt = assist::build_prompt(*model->tokenizer(), *model->prompt_format(), input, anchor);
    if (!prompt) return tl::unexpected(prompt.error());
    engine::Request request;
    if (can.structure) request.structure = std::move(prompt->sequence.structure);
    request.prompt = std::move(prompt->sequence.tokens);
    request.max_tokens = 16;
    request.slot_key = 1;
    std::promise<Result<engine::Generated>> promise;
    model->generate(std::move(request), nullptr, [&](Result<engine::Generated> result) {
      promise.set_value(std::move(result));
    });
    auto generated = promise.get_future().get();
    if (!generated) return tl::unexpected(generated.error());
    timings = generated->timings;
    ms = watch.ms();
    return {};
  };

  Samples evaluated, times, whole;
  engine::Timings timings;
  double ms = 0;
  if (auto cold = ask(timings, ms); !cold) return cold;
  figures.push_back(
      {"typing", "tokens of the prompt", static_cast<double>(timings.prompt_tokens), "tokens"});
  figures.push_back(
      {"typing", "first request at a place: up to the first token", timings.ttft_ms, "ms"});
  for (const char c : kTyped) {
    typing.text.insert(typing.cursor++, 1, c);
    if (auto next = ask(timings, ms); !next) return next;
    evaluated.add(timings.prompt_tokens - timings.reused_tokens);
    times.add(ms);
    if (timings.generated_tokens == 16) whole.add(ms);
  }
  figures.push_back({"typing", "later keystrokes: prompt tokens evaluated, median",
                     evaluated.median(), "tokens", 10});
  figures.push_back(
      {"typing", "later keystrokes: prompt tokens evaluated, p90", evaluated.at(0.9), "tokens"});
  figures.push_back(
      {"typing", "later keystrokes: time of a request, median", times.median(), "ms"});
  if (whole.size() > 0) {
    figures.push_back(
        {"typing", "later keystrokes: those of 16 tokens, median", whole.median(), "ms", 150});
  }
  figures.push_back(
      {"typing", "resident memory", static_cast<double>(resident_bytes()) / 1e6, "MB", 250});
  return {};
}

}  // namespace cambium::cli
