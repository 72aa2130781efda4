// Work on code that ends in an edit: a documentation comment, tests, a change to a request. What the model
// is asked, and what of its answer may be put into files: nothing that parses worse than what stands there,
// nothing that was cut off, nothing that only looks like an answer.
//
// Plain values; any thread. Blocking where it parses.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "lsp/assist/assistant.h"
#include "lsp/assist/finding.h"
#include "syntax/outline.h"
#include "syntax/tree.h"

namespace cambium::assist {

enum class Writing : uint8_t { comment, tests, change };
const char* to_string(Writing kind);  ///< "comment", "tests", "change"

/// The innermost definition (function, method, class, type) whose lines hold `range`; null: none.
const syntax::OutlineItem* definition_at(const std::vector<syntax::OutlineItem>& items,
                                         std::string_view text, syntax::ByteRange range);

struct WritingTask {
  Writing kind = Writing::comment;
  std::shared_ptr<const std::string> text;
  std::shared_ptr<const syntax::Tree> tree;  ///< of `text`; null: parsed here
  const syntax::Language* language = nullptr;
  std::string path;         ///< absolute, or a name; what a file of tests is named after
  syntax::ByteRange range;  ///< the cursor, or what is selected
  std::string request;      ///< of Writing::change
};

/// Errors: invalid_argument, with a sentence for the user (no definition there, an empty request, …).
Result<Question> writing_question(const WritingTask& task);

struct Written {
  std::vector<TextChange> changes;  ///< of the task's text; empty where a file is to be made
  std::string new_file, content;    ///< tests: a file beside the task's, by its name
  std::string note;                 ///< what the user should know; may be empty
};
/// Errors: bad_format, with a sentence that says why nothing is changed.
Result<Written> written(const WritingTask& task, const Answer& answer);

/// The name of the file that tests of `path` go to, as people of the language name it. `n` > 1: the
/// n-th, where others are taken. Empty: they go to the end of the file itself (Rust).
std::string test_file_name(const syntax::Language& language, std::string_view path, int n = 1);

/// The longest fenced block of an answer, its fences taken off; nothing without a whole one.
std::optional<std::string> fenced_code(std::string_view answer);

}  // namespace cambium::assist
