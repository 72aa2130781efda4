#include "lsp/handlers/review.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <fstream>
#include <utility>

#include "lsp/assist/team_rules.h"
#include "lsp/handlers/review_parts.h"
#include "lsp/handlers/write.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {

constexpr std::chrono::milliseconds kRecheckAfter{400};  ///< the pause in typing that is waited for
constexpr size_t kMostFileBytes = 8 << 20;

bool within(const syntax::ByteRange& outer, const syntax::ByteRange& inner) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

}  // namespace

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

const std::string* folder_of(const std::string& path, const std::vector<std::string>& roots) {
  const auto found = std::find_if(roots.begin(), roots.end(), [&](const std::string& root) {
    return path.starts_with(root + "/");
  });
  return found == roots.end() ? nullptr : &*found;
}

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
    if (const auto* root = folder_of(input.path, session_.roots())) {
      input.workspace = *root;
      auto rules = assist::read_team_rules(*root, session_.trusts(*root), [&](const auto& path) {
        return !session_.privacy().why_private(path).empty();
      });
      input.rules = std::move(rules.text);
      if (!rules.note.empty()) work->notes.push_back(std::move(rules.note));
    }
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
                                      Json actions = session.reviews().actions(params);
                                      for (Json& each : writing_actions(session, params)) {
                                        actions.push_back(std::move(each));
                                      }
                                      reply(std::move(actions));
                                    });
  peer.on_request<Json>("codeAction/resolve", Latency::document,
                        [&session](const Json& action, Reply reply) {
                          session.reviews().resolve(action, std::move(reply));
                        });
}

}  // namespace cambium::lsp
