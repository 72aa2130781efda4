#include "lsp/handlers/review.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <fstream>
#include <sstream>
#include <utility>

#include "lsp/assist/git.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {

constexpr std::chrono::milliseconds kRecheckAfter{400};  ///< the pause in typing that is waited for
constexpr std::chrono::seconds kCallTimeout{20};
constexpr std::chrono::minutes kPatience{30};  ///< with a user who looks at edits
constexpr size_t kMostFiles = 200;             ///< of a diff
constexpr size_t kMostFileBytes = 8 << 20;

/// Null if it can't be read or is not text.
std::shared_ptr<const std::string> read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return nullptr;
  const auto size = in.tellg();
  if (size < 0 || static_cast<size_t>(size) > kMostFileBytes) return nullptr;
  std::string text(static_cast<size_t>(size), '\0');
  in.seekg(0);
  in.read(text.data(), size);
  if (!in || text.find('\0') != text.npos || first_invalid_utf8(text)) return nullptr;
  return std::make_shared<const std::string>(std::move(text));
}

/// The same findings have the same id, so a client that has them is told so.
std::string result_id(const Json& items) {
  return std::to_string(std::hash<std::string>{}(items.dump()));
}

/// The first workspace folder that holds `path`; null: none does.
const std::string* folder_of(const std::string& path, const std::vector<std::string>& roots) {
  const auto found = std::find_if(roots.begin(), roots.end(), [&](const std::string& root) {
    return path.starts_with(root + "/");
  });
  return found == roots.end() ? nullptr : &*found;
}

bool within(const syntax::ByteRange& outer, const syntax::ByteRange& inner) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

}  // namespace

/// What is known of one file. Its findings' ranges are of `text`.
struct Reviews::Document {
  std::shared_ptr<const std::string> text;
  std::vector<assist::Finding> findings;
  std::shared_ptr<Work> work;  ///< the newest, while it is under way
  bool reviewed = false;       ///< there has been an answer
  /// The result id last given to the client, which begins with no findings.
  std::string told = result_id(Json::array());
  struct Waiting {
    Reply reply;
    std::string previous_result_id;
  };
  std::vector<Waiting> waiting;
  std::unique_ptr<boost::asio::steady_timer> recheck;
};

/// One review under way, a source after the other: the grammar, then, where wanted, the models.
struct Reviews::Work {
  std::string uri;
  assist::ReviewInput input;
  bool only_removes = false;  ///< while typing
  bool model = false;         ///< ask the model when the grammar is done
  bool reasons = false;       ///< and then the one that reasons, where there is one
  assist::FindingSource source = assist::FindingSource::syntax;  ///< whose turn it is
  bool model_runs = false;
  size_t found = 0;
  std::vector<std::string> notes;
  std::function<void(const Work&)> then;  ///< called once, however it ends
};

/// One `cambium.review`.
struct Reviews::Batch {
  explicit Batch(Reply answer) : reply(std::move(answer)) {}
  Reply reply;
  std::vector<std::string> uris;
  std::optional<Range> range;
  assist::ReviewExtent extent = assist::ReviewExtent::whole;
  Json token;
  size_t next = 0, findings = 0;
  std::vector<std::string> notes;
  engine::CancelFlag cancel = engine::make_cancel_flag();
};

Reviews::Reviews(Session& session) : session_(session) {}

Reviews::~Reviews() {
  for (auto& [uri, document] : documents_) {
    if (document.work) document.work->input.cancel->store(true);
  }
}

Reviews::Document* Reviews::find(const std::string& uri) {
  const auto found = documents_.find(uri);
  return found == documents_.end() ? nullptr : &found->second;
}

std::string Reviews::refusal(const std::string& uri) const {
  if (!session_.settings().config().review_enabled) return "reviews are turned off";
  const std::string path = path_of_uri(uri);
  if (!path.empty()) {
    if (std::string why = session_.privacy().why_private(path); !why.empty()) return why;
  } else if (assist::names_secrets(path_part_of_uri(uri))) {
    return "files of this name hold secrets and are never read";
  }
  return session_.documents().is_open(uri) ? session_.documents().problem(uri) : std::string();
}

bool Reviews::reports_syntax(const std::string& language_id) const {
  const auto& silent = session_.settings().config().review_syntax_elsewhere;
  return std::find(silent.begin(), silent.end(), language_id) == silent.end();
}

// --- when ---------------------------------------------------------------------------------------

