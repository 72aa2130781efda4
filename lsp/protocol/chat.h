// cambium/chat and the command cambium.explain; see README.md in this folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/assist/assistant.h"
#include "lsp/protocol/basics.h"

namespace cambium::lsp {

struct ChatParams {
  std::vector<engine::ChatMessage> messages;
  assist::Intent intent = assist::Intent::chat;
  std::optional<assist::Role> role;
  std::string uri;             ///< of the document the question is about; empty: of none
  std::optional<Range> range;  ///< part of it; unset: all
  int32_t max_tokens = 1024;
  bool exact = false;
  Json partial_result_token;  ///< null: nothing is streamed
};
bool read(const Json& json, ChatParams& out, Path path);

/// The argument of cambium.explain: {"uri", "range"?, "question"?, "partialResultToken"?}.
struct ExplainParams {
  std::string uri, question;
  std::optional<Range> range;
  Json partial_result_token;
};
bool read(const Json& json, ExplainParams& out, Path path);

Json to_json(const assist::Answer& answer);

}  // namespace cambium::lsp
