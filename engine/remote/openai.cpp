#include "engine/remote/openai.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace cambium::engine {

namespace {

using Json = nlohmann::json;

constexpr size_t kShownOfBody = 200;

const char* role_name(ChatMessage::Role role) {
  switch (role) {
    case ChatMessage::Role::system:
      return "system";
    case ChatMessage::Role::user:
      return "user";
    case ChatMessage::Role::assistant:
      return "assistant";
  }
  return "user";
}

std::string dumped(const Json& json) {
  // A file may hold any bytes; what is no UTF-8 can't be JSON.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json with_sampling(const Request& request, const std::string& model, const char* limit) {
  Json body = {{"stream", true}, {limit, request.max_tokens}};
  if (!model.empty()) body["model"] = model;
  const SamplingParams& sampling = request.sampling;
  body["temperature"] = sampling.temperature;
  if (sampling.temperature > 0) {
    body["top_p"] = sampling.top_p;
    body["seed"] = sampling.seed;
    if (sampling.top_k > 0) body["top_k"] = sampling.top_k;
    if (sampling.min_p > 0) body["min_p"] = sampling.min_p;
  }
  if (sampling.repetition != 1.0f) body["repetition_penalty"] = sampling.repetition;
  if (!request.stop.empty()) {
    // OpenAI takes four; the rest are looked for here.
    const size_t n = std::min<size_t>(request.stop.size(), 4);
    body["stop"] = std::vector<std::string>(request.stop.begin(),
                                            request.stop.begin() + static_cast<std::ptrdiff_t>(n));
  }
  return body;
}

Json for_completions(const Request& request, const std::string& model) {
  Json body = with_sampling(request, model, "max_tokens");
  body["stream_options"] = {{"include_usage", true}};
  body["logprobs"] = 1;  // how sure the model was of each token
  return body;
}

Result<Outgoing> fim(const Request& request, const FimPrompt& prompt,
                     const OutgoingOptions& options) {
  switch (options.fim) {
    case FimStyle::none:
      break;
    case FimStyle::suffix: {
      Json body = for_completions(request, options.model);
      body["prompt"] = prompt.prefix;
      body["suffix"] = prompt.suffix;
      return Outgoing{"/completions", false, dumped(body)};
    }
    case FimStyle::raw: {
      if (!options.spellings) break;
      Json body = for_completions(request, options.model);
      body["prompt"] = options.spellings->prefix + prompt.prefix + options.spellings->suffix +
                       prompt.suffix + options.spellings->middle;
      return Outgoing{"/completions", false, dumped(body)};
    }
    case FimStyle::infill: {
      Json body = with_sampling(request, "", "n_predict");
      body["input_prefix"] = prompt.prefix;
      body["input_suffix"] = prompt.suffix;
      body["prompt"] = "";
      body["cache_prompt"] = true;
      body["n_probs"] = 1;
      return Outgoing{"/infill", true, dumped(body)};
    }
  }
  return fail(ErrorCode::unsupported,
              "the endpoint's model " + options.model +
                  " is not known to fill in the middle, so it cannot complete at a cursor; set "
                  "\"fim\" to suffix, raw or infill in models.json, or give the role "
                  "\"completion\" a model that does (deepseek-coder-1.3b-base)");
}

template <class T>
std::optional<T> number(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  return it->get<T>();
}

std::string text_of(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

void read_logprobs(const Json& choice, Delta& out) {
  const auto logprobs = choice.find("logprobs");
  if (logprobs == choice.end() || !logprobs->is_object()) return;
  if (const auto list = logprobs->find("token_logprobs");
      list != logprobs->end() && list->is_array()) {
    for (const Json& value : *list) {
      if (value.is_number()) out.logprobs.push_back(value.get<float>());
    }
  } else if (const auto content = logprobs->find("content");
             content != logprobs->end() && content->is_array()) {
    for (const Json& token : *content) {
      if (!token.is_object()) continue;
      if (const auto value = number<float>(token, "logprob")) out.logprobs.push_back(*value);
    }
  }
}

void read_usage(const Json& answer, Delta& out) {
  if (const auto usage = answer.find("usage"); usage != answer.end() && usage->is_object()) {
    out.prompt_tokens = number<int32_t>(*usage, "prompt_tokens");
    out.generated_tokens = number<int32_t>(*usage, "completion_tokens");
    const auto details = usage->find("prompt_tokens_details");
    if (details != usage->end() && details->is_object()) {
      out.reused_tokens = number<int32_t>(*details, "cached_tokens");
    }
  }
  if (const auto timings = answer.find("timings");
      timings != answer.end() && timings->is_object()) {
    out.prefill_ms = number<double>(*timings, "prompt_ms");
    out.decode_ms = number<double>(*timings, "predicted_ms");
    if (const auto cached = number<int32_t>(*timings, "cache_n")) out.reused_tokens = cached;
  }
}

/// llama.cpp's own shape: {"content": …, "stop": …}.
void read_llama(const Json& answer, Delta& out) {
  out.text = text_of(answer, "content");
  const auto stop = answer.find("stop");
  if (stop != answer.end() && stop->is_boolean() && stop->get<bool>()) {
    out.finish = text_of(answer, "stop_type") == "limit" ? "length" : "stop";
    out.done = true;
  }
  if (const auto list = answer.find("completion_probabilities");
      list != answer.end() && list->is_array()) {
    for (const Json& token : *list) {
      if (!token.is_object()) continue;
      if (const auto value = number<float>(token, "logprob")) out.logprobs.push_back(*value);
    }
  }
  if (const auto n = number<int32_t>(answer, "tokens_evaluated")) out.prompt_tokens = n;
  if (const auto n = number<int32_t>(answer, "tokens_predicted")) out.generated_tokens = n;
}

std::string beginning(std::string_view text) {
  std::string out(text.substr(0, kShownOfBody));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return out;
}

}  // namespace

std::optional<FimSpellings> known_fim_spellings(std::string_view model) {
  std::string name(model);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (has("deepseek") && !has("distill")) {
    return FimSpellings{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"};
  }
  if (has("qwen") && has("coder")) {
    return FimSpellings{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"};
  }
  if (has("starcoder")) return FimSpellings{"<fim_prefix>", "<fim_suffix>", "<fim_middle>"};
  if (has("codellama")) return FimSpellings{"<PRE> ", " <SUF>", " <MID>"};
  return std::nullopt;
}

Result<Outgoing> outgoing(const Request& request, const OutgoingOptions& options) {
  if (const auto* prompt = std::get_if<FimPrompt>(&request.text)) {
    return fim(request, *prompt, options);
  }
  if (const auto* prompt = std::get_if<RawPrompt>(&request.text)) {
    Json body = for_completions(request, options.model);
    body["prompt"] = prompt->text;
    return Outgoing{"/completions", false, dumped(body)};
  }
  if (const auto* prompt = std::get_if<ChatPrompt>(&request.text)) {
    Json body = with_sampling(request, options.model, "max_tokens");
    body["stream_options"] = {{"include_usage", true}};
    Json messages = Json::array();
    for (const ChatMessage& message : prompt->messages) {
      messages.push_back({{"role", role_name(message.role)}, {"content", message.content}});
    }
    body["messages"] = std::move(messages);
    if (request.logprobs) body["logprobs"] = true;
    std::string text = dumped(body);
    if (!request.json_schema.empty()) {
      // Put in as it is: the order of its members is the one that an answer is written in.
      text.pop_back();
      text += R"(,"response_format":{"type":"json_schema","json_schema":)"
              R"({"name":"answer","strict":true,"schema":)" +
              request.json_schema + "}}}";
    }
    return Outgoing{"/chat/completions", false, std::move(text)};
  }
  return fail(ErrorCode::unsupported,
              "the endpoint's model " + options.model +
                  " takes prompts as text, not as tokens; this needs a model on this machine");
}

Result<Delta> read_delta(std::string_view data) {
  Delta out;
  if (data == "[DONE]") {
    out.done = true;
    return out;
  }
  const Json answer = Json::parse(data.begin(), data.end(), nullptr, false);
  if (!answer.is_object()) {
    return fail(ErrorCode::bad_format, "sent what is no answer of this API (" + beginning(data) +
                                           "); correct its \"url\" (most end with /v1)");
  }
  if (answer.contains("error") && !answer["error"].is_null()) {
    return fail(ErrorCode::unavailable, "reports an error: " + error_message(data));
  }
  read_usage(answer, out);
  const auto choices = answer.find("choices");
  if (choices == answer.end() || !choices->is_array()) {
    if (answer.contains("content") && answer["content"].is_string()) {
      read_llama(answer, out);
      return out;
    }
    return fail(ErrorCode::bad_format, "sent an answer without choices (" + beginning(data) +
                                           "); correct its \"url\" (most end with /v1)");
  }
  if (choices->empty()) return out;  // the last event of a stream: usage alone
  const Json& choice = choices->front();
  if (!choice.is_object()) return fail(ErrorCode::bad_format, "sent a choice that is no object");
  out.finish = text_of(choice, "finish_reason");
  read_logprobs(choice, out);
  const char* inner = choice.contains("delta") ? "delta" : "message";
  if (const auto message = choice.find(inner); message != choice.end() && message->is_object()) {
    out.text = text_of(*message, "content");
    // DeepSeek's own API, vLLM and llama.cpp say reasoning_content; others say reasoning.
    out.reasoning = text_of(*message, "reasoning_content");
    if (out.reasoning.empty()) out.reasoning = text_of(*message, "reasoning");
  } else {
    out.text = text_of(choice, "text");
  }
  return out;
}

std::string error_message(std::string_view body) {
  const Json json = Json::parse(body.begin(), body.end(), nullptr, false);
  if (json.is_object()) {
    const auto error = json.find("error");
    if (error != json.end() && error->is_string()) return beginning(error->get<std::string>());
    if (error != json.end() && error->is_object()) {
      if (std::string message = text_of(*error, "message"); !message.empty()) {
        return beginning(message);
      }
    }
    for (const char* name : {"message", "detail"}) {
      if (std::string message = text_of(json, name); !message.empty()) return beginning(message);
    }
  }
  return beginning(body);
}

}  // namespace cambium::engine
