// What a completion asks of the syntax layer, gathered once for a document and a cursor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lsp/assist/completion_controller.h"
#include "lsp/assist/postprocess.h"
#include "syntax/languages.h"
#include "syntax/middle_labeler.h"
#include "syntax/scopes.h"
#include "syntax/tree.h"

namespace cambium::assist {

struct SyntaxRequest {
  std::shared_ptr<const std::string> text;
  size_t cursor = 0;
  std::string_view path;
  std::string_view language_id;  ///< empty: by the path and the first line
  /// Of `text`, with kinds and names; null: parsed here.
  std::shared_ptr<const syntax::ScopeMap> scopes;
  std::shared_ptr<const syntax::Tree> tree;  ///< of `text`; may be null
  bool labels = true;                        ///< the model uses structure
};

struct SyntaxView {
  const syntax::Language* language = nullptr;  ///< null: unknown
  /// What a person is told and where a window is best cut: the document's scopes, never null.
  std::shared_ptr<const syntax::ScopeMap> scopes;
  std::shared_ptr<const syntax::Tree> tree;  ///< may be null
  std::string scope_name;                    ///< of the cursor's scope: "function parse", "file"
  FitsSyntax fits;                           ///< empty: no grammar, or too large to parse

  static SyntaxView make(const SyntaxRequest& request);

  /// What the model is told: prefix and suffix read with the hole empty, as in training. The map of
  /// one scope if no labels were asked for.
  const syntax::ScopeMap& label_map() const;
  syntax::ScopeLabel at_cursor() const;
  /// Labels of the tokens written at the cursor, all at `place`.
  MiddleLabels middle_labels(int32_t place) const;

 private:
  std::optional<syntax::MiddleLabeler> labeler_;
};

}  // namespace cambium::assist
