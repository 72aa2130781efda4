#include "lsp/bench.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/tokenizer.h"
#include "lsp/assist/completer.h"
#include "lsp/session.h"
#include "syntax/bench.h"

namespace cambium::lsp {

namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kUri = "file:///bench/bench.cpp";

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// The tokenizer and the manners of a real model, without its arithmetic: always writes the same
/// text.
class InstantGenerator final : public engine::Generator {
 public:
  explicit InstantGenerator(std::shared_ptr<engine::Generator> model)
      : model_(std::move(model)), answer_(model_->tokenizer()->encode(" + total * 2;\n")) {}

  engine::Capabilities capabilities() const override { return model_->capabilities(); }
  const engine::Tokenizer* tokenizer() const override { return model_->tokenizer(); }
  const engine::PromptFormat* prompt_format() const override { return model_->prompt_format(); }

  void generate(engine::Request request, engine::OnText, engine::OnDone on_done) override {
    {
      const std::lock_guard lock(mutex_);
      asked_ = Clock::now();
    }
    engine::Generated out;
    out.timings.prompt_tokens = static_cast<int32_t>(request.prompt.size());
    // The word begun at the cursor comes first where the prompt ends before it.
    std::vector<engine::TokenId> tokens;
    if (request.controller)
      tokens = tokenizer()->encode(std::string(request.controller->required_prefix()));
    tokens.insert(tokens.end(), answer_.begin(), answer_.end());
    for (const engine::TokenId token : tokens) {
      const std::string_view piece = tokenizer()->piece(token);
      if (request.controller) {
        using Verdict = engine::StepDecision::Verdict;
        const auto decision = request.controller->on_token({token, piece, out.text, kLogprob});
        if (decision.verdict != Verdict::accept) {
          if (decision.verdict == Verdict::stop_after) {
            out.text += piece.substr(0, decision.keep_bytes);
          }
          out.stop = engine::StopReason::controller;
          break;
        }
      }
      out.tokens.push_back(token);
      out.logprobs.push_back(kLogprob);
      out.text += piece;
    }
    on_done(std::move(out));
  }
  /// Of two lines both are as likely.
  void score(engine::ScoreRequest request, engine::OnScored on_done) override {
    engine::Scored out;
    for (const engine::ScoreBranch& branch : request.branches)
      out.branches.emplace_back().logprobs.assign(branch.tokens.size(), 0.0f);
    on_done(std::move(out));
  }

  Clock::time_point asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  /// Of a token: a line of some is not sure, so that it is compared with another.
  static constexpr float kLogprob = -0.1f;
  std::shared_ptr<engine::Generator> model_;
  std::vector<engine::TokenId> answer_;
  mutable std::mutex mutex_;
  Clock::time_point asked_;
};

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

/// One editor: its text, its cursor, its session.
class Typist {
 public:
  Typist(std::shared_ptr<InstantGenerator> generator, size_t lines)
      : generator_(std::move(generator)),
        text_(syntax::generated_source(static_cast<uint32_t>(lines))),
        lines_(text_) {
    for (uint32_t i = 0; i < lines_.line_count(); ++i)
      if (lines_.line(text_, i).find("total += value") != std::string_view::npos)
        places_.push_back(i);
    context_ = std::make_shared<ServerContext>();
    context_->strand = io_.get_executor();
    context_->log = null_logger();
    PooledModel model;
    model.name = "bench";
    model.roles = {assist::Role::completion};
    model.load =
        load_completer([generator = generator_](const std::function<void(double)>&)
                           -> Result<std::shared_ptr<engine::Generator>> { return generator; });
    PoolOptions options;
    options.idle = std::chrono::minutes(0);
    context_->use(ModelPool::create(context_->strand, {std::move(model)}, options));
    session_ = Session::create(
        context_,
        [this](std::string body) {
          // Only answers of completions hold a list of that name.
          if (body.find("\"items\"") != std::string::npos) answer_ = std::move(body);
        },
        nullptr);
    send({{"id", 0}, {"method", "initialize"}, {"params", {{"capabilities", Json::object()}}}});
    send({{"method", "initialized"}});
    send({{"method", "textDocument/didOpen"},
          {"params",
           {{"textDocument",
             {{"uri", kUri}, {"languageId", "cpp"}, {"version", 1}, {"text", text_}}}}}});
  }
  ~Typist() {
    session_->disconnected();
    context_->close();
  }

