#include "lsp/serve/api.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lsp/protocol/reader.h"

namespace cambium::lsp::serve {

namespace {

constexpr int32_t kMostTokens = 1 << 20;
constexpr int32_t kCompletionTokens = 16;  // OpenAI's default

std::string dumped(const Json& json) {
  // Half a character can't be sent as JSON; what cut it off is what the client asked for.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Reads the fields of a request's body; keeps the first problem.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  const Json* find(const char* name) const {
    const auto it = json_.find(name);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  bool text(const char* name, std::string& out) {
    const Json* value = find(name);
    if (value == nullptr) return false;
    if (!value->is_string()) return wrong(name, "a string");
    out = value->get<std::string>();
    return true;
  }
  template <class T>
  bool number(const char* name, double least, double most, T& out) {
    const Json* value = find(name);
    if (value == nullptr) return false;
    const double number = value->is_number() ? value->get<double>() : least - 1;
    if (!(number >= least && number <= most)) {
      return wrong(name, "a number from " + Json(least).dump() + " to " + Json(most).dump());
    }
    out = static_cast<T>(number);
    return true;
  }
  bool flag(const char* name, bool& out) {
    const Json* value = find(name);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return wrong(name, "true or false");
    out = value->get<bool>();
    return true;
  }
  bool wrong(const std::string& name, const std::string& expected) {
    if (problem_.empty()) problem_ = name + ": expected " + expected;
    return false;
  }
  const std::string& problem() const { return problem_; }

 private:
  const Json& json_;
  std::string problem_;
};

void read_stop(Fields& fields, std::vector<std::string>& out) {
  const Json* stop = fields.find("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    out.push_back(stop->get<std::string>());
    return;
  }
  if (!stop->is_array() || stop->size() > 16) {
    fields.wrong("stop", "a string or up to 16 of them");
    return;
  }
  for (const Json& item : *stop) {
    if (!item.is_string()) {
      fields.wrong("stop", "a string or up to 16 of them");
      return;
    }
    out.push_back(item.get<std::string>());
  }
}

void read_sampling(Fields& fields, ApiRequest& out) {
  engine::SamplingParams& sampling = out.request.sampling;
  bool given = fields.number("temperature", 0, 2, sampling.temperature);
  given = fields.number("top_p", 0, 1, sampling.top_p) || given;
  given = fields.number("top_k", 0, kMostTokens, sampling.top_k) || given;
  given = fields.number("min_p", 0, 1, sampling.min_p) || given;
  given = fields.number("repetition_penalty", 0.01, 10, sampling.repetition) || given;
  double seed = 0;
  fields.number("seed", -1, 9007199254740992.0, seed);
  if (seed > 0) sampling.seed = static_cast<uint64_t>(seed);
  out.sampling_given = given;
}

/// A message's content: text, or parts of which all must be text.
bool read_content(const Json& content, std::string& out) {
  if (content.is_string()) {
    out = content.get<std::string>();
    return true;
  }
  if (!content.is_array()) return false;
  for (const Json& part : content) {
    const auto text = [&part](const char* name) {
      const auto it = part.find(name);
      return it != part.end() && it->is_string() ? it->get_ref<const std::string&>() : "";
    };
    if (!part.is_object() || text("type") != "text" || !part.contains("text") ||
        !part["text"].is_string()) {
      return false;
    }
    out += text("text");
  }
  return true;
}

void read_messages(Fields& fields, engine::ChatPrompt& out) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    fields.wrong("messages", "a list of at least one {\"role\", \"content\"}");
    return;
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    const Json& json = (*messages)[i];
    const std::string name = "messages[" + std::to_string(i) + "]";
    engine::ChatMessage message;
    const std::string role =
        json.is_object() && json.contains("role") && json["role"].is_string() ? json["role"] : "";
    if (role == "system" || role == "developer") {
      message.role = engine::ChatMessage::Role::system;
    } else if (role == "assistant") {
      message.role = engine::ChatMessage::Role::assistant;
    } else if (role != "user") {
      fields.wrong(name + ".role", "system, user or assistant");
      return;
    }
    if (!json.contains("content") || !read_content(json["content"], message.content)) {
      fields.wrong(name + ".content", "text");
      return;
    }
    out.messages.push_back(std::move(message));
  }
}

/// The schema as the client wrote it: the order of its properties is that of the answer's members.
std::string schema_of(std::string_view body) {
  using Ordered = nlohmann::ordered_json;
  const Ordered json = Ordered::parse(body.begin(), body.end(), nullptr, false);
  const Ordered::json_pointer at("/response_format/json_schema/schema");
  return json.contains(at) ? json.at(at).dump(-1, ' ', false, Ordered::error_handler_t::replace)
                           : std::string();
}

