#include "engine/remote/remote_generator.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "engine/chat_defaults.h"
#include "engine/remote/sse.h"
#include "engine/text_stream.h"

namespace cambium::engine {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostErrorBody = 64 * 1024;
constexpr size_t kMostAnswerBody = 16 << 20;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// One answer as it arrives. Lives on the client's thread.
class Incoming {
 public:
  Incoming(std::string where, std::string model, Request request, OnText on_text, OnDone on_done)
      : where_(std::move(where)),
        model_(std::move(model)),
        request_(std::move(request)),
        stream_(request_.stop, std::move(on_text)),
        on_done_(std::move(on_done)) {}

  bool head(const HttpHead& head) {
    status_ = head.status;
    events_ = head.get("Content-Type").find("event-stream") != std::string_view::npos;
    return true;
  }

  bool body(std::string_view bytes) {
    if (status_ != 200 || !events_) {  // an error, or a server that does not stream
      body_.append(bytes);
      return body_.size() < (status_ == 200 ? kMostAnswerBody : kMostErrorBody);
    }
    return sse_.feed(bytes, [this](std::string_view data) { return event(data); });
  }

  /// The server does not know how to keep to a schema: it says so and names the parameter.
  bool refuses_form() const {
    const auto names = [this](const char* what) { return body_.find(what) != body_.npos; };
    return !request_.json_schema.empty() && (status_ == 400 || status_ == 422) &&
           (names("response_format") || names("json_schema"));
  }
  /// The request as it goes out once more; what was read of the first answer is forgotten.
  const Request& without_form() {
    request_.json_schema.clear();
    status_ = 0;
    body_.clear();
    return request_;
  }

  void done(Result<void> came) {
    const OnDone answer = std::exchange(on_done_, nullptr);
    if (!came && came.error().code == ErrorCode::cancelled) {
      finish(StopReason::cancelled);
    } else if (!came) {
      if (!ended_ && !error_) error_ = came.error();
    } else if (status_ != 200) {
      error_ = refused();
    } else if (sse_.too_long()) {
      error_ = Error{ErrorCode::bad_format, where_ + ": sent an event of more than 1 MiB"};
    } else if (!events_) {
      event(body_);
      finish(StopReason::end_of_text);
    }
    if (!error_ && !ended_) {
      error_ = Error{ErrorCode::unavailable,
                     where_ + ": the stream ended before the answer did; try again"};
    }
    if (error_) return answer(tl::unexpected(std::move(*error_)));
    end_reasoning();
    stream_.finish();
    result_.text = stream_.text();
    result_.timings.generated_tokens = generated_.value_or(pieces_);
    Timings& timings = result_.timings;
    timings.ttft_ms = first_ == Clock::time_point{} ? 0 : ms_between(start_, first_);
    if (timings.prefill_ms == 0) timings.prefill_ms = timings.ttft_ms;
    if (timings.decode_ms == 0 && timings.ttft_ms > 0) {
      timings.decode_ms = ms_between(first_, Clock::now());
    }
    answer(std::move(result_));
  }

 private:
  /// False: nothing more is wanted.
  bool event(std::string_view data) {
    auto delta = read_delta(data);
    if (!delta) {
      error_ = Error{delta.error().code, where_ + ": " + delta.error().message};
      return false;
    }
    take_figures(*delta);
    if (!delta->reasoning.empty()) {
      if (!std::exchange(reasoning_, true)) put("<think>\n");
      put(delta->reasoning);
    }
    if (!delta->text.empty()) {
      end_reasoning();
      const float logprob = delta->logprobs.empty() ? 0.0f : delta->logprobs.front();
      if (!choose(delta->text, logprob)) return false;
    }
    if (!delta->finish.empty()) {
      finish(delta->finish == "length" ? StopReason::max_tokens : StopReason::end_of_text);
    }
    if (delta->done) finish(StopReason::end_of_text);
    // After the finish reason one more event may come, with the counts.
    return !delta->done;
  }

