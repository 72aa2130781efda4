#include "lsp/handlers/write.h"

#include <boost/asio/post.hpp>
#include <filesystem>
#include <memory>
#include <utility>

#include "lsp/assist/code_writing.h"
#include "lsp/assist/doc_comment.h"
#include "lsp/handlers/questions.h"
#include "lsp/session.h"
#include "syntax/languages.h"
#include "syntax/outline.h"

namespace cambium::lsp {

namespace {

namespace fs = std::filesystem;
using assist::Writing;

constexpr std::chrono::seconds kApplyTimeout{60};
constexpr std::chrono::seconds kCallTimeout{20};
constexpr int kMostTestFiles = 99;
/// Larger texts are looked at only when somebody asks: the cursor moves often.
constexpr size_t kMostByTheWay = 512 << 10;

const syntax::Language* language_of(const Snapshot& snapshot) {
  const syntax::Language* language = syntax::language_by_id(snapshot.language_id);
  return language != nullptr ? language : syntax::language_of_file(snapshot.path);
}

const char* title_of(Writing kind) {
  switch (kind) {
    case Writing::comment:
      return "Cambium writes a comment";
    case Writing::tests:
      return "Cambium writes tests";
    case Writing::change:
      return "Cambium changes the code";
  }
  return "Cambium writes";
}

assist::Intent intent_of(Writing kind) {
  return kind == Writing::comment ? assist::Intent::explain : assist::Intent::fix;
}

/// One cambium.write under way. Strand only.
struct Work {
  explicit Work(Reply answer) : reply(std::move(answer)) {}
  Reply reply;
  assist::WritingTask task;
  std::string uri;
  int32_t version = 0;
  std::string asked;
  engine::CancelFlag cancel = engine::make_cancel_flag();
  std::shared_ptr<ProgressReporter::Work> progress;

