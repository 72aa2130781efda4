#include "lsp/protocol/review.h"

namespace cambium::lsp {

namespace {
bool read_document(const ObjectReader& object, std::string& uri) {
  TextDocumentIdentifier document;
  if (!object || !object.required("textDocument", document)) return false;
  uri = std::move(document.uri);
  return true;
}
}  // namespace

bool read(const Json& json, DocumentDiagnosticParams& out, Path path) {
  const ObjectReader object(json, path);
  return read_document(object, out.uri) &&
         object.optional("previousResultId", out.previous_result_id);
}

bool read(const Json& json, PreviousResult& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.required("uri", out.uri) && object.required("value", out.value);
}

bool read(const Json& json, WorkspaceDiagnosticParams& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.optional("previousResultIds", out.previous);
}

bool read(const Json& json, CodeActionParams& out, Path path) {
  const ObjectReader object(json, path);
  if (!read_document(object, out.uri) || !object.required("range", out.range)) return false;
  const auto context = json.find("context");
  if (context == json.end() || !context->is_object()) return true;
  const Path inside = path.field("context");
  int32_t trigger = 1;
  const ObjectReader told(*context, inside);
  if (!told.optional("only", out.only) || !told.optional("triggerKind", trigger)) return false;
  out.automatic = trigger == 2;
  std::vector<Json> diagnostics;
  if (!told.optional("diagnostics", diagnostics)) return false;
  const Json::json_pointer fingerprint("/data/fingerprint");
  for (const Json& diagnostic : diagnostics) {
    if (!diagnostic.contains(fingerprint) || !diagnostic.at(fingerprint).is_string()) continue;
    out.fingerprints.push_back(diagnostic.at(fingerprint).get<std::string>());
  }
  return true;
}

bool asks_for(const CodeActionParams& params, std::string_view kind) {
  if (params.only.empty()) return true;
  for (const std::string& wanted : params.only) {
    if (kind == wanted || (kind.starts_with(wanted) && kind[wanted.size()] == '.')) return true;
  }
  return false;
}

Json to_json(const Diagnostic& diagnostic) {
  Json out = {{"range", to_json(diagnostic.range)},
              {"severity", diagnostic.severity},
              {"code", diagnostic.code},
              {"source", "cambium"},
              {"message", diagnostic.message},
              {"data", diagnostic.data}};
  for (const Diagnostic::Related& place : diagnostic.related) {
    out["relatedInformation"].push_back(
        {{"location", {{"uri", place.uri}, {"range", to_json(place.range)}}},
         {"message", place.message}});
  }
  return out;
}

Json workspace_edit(const std::vector<DocumentEdit>& documents, bool document_changes,
                    const std::string& confirm) {
  Json versioned = Json::array(), plain = Json::object();
  for (const DocumentEdit& document : documents) {
    Json edits = Json::array();
    for (const DocumentEdit::Edit& edit : document.edits) {
      edits.push_back({{"range", to_json(edit.range)}, {"newText", edit.text}});
      if (!confirm.empty()) edits.back()["annotationId"] = "confirm";
    }
    Json name = {{"uri", document.uri}, {"version", nullptr}};
    if (document.version) name["version"] = *document.version;
    versioned.push_back({{"textDocument", std::move(name)}, {"edits", edits}});
    plain[document.uri] = std::move(edits);
  }
  if (document_changes) {
    Json out = {{"documentChanges", std::move(versioned)}};
    if (!confirm.empty()) {
      out["changeAnnotations"]["confirm"] = {{"label", confirm}, {"needsConfirmation", true}};
    }
    return out;
  }
  return {{"changes", std::move(plain)}};
}

}  // namespace cambium::lsp
