// cambium/chat, explaining a piece of a document or a finding, and where a block of an answer belongs:
// questions in words, answers streamed.
#pragma once

#include <string>

#include "lsp/jsonrpc.h"
#include "lsp/protocol/chat.h"

namespace cambium::lsp {

class Session;
void bind_chat(Session& session);
/// The command cambium.explain.
void explain(Session& session, const ExplainParams& params, Reply reply);
/// The command cambium.place.
void place(Session& session, const PlaceParams& params, Reply reply);

}  // namespace cambium::lsp
