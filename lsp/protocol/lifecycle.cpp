#include "lsp/protocol/lifecycle.h"

namespace cambium::lsp {

bool read(const Json& json, WorkspaceFolder& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri) && object.optional("name", out.name);
}

namespace {

/// A capability at a JSON pointer; anything odd there means "no": clients are many, and a server
/// that refuses to start over an unknown shape helps nobody.
bool says_true(const Json& json, const char* pointer) {
  const Json::json_pointer at(pointer);
  return json.contains(at) && json.at(at).is_boolean() && json.at(at).get<bool>();
}

ClientCapabilities read_capabilities(const Json& json) {
  ClientCapabilities out;
  if (!json.is_object()) return out;
  const Json::json_pointer encodings("/general/positionEncodings");
  if (json.contains(encodings) && json.at(encodings).is_array()) {
    for (const Json& encoding : json.at(encodings)) {
      if (encoding.is_string()) out.position_encodings.push_back(encoding.get<std::string>());
    }
  }
  out.work_done_progress = says_true(json, "/window/workDoneProgress");
  out.configuration = says_true(json, "/workspace/configuration");
  out.register_configuration =
      says_true(json, "/workspace/didChangeConfiguration/dynamicRegistration");
  out.register_watched_files =
      says_true(json, "/workspace/didChangeWatchedFiles/dynamicRegistration");
  out.pull_diagnostics = json.contains(Json::json_pointer("/textDocument/diagnostic"));
  out.diagnostic_refresh = says_true(json, "/workspace/diagnostics/refreshSupport");
  out.code_action_literals =
      json.contains(Json::json_pointer("/textDocument/codeAction/codeActionLiteralSupport"));
  const Json::json_pointer resolves("/textDocument/codeAction/resolveSupport/properties");
  if (json.contains(resolves) && json.at(resolves).is_array()) {
    for (const Json& property : json.at(resolves)) {
      if (property == "edit") out.code_action_resolve = true;
    }
  }
  out.document_changes = says_true(json, "/workspace/workspaceEdit/documentChanges");
  out.apply_edit = says_true(json, "/workspace/applyEdit");
  out.change_annotations =
      json.contains(Json::json_pointer("/workspace/workspaceEdit/changeAnnotationSupport"));
  const Json::json_pointer operations("/workspace/workspaceEdit/resourceOperations");
  if (json.contains(operations) && json.at(operations).is_array()) {
    for (const Json& operation : json.at(operations)) {
      if (operation == "create") out.create_files = true;
    }
  }
  out.show_document = says_true(json, "/window/showDocument/support");
  out.asks_for_requests = says_true(json, "/experimental/cambium/requests");
  out.inline_completion = json.contains(Json::json_pointer("/textDocument/inlineCompletion"));
  return out;
}

}  // namespace

bool read(const Json& json, InitializeParams& out, Path path) {
  const ObjectReader object(json, path);
  if (!object || !object.optional("processId", out.process_id) ||
      !object.optional("rootUri", out.root_uri) ||
      !object.optional("workspaceFolders", out.workspace_folders) ||
      !object.optional("initializationOptions", out.initialization_options)) {
    return false;
  }
  if (const auto client = json.find("clientInfo"); client != json.end() && client->is_object()) {
    const Path client_path = path.field("clientInfo");
    const ObjectReader info(*client, client_path);
    if (!info.optional("name", out.client_name) || !info.optional("version", out.client_version)) {
      return false;
    }
  }
  if (const auto found = json.find("capabilities"); found != json.end()) {
    out.capabilities = read_capabilities(*found);
  }
  return true;
}

bool read(const Json& json, DidChangeWorkspaceFoldersParams& out, Path path) {
  const ObjectReader object(json, path);
  Json event;
  if (!object || !object.required("event", event)) return false;
  const Path event_path = path.field("event");
  const ObjectReader inner(event, event_path);
  return inner && inner.optional("added", out.added) && inner.optional("removed", out.removed);
}

bool read(const Json& json, WorkspaceTrustParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("folders", out.folders);
}

bool read(const Json& json, DidChangeConfigurationParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.optional("settings", out.settings);
}

bool read(const Json& json, FileEvent& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri);
}

bool read(const Json& json, DidChangeWatchedFilesParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("changes", out.changes);
}

}  // namespace cambium::lsp
