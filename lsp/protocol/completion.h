// textDocument/inlineCompletion, textDocument/completion, and what clients tell of suggestions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lsp/protocol/basics.h"

namespace cambium::lsp {

struct SelectedCompletionInfo {
  Range range;
  std::string text;
};
bool read(const Json& json, SelectedCompletionInfo& out, Path path);

/// triggerKind is not read: some clients send 0, and it changes nothing here.
struct InlineCompletionParams {
  TextDocumentPosition at;
  std::optional<SelectedCompletionInfo> selected;
};
bool read(const Json& json, InlineCompletionParams& out, Path path);

struct CompletionParams {
  TextDocumentPosition at;
};
bool read(const Json& json, CompletionParams& out, Path path);

/// A suggestion as sent, and as counted: `id` comes back in the arguments of its command.
struct Command {
  std::string title, command;
  std::vector<Json> arguments;
};
Json to_json(const Command& command);

struct InlineCompletionItem {
  std::string insert_text;
  Range range;  ///< on one line
  std::optional<std::string> filter_text;
  Command accepted;
};
Json to_json(const InlineCompletionItem& item);
/// {"items": […]}: an empty list, never null, which leaves stale ghost text in some clients.
Json inline_completion_list(const std::vector<InlineCompletionItem>& items);

struct PopupCompletionItem {
  std::string label, filter_text, sort_text, new_text;
  Range range;
  Command accepted;
};
Json to_json(const PopupCompletionItem& item);
Json completion_list(const std::vector<PopupCompletionItem>& items);

/// Argument of cambium.node: what is left of a suggestion, and where it stands.
struct NodeParams {
  TextDocumentPosition at;
  std::string text;
};
bool read(const Json& json, NodeParams& out, Path path);

/// Copilot's shapes: {"item": …} and {"item": …, "acceptedLength": cumulative UTF-16 units}. `id`
/// is the first argument of the item's command; empty where the item is not ours.
struct DidShowCompletionParams {
  std::string id;
};
bool read(const Json& json, DidShowCompletionParams& out, Path path);
struct DidPartiallyAcceptCompletionParams {
  std::string id;
  uint32_t accepted_length = 0;
};
bool read(const Json& json, DidPartiallyAcceptCompletionParams& out, Path path);

}  // namespace cambium::lsp
