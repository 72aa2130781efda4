// What the handlers share that ask a model in words about a document: which one may be shown, what part of
// it, and the answer as it streams. Strand only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lsp/assist/assistant.h"
#include "lsp/documents.h"
#include "lsp/jsonrpc.h"
#include "lsp/protocol/basics.h"
#include "syntax/scopes.h"

namespace cambium::lsp {

class Session;

using SnapshotPtr = std::shared_ptr<const Snapshot>;

/// The open document, if a model may see it. Errors are for the client.
tl::expected<SnapshotPtr, RpcError> shown_document(Session& session, const std::string& uri);
/// All of the document where there is no range.
tl::expected<syntax::ByteRange, RpcError> bytes_of(const Session& session, const Snapshot& snapshot,
                                                   const std::optional<Range>& range);

/// Questions about one document go to one slot, where its text is still in the KV cache.
uint64_t slot_of(const std::string& uri);
RpcCode code_of(const Error& error);

/// Asks; streams what comes under `token`, unless that is null; calls `answered` once, on the strand,
/// after the last piece. `question.cancel` is given.
void ask_in_words(Session& session, assist::Question question, const Json& token,
                  std::function<void(Result<assist::Answer>)> answered);

}  // namespace cambium::lsp