void Reviews::opened(const std::string& uri) {
  auto work = std::make_shared<Work>();
  work->uri = uri;
  start(uri, std::move(work));
}

void Reviews::saved(const std::string& uri) {
  auto work = std::make_shared<Work>();
  work->uri = uri;
  work->model = true;
  start(uri, std::move(work));
}

void Reviews::changed(const std::string& uri) {
  Document* document = find(uri);
  if (document == nullptr || !document->text) return;
  const auto snapshot = session_.documents().snapshot(uri);
  if (!snapshot) return closed(uri);
  const bool gone = assist::follow_edit(document->findings, *document->text, *snapshot->text);
  document->text = snapshot->text;
  const bool had_syntax = std::any_of(
      document->findings.begin(), document->findings.end(),
      [](const auto& finding) { return finding.source == assist::FindingSource::syntax; });
  if (had_syntax) {
    if (!document->recheck) {
      document->recheck = std::make_unique<boost::asio::steady_timer>(session_.context().strand);
    }
    document->recheck->expires_after(kRecheckAfter);
    document->recheck->async_wait(
        [weak = session_.weak_from_this(), uri](boost::system::error_code stopped) {
          const auto session = weak.lock();
          if (session && !stopped) session->reviews().recheck(uri);
        });
  }
  if (gone) tell(uri);
}

void Reviews::recheck(const std::string& uri) {
  const Document* document = find(uri);
  if (document == nullptr || document->work) return;  // a full one is under way
  auto work = std::make_shared<Work>();
  work->uri = uri;
  work->only_removes = true;
  start(uri, std::move(work));
}

void Reviews::closed(const std::string& uri) {
  Document* document = find(uri);
  if (document == nullptr) return;
  if (document->work) document->work->input.cancel->store(true);
  document->findings.clear();
  answer_waiting(*document);
  tell(uri);
  documents_.erase(uri);
}

void Reviews::refresh() {
  dismissals_.clear();
  for (const auto& [uri, document] : documents_) tell(uri);
}

// --- one review ---------------------------------------------------------------------------------

void Reviews::start(const std::string& uri, std::shared_ptr<Work> work) {
  const std::string refused = refusal(uri);
  const std::string path = path_of_uri(uri);
  const auto snapshot = session_.documents().snapshot(uri);
  if (refused.empty()) {
    work->input.text = snapshot ? snapshot->text : read_text(path);
  }
  if (!work->input.text) {
    work->notes.push_back(path_part_of_uri(uri) + ": not reviewed, " +
                          (refused.empty() ? "it can't be read as text" : refused));
    if (Document* known = find(uri)) {
      known->findings.clear();
      answer_waiting(*known);
      tell(uri);
    }
    if (work->then) work->then(*work);
    return;
  }
  Document& document = documents_[uri];
  // A selection's review leaves that of the rest alone; one that thinks for minutes is not thrown away for
  // a save: what it finds follows the edits.
  if (document.work && document.work->source != assist::FindingSource::reasoning &&
      work->input.extent != assist::ReviewExtent::range) {
    document.work->input.cancel->store(true);
  }
  if (document.text) assist::follow_edit(document.findings, *document.text, *work->input.text);
  document.text = work->input.text;
  document.work = work;
  work->input.path = path;
  std::string language_id;
  if (snapshot) {
    language_id = snapshot->language_id;
    work->input.tree = snapshot->tree;
  } else if (const auto* language = syntax::language_of_file(path)) {
    language_id = language->lsp_ids.empty() ? "" : std::string(language->lsp_ids.front());
  }
  work->input.language_id = language_id;
  work->input.syntax = reports_syntax(language_id);
  if (!work->input.cancel) work->input.cancel = engine::make_cancel_flag();
  run(work, nullptr);
}

void Reviews::run(const std::shared_ptr<Work>& work, std::shared_ptr<engine::Generator> generator) {
  assist::ReviewInput input = work->input;
  work->model_runs = work->source != assist::FindingSource::syntax;
  if (work->model_runs) {
    session_.status().request_started();
    input.syntax = false;
  }
  input.generator = std::move(generator);
  const bool reasons = work->source == assist::FindingSource::reasoning;
  if (reasons) {
    input.assistant = session_.context().assistant;
    if (const auto* root = folder_of(input.path, session_.roots())) input.workspace = *root;
  }
  (reasons ? session_.context().reasoner : session_.context().reviewer)
      ->review(std::move(input),
               [work, weak = session_.weak_from_this(),
                strand = session_.context().strand](Result<assist::ReviewOutput> output) {
                 boost::asio::post(strand, [work, weak, output = std::move(output)]() mutable {
                   if (const auto session = weak.lock())
                     session->reviews().finish(work, std::move(output));
                 });
               });
}

