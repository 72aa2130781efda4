// The findings of one session: reviews on opening, on saving and on demand, told by pull or push
// diagnostics, kept in step with edits, fixed by code actions. Strand only.
//
// Opening shows what the grammar says; saving asks the model's likelihoods too, and `cambium.review`
// also the model that reasons, where there is one. Typing only takes findings away: a half-written line
// is nobody's mistake.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lsp/assist/reviewer.h"
#include "lsp/dismissals.h"
#include "lsp/documents.h"
#include "lsp/jsonrpc.h"
#include "lsp/model_host.h"
#include "lsp/protocol/review.h"

namespace cambium::lsp {

class Session;

class Reviews {
 public:
  explicit Reviews(Session& session);
  ~Reviews();

  void opened(const std::string& uri);
  void changed(const std::string& uri);
  void saved(const std::string& uri);
  void closed(const std::string& uri);
  /// A file of dismissals or a setting may have changed: everything is told anew.
  void refresh();

  /// textDocument/diagnostic: waits for a review that has nothing to show yet.
  void pull(const DocumentDiagnosticParams& params, Reply reply);
  /// workspace/diagnostic: every reviewed file, open or not.
  Json pull_all(const WorkspaceDiagnosticParams& params);
  /// textDocument/codeAction, codeAction/resolve.
  Json actions(const CodeActionParams& params);
  void resolve(Json action, Reply reply);

  // The commands.
  struct Demand {
    std::string uri;             ///< empty with `diff`
    std::optional<Range> range;  ///< the selection
    bool diff = false;           ///< all that is not committed, in every folder
    Json token;                  ///< workDoneToken, or null
  };
  /// Answers {"findings": N, "files": N, "notes": […]} when all is done.
  void review(const Demand& demand, Reply reply);
  void dismiss(const std::string& uri, const std::string& fingerprint, Reply reply);

  struct Known {
    assist::Finding finding;
    std::shared_ptr<const std::string> text;  ///< that the finding's ranges are of
  };
  /// Nothing if the finding is gone.
  std::optional<Known> finding(const std::string& uri, const std::string& fingerprint);
  void fix_all(const std::string& uri, const std::string& code, Reply reply);

 private:
  struct Document;
  struct Work;
  struct Batch;

  Document* find(const std::string& uri);
  /// Why nothing is reviewed there, for the user; empty: it is.
  std::string refusal(const std::string& uri) const;
  void start(const std::string& uri, std::shared_ptr<Work> work);
  void run(const std::shared_ptr<Work>& work, std::shared_ptr<engine::Generator> generator);
  /// Who is asked after the work's present source; nothing: all that were wanted have answered.
  std::optional<assist::FindingSource> next_source(const Work& work) const;
  void ask(const std::shared_ptr<Work>& work, assist::FindingSource source);
  void finish(const std::shared_ptr<Work>& work, Result<assist::ReviewOutput> output);
  void review_files(const std::shared_ptr<Batch>& batch);
  void recheck(const std::string& uri);
  void tell(const std::string& uri);
  void answer_waiting(Document& document);
  Json report(const std::string& uri, const std::string& previous_result_id);
  Json diagnostics(const std::string& uri);
  bool reports_syntax(const std::string& language_id) const;
  Dismissals* dismissals_for(const std::string& path);
  std::optional<DocumentEdit> edit_of(const std::string& uri,
                                      const std::vector<const assist::Finding*>& findings);
  void apply(const DocumentEdit& edit, const std::string& label);

  Session& session_;
  std::map<std::string, Document> documents_;     ///< by URI: what has been reviewed
  std::map<std::string, Dismissals> dismissals_;  ///< by workspace folder
};

void bind_review(Session& session);

}  // namespace cambium::lsp