  /// Types one character at the end of a `total += value` line and waits for the suggestion.
  bool type(size_t step, OverheadReport& report, std::vector<double>& all,
            std::vector<double>& before) {
    // Twelve characters at a place, then the next place, all over the file.
    const auto row = lines_.line(text_, places_[step / 12 * 37 % places_.size()]);
    const auto column = static_cast<uint32_t>(row.size());
    const size_t at = static_cast<size_t>(row.data() + row.size() - text_.data());
    const std::string typed(1, static_cast<char>('a' + step % 26));
    text_.insert(at, typed);
    lines_ = LineIndex(text_);
    const Position cursor{lines_.line_of(at), column};
    const Json change = {
        {"method", "textDocument/didChange"},
        {"params",
         {{"textDocument", {{"uri", kUri}, {"version", step + 2}}},
          {"contentChanges", {{{"range", to_json(Range{cursor, cursor})}, {"text", typed}}}}}}};
    const Json request = {{"id", step + 1},
                          {"method", "textDocument/inlineCompletion"},
                          {"params",
                           {{"textDocument", {{"uri", kUri}}},
                            {"position", to_json(Position{cursor.line, column + 1})},
                            {"context", {{"triggerKind", 2}}}}}};
    const std::string change_body = change.dump(), request_body = request.dump();
    answer_.clear();
    const auto start = Clock::now();
    receive(change_body);
    receive(request_body);
    const auto deadline = start + std::chrono::seconds(10);
    while (answer_.empty()) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    const auto end = Clock::now();
    if (answer_.find("insertText") != std::string::npos) {
      ++report.suggested;
      if (generator_->asked() >= start) before.push_back(ms_between(start, generator_->asked()));
    }
    all.push_back(ms_between(start, end));
    return true;
  }

 private:
  void receive(const std::string& body) {
    Frame frame;
    frame.body = body;
    session_->receive(frame);
    io_.poll();
  }
  void send(const Json& message) { receive(message.dump()); }

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::shared_ptr<InstantGenerator> generator_;
  std::string text_;
  LineIndex lines_;
  std::vector<uint32_t> places_;  ///< lines
  std::shared_ptr<ServerContext> context_;
  std::shared_ptr<Session> session_;
  std::string answer_;
};

}  // namespace

Result<OverheadReport> measure_overhead(std::shared_ptr<engine::Generator> model, size_t lines,
                                        size_t requests) {
  if (!model || model->tokenizer() == nullptr || model->prompt_format() == nullptr) {
    return fail(ErrorCode::unsupported, "the overhead is measured with a local model's tokenizer");
  }
  Typist typist(std::make_shared<InstantGenerator>(std::move(model)), std::max<size_t>(lines, 100));
  OverheadReport report;
  report.lines = lines;
  std::vector<double> all, before;
  // The first keystrokes load the model, open the prompt's window and fill the caches.
  constexpr size_t kWarmUp = 12;
  for (size_t step = 0; step < requests + kWarmUp; ++step) {
    if (step == kWarmUp) {
      all.clear();
      before.clear();
      report.suggested = 0;
    }
    if (!typist.type(step, report, all, before)) {
      return fail(ErrorCode::unavailable, "a suggestion did not come within ten seconds");
    }
  }
  report.requests = all.size();
  report.p50_ms = percentile(all, 0.5);
  report.p99_ms = percentile(all, 0.99);
  report.max_ms = percentile(all, 1.0);
  report.before_model_p50_ms = percentile(before, 0.5);
  report.before_model_p99_ms = percentile(before, 0.99);
  return report;
}

}  // namespace cambium::lsp
