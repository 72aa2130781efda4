// textDocument/didOpen, didChange, didSave, didClose.
#pragma once

namespace cambium::lsp {

class Session;
void bind_documents(Session& session);

}  // namespace cambium::lsp
