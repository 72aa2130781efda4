#include "lsp/assist/syntax_view.h"

#include <chrono>
#include <utility>

#include "lsp/assist/token_structure.h"
#include "syntax/closes.h"

namespace cambium::assist {
namespace {

/// A text that takes longer is completed with the scopes that need no tree.
constexpr std::chrono::milliseconds kParseTime{500};

const syntax::ScopeMap& one_scope() {
  static const syntax::ScopeMap map = syntax::ScopeMap::whole_file(0);
  return map;
}

}  // namespace

SyntaxView SyntaxView::make(const SyntaxRequest& request) {
  SyntaxView view;
  const std::string_view text = *request.text;
  view.language =
      request.language_id.empty() ? nullptr : syntax::language_by_id(request.language_id);
  if (view.language == nullptr) {
    view.language = syntax::language_of_file(request.path, text.substr(0, 256));
  }
  const bool small = text.size() <= syntax::kMaxText;
  if (request.labels && small) {
    view.labeler_.emplace(view.language, text.substr(0, request.cursor),
                          text.substr(request.cursor));
  }
  view.scopes = request.scopes;
  view.tree = request.tree;
  if (!view.scopes && small && view.language != nullptr) {
    syntax::ParseLimits limits;
    limits.time = kParseTime;
    if (auto tree = syntax::Parser(*view.language).parse(text, nullptr, limits)) {
      view.scopes = std::make_shared<const syntax::ScopeMap>(syntax::scopes_of(*tree, text));
      view.tree = std::make_shared<const syntax::Tree>(std::move(*tree));
    }
  }
  if (!view.scopes) {
    view.scopes = std::make_shared<const syntax::ScopeMap>(
        small ? syntax::read_scopes(view.language, text)
              : syntax::ScopeMap::whole_file(static_cast<uint32_t>(text.size())));
  }
  if (small && view.language != nullptr) {
    // Made when it is first asked: there may be nothing to check.
    view.fits = [text_held = request.text, cursor = request.cursor, language = view.language,
                 tree = view.tree, check = std::shared_ptr<syntax::InsertionCheck>()](
                    std::string_view inserted) mutable {
      if (!check) {
        check = std::make_shared<syntax::InsertionCheck>(language, *text_held, cursor, tree.get());
      }
      return !check->adds_errors(inserted);
    };
  }
  view.scope_name =
      view.scopes->describe(view.scopes->index_at(static_cast<uint32_t>(request.cursor)));
  return view;
}

const syntax::ScopeMap& SyntaxView::label_map() const {
  return labeler_ ? labeler_->map() : one_scope();
}

syntax::ScopeLabel SyntaxView::at_cursor() const {
  if (!labeler_) return {};
  syntax::MiddleLabeler reader = *labeler_;
  return reader.feed({});
}

MiddleLabels SyntaxView::middle_labels(int32_t place) const {
  if (!labeler_) return {};
  return [reader = *labeler_, place](std::string_view piece) mutable {
    return token_label(reader.feed(piece), place);
  };
}

}  // namespace cambium::assist
