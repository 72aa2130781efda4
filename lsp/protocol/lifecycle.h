// initialize and what a client says it can do.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/protocol/basics.h"

namespace cambium::lsp {

struct WorkspaceFolder {
  std::string uri, name;
};
bool read(const Json& json, WorkspaceFolder& out, Path path);

/// The few client capabilities that change what the server does.
struct ClientCapabilities {
  std::vector<std::string> position_encodings;
  bool work_done_progress = false;
  bool configuration = false;           ///< answers workspace/configuration
  bool register_configuration = false;  ///< takes a registration of didChangeConfiguration
  bool register_watched_files = false;  ///< takes a registration of didChangeWatchedFiles
  bool inline_completion = false;
  bool pull_diagnostics = false;    ///< asks with textDocument/diagnostic
  bool diagnostic_refresh = false;  ///< takes workspace/diagnostic/refresh
  bool code_action_literals = false;
  bool code_action_resolve = false;  ///< takes `edit` from codeAction/resolve
  bool document_changes = false;     ///< takes versions in a WorkspaceEdit
  bool apply_edit = false;           ///< takes workspace/applyEdit
  bool change_annotations = false;   ///< can ask the user about each edit before it makes them
  bool create_files = false;         ///< takes the creation of a file in a WorkspaceEdit
  bool show_document = false;        ///< takes window/showDocument
  bool asks_for_requests = false;    ///< our own: it asks its user what to change (cambium.write)
};

struct InitializeParams {
  std::optional<int32_t> process_id;
  std::string client_name, client_version;
  std::string root_uri;  ///< empty if null
  std::vector<WorkspaceFolder> workspace_folders;
  ClientCapabilities capabilities;
  Json initialization_options;
};
bool read(const Json& json, InitializeParams& out, Path path);

struct DidChangeWorkspaceFoldersParams {
  std::vector<WorkspaceFolder> added, removed;
};
bool read(const Json& json, DidChangeWorkspaceFoldersParams& out, Path path);

/// cambium/workspaceTrust: the folders that the user trusts, all others not.
struct WorkspaceTrustParams {
  std::vector<std::string> folders;  ///< URIs
};
bool read(const Json& json, WorkspaceTrustParams& out, Path path);

struct DidChangeConfigurationParams {
  Json settings;
};
bool read(const Json& json, DidChangeConfigurationParams& out, Path path);

struct FileEvent {
  std::string uri;
};
bool read(const Json& json, FileEvent& out, Path path);
struct DidChangeWatchedFilesParams {
  std::vector<FileEvent> changes;
};
bool read(const Json& json, DidChangeWatchedFilesParams& out, Path path);

}  // namespace cambium::lsp