void Reviews::finish(const std::shared_ptr<Work>& work, Result<assist::ReviewOutput> output) {
  if (std::exchange(work->model_runs, false)) session_.status().request_ended();
  Document* document = find(work->uri);
  const bool newest = document != nullptr && document->work == work;
  const auto end = [&] {
    if (newest) document->work.reset();
    if (newest) answer_waiting(*document);
    // Also what a save overtook has found something.
    if (document != nullptr) tell(work->uri);
    if (work->then) work->then(*work);
  };
  if (!output) {
    if (output.error().code != ErrorCode::cancelled) {
      session_.log()->warn("review of {}: {}", work->uri, output.error().message);
      work->notes.push_back(output.error().message);
    }
    // Where no model completes, one may still reason.
    const auto next =
        work->source == assist::FindingSource::likelihood ? next_source(*work) : std::nullopt;
    return next ? ask(work, *next) : end();
  }
  for (const std::string& note : output->notes) {
    std::string told = path_part_of_uri(work->uri) + ": " + note;
    // Each source says of a generated file that it is one.
    if (std::find(work->notes.begin(), work->notes.end(), told) == work->notes.end()) {
      work->notes.push_back(std::move(told));
    }
  }
  work->found += output->findings.size();
  if (document == nullptr || work->input.cancel->load()) return end();

  std::vector<assist::Finding> fresh = std::move(output->findings);
  assist::follow_edit(fresh, *work->input.text, *document->text);
  const bool everywhere = work->input.extent != assist::ReviewExtent::range;
  std::erase_if(document->findings, [&](const assist::Finding& old) {
    if (old.source != work->source) return false;
    if (work->only_removes) {
      return std::none_of(fresh.begin(), fresh.end(), [&](const assist::Finding& still) {
        return still.code == old.code && still.range == old.range;
      });
    }
    return everywhere || within(work->input.range, old.range);
  });
  if (!work->only_removes) {
    for (assist::Finding& finding : fresh) document->findings.push_back(std::move(finding));
    assist::sort_findings(document->findings);
  }
  document->reviewed = true;
  const auto next = next_source(*work);
  if (!next) return end();
  // What is there is shown while the model thinks.
  answer_waiting(*document);
  tell(work->uri);
  ask(work, *next);
}

std::optional<assist::FindingSource> Reviews::next_source(const Work& work) const {
  using assist::FindingSource;
  if (!work.model || work.input.cancel->load() || !session_.settings().config().review_model) {
    return std::nullopt;
  }
  if (work.source == FindingSource::syntax) return FindingSource::likelihood;
  if (work.source == FindingSource::likelihood && work.reasons &&
      session_.context().assistant->has(assist::Role::reasoning)) {
    return FindingSource::reasoning;
  }
  return std::nullopt;
}

void Reviews::ask(const std::shared_ptr<Work>& work, assist::FindingSource source) {
  work->source = source;
  // The assistant loads its model itself.
  if (source == assist::FindingSource::reasoning) return run(work, nullptr);
  session_.context().pool->acquire(
      assist::Role::completion, [work, weak = session_.weak_from_this()](
                                    const Result<std::shared_ptr<engine::Generator>>& model) {
        const auto session = weak.lock();
        if (!session) return;
        if (!model || !*model) {
          session->reviews().finish(work, fail(ErrorCode::cancelled, "there is no model"));
          return;
        }
        session->reviews().run(work, *model);
      });
}

// --- telling the client -------------------------------------------------------------------------

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
  std::string id = result_id(items);
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
  std::string id = result_id(items);
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

// --- fixes --------------------------------------------------------------------------------------

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
    if (finding.range.begin > *end || *begin > finding.range.end) continue;
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

// --- commands -----------------------------------------------------------------------------------

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

