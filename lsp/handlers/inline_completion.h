// textDocument/inlineCompletion: ghost text.
#pragma once

namespace cambium::lsp {

class Session;
void bind_inline_completion(Session& session);

}  // namespace cambium::lsp
