// Turns what a model wrote into what a person may be shown: it never repeats what follows the cursor,
// leaves no more syntax errors than it found, keeps the file's indentation and line ends, and is worth
// showing at all. Pure; any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "lsp/assist/completion_plan.h"

namespace cambium::assist {

/// True if the document with `inserted` at the cursor has no more error and missing nodes than without
/// it. Empty: the language has no grammar, nothing is checked.
using FitsSyntax = std::function<bool(std::string_view inserted)>;

struct Draft {
  std::string_view text;      ///< as generated, with line ends "\n"
  std::string_view required;  ///< bytes before the cursor that it begins with (token healing)
  bool cut_off = false;       ///< generation ended for want of tokens, not at an end
};

struct Fitted {
  std::string text;     ///< with the file's line ends; empty: nothing to show
  std::string dropped;  ///< why not, for a person; empty if `text` is not
};

Fitted postprocess(const CompletionPlan& plan, const Draft& draft, const FitsSyntax& fits);

}  // namespace cambium::assist
