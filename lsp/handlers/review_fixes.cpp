// What can be done about findings: quick fixes as code actions, "fix all of this kind", dismissals. No fix of
// a text that has moved on.
#include <algorithm>
#include <utility>

#include "lsp/handlers/review_parts.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {
constexpr std::chrono::seconds kCallTimeout{20};
constexpr std::chrono::minutes kPatience{30};  ///< with a user who looks at edits
}  // namespace

std::optional<DocumentEdit> Reviews::edit_of(const std::string& uri,
                                             const std::vector<const assist::Finding*>& findings) {
  const Document* document = find(uri);
  if (document == nullptr) return std::nullopt;
  const auto snapshot = session_.documents().snapshot(uri);
  const auto current = snapshot ? snapshot->text : read_text(path_of_uri(uri));
  // Ranges are of the reviewed text: of another one they would cut something else.
  if (!current || *current != *document->text) return std::nullopt;
  DocumentEdit edit;
  edit.uri = uri;
  if (snapshot) edit.version = snapshot->version;
  const LineIndex lines(*current);
  uint32_t done = 0;
  for (const assist::Finding* finding : findings) {
    if (!finding->fix || finding->fix->changes.empty()) continue;
    const auto& changes = finding->fix->changes;
    if (!edit.edits.empty() && changes.front().range.begin <= done) continue;  // they overlap
    for (const assist::TextChange& change : changes) {
      edit.edits.push_back({{lines.position(*current, change.range.begin, session_.encoding()),
                             lines.position(*current, change.range.end, session_.encoding())},
                            change.text});
      done = change.range.end;
    }
  }
  return edit;
}

Json Reviews::actions(const CodeActionParams& params) {
  Json actions = Json::array();
  const Document* document = find(params.uri);
  const auto snapshot = session_.documents().snapshot(params.uri);
  if (document == nullptr || !snapshot || !session_.client().code_action_literals) return actions;
  const auto begin =
      snapshot->lines.offset(*snapshot->text, params.range.start, session_.encoding());
  const auto end = snapshot->lines.offset(*snapshot->text, params.range.end, session_.encoding());
  if (!begin || !end || !asks_for(params, "quickfix")) return actions;
  const Dismissals* dismissed = dismissals_for(snapshot->path);
  for (const assist::Finding& finding : document->findings) {
    const bool named = std::find(params.fingerprints.begin(), params.fingerprints.end(),
                                 finding.fingerprint) != params.fingerprints.end();
    if (!named && (finding.range.begin > *end || *begin > finding.range.end)) continue;
    if (dismissed != nullptr && dismissed->contains(finding.fingerprint)) continue;
    const Json data = {{"uri", params.uri}, {"fingerprint", finding.fingerprint}};
    const auto command = [&](std::string title, const char* name, Json arguments) {
      actions.push_back(
          {{"title", title},
           {"kind", "quickfix"},
           {"command",
            {{"title", title}, {"command", name}, {"arguments", std::move(arguments)}}}});
    };
    if (finding.fix) {
      Json action = {{"title", finding.fix->title}, {"kind", "quickfix"}, {"data", data}};
      if (finding.source == assist::FindingSource::syntax) action["isPreferred"] = true;
      if (!session_.client().code_action_resolve) {
        const auto edit = edit_of(params.uri, {&finding});
        if (!edit) continue;
        action["edit"] = workspace_edit({*edit}, session_.client().document_changes);
      }
      actions.push_back(std::move(action));
      const auto alike = std::count_if(
          document->findings.begin(), document->findings.end(),
          [&](const assist::Finding& other) { return other.fix && other.code == finding.code; });
      if (alike > 1 && session_.client().apply_edit) {
        command("Fix all " + std::to_string(alike) + " of this kind", "cambium.fixAll",
                {params.uri, finding.code});
      }
    }
    if (dismissed != nullptr) {
      command("Dismiss: " + finding.message, "cambium.dismiss", {params.uri, finding.fingerprint});
    }
  }
  return actions;
}

void Reviews::resolve(Json action, Reply reply) {
  const Json::json_pointer uri_at("/data/uri"), fingerprint_at("/data/fingerprint");
  if (!action.contains(uri_at) || !action.at(uri_at).is_string() ||
      !action.contains(fingerprint_at) || !action.at(fingerprint_at).is_string()) {
    return reply(std::move(action));  // nothing of ours is missing in it
  }
  const std::string uri = action.at(uri_at).get<std::string>();
  const std::string fingerprint = action.at(fingerprint_at).get<std::string>();
  if (const Document* document = find(uri)) {
    for (const assist::Finding& finding : document->findings) {
      if (finding.fingerprint != fingerprint || !finding.fix) continue;
      if (const auto edit = edit_of(uri, {&finding})) {
        action["edit"] = workspace_edit({*edit}, session_.client().document_changes);
        return reply(std::move(action));
      }
    }
  }
  reply.fail(RpcCode::request_failed, "the text has changed and this finding is gone");
}

void Reviews::apply(const DocumentEdit& edit, const std::string& label) {
  // Several at once are looked at one by one, where the client can.
  const ClientCapabilities& client = session_.client();
  const bool asks = client.change_annotations && client.document_changes && edit.edits.size() > 1;
  session_.peer().call(
      "workspace/applyEdit",
      {{"label", label},
       {"edit", workspace_edit({edit}, client.document_changes, asks ? label : "")}},
      asks ? kPatience : kCallTimeout,
      [weak = session_.weak_from_this()](const CallResult& result) {
        const auto session = weak.lock();
        if (session && !result)
          session->log()->warn("workspace/applyEdit: {}", result.error().message);
      });
}

void Reviews::fix_all(const std::string& uri, const std::string& code, Reply reply) {
  const Document* document = find(uri);
  std::vector<const assist::Finding*> alike;
  if (document != nullptr) {
    for (const assist::Finding& finding : document->findings) {
      if (finding.fix && finding.code == code) alike.push_back(&finding);
    }
  }
  const auto edit = alike.empty() ? std::nullopt : edit_of(uri, alike);
  if (!edit) {
    return reply.fail(RpcCode::request_failed, "there is nothing of this kind to fix any more");
  }
  apply(*edit, "Fix all: " + code);
  reply({{"fixed", alike.size()}});
}

void Reviews::dismiss(const std::string& uri, const std::string& fingerprint, Reply reply) {
  const std::string path = path_of_uri(uri);
  Dismissals* dismissed = dismissals_for(path);
  if (dismissed == nullptr) {
    return reply.fail(RpcCode::request_failed,
                      "this file is in no workspace folder, so there is nowhere to remember it");
  }
  if (const Document* document = find(uri)) {
    for (const assist::Finding& finding : document->findings) {
      if (finding.fingerprint != fingerprint) continue;
      if (const auto added = dismissed->add(finding, path); !added) {
        return reply.fail(RpcCode::request_failed, added.error().message);
      }
      tell(uri);
      return reply(nullptr);
    }
  }
  reply.fail(RpcCode::request_failed, "this finding is gone");
}

std::optional<Reviews::Known> Reviews::finding(const std::string& uri,
                                               const std::string& fingerprint) {
  const Document* document = find(uri);
  if (document == nullptr) return std::nullopt;
  for (const assist::Finding& each : document->findings) {
    if (each.fingerprint == fingerprint) return Known{each, document->text};
  }
  return std::nullopt;
}

}  // namespace cambium::lsp
