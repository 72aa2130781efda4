#include "lsp/handlers/lifecycle.h"

#include <algorithm>

#include "lsp/handlers/commands.h"
#include "lsp/handlers/write.h"
#include "lsp/protocol/lifecycle.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {

constexpr std::chrono::seconds kCallTimeout{20};

/// utf-8 costs no conversion; utf-16 is what a client that says nothing speaks.
PositionEncoding choose_encoding(const std::vector<std::string>& offered) {
  const auto has = [&](const char* name) {
    return std::find(offered.begin(), offered.end(), name) != offered.end();
  };
  if (has("utf-8")) return PositionEncoding::utf8;
  if (has("utf-16") || !has("utf-32")) return PositionEncoding::utf16;
  return PositionEncoding::utf32;
}

Json server_capabilities(PositionEncoding encoding, const ClientCapabilities& client) {
  constexpr int kIncremental = 2;
  Json offers = {
      {"positionEncoding", to_string(encoding)},
      {"textDocumentSync",
       {{"openClose", true}, {"change", kIncremental}, {"save", {{"includeText", false}}}}},
      {"inlineCompletionProvider", true},
      {"codeActionProvider",
       {{"codeActionKinds", {"quickfix", kWritesComment, kWritesChange, kWritesTests, kExplains}},
        {"resolveProvider", true}}},
      {"executeCommandProvider", {{"commands", command_names()}}},
      {"workspace", {{"workspaceFolders", {{"supported", true}, {"changeNotifications", true}}}}},
  };
  // Where there is ghost text, the same suggestion in the popup would only be in the way, and cost
  // a second generation. The triggers: characters after which a name or an argument follows.
  if (!client.inline_completion) {
    offers["completionProvider"] = {{"triggerCharacters", {".", ":", ">", "(", ","}},
                                    {"resolveProvider", false}};
  }
  if (client.pull_diagnostics) {
    offers["diagnosticProvider"] = {{"identifier", "cambium"},
                                    {"interFileDependencies", false},
                                    {"workspaceDiagnostics", true}};
  }
  return offers;
}

std::vector<std::string> root_paths(const InitializeParams& params) {
  std::vector<std::string> roots;
  for (const WorkspaceFolder& folder : params.workspace_folders) {
    const std::string path = path_of_uri(folder.uri);
    if (!path.empty()) roots.push_back(path);
  }
  if (roots.empty() && !params.root_uri.empty()) {
    const std::string path = path_of_uri(params.root_uri);
    if (!path.empty()) roots.push_back(path);
  }
  return roots;
}

/// Clients send the section's object, or all their settings by section.
Json unwrapped(const Json& settings) {
  if (settings.is_object() && settings.contains("cambium")) {
    return settings["cambium"];
  }
  return settings;
}

/// Asks for the settings of all and of each workspace folder, which may differ.
void pull_configuration(Session& session) {
  Json items = Json::array({{{"section", "cambium"}}});
  for (const std::string& root : session.roots()) {
    items.push_back({{"scopeUri", uri_of_path(root)}, {"section", "cambium"}});
  }
  session.peer().call("workspace/configuration", {{"items", std::move(items)}}, kCallTimeout,
                      [&session, roots = session.roots()](const CallResult& result) {
                        if (!result) {
                          session.log()->debug("workspace/configuration: {}",
                                               result.error().message);
                          return;
                        }
                        if (!result->is_array() || result->empty()) return;
                        session.set_client_settings(unwrapped(result->front()));
                        for (size_t i = 0; i < roots.size() && i + 1 < result->size(); ++i) {
                          session.set_folder_settings(roots[i], unwrapped((*result)[i + 1]));
                        }
                      });
}

void register_for_changes(Session& session) {
  Json registrations = Json::array();
  if (session.client().register_configuration) {
    registrations.push_back({{"id", "cambium-configuration"},
                             {"method", "workspace/didChangeConfiguration"},
                             {"registerOptions", {{"section", "cambium"}}}});
  }
  if (session.client().register_watched_files) {
    Json watchers = Json::array();
    for (const char* pattern : {"**/.gitignore", "**/.cambiumignore", "**/.cambium/config.json",
                                "**/.cambium/dismissed.json"}) {
      watchers.push_back({{"globPattern", pattern}});
    }
    registrations.push_back({{"id", "cambium-files"},
                             {"method", "workspace/didChangeWatchedFiles"},
                             {"registerOptions", {{"watchers", std::move(watchers)}}}});
  }
  if (registrations.empty()) return;
  session.peer().call("client/registerCapability", {{"registrations", std::move(registrations)}},
                      kCallTimeout, [&session](const CallResult& result) {
                        if (!result) {
                          session.log()->debug("client/registerCapability: {}",
                                               result.error().message);
                        }
                      });
}

