#include "lsp/handlers/commands.h"

#include "lsp/handlers/chat.h"
#include "lsp/handlers/write.h"
#include "lsp/protocol/completion.h"
#include "lsp/session.h"
#include "syntax/closes.h"

namespace cambium::lsp {

namespace {

const char* state_name(ModelHost::State state) {
  switch (state) {
    case ModelHost::State::unloaded:
      return "unloaded";
    case ModelHost::State::loading:
      return "loading";
    case ModelHost::State::ready:
      return "ready";
    case ModelHost::State::failed:
      return "failed";
  }
  return "unloaded";
}

Json model_row(const ModelPool::Row& model) {
  const ModelHost& host = *model.host;
  Json row = {{"name", host.name()}, {"state", state_name(host.state())}};
  if (const LoadedModel* loaded = host.model()) {
    row["description"] = loaded->capabilities.description;
    row["context"] = loaded->capabilities.context;
    row["fillInMiddle"] = loaded->capabilities.fill_in_middle;
    row["structure"] = loaded->capabilities.structure;
    row["remote"] = loaded->capabilities.remote;
  }
  if (!host.problem().empty()) row["problem"] = host.problem();
  row["roles"] = Json::array();
  for (const assist::Role role : model.roles) row["roles"].push_back(to_string(role));
  for (const assist::Role role : model.larger_of) row["largerOf"].push_back(to_string(role));
  if (model.bytes > 0) row["bytes"] = model.bytes;
  return row;
}

Json models(Session& session) {
  Json rows = Json::array();
  for (const auto& model : session.context().pool->rows()) rows.push_back(model_row(model));
  return rows;
}

/// Every model, but those that load just now.
bool unload_all(const ModelPool& pool) {
  bool all = true;
  for (const auto& host : pool.hosts()) all = host->unload() && all;
  return all;
}

/// The command's only argument; what is wrong with it, the reply says.
template <class Params>
std::optional<Params> argument_of(const ExecuteCommandParams& params, Reply& reply) {
  Params asked;
  std::string problem;
  const Path root = Path::root(problem), all = root.field("arguments"), path = all.index(0);
  if (!read(params.arguments.empty() ? Json() : params.arguments.front(), asked, path)) {
    reply.fail(RpcCode::invalid_params, problem);
    return std::nullopt;
  }
  return asked;
}
template <class Params, void (*run)(Session&, const Params&, Reply)>
void with_argument(Session& session, const ExecuteCommandParams& params, Reply reply) {
  if (const auto asked = argument_of<Params>(params, reply)) run(session, *asked, std::move(reply));
}

/// The command's two arguments; if they are not there, the reply says so.
std::optional<std::pair<std::string, std::string>> two_texts(const ExecuteCommandParams& params,
                                                             Reply& reply, const char* first,
                                                             const char* second) {
  const auto& arguments = params.arguments;
  if (arguments.size() < 2 || !arguments[0].is_string() || !arguments[1].is_string()) {
    reply.fail(RpcCode::invalid_params,
               std::string("arguments: expected ") + first + " and " + second + ", two strings");
    return std::nullopt;
  }
  return std::pair(arguments[0].get<std::string>(), arguments[1].get<std::string>());
}

/// {"uri", "range"?} or {"scope": "diff"}.
void review(Session& session, const ExecuteCommandParams& params, Reply reply) {
  Reviews::Demand demand;
  demand.token = params.work_done_token;
  std::string problem, scope;
  if (!params.arguments.empty()) {
    // A path points to the one it is below: each needs a name.
    const Path root = Path::root(problem), arguments = root.field("arguments");
    const Path first = arguments.index(0);
    const ObjectReader object(params.arguments.front(), first);
    if (!object || !object.optional("uri", demand.uri) || !object.optional("range", demand.range) ||
        !object.optional("scope", scope)) {
      return reply.fail(RpcCode::invalid_params, problem);
    }
  }
  demand.diff = scope == "diff" || demand.uri.empty();
  if (demand.diff) demand.range.reset();
  session.reviews().review(demand, std::move(reply));
}

/// Where the next syntax node of a suggestion ends: editors accept up to there.
void node(Session& session, const NodeParams& asked, Reply reply) {
  const auto snapshot = session.documents().snapshot(asked.at.uri);
  const auto cursor =
      snapshot ? snapshot->lines.offset(*snapshot->text, asked.at.position, session.encoding())
               : std::nullopt;
  if (!cursor) {
    reply.fail(RpcCode::invalid_params, "position: no such place in an open document");
    return;
  }
  const syntax::Language* language = syntax::language_by_id(snapshot->language_id);
  if (language == nullptr) language = syntax::language_of_file(snapshot->path);
  syntax::InsertionCheck check(language, *snapshot->text, *cursor, snapshot->tree.get());
  const size_t bytes = check.first_node(asked.text);
  reply({{"length",
          count_units(std::string_view(asked.text).substr(0, bytes), PositionEncoding::utf16)}});
}

using Run = void (*)(Session&, const ExecuteCommandParams&, Reply);
struct CommandEntry {
  const char* name;
  Run run;
};

constexpr CommandEntry kCommands[] = {
    {"cambium.accepted",
     [](Session& session, const ExecuteCommandParams& params, Reply reply) {
       if (params.arguments.empty() || !params.arguments.front().is_string()) {
         reply.fail(RpcCode::invalid_params, "arguments[0]: expected a suggestion's id, a string");
         return;
       }
       session.context().stats.accepted(params.arguments.front().get<std::string>());
       reply(nullptr);
     }},
    {"cambium.dismiss",
     [](Session& session, const ExecuteCommandParams& params, Reply reply) {
       if (const auto two = two_texts(params, reply, "a URI", "a finding's fingerprint")) {
         session.reviews().dismiss(two->first, two->second, std::move(reply));
       }
     }},
    {"cambium.explain", with_argument<ExplainParams, explain>},
    {"cambium.fixAll",
     [](Session& session, const ExecuteCommandParams& params, Reply reply) {
       if (const auto two = two_texts(params, reply, "a URI", "a finding's code")) {
         session.reviews().fix_all(two->first, two->second, std::move(reply));
       }
     }},
    {"cambium.models",
     [](Session& session, const ExecuteCommandParams&, Reply reply) { reply(models(session)); }},
    {"cambium.node", with_argument<NodeParams, node>},
    {"cambium.place", with_argument<PlaceParams, place>},
    {"cambium.review", review},
    {"cambium.stats",
     [](Session& session, const ExecuteCommandParams&, Reply reply) {
       Json stats = session.context().stats.to_json();
       stats["sessions"] = session.context().sessions;
       stats["documents"] = session.documents().size();
       stats["models"] = models(session);
       reply(std::move(stats));
     }},
    {"cambium.unload",
     [](Session& session, const ExecuteCommandParams&, Reply reply) {
       if (unload_all(*session.context().pool)) {
         reply({{"unloaded", true}});
       } else {
         reply.fail(RpcCode::request_failed, "a model is being loaded; try again when it is there");
       }
     }},
    {"cambium.write",
     [](Session& session, const ExecuteCommandParams& params, Reply reply) {
       if (const auto asked = argument_of<WriteParams>(params, reply)) {
         write(session, *asked, params.work_done_token, std::move(reply));
       }
     }},
};

}  // namespace

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandEntry& command : kCommands) names.emplace_back(command.name);
  return names;
}

void bind_commands(Session& session) {
  Peer& peer = session.peer();
  peer.on_request<ExecuteCommandParams>(
      "workspace/executeCommand", Latency::instant,
      [&session](const ExecuteCommandParams& params, Reply reply) {
        for (const CommandEntry& command : kCommands) {
          if (params.command == command.name) {
            command.run(session, params, std::move(reply));
            return;
          }
        }
        reply.fail(RpcCode::invalid_params, "command: there is no '" + params.command + "'");
      });
  peer.on_notification<DidShowCompletionParams>("textDocument/didShowCompletion", Latency::instant,
                                                [&session](const DidShowCompletionParams& params) {
                                                  session.context().stats.shown(params.id);
                                                });
  peer.on_notification<DidPartiallyAcceptCompletionParams>(
      "textDocument/didPartiallyAcceptCompletion", Latency::instant,
      [&session](const DidPartiallyAcceptCompletionParams& params) {
        session.context().stats.partially_accepted(params.id, params.accepted_length);
      });
}

}  // namespace cambium::lsp
