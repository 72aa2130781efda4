// cambium/chat and the commands cambium.explain, cambium.place and cambium.write; see README.md in this folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/assist/block_placement.h"
#include "lsp/assist/code_writing.h"
#include "lsp/protocol/basics.h"

namespace cambium::lsp {

/// A document, or a part of it, that a question is about.
struct ChatAttachment {
  std::string uri;
  std::optional<Range> range;  ///< unset: all of it
};
bool read(const Json& json, ChatAttachment& out, Path path);

struct ChatParams {
  std::vector<engine::ChatMessage> messages;
  assist::Intent intent = assist::Intent::chat;
  std::optional<assist::Role> role;
  std::vector<ChatAttachment> attachments;  ///< quoted before the last message, in this order
  int32_t max_tokens = 1024;
  bool exact = false;
  Json partial_result_token;  ///< null: nothing is streamed
};
bool read(const Json& json, ChatParams& out, Path path);

/// The argument of cambium.explain: {"uri", "range"?, "question"?, "finding"?, "show"?,
/// "partialResultToken"?}.
struct ExplainParams {
  std::string uri, question;
  std::optional<Range> range;
  std::string finding;  ///< the fingerprint of the finding to explain; empty: the code itself
  bool show = false;    ///< also as a message to the user: most clients drop a command's result
  Json partial_result_token;
};
bool read(const Json& json, ExplainParams& out, Path path);

/// `asked`: the last message as the model was shown it. A client that goes on with the conversation
/// sends that in place of what the user typed, so that what was quoted stays known.
Json to_json(const assist::Answer& answer, const std::string& asked);

/// The argument of cambium.write: {"uri", "task", "range"?, "request"?, "partialResultToken"?}.
struct WriteParams {
  std::string uri;
  assist::Writing task = assist::Writing::comment;
  std::optional<Range> range;  ///< the cursor, or what is selected; unset: the file's beginning
  std::string request;         ///< of Writing::change
  Json partial_result_token;
};
bool read(const Json& json, WriteParams& out, Path path);

/// The argument of cambium.place: {"uri", "text", "range"?}.
struct PlaceParams {
  std::string uri, text;
  std::optional<Range> range;
};
bool read(const Json& json, PlaceParams& out, Path path);

}  // namespace cambium::lsp
