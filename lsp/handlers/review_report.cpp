// Findings on their way to the client: diagnostics pulled and pushed, in step with what was dismissed.
#include <algorithm>
#include <utility>

#include "lsp/handlers/review_parts.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {
constexpr std::chrono::seconds kCallTimeout{20};
}  // namespace

std::string result_id_of(const Json& items) {
  return std::to_string(std::hash<std::string>{}(items.dump()));
}

Dismissals* Reviews::dismissals_for(const std::string& path) {
  const std::string* root = folder_of(path, session_.roots());
  if (root == nullptr) return nullptr;
  const auto [entry, fresh] = dismissals_.try_emplace(*root, Dismissals());
  if (fresh) {
    entry->second = Dismissals::read(*root);
    if (!entry->second.problem().empty()) session_.log()->warn("{}", entry->second.problem());
  }
  return &entry->second;
}

Json Reviews::diagnostics(const std::string& uri) {
  Json items = Json::array();
  const Document* document = find(uri);
  if (document == nullptr || !document->text) return items;
  const Dismissals* dismissed = dismissals_for(path_of_uri(uri));
  const LineIndex lines(*document->text);
  const auto range_of = [&](const syntax::ByteRange& range) {
    return Range{lines.position(*document->text, range.begin, session_.encoding()),
                 lines.position(*document->text, range.end, session_.encoding())};
  };
  for (const assist::Finding& finding : document->findings) {
    if (dismissed != nullptr && dismissed->contains(finding.fingerprint)) continue;
    Diagnostic item;
    item.range = range_of(finding.range);
    item.severity = static_cast<int>(finding.severity);
    item.code = finding.code;
    item.message = finding.message;
    for (const assist::RelatedPlace& place : finding.related) {
      item.related.push_back({uri, range_of(place.range), place.message});
    }
    item.data = {{"uri", uri}, {"fingerprint", finding.fingerprint}};
    items.push_back(to_json(item));
  }
  return items;
}

Json Reviews::report(const std::string& uri, const std::string& previous_result_id) {
  Json items = diagnostics(uri);
  std::string id = result_id_of(items);
  if (Document* document = find(uri)) document->told = id;
  if (id == previous_result_id) return {{"kind", "unchanged"}, {"resultId", std::move(id)}};
  return {{"kind", "full"}, {"resultId", std::move(id)}, {"items", std::move(items)}};
}

void Reviews::pull(const DocumentDiagnosticParams& params, Reply reply) {
  Document* document = find(params.uri);
  // A client that can't be told to ask again waits for the whole of it.
  if (document != nullptr && document->work &&
      (!document->reviewed || !session_.client().diagnostic_refresh)) {
    document->waiting.push_back({std::move(reply), params.previous_result_id});
    return;
  }
  reply(report(params.uri, params.previous_result_id));
}

Json Reviews::pull_all(const WorkspaceDiagnosticParams& params) {
  Json items = Json::array();
  for (const auto& [uri, document] : documents_) {
    std::string previous;
    for (const PreviousResult& result : params.previous) {
      if (result.uri == uri) previous = result.value;
    }
    Json item = report(uri, previous);
    const auto snapshot = session_.documents().snapshot(uri);
    item["uri"] = uri;
    item["version"] = snapshot ? Json(snapshot->version) : Json(nullptr);
    items.push_back(std::move(item));
  }
  return {{"items", std::move(items)}};
}

void Reviews::answer_waiting(Document& document) {
  // Those that can be told to ask again are content with the first part.
  if (document.work && !session_.client().diagnostic_refresh) return;
  auto waiting = std::exchange(document.waiting, {});
  for (const auto& [uri, known] : documents_) {
    if (&known != &document) continue;
    for (Document::Waiting& one : waiting) one.reply(report(uri, one.previous_result_id));
  }
}

void Reviews::tell(const std::string& uri) {
  Document* document = find(uri);
  if (document == nullptr) return;
  Json items = diagnostics(uri);
  std::string id = result_id_of(items);
  if (id == document->told) return;
  if (!session_.client().pull_diagnostics) {
    document->told = std::move(id);
    Json params = {{"uri", uri}, {"diagnostics", std::move(items)}};
    if (const auto snapshot = session_.documents().snapshot(uri))
      params["version"] = snapshot->version;
    session_.peer().notify("textDocument/publishDiagnostics", std::move(params));
  } else if (session_.client().diagnostic_refresh) {
    session_.peer().call("workspace/diagnostic/refresh", nullptr, kCallTimeout,
                         [](const CallResult&) {});
  }
}

}  // namespace cambium::lsp
