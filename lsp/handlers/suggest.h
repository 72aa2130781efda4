// The way of a suggestion, shared by textDocument/inlineCompletion and textDocument/completion:
// supersede, refuse, load, ask, turn the answer into ranges, count. Strand only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lsp/assist/completer.h"
#include "lsp/documents.h"
#include "lsp/jsonrpc.h"
#include "lsp/protocol/completion.h"

namespace cambium::lsp {

class Session;

/// One suggestion in the client's terms.
struct Suggestion {
  std::string text;           ///< inserted at `range`
  Range range;                ///< on one line
  size_t begin = 0, end = 0;  ///< the same as bytes of the snapshot
  Command accepted;           ///< counts it
};

class Suggester {
 public:
  explicit Suggester(Session& session) : session_(session) {}

  /// Turns suggestions (maybe none) into the method's result. `snapshot` is null when there is
  /// none.
  using Render = std::function<Json(const std::vector<Suggestion>&, const Snapshot* snapshot)>;
  struct Ask {
    std::string method;  ///< a newer ask of the same method and document supersedes the older
    TextDocumentPosition at;
    std::optional<SelectedCompletionInfo> selected;
    bool multiline = true;  ///< as far as the settings allow
  };
  void suggest(const Ask& ask, Reply reply, Render render);

 private:
  struct Run;

  /// The reason why nothing may be suggested there, shown as "off" or "problem"; both empty: none.
  struct Refusal {
    std::string off, problem;
  };
  Refusal refusal(const std::string& uri, const std::string& language_id);
  void ask_model(const std::shared_ptr<Run>& run);
  void deliver(Run& run, const Result<assist::CompletionOutput>& output);
  std::vector<Suggestion> convert(const Run& run, const assist::CompletionOutput& output);

  Session& session_;
  std::unordered_map<std::string, std::weak_ptr<Run>> newest_;  ///< by method and document
};

}  // namespace cambium::lsp
