// From a snapshot and a cursor to completions that fit. No JSON-RPC, no LSP types: the language server
// and `cambium complete` are two thin faces of this class.
//
// Threading: complete() may be called from any thread and returns at once; `done` is called exactly
// once, on an internal thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "lsp/assist/router.h"
#include "syntax/scopes.h"
#include "syntax/tree.h"

namespace cambium::assist {

struct CompletionSettings {
  int32_t prompt_tokens = 1536;  ///< budget for prefix + suffix
  int32_t max_tokens = 96;
  double prefix_share = 0.67;  ///< of the budget, before the cursor
  bool multiline = true;
  float temperature = 0.0f;
  /// Weight of what followed earlier (engine::Request::copying). Off: with the model that ships it
  /// has not been shown to help; `cambium eval MODEL,copying=100` measures it for another.
  float copying = 0.0f;
  /// The line that stands elsewhere behind the same text (lsp/assist/copied_line.h) is shown in place of
  /// the model's own where the model finds it likelier. Greedy completions of one line, and engines that
  /// score.
  bool copied_lines = true;
};

struct CompletionInput {
  std::shared_ptr<const std::string> text;  ///< the buffer, UTF-8, line ends as they are
  size_t cursor = 0;                        ///< byte offset, on a character boundary
  std::string path;         ///< for the language and the slot affinity; may be empty
  std::string language_id;  ///< LSP's language id; empty: from the path
  /// Scopes of `text`; null: parsed here.
  std::shared_ptr<const syntax::ScopeMap> scopes;
  /// Tree of `text`; null: what is needed of it is parsed here.
  std::shared_ptr<const syntax::Tree> tree;
  /// Text the editor's popup would insert, replacing bytes [selected_begin, cursor): the completion
  /// must extend it.
  std::string selected_text;
  size_t selected_begin = 0;
  bool has_selected = false;
  /// Nothing is generated: only what is left of an earlier suggestion comes, or no item.
  bool cached_only = false;
  engine::CancelFlag cancel;
  CompletionSettings settings;
};

struct CompletionItem {
  std::string text;  ///< inserted at [replace_begin, replace_end)
  size_t replace_begin = 0, replace_end = 0;
};

struct CompletionOutput {
  std::vector<CompletionItem> items;  ///< empty: nothing worth showing
  /// Why generation ended: "end_of_node", "end_of_line", "max_tokens", …; "copied_line": a line that
  /// stands elsewhere is shown in place of what was generated.
  std::string stop;
  std::string scope;    ///< a person's name of the scope at the cursor: "function parse"
  std::string dropped;  ///< why a generated text is not shown; empty if it is
  engine::Timings timings;
  /// Mean probability of the generated tokens, 0..1; negative: not known (nothing was generated, or the
  /// engine tells none).
  double confidence = -1;
  Route route;  ///< which model answered, and why
  /// Milliseconds spent outside the model: parse, prompt, structure, post-processing.
  double parse_ms = 0, prompt_ms = 0, post_ms = 0;
  /// Of the model, beyond `timings`: comparing what it wrote with a line that stands elsewhere; 0: it did
  /// not.
  double compare_ms = 0;
};

/// What the protocol handlers depend on, so that they are tested without a model.
class CompletionService {
 public:
  virtual ~CompletionService() = default;
  virtual void complete(CompletionInput input,
                        std::function<void(cambium::Result<CompletionOutput>)> done) = 0;
};

class Completer final : public CompletionService {
 public:
  explicit Completer(std::shared_ptr<engine::Generator> generator);
  ~Completer() override;
  void complete(CompletionInput input,
                std::function<void(cambium::Result<CompletionOutput>)> done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  ///< its worker may outlive this object for a moment
};

}  // namespace cambium::assist