  void fail(RpcCode code, const std::string& why) {
    progress->end("");
    reply.fail(code, why);
  }
};
using WorkPtr = std::shared_ptr<Work>;

/// The first name for tests that is not taken; empty: all are.
std::string free_path(const WorkPtr& work) {
  const fs::path folder = fs::path(work->task.path).parent_path();
  std::error_code ignored;
  for (int n = 1; n <= kMostTestFiles; ++n) {
    const fs::path path = folder / assist::test_file_name(*work->task.language, work->task.path, n);
    if (!fs::exists(fs::symlink_status(path, ignored))) return path.string();
  }
  return {};
}

struct Edit {
  Json json;             ///< a WorkspaceEdit
  std::string new_file;  ///< its URI; empty: none is made
};

/// Errors are sentences for the user.
tl::expected<Edit, std::string> edit_of(Session& session, const WorkPtr& work,
                                        const assist::Written& written) {
  const ClientCapabilities& client = session.client();
  if (!written.new_file.empty()) {
    if (!client.create_files || !client.document_changes) {
      return tl::unexpected<std::string>("this editor makes no files by an edit");
    }
    const std::string path = work->task.path.starts_with('/') ? free_path(work) : "";
    if (path.empty()) return tl::unexpected<std::string>("there is no place for a file of tests");
    const std::string uri = uri_of_path(path);
    const Json at = to_json(Range{});
    return Edit{{{"documentChanges",
                  {{{"kind", "create"},
                    {"uri", uri},
                    {"options", {{"overwrite", false}, {"ignoreIfExists", false}}}},
                   {{"textDocument", {{"uri", uri}, {"version", nullptr}}},
                    {"edits", {{{"range", at}, {"newText", written.content}}}}}}}},
                uri};
  }
  const auto snapshot = session.documents().snapshot(work->uri);
  if (!snapshot || snapshot->version != work->version || *snapshot->text != *work->task.text) {
    return tl::unexpected<std::string>(
        "the document has changed meanwhile, so nothing was changed; ask again");
  }
  DocumentEdit edit;
  edit.uri = work->uri;
  edit.version = snapshot->version;
  for (const assist::TextChange& change : written.changes) {
    const auto at = [&](uint32_t byte) {
      return snapshot->lines.position(*snapshot->text, byte, session.encoding());
    };
    edit.edits.push_back({{at(change.range.begin), at(change.range.end)}, change.text});
  }
  return Edit{workspace_edit({edit}, client.document_changes), ""};
}

void apply(Session& session, const WorkPtr& work, const assist::Answer& answer,
           const Result<assist::Written>& written) {
  if (work->cancel->load()) return work->fail(RpcCode::request_cancelled, "cancelled");
  if (!written) return work->fail(RpcCode::request_failed, written.error().message);
  auto edit = edit_of(session, work, *written);
  if (!edit) return work->fail(RpcCode::request_failed, edit.error());
  Json result = to_json(answer, work->asked);
  if (!written->note.empty()) result["note"] = written->note;
  if (!edit->new_file.empty()) result["newFile"] = edit->new_file;
  session.peer().call(
      "workspace/applyEdit", {{"label", title_of(work->task.kind)}, {"edit", edit->json}},
      kApplyTimeout,
      [work, result = std::move(result), new_file = edit->new_file,
       weak = session.weak_from_this()](const CallResult& applied) mutable {
        const auto said = [&](const char* name) {
          return applied->is_object() && applied->contains(name) ? (*applied)[name] : Json();
        };
        if (!applied || said("applied") != true) {
          const std::string why = !applied ? applied.error().message
                                  : said("failureReason").is_string()
                                      ? said("failureReason").get<std::string>()
                                      : "the document may have changed meanwhile";
          return work->fail(RpcCode::request_failed, "the editor did not make the edit: " + why);
        }
        const auto owner = weak.lock();
        if (owner && !new_file.empty() && owner->client().show_document) {
          owner->peer().call("window/showDocument", {{"uri", new_file}, {"takeFocus", true}},
                             kCallTimeout, [](const CallResult&) {});
        }
        work->progress->end("done");
        work->reply(std::move(result));
      });
}

void answered(Session& session, const WorkPtr& work, Result<assist::Answer> answer) {
  if (work->cancel->load() || (answer && answer->stop == engine::StopReason::cancelled)) {
    return work->fail(RpcCode::request_cancelled, "cancelled");
  }
  if (!answer) return work->fail(code_of(answer.error()), answer.error().message);
  work->progress->report("fits it in");
  // Parsing may take a while.
  const auto strand = session.context().strand;
  const auto reader = session.context().reader;
  if (!reader) return work->fail(RpcCode::request_cancelled, "the server is stopping");
  // Handed on, so that it does not end on the reader's thread.
  reader->post([work, strand, weak = session.weak_from_this(),
                answer = std::make_shared<assist::Answer>(std::move(*answer)),
                task = work->task]() mutable {
    auto made = assist::written(task, *answer);
    boost::asio::post(strand, [work = std::move(work), weak, answer, made = std::move(made)] {
      if (const auto owner = weak.lock()) apply(*owner, work, *answer, made);
    });
  });
}

}  // namespace

void write(Session& session, const WriteParams& params, const Json& work_done_token, Reply reply) {
  const auto snapshot = shown_document(session, params.uri);
  if (!snapshot) return reply.fail(snapshot.error().code, snapshot.error().message);
  const auto bytes = bytes_of(session, **snapshot, params.range ? params.range : Range{});
  if (!bytes) return reply.fail(bytes.error().code, bytes.error().message);
  if (!session.client().apply_edit) {
    return reply.fail(RpcCode::request_failed, "this editor takes no edits (workspace/applyEdit)");
  }
  const auto work = std::make_shared<Work>(std::move(reply));
  work->uri = params.uri;
  work->version = (*snapshot)->version;
  work->task.kind = params.task;
  work->task.text = (*snapshot)->text;
  work->task.tree = (*snapshot)->tree;
  work->task.language = language_of(**snapshot);
  work->task.path = (*snapshot)->path.empty() ? path_part_of_uri(params.uri) : (*snapshot)->path;
  work->task.range = *bytes;
  work->task.request = params.request;
  auto question = assist::writing_question(work->task);
  if (!question) return work->reply.fail(code_of(question.error()), question.error().message);

  const bool may_create =
      session.client().work_done_progress && params.partial_result_token.is_null();
  work->progress = session.progress().begin(
      work_done_token, {.title = title_of(params.task), .may_create = may_create},
      [cancel = work->cancel] { cancel->store(true); });
  work->reply.on_abandoned([cancel = work->cancel, weak = std::weak_ptr<Work>(work)] {
    cancel->store(true);
    if (const auto still = weak.lock()) still->progress->end("");
  });
  work->asked = question->messages.back().content;
  question->cancel = work->cancel;
  question->slot_key = slot_of(params.uri);
  ask_in_words(session, std::move(*question), params.partial_result_token,
               [work, weak = session.weak_from_this()](Result<assist::Answer> answer) {
                 if (const auto owner = weak.lock()) answered(*owner, work, std::move(answer));
               });
}

Json writing_actions(Session& session, const CodeActionParams& params) {
  Json actions = Json::array();
  const ClientCapabilities& client = session.client();
  const bool wanted = asks_for(params, kWritesComment) || asks_for(params, kWritesChange) ||
                      asks_for(params, kWritesTests) || asks_for(params, kExplains);
  if (!wanted || !client.code_action_literals) return actions;
  const auto snapshot = shown_document(session, params.uri);
  if (!snapshot || !(*snapshot)->tree || !(*snapshot)->tree->language().programming) return actions;
  const std::string_view text = *(*snapshot)->text;
  const auto range = bytes_of(session, **snapshot, params.range);
  if (!range || (params.automatic && text.size() > kMostByTheWay)) return actions;
  const assist::Assistant& assistant = *session.context().assistant;
  const bool selected = range->end > range->begin;
  const auto items = session.outline_of(*snapshot);
  const syntax::OutlineItem* definition = assist::definition_at(*items, text, *range);
  // A lamp on every line of a body says nothing: without being asked, at the header only.
  const bool near =
      definition != nullptr && (!params.automatic || range->begin <= definition->signature.end);
  const auto add = [&](const char* kind, const std::string& title, const char* command,
                       Json argument) {
    if (!asks_for(params, kind)) return;
    argument["uri"] = params.uri;
    argument["range"] = to_json(params.range);
    actions.push_back({{"title", title},
                       {"kind", kind},
                       {"command",
                        {{"title", title},
                         {"command", command},
                         {"arguments", Json::array({std::move(argument)})}}}});
  };
  const std::string name = near ? "'" + definition->name + "'" : "the selection";
  const syntax::Language& language = (*snapshot)->tree->language();
  if (client.apply_edit && near && assistant.answers(intent_of(Writing::comment)) &&
      assist::why_not_documented(language, text, *definition).empty()) {
    add(kWritesComment, "Write a comment for " + name, "cambium.write", {{"task", "comment"}});
  }
  if (client.apply_edit && client.asks_for_requests && (near || selected) &&
      assistant.answers(intent_of(Writing::change))) {
    add(kWritesChange, "Change " + (selected ? "the selection" : name) + "…", "cambium.write",
        {{"task", "change"}});
  }
  const bool places_tests = assist::test_file_name(language, "a").empty() ||
                            (client.create_files && client.document_changes);
  // What is of the kind "source" an editor may run on every save, where its user has said so.
  if (params.automatic) return actions;
  if (client.apply_edit && near && places_tests && assistant.answers(intent_of(Writing::tests))) {
    add(kWritesTests, "Write tests for " + name, "cambium.write", {{"task", "tests"}});
  }
  if ((near || selected) && assistant.answers(assist::Intent::explain)) {
    add(kExplains, "Explain " + (selected ? "the selection" : name), "cambium.explain",
        {{"show", true}});
  }
  return actions;
}

}  // namespace cambium::lsp