void initialize(Session& session, const InitializeParams& params, Reply reply) {
  const PositionEncoding encoding = choose_encoding(params.capabilities.position_encodings);
  session.set_client(params.capabilities, encoding);
  session.set_phase(Session::Phase::initialized);
  session.log()->info(
      "client {}{}{}, {}", params.client_name.empty() ? "(unnamed)" : params.client_name,
      params.client_version.empty() ? "" : " ", params.client_version, to_string(encoding));
  session.set_roots(root_paths(params));
  session.set_client_settings(unwrapped(params.initialization_options));
  if (params.process_id) session.watch_parent(*params.process_id);
  reply({{"capabilities", server_capabilities(encoding, params.capabilities)},
         {"serverInfo", {{"name", "cambium"}, {"version", CAMBIUM_VERSION}}}});
}

}  // namespace

void bind_lifecycle(Session& session) {
  Peer& peer = session.peer();
  peer.set_gate([&session](std::string_view method, bool) -> std::optional<RpcError> {
    switch (session.phase()) {
      case Session::Phase::started:
        if (method == "initialize" || method == "exit") return std::nullopt;
        return RpcError{RpcCode::server_not_initialized, "expected initialize first"};
      case Session::Phase::initialized:
        if (method != "initialize") return std::nullopt;
        return RpcError{RpcCode::invalid_request, "initialize was sent before"};
      case Session::Phase::shut_down:
        if (method == "exit") return std::nullopt;
        return RpcError{RpcCode::invalid_request, "the server was shut down; only exit may follow"};
    }
    return std::nullopt;
  });
  peer.on_request<InitializeParams>("initialize", Latency::setup,
                                    [&session](const InitializeParams& params, Reply reply) {
                                      initialize(session, params, std::move(reply));
                                    });
  peer.on_notification<NoParams>("initialized", Latency::setup, [&session](NoParams) {
    register_for_changes(session);
    if (session.client().configuration) pull_configuration(session);
    session.status().start(session.client().work_done_progress);
    for (const std::string& notice : session.context().notices) {
      session.show_message(MessageType::warning, "Cambium: " + notice);
    }
  });
  peer.on_request<NoParams>("shutdown", Latency::setup, [&session](NoParams, Reply reply) {
    session.set_phase(Session::Phase::shut_down);
    reply(nullptr);
    session.peer().abandon_all({RpcCode::request_cancelled, "the server is shutting down"});
  });
  peer.on_notification<NoParams>("exit", Latency::setup, [&session](NoParams) { session.exit(); });

  // A message of its own, and no setting: several clients merge what a workspace says into settings and
  // into initializationOptions, and none lets it send messages.
  peer.on_notification<WorkspaceTrustParams>("cambium/workspaceTrust", Latency::setup,
                                             [&session](const WorkspaceTrustParams& params) {
                                               std::vector<std::string> folders;
                                               for (const std::string& uri : params.folders)
                                                 folders.push_back(path_of_uri(uri));
                                               session.set_trusted(std::move(folders));
                                             });
  peer.on_notification<WorkDoneCancelParams>(
      "window/workDoneProgress/cancel", Latency::instant,
      [&session](const WorkDoneCancelParams& params) { session.progress().cancel(params.token); });
  peer.on_notification<DidChangeConfigurationParams>(
      "workspace/didChangeConfiguration", Latency::setup,
      [&session](const DidChangeConfigurationParams& params) {
        if (session.client().configuration) {
          pull_configuration(session);
        } else {
          session.set_client_settings(unwrapped(params.settings));
        }
      });
  peer.on_notification<DidChangeWatchedFilesParams>(
      "workspace/didChangeWatchedFiles", Latency::setup,
      [&session](const DidChangeWatchedFilesParams& params) {
        bool rules = false, config = false, dismissals = false;
        for (const FileEvent& event : params.changes) {
          const std::string path = path_of_uri(event.uri);
          rules = rules || assist::is_ignore_file(path);
          config = config || path.ends_with("/.cambium/config.json");
          dismissals = dismissals || is_dismissals_file(path);
        }
        if (rules) session.privacy().forget();
        if (config) session.read_workspace_config();
        if (dismissals) session.reviews().refresh();
      });
  peer.on_notification<DidChangeWorkspaceFoldersParams>(
      "workspace/didChangeWorkspaceFolders", Latency::setup,
      [&session](const DidChangeWorkspaceFoldersParams& params) {
        std::vector<std::string> roots = session.roots();
        for (const WorkspaceFolder& folder : params.removed) {
          std::erase(roots, path_of_uri(folder.uri));
        }
        for (const WorkspaceFolder& folder : params.added) {
          const std::string path = path_of_uri(folder.uri);
          if (!path.empty()) roots.push_back(path);
        }
        session.set_roots(std::move(roots));
        if (session.client().configuration) pull_configuration(session);
      });
}

}  // namespace cambium::lsp
