// Reviews a text: what changed in it, what is wrong with that, and what was left out. No JSON-RPC, no
// LSP types: the language server and `cambium review` are two thin faces of this class.
//
// Threading: review() may be called from any thread and returns at once; `done` is called exactly
// once, on the reviewer's own thread, also after a cancel and when the reviewer is destroyed. Reviews
// run one after the other; the engine gets their requests with background priority, so a completion
// goes first.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/assistant.h"
#include "lsp/assist/finding.h"
#include "syntax/tree.h"

namespace cambium::assist {

/// What of a text is reviewed.
enum class ReviewExtent : uint8_t {
  changes,  ///< lines that differ from `base_revision`; all of them if the file is not in it
  whole,
  range,
};

struct ReviewInput {
  std::shared_ptr<const std::string> text;  ///< UTF-8
  std::string path;         ///< absolute, or empty: then nothing is known of changes
  std::string language_id;  ///< LSP's; empty: from the path
  std::shared_ptr<const syntax::Tree> tree;  ///< of `text`; null: parsed here
  ReviewExtent extent = ReviewExtent::changes;
  syntax::ByteRange range;  ///< of ReviewExtent::range
  std::string base_revision = "HEAD";
  bool syntax = true;  ///< report what does not parse
  /// The model that judges; null: syntax only.
  std::shared_ptr<engine::Generator> generator;
  /// Has the change reviewed by a model that reasons, which takes its time; null: it is not.
  std::shared_ptr<const Assistant> assistant;
  /// Folder in which that model may look things up, private files apart; absolute, empty: nowhere.
  std::string workspace;
  std::string rules;          ///< for that model: what a team cares about
  engine::CancelFlag cancel;  ///< may be null
};

struct ReviewOutput {
  std::vector<Finding> findings;   ///< sort_findings' order
  std::vector<std::string> notes;  ///< what was left out and why, for a person
  size_t lines = 0;                ///< reviewed
  double ms = 0;
};

class Reviewer {
 public:
  using Done = std::function<void(Result<ReviewOutput>)>;

  Reviewer();
  ~Reviewer();
  Reviewer(const Reviewer&) = delete;
  Reviewer& operator=(const Reviewer&) = delete;

  /// Errors: cancelled, and whatever the generator says.
  void review(ReviewInput input, Done done);
  /// Runs `task` on the reviewer's thread, after what was asked before: for work of a review that
  /// would block the caller, such as asking git.
  void post(std::function<void()> task);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The same, in the caller's thread.
Result<ReviewOutput> review_now(const ReviewInput& input);

/// Why a file is not worth a review ("generated: …"), or empty.
std::string why_not_reviewed(std::string_view text);

}  // namespace cambium::assist