void Reviews::review(const Demand& demand, Reply reply) {
  auto batch = std::make_shared<Batch>(std::move(reply));
  batch->token = demand.token;
  batch->range = demand.range;
  batch->extent = demand.diff    ? assist::ReviewExtent::changes
                  : demand.range ? assist::ReviewExtent::range
                                 : assist::ReviewExtent::whole;
  batch->reply.on_abandoned([cancel = batch->cancel] { cancel->store(true); });
  if (!batch->token.is_null()) {
    session_.peer().notify("$/progress", {{"token", batch->token},
                                          {"value",
                                           {{"kind", "begin"},
                                            {"title", "Cambium: review"},
                                            {"cancellable", true},
                                            {"percentage", 0}}}});
  }
  if (!demand.diff) {
    batch->uris.push_back(demand.uri);
    return review_files(batch);
  }
  // git may take a while.
  session_.context().reviewer->post([batch, roots = session_.roots(),
                                     weak = session_.weak_from_this(),
                                     strand = session_.context().strand] {
    for (const std::string& root : roots) {
      auto files = assist::files_changed_since(root, "HEAD");
      if (!files) {
        batch->notes.push_back(files.error().message);
        continue;
      }
      for (const std::string& file : *files) {
        if (batch->uris.size() < kMostFiles) batch->uris.push_back(uri_of_path(file));
      }
      if (files->size() > kMostFiles) {
        batch->notes.push_back("the first " + std::to_string(kMostFiles) + " of " +
                               std::to_string(files->size()) + " changed files were reviewed");
      }
    }
    boost::asio::post(strand, [batch, weak] {
      if (const auto session = weak.lock()) session->reviews().review_files(batch);
    });
  });
}

void Reviews::review_files(const std::shared_ptr<Batch>& batch) {
  const auto progress = [&](Json value) {
    if (!batch->token.is_null())
      session_.peer().notify("$/progress", {{"token", batch->token}, {"value", std::move(value)}});
  };
  if (batch->next == batch->uris.size() || batch->cancel->load()) {
    progress({{"kind", "end"}, {"message", std::to_string(batch->findings) + " findings"}});
    batch->reply({{"findings", batch->findings}, {"files", batch->next}, {"notes", batch->notes}});
    return;
  }
  const std::string uri = batch->uris[batch->next++];
  progress({{"kind", "report"},
            {"message", path_part_of_uri(uri)},
            {"percentage", 100 * (batch->next - 1) / batch->uris.size()}});
  auto work = std::make_shared<Work>();
  work->uri = uri;
  work->model = true;
  work->reasons = true;
  work->input.extent = batch->extent;
  work->input.cancel = batch->cancel;
  if (batch->range) {
    const auto snapshot = session_.documents().snapshot(uri);
    const auto begin =
        snapshot ? snapshot->lines.offset(*snapshot->text, batch->range->start, session_.encoding())
                 : std::nullopt;
    const auto end =
        snapshot ? snapshot->lines.offset(*snapshot->text, batch->range->end, session_.encoding())
                 : std::nullopt;
    if (!begin || !end || *begin > *end) {
      progress({{"kind", "end"}});
      return batch->reply.fail(RpcCode::invalid_params, "range: lies outside the text of " + uri);
    }
    work->input.range = {static_cast<uint32_t>(*begin), static_cast<uint32_t>(*end)};
  }
  work->then = [batch, weak = session_.weak_from_this()](const Work& done) {
    batch->findings += done.found;
    batch->notes.insert(batch->notes.end(), done.notes.begin(), done.notes.end());
    if (const auto session = weak.lock()) session->reviews().review_files(batch);
  };
  start(uri, std::move(work));
}

void bind_review(Session& session) {
  Peer& peer = session.peer();
  peer.on_request<DocumentDiagnosticParams>(
      "textDocument/diagnostic", Latency::document,
      [&session](const DocumentDiagnosticParams& params, Reply reply) {
        session.reviews().pull(params, std::move(reply));
      });
  peer.on_request<WorkspaceDiagnosticParams>(
      "workspace/diagnostic", Latency::document,
      [&session](const WorkspaceDiagnosticParams& params, Reply reply) {
        reply(session.reviews().pull_all(params));
      });
  peer.on_request<CodeActionParams>("textDocument/codeAction", Latency::document,
                                    [&session](const CodeActionParams& params, Reply reply) {
                                      reply(session.reviews().actions(params));
                                    });
  peer.on_request<Json>("codeAction/resolve", Latency::document,
                        [&session](const Json& action, Reply reply) {
                          session.reviews().resolve(action, std::move(reply));
                        });
}

}  // namespace cambium::lsp