/// {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": …}}
void read_form(Fields& fields, std::string_view body, ApiRequest& out) {
  const Json* form = fields.find("response_format");
  if (form == nullptr) return;
  const auto type = form->find("type");
  const std::string name =
      type != form->end() && type->is_string() ? type->get<std::string>() : std::string();
  if (name == "text") return;
  if (out.endpoint != Endpoint::chat) {
    fields.wrong("response_format", "none; only chat answers keep to a form");
  } else if (name == "json_object") {
    out.form = assist::JsonSchema::any_object();
  } else if (name == "json_schema") {
    auto schema = assist::JsonSchema::compile(schema_of(body));
    if (!schema) {
      fields.wrong("response_format.json_schema.schema",
                   "what is kept to here; " + schema.error().message);
      return;
    }
    out.form = std::move(*schema);
  } else {
    fields.wrong("response_format.type", "text, json_object or json_schema");
  }
}

/// What this server does not do and a client would miss.
void refuse(Fields& fields) {
  double one = 1;
  for (const char* name : {"n", "best_of"}) fields.number(name, 1, 1, one);
  bool echo = false;
  if (fields.flag("echo", echo) && echo) fields.wrong("echo", "false; the prompt is not repeated");
  for (const char* name : {"tools", "functions"}) {
    const Json* value = fields.find(name);
    if (value != nullptr && !value->empty()) fields.wrong(name, "none; tools are not called here");
  }
}

void read_prompt(Fields& fields, ApiRequest& out) {
  if (out.endpoint == Endpoint::chat) {
    read_messages(fields, out.request.text.emplace<engine::ChatPrompt>());
    return;
  }
  if (out.endpoint == Endpoint::infill) {
    engine::FimPrompt prompt;
    const bool prefix = fields.text("input_prefix", prompt.prefix);
    const bool suffix = fields.text("input_suffix", prompt.suffix);
    if (!prefix && !suffix) fields.wrong("input_prefix", "a string, or input_suffix");
    std::string middle;  // llama.cpp's clients put the line so far here
    if (fields.text("prompt", middle)) prompt.prefix += middle;
    out.request.text = std::move(prompt);
    return;
  }
  std::string prompt, suffix;
  const Json* given = fields.find("prompt");
  if (given != nullptr && given->is_array() && given->size() == 1 && given->front().is_string()) {
    prompt = given->front().get<std::string>();
  } else if (!fields.text("prompt", prompt)) {
    fields.wrong("prompt", "a string");
  }
  if (fields.text("suffix", suffix)) {
    out.request.text = engine::FimPrompt{std::move(prompt), std::move(suffix)};
  } else {
    bool special = true;  // a prompt of special tokens' spellings is what raw prompts are for
    fields.flag("parse_special", special);
    out.request.text = engine::RawPrompt{std::move(prompt), special};
  }
}

const char* finish_name(engine::StopReason reason) {
  switch (reason) {
    case engine::StopReason::max_tokens:
    case engine::StopReason::context_full:
      return "length";
    default:
      return "stop";
  }
}

Json usage(const engine::Generated& generated) {
  const engine::Timings& t = generated.timings;
  return {{"prompt_tokens", t.prompt_tokens},
          {"completion_tokens", t.generated_tokens},
          {"total_tokens", t.prompt_tokens + t.generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", t.reused_tokens}}}};
}

/// As llama.cpp's server names them, so that its clients show them; and which model answered, and why.
Json timings(const AnswerHead& head, const engine::Generated& generated) {
  const engine::Timings& t = generated.timings;
  Json route = {{"role", assist::to_string(head.route.role)},
                {"model", head.model},
                {"reason", head.route.reason}};
  if (head.route.cascade) {
    route["confidence"] = head.route.confidence;
    route["small_ms"] = head.route.small_ms;
    route["larger"] = head.route.larger;
  }
  return {{"prompt_n", t.prompt_tokens - t.reused_tokens},
          {"cache_n", t.reused_tokens},
          {"prompt_ms", t.prefill_ms},
          {"predicted_n", t.generated_tokens},
          {"predicted_ms", t.decode_ms},
          {"ttft_ms", t.ttft_ms},
          {"queue_ms", t.queue_ms},
          {"draft_n", t.drafted_tokens},
          {"draft_n_accepted", t.accepted_tokens},
          {"route", std::move(route)}};
}

Json envelope(const AnswerHead& head, bool streaming) {
  Json out = {{"id", head.id}, {"created", head.created}, {"model", head.model}};
  if (head.endpoint == Endpoint::chat) {
    out["object"] = streaming ? "chat.completion.chunk" : "chat.completion";
  } else {
    out["object"] = "text_completion";
  }
  return out;
}

Json message_of(const AnswerText& text) {
  Json message = Json::object();
  if (!text.thinking.empty()) message["reasoning_content"] = text.thinking;
  if (!text.text.empty() || text.thinking.empty()) message["content"] = text.text;
  return message;
}

Json logprobs_of(const engine::Generated& generated) {
  return {{"token_logprobs", generated.logprobs}};
}

Json infill_end(const AnswerHead& head, const engine::Generated& generated) {
  const bool limit = std::string_view(finish_name(generated.stop)) == "length";
  return {{"stop", true},
          {"stop_type", limit ? "limit" : "eos"},
          {"tokens_predicted", generated.timings.generated_tokens},
          {"tokens_evaluated", generated.timings.prompt_tokens},
          {"tokens_cached", generated.timings.reused_tokens},
          {"timings", timings(head, generated)}};
}

}  // namespace

const char* to_string(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::completions:
      return "completions";
    case Endpoint::chat:
      return "chat";
    case Endpoint::infill:
      return "infill";
  }
  return "completions";
}

