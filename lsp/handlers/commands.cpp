#include "lsp/handlers/commands.h"

#include "lsp/protocol/completion.h"
#include "lsp/session.h"

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

Json models(Session& session) {
  const ModelHost& host = *session.context().model;
  Json row = {{"name", host.name()}, {"state", state_name(host.state())}};
  if (const LoadedModel* loaded = host.model()) {
    row["description"] = loaded->capabilities.description;
    row["context"] = loaded->capabilities.context;
    row["fillInMiddle"] = loaded->capabilities.fill_in_middle;
    row["structure"] = loaded->capabilities.structure;
  }
  if (!host.problem().empty()) row["problem"] = host.problem();
  return Json::array({std::move(row)});
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
    {"cambium.models",
     [](Session& session, const ExecuteCommandParams&, Reply reply) { reply(models(session)); }},
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
       if (session.context().model->unload()) {
         reply({{"unloaded", true}});
       } else {
         reply.fail(RpcCode::request_failed,
                    "the model is being loaded; try again when it is there");
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