  void take_figures(const Delta& delta) {
    Timings& timings = result_.timings;
    if (delta.prompt_tokens) timings.prompt_tokens = *delta.prompt_tokens;
    if (delta.reused_tokens) timings.reused_tokens = *delta.reused_tokens;
    if (delta.generated_tokens) generated_ = delta.generated_tokens;
    if (delta.prefill_ms) timings.prefill_ms = *delta.prefill_ms;
    if (delta.decode_ms) timings.decode_ms = *delta.decode_ms;
    result_.logprobs.insert(result_.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  }

  void end_reasoning() {
    if (std::exchange(reasoning_, false)) put("\n</think>\n\n");
  }

  bool put(std::string_view text) {
    if (first_ == Clock::time_point{}) first_ = Clock::now();
    if (!stream_.append(text)) return true;
    finish(StopReason::stop_string);
    return false;
  }

  /// As a local engine treats a token, with the text of an event for its bytes.
  bool choose(std::string_view text, float logprob) {
    ++pieces_;
    if (!request_.controller) return put(text);
    const StepDecision decision =
        request_.controller->on_token({-1, text, stream_.text(), logprob});
    switch (decision.verdict) {
      case StepDecision::Verdict::accept:
        return put(text);
      case StepDecision::Verdict::stop_after:
        put(text.substr(0, decision.keep_bytes));
        break;
      case StepDecision::Verdict::stop_before:
      case StepDecision::Verdict::reject:
        break;
    }
    finish(StopReason::controller);
    return false;
  }

  void finish(StopReason reason) {
    if (!std::exchange(ended_, true)) result_.stop = reason;
  }

  Error refused() const {
    const std::string said = error_message(body_);
    const std::string why = said.empty() ? "" : ": " + said;
    switch (status_) {
      case 401:
      case 403:
        return {ErrorCode::unavailable, where_ + ": the key is refused (" +
                                            std::to_string(status_) +
                                            "); correct \"key\" of the role in models.json" + why};
      case 404:
        return {ErrorCode::not_found, where_ + ": no model '" + model_ +
                                          "' or no such path there (404); correct \"model\" or "
                                          "\"url\" in models.json" +
                                          why};
      case 429:
      case 503:
        return {ErrorCode::unavailable, where_ + ": is overloaded (" + std::to_string(status_) +
                                            ") and was asked several times; try again later" + why};
      default:
        if (status_ >= 500) {
          return {ErrorCode::unavailable, where_ + ": the server failed (" +
                                              std::to_string(status_) +
                                              "); look into its log, or try again" + why};
        }
        return {ErrorCode::invalid_argument,
                where_ + ": refuses the request (" + std::to_string(status_) + ")" + why};
    }
  }

  const std::string where_, model_;
  Request request_;
  TextStream stream_;
  OnDone on_done_;
  SseReader sse_;
  Generated result_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point first_;
  int status_ = 0;
  bool events_ = false, reasoning_ = false, ended_ = false;
  std::string body_;
  std::optional<Error> error_;
  std::optional<int32_t> generated_;
  int32_t pieces_ = 0;
};

class RemoteGenerator final : public Generator,
                              public std::enable_shared_from_this<RemoteGenerator> {
 public:
  RemoteGenerator(RemoteOptions options, Url url)
      : options_(std::move(options)), url_(std::move(url)), client_(options_.http) {
    out_.model = options_.model;
    out_.fim = options_.fim;
    out_.spellings = options_.spellings ? options_.spellings : known_fim_spellings(options_.model);
  }

  Capabilities capabilities() const override {
    Capabilities can;
    can.model = options_.model.empty() ? url_.authority() : options_.model;
    can.description = can.model + " · " + url_.origin();
    can.context = options_.context;
    can.fill_in_middle = options_.fim != FimStyle::none;
    can.chat = true;
    can.remote = true;
    can.json_schema = takes_schema_;
    can.chat_defaults = chat_defaults_for(options_.model);
    // An endpoint that tells thinking apart itself is followed whatever its model is called.
    can.chat_defaults.thinks = options_.thinks.value_or(true);
    return can;
  }
  const Tokenizer* tokenizer() const override { return nullptr; }
  const PromptFormat* prompt_format() const override { return nullptr; }

  void generate(Request request, OnText on_text, OnDone on_done) override {
    if (!takes_schema_) request.json_schema.clear();
    const auto sent = outgoing(request, out_);
    if (!sent) return on_done(tl::unexpected(sent.error()));
    const CancelFlag cancel = request.cancel;
    send(*sent,
         std::make_shared<Incoming>(url_.origin(), options_.model, std::move(request),
                                    std::move(on_text), std::move(on_done)),
         cancel);
  }

  void score(ScoreRequest, OnScored on_done) override {
    on_done(fail(ErrorCode::unsupported,
                 "the endpoint's model " + options_.model +
                     " gives no probabilities of a text it did not write; this needs a model on "
                     "this machine"));
  }

 private:
  void send(const Outgoing& sent, const std::shared_ptr<Incoming>& incoming,
            const CancelFlag& cancel) {
    HttpRequest http;
    http.url = url_;
    if (sent.at_root) {
      // llama.cpp serves /infill beside /v1, not under it.
      if (http.url.target.ends_with("/")) http.url.target.pop_back();
      if (http.url.target.ends_with("/v1")) {
        http.url.target.resize(http.url.target.size() - 3);
      }
    }
    http.url = http.url.join(sent.path);
    http.headers = {{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}};
    if (!options_.key.empty()) http.headers.emplace_back("Authorization", "Bearer " + options_.key);
    http.body = sent.body;
    HttpHandlers handlers;
    handlers.on_head = [incoming](const HttpHead& head) { return incoming->head(head); };
    handlers.on_body = [incoming](std::string_view bytes) { return incoming->body(bytes); };
    handlers.on_done = [weak = weak_from_this(), incoming, cancel](Result<void> came) {
      const auto self = weak.lock();
      if (!self || !came || !incoming->refuses_form()) return incoming->done(std::move(came));
      self->takes_schema_ = false;
      self->send(*outgoing(incoming->without_form(), self->out_), incoming, cancel);
    };
    client_.start(std::move(http), std::move(handlers), cancel);
  }

  const RemoteOptions options_;
  const Url url_;
  OutgoingOptions out_;
  std::atomic<bool> takes_schema_ = true;  ///< until it refuses one
  HttpClient client_;
};

}  // namespace

Result<std::shared_ptr<Generator>> make_remote(RemoteOptions options) {
  auto url = parse_url(options.url);
  if (!url) return tl::unexpected(url.error());
  if (!url->user.empty()) {
    return fail(ErrorCode::invalid_argument,
                url->origin() + ": a key does not belong into a URL; use \"key\"");
  }
  if (!options.key.empty() && !url->secure && !is_loopback(url->host)) {
    return fail(ErrorCode::invalid_argument,
                url->origin() +
                    ": a key is not sent over plain http to another machine; use "
                    "https or a tunnel to a loopback port");
  }
  if (options.fim == FimStyle::raw && !options.spellings && !known_fim_spellings(options.model)) {
    return fail(ErrorCode::invalid_argument,
                "the fill-in-the-middle tokens of '" + options.model +
                    "' are not known; give \"fimTokens\": [PREFIX, SUFFIX, MIDDLE]");
  }
  return std::make_shared<RemoteGenerator>(std::move(options), std::move(*url));
}

}  // namespace cambium::engine
