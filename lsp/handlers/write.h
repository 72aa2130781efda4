// Code that a model writes into files on request: a documentation comment, tests, a change. Offered as code
// actions, done by the command cambium.write, made by workspace/applyEdit with the version it is of. What
// moved on meanwhile is left as it is, and the client is told why.
#pragma once

#include "lsp/jsonrpc.h"
#include "lsp/protocol/chat.h"
#include "lsp/protocol/review.h"

namespace cambium::lsp {

class Session;

// Kinds of the code actions.
inline constexpr const char* kWritesComment = "refactor.rewrite.comment";
inline constexpr const char* kWritesChange = "refactor.rewrite.change";
inline constexpr const char* kWritesTests = "source.tests";
inline constexpr const char* kExplains = "source.explain";

/// The command cambium.write.
void write(Session& session, const WriteParams& params, const Json& work_done_token, Reply reply);
/// The actions that a place offers; none where no model could do them.
Json writing_actions(Session& session, const CodeActionParams& params);

}  // namespace cambium::lsp
