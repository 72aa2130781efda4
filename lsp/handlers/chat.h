// cambium/chat, and explaining a piece of a document: questions in words, answers streamed.
#pragma once

#include <string>

#include "lsp/jsonrpc.h"
#include "lsp/protocol/chat.h"

namespace cambium::lsp {

class Session;
void bind_chat(Session& session);
/// The command cambium.explain.
void explain(Session& session, const ExplainParams& params, Reply reply);

}  // namespace cambium::lsp