ApiError api_error(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::unsupported:
      return {400, error.message};
    case ErrorCode::not_found:
      return {404, error.message};
    case ErrorCode::out_of_memory:
    case ErrorCode::unavailable:
      return {503, error.message};
    default:
      return {500, error.message};
  }
}

std::string error_body(const ApiError& error) {
  const char* type = error.status < 500 ? "invalid_request_error" : "server_error";
  return dumped({{"error", {{"message", error.message}, {"type", type}, {"code", error.status}}}});
}

tl::expected<ApiRequest, ApiError> read_request(Endpoint endpoint, std::string_view body) {
  const Json json = Json::parse(body.begin(), body.end(), nullptr, false);
  if (!json.is_object()) {
    return tl::unexpected(ApiError{400, "the body is no JSON object"});
  }
  ApiRequest out;
  out.endpoint = endpoint;
  out.request.priority = engine::Priority::normal;
  Fields fields(json);
  read_prompt(fields, out);
  read_sampling(fields, out);
  read_stop(fields, out.request.stop);
  read_form(fields, body, out);
  fields.flag("stream", out.stream);
  fields.text("model", out.model);
  if (endpoint == Endpoint::completions) {
    out.request.max_tokens = kCompletionTokens;
    out.max_tokens_given = true;
    const Json* logprobs = fields.find("logprobs");
    out.logprobs = logprobs != nullptr && logprobs->is_number() && *logprobs > 0;
  }
  for (const char* name : {"max_tokens", "max_completion_tokens", "n_predict"}) {
    const bool llama = std::string_view(name) == "n_predict";
    int32_t limit = 0;
    if (!fields.number(name, llama ? -1 : 0, kMostTokens, limit)) continue;
    out.max_tokens_given = limit >= 0;
    out.request.max_tokens = std::max(limit, 0);
  }
  refuse(fields);
  if (!fields.problem().empty()) return tl::unexpected(ApiError{400, fields.problem()});
  return out;
}

std::string piece_body(const AnswerHead& head, const AnswerText& piece) {
  if (head.endpoint == Endpoint::infill) {
    return dumped({{"content", piece.text}, {"stop", false}});
  }
  Json out = envelope(head, true);
  Json choice = {{"index", 0}, {"finish_reason", nullptr}};
  if (head.endpoint == Endpoint::chat) {
    choice["delta"] = message_of(piece);
  } else {
    choice["text"] = piece.text;
  }
  out["choices"] = Json::array({std::move(choice)});
  return dumped(out);
}

std::string end_body(const AnswerHead& head, const engine::Generated& generated) {
  if (head.endpoint == Endpoint::infill) {
    Json out = infill_end(head, generated);
    out["content"] = "";
    return dumped(out);
  }
  Json out = envelope(head, true);
  Json choice = {{"index", 0}, {"finish_reason", finish_name(generated.stop)}};
  if (head.endpoint == Endpoint::chat) {
    choice["delta"] = Json::object();
  } else {
    choice["text"] = "";
    if (head.logprobs) choice["logprobs"] = logprobs_of(generated);
  }
  out["choices"] = Json::array({std::move(choice)});
  out["usage"] = usage(generated);
  out["timings"] = timings(head, generated);
  return dumped(out);
}

std::string answer_body(const AnswerHead& head, const engine::Generated& generated,
                        const AnswerText& whole) {
  if (head.endpoint == Endpoint::infill) {
    Json out = infill_end(head, generated);
    out["content"] = whole.text;
    out["model"] = head.model;
    return dumped(out);
  }
  Json out = envelope(head, false);
  Json choice = {{"index", 0}, {"finish_reason", finish_name(generated.stop)}};
  if (head.endpoint == Endpoint::chat) {
    choice["message"] = message_of(whole);
    choice["message"]["role"] = "assistant";
    if (!choice["message"].contains("content")) choice["message"]["content"] = "";
  } else {
    choice["text"] = whole.text;
    choice["logprobs"] = head.logprobs ? logprobs_of(generated) : Json();
  }
  out["choices"] = Json::array({std::move(choice)});
  out["usage"] = usage(generated);
  out["timings"] = timings(head, generated);
  return dumped(out);
}

}  // namespace cambium::lsp::serve
