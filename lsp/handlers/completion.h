// textDocument/completion: the same suggestion as one entry of the editor's popup, for clients
// without ghost text. One line at most: a popup shows no more, and some clients insert line ends
// literally.
#pragma once

namespace cambium::lsp {

class Session;
void bind_completion(Session& session);

}  // namespace cambium::lsp
