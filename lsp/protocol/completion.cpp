#include "lsp/protocol/completion.h"

namespace cambium::lsp {

bool read(const Json& json, SelectedCompletionInfo& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("range", out.range) && object.required("text", out.text);
}

bool read(const Json& json, InlineCompletionParams& out, Path path) {
  if (!read(json, out.at, path)) return false;
  const auto context = json.find("context");
  if (context == json.end() || !context->is_object()) return true;
  const Path inside = path.field("context");
  return ObjectReader(*context, inside).optional("selectedCompletionInfo", out.selected);
}

bool read(const Json& json, NodeParams& out, Path path) {
  return read(json, out.at, path) && ObjectReader(json, path).required("text", out.text);
}

bool read(const Json& json, CompletionParams& out, Path path) { return read(json, out.at, path); }

Json to_json(const Command& command) {
  return {{"title", command.title}, {"command", command.command}, {"arguments", command.arguments}};
}

Json to_json(const InlineCompletionItem& item) {
  Json out = {{"insertText", item.insert_text},
              {"range", to_json(item.range)},
              {"command", to_json(item.accepted)}};
  if (item.filter_text) out["filterText"] = *item.filter_text;
  return out;
}

Json inline_completion_list(const std::vector<InlineCompletionItem>& items) {
  Json list = Json::array();
  for (const auto& item : items) list.push_back(to_json(item));
  return {{"items", std::move(list)}};
}

Json to_json(const PopupCompletionItem& item) {
  constexpr int kText = 1, kPlainText = 1;
  return {{"label", item.label},
          {"kind", kText},
          {"detail", "Cambium"},
          {"filterText", item.filter_text},
          {"sortText", item.sort_text},
          {"insertTextFormat", kPlainText},
          {"textEdit", {{"range", to_json(item.range)}, {"newText", item.new_text}}},
          {"command", to_json(item.accepted)}};
}

Json completion_list(const std::vector<PopupCompletionItem>& items) {
  Json list = Json::array();
  for (const auto& item : items) list.push_back(to_json(item));
  // Incomplete: what fits depends on every character typed, so the client asks again.
  return {{"isIncomplete", true}, {"items", std::move(list)}};
}

namespace {

std::string id_of_item(const Json& params) {
  const Json::json_pointer at("/item/command/arguments/0");
  if (!params.contains(at) || !params.at(at).is_string()) return {};
  return params.at(at).get<std::string>();
}

}  // namespace

bool read(const Json& json, DidShowCompletionParams& out, Path path) {
  if (!json.is_object()) return path.fail("an object");
  out.id = id_of_item(json);
  return true;
}

bool read(const Json& json, DidPartiallyAcceptCompletionParams& out, Path path) {
  const ObjectReader object(json, path);
  if (!object || !object.required("acceptedLength", out.accepted_length)) return false;
  out.id = id_of_item(json);
  return true;
}

}  // namespace cambium::lsp
