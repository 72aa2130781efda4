#include "lsp/protocol/documents.h"

namespace cambium::lsp {

bool read(const Json& json, DidOpenParams& out, Path path) {
  const ObjectReader object(json, path);
  if (!object) return false;
  const auto document = json.find("textDocument");
  const Path inside = path.field("textDocument");
  if (document == json.end()) return inside.fail("this field");
  const ObjectReader item(*document, inside);
  return item && item.required("uri", out.uri) && item.optional("languageId", out.language_id) &&
         item.optional("version", out.version) && item.required("text", out.text);
}

bool read(const Json& json, ContentChange& out, Path path) {
  const ObjectReader object(json, path);
  return object && object.optional("range", out.range) && object.required("text", out.text);
}

bool read(const Json& json, DidChangeParams& out, Path path) {
  const ObjectReader object(json, path);
  if (!object) return false;
  const auto document = json.find("textDocument");
  const Path inside = path.field("textDocument");
  if (document == json.end()) return inside.fail("this field");
  const ObjectReader item(*document, inside);
  return item && item.required("uri", out.uri) && item.optional("version", out.version) &&
         object.required("contentChanges", out.changes);
}

namespace {
bool read_document_uri(const Json& json, std::string& uri, const Path& path) {
  const ObjectReader object(json, path);
  TextDocumentIdentifier document;
  if (!object || !object.required("textDocument", document)) return false;
  uri = std::move(document.uri);
  return true;
}
}  // namespace

bool read(const Json& json, DidSaveParams& out, Path path) {
  return read_document_uri(json, out.uri, path);
}

bool read(const Json& json, DidCloseParams& out, Path path) {
  return read_document_uri(json, out.uri, path);
}

}  // namespace cambium::lsp
