// Diagnostics, pulled and pushed, and code actions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/protocol/basics.h"

namespace cambium::lsp {

struct DocumentDiagnosticParams {
  std::string uri, previous_result_id;
};
bool read(const Json& json, DocumentDiagnosticParams& out, Path path);

struct PreviousResult {
  std::string uri, value;
};
bool read(const Json& json, PreviousResult& out, Path path);
struct WorkspaceDiagnosticParams {
  std::vector<PreviousResult> previous;
};
bool read(const Json& json, WorkspaceDiagnosticParams& out, Path path);

struct CodeActionParams {
  std::string uri;
  Range range;
  std::vector<std::string> only;  ///< kinds asked for; empty: all
  /// Findings that the client shows there, by what it was given with them: several ask for a whole line's
  /// while the range is the cursor.
  std::vector<std::string> fingerprints;
  bool automatic = false;  ///< the cursor came by: nobody asked
};
bool read(const Json& json, CodeActionParams& out, Path path);
/// "quickfix" asks for "quickfix.cambium" too, not the other way round.
bool asks_for(const CodeActionParams& params, std::string_view kind);

struct Diagnostic {
  Range range;
  int severity = 2;
  std::string code, message;
  struct Related {
    std::string uri;
    Range range;
    std::string message;
  };
  std::vector<Related> related;
  Json data;  ///< comes back with a code action request
};
Json to_json(const Diagnostic& diagnostic);

struct DocumentEdit {
  std::string uri;
  std::optional<int32_t>
      version;  ///< of an open document: the client refuses the edit when it moved on
  struct Edit {
    Range range;
    std::string text;
  };
  std::vector<Edit> edits;
};
/// A WorkspaceEdit. With `document_changes` it names versions; without, the client is an old one. With
/// `confirm`, the client shows the edits under this title and makes those that the user ticks.
Json workspace_edit(const std::vector<DocumentEdit>& documents, bool document_changes,
                    const std::string& confirm = "");

}  // namespace cambium::lsp
