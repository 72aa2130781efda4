#include "lsp/handlers/documents.h"

#include "lsp/protocol/documents.h"
#include "lsp/session.h"

namespace cambium::lsp {

void bind_documents(Session& session) {
  Peer& peer = session.peer();
  peer.on_notification<DidOpenParams>(
      "textDocument/didOpen", Latency::document, [&session](DidOpenParams params) {
        const std::string uri = params.uri;
        session.documents().open(std::move(params));
        const std::string problem = session.documents().problem(uri);
        if (!problem.empty()) session.log()->info("no suggestions in {}: {}", uri, problem);
        // Reads ignore files; better now than with the first keystroke.
        const std::string path = path_of_uri(uri);
        if (!path.empty()) session.privacy().why_private(path);
        session.reviews().opened(uri);
      });
  peer.on_notification<DidChangeParams>(
      "textDocument/didChange", Latency::instant, [&session](const DidChangeParams& params) {
        const auto applied = session.documents().change(params, session.encoding());
        session.reviews().changed(params.uri);
        if (applied) return;
        session.log()->error("{}", applied.error().message);
        if (session.documents().is_open(params.uri)) {
          session.show_message(MessageType::warning, "Cambium: " + applied.error().message);
        }
      });
  peer.on_notification<DidSaveParams>("textDocument/didSave", Latency::instant,
                                      [&session](const DidSaveParams& params) {
                                        // Clients without file watching tell of it this way only.
                                        const std::string path = path_of_uri(params.uri);
                                        if (assist::is_ignore_file(path))
                                          session.privacy().forget();
                                        if (is_dismissals_file(path)) session.reviews().refresh();
                                        session.reviews().saved(params.uri);
                                      });
  peer.on_notification<DidCloseParams>("textDocument/didClose", Latency::instant,
                                       [&session](const DidCloseParams& params) {
                                         session.documents().close(params.uri);
                                         session.reviews().closed(params.uri);
                                       });
}

}  // namespace cambium::lsp
