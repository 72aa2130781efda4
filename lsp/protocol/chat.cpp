#include "lsp/protocol/chat.h"

#include <array>

namespace cambium::lsp {

namespace {

using assist::Intent;

bool read_message(const Json& json, engine::ChatMessage& out, Path path) {
  const ObjectReader object(json, path);
  std::string role;
  if (!object || !object.required("role", role) || !object.required("content", out.content)) {
    return false;
  }
  using Role = engine::ChatMessage::Role;
  if (role == "system") {
    out.role = Role::system;
  } else if (role == "user") {
    out.role = Role::user;
  } else if (role == "assistant") {
    out.role = Role::assistant;
  } else {
    return path.field("role").fail("system, user or assistant");
  }
  return true;
}

bool read_intent(const std::string& name, Intent& out, Path path) {
  for (const Intent intent : {Intent::review, Intent::fix, Intent::why, Intent::explain,
                              Intent::chat, Intent::commit_message}) {
    if (name == to_string(intent)) {
      out = intent;
      return true;
    }
  }
  return path.fail("chat, explain, fix, why, review or commit message");
}

bool read_role(const std::string& name, std::optional<assist::Role>& out, Path path) {
  for (const assist::Role role : assist::kRoles) {
    if (name == to_string(role)) {
      out = role;
      return true;
    }
  }
  return path.fail("completion, reasoning or general");
}

/// A progress token is a string or an integer.
bool read_token(const Json& json, Json& out, Path path) {
  const auto it = json.find("partialResultToken");
  if (it == json.end() || it->is_null()) return true;
  if (!it->is_string() && !it->is_number_integer()) {
    return path.field("partialResultToken").fail("a string or an integer");
  }
  out = *it;
  return true;
}

}  // namespace

bool read(const Json& json, ChatAttachment& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri) && object.optional("range", out.range);
}

bool read(const Json& json, ChatParams& out, Path path) {
  const ObjectReader object(json, path);
  std::string intent = to_string(out.intent), role;
  if (!object || !object.optional("attachments", out.attachments) ||
      !object.optional("intent", intent) || !object.optional("role", role) ||
      !object.optional("maxTokens", out.max_tokens) || !object.optional("exact", out.exact) ||
      !read_token(json, out.partial_result_token, path)) {
    return false;
  }
  if (!read_intent(intent, out.intent, path.field("intent"))) return false;
  if (!role.empty() && !read_role(role, out.role, path.field("role"))) return false;
  if (out.max_tokens < 1 || out.max_tokens > 65536)
    return path.field("maxTokens").fail("1 to 65536");
  const auto messages = json.find("messages");
  if (messages == json.end() || !messages->is_array() || messages->empty()) {
    return path.field("messages").fail("at least one {\"role\", \"content\"}");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    const Path list = path.field("messages");
    if (!read_message((*messages)[i], out.messages.emplace_back(), list.index(i))) return false;
  }
  return true;
}

bool read(const Json& json, ExplainParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri) && object.optional("range", out.range) &&
         object.optional("question", out.question) && object.optional("finding", out.finding) &&
         object.optional("show", out.show) && read_token(json, out.partial_result_token, path);
}

bool read(const Json& json, WriteParams& out, Path path) {
  const ObjectReader object(json, path);
  std::string task;
  if (!object || !object.required("uri", out.uri) || !object.required("task", task) ||
      !object.optional("range", out.range) || !object.optional("request", out.request) ||
      !read_token(json, out.partial_result_token, path)) {
    return false;
  }
  for (const assist::Writing each :
       {assist::Writing::comment, assist::Writing::tests, assist::Writing::change}) {
    if (task != to_string(each)) continue;
    out.task = each;
    return true;
  }
  return path.field("task").fail("comment, tests or change");
}

bool read(const Json& json, PlaceParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri) && object.required("text", out.text) &&
         object.optional("range", out.range);
}

Json to_json(const assist::Answer& answer, const std::string& asked) {
  const engine::Timings& t = answer.timings;
  const assist::Route& route = answer.route;
  Json out = {{"text", answer.text}, {"stop", engine::to_string(answer.stop)}, {"asked", asked}};
  if (!answer.thinking.empty()) out["thinking"] = answer.thinking;
  Json timings = {{"promptTokens", t.prompt_tokens},
                  {"reusedTokens", t.reused_tokens},
                  {"generatedTokens", t.generated_tokens},
                  {"queueMs", t.queue_ms},
                  {"prefillMs", t.prefill_ms},
                  {"decodeMs", t.decode_ms},
                  {"ttftMs", t.ttft_ms}};
  timings["route"] = {{"role", to_string(route.role)},
                      {"model", route.model},
                      {"reason", route.reason},
                      {"classifyMs", route.classify_ms}};
  if (route.cascade) {
    timings["route"]["confidence"] = route.confidence;
    timings["route"]["smallMs"] = route.small_ms;
    timings["route"]["larger"] = route.larger;
  }
  if (!t.expert_loads.empty()) {
    const engine::ExpertSpread spread = engine::spread_of(t.expert_loads);
    timings["experts"] = {
        {"tokens", t.expert_loads}, {"busiest", spread.busiest}, {"imbalance", spread.imbalance}};
  }
  const assist::Compaction& compaction = answer.compaction;
  if (compaction.compacted) {
    timings["compaction"] = {{"messagesBefore", compaction.messages_before},
                             {"messagesAfter", compaction.messages_after},
                             {"tokensBefore", compaction.tokens_before},
                             {"tokensAfter", compaction.tokens_after},
                             {"kvBytesBefore", compaction.kv_bytes_before},
                             {"kvBytesAfter", compaction.kv_bytes_after},
                             {"summaryBy", compaction.summary_by},
                             {"ms", compaction.ms}};
  }
  out["timings"] = std::move(timings);
  return out;
}

}  // namespace cambium::lsp
