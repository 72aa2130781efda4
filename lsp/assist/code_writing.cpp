#include "lsp/assist/code_writing.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "lsp/assist/block_placement.h"
#include "lsp/assist/doc_comment.h"
#include "lsp/assist/json_answer.h"
#include "lsp/assist/text_window.h"
#include "syntax/closes.h"

namespace cambium::assist {

namespace {

using syntax::ByteRange;
using syntax::OutlineItem;

constexpr std::chrono::milliseconds kParseTime{500};
constexpr size_t kMostCode = 24'000;  ///< bytes of the code in question that a model is shown
constexpr size_t kMostOutline = 3'000;
constexpr size_t kMostRequest = 4'000;
constexpr size_t kLongestComment = 1'500;  ///< characters

constexpr std::string_view kCommentForm =
    R"({"type": "object", "required": ["comment"], "additionalProperties": false,
        "properties": {"comment": {"type": "string", "minLength": 1, "maxLength": 1500}}})";

tl::unexpected<Error> refuse(std::string why) {
  return fail(ErrorCode::invalid_argument, std::move(why));
}
tl::unexpected<Error> no_use(const std::string& why) {
  return fail(ErrorCode::bad_format, why + "; nothing was changed");
}

std::optional<syntax::Tree> parsed(const syntax::Language& language, std::string_view text) {
  return syntax::Parser(language).parse(text, nullptr, {.time = kParseTime});
}

ByteRange whole_lines(std::string_view text, ByteRange range) {
  size_t begin = range.begin, end = range.end;
  while (begin > 0 && text[begin - 1] != '\n') --begin;
  if (end == begin || text[end - 1] != '\n')
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(std::min(end, text.size()))};
}

std::string fenced(std::string_view code, std::string_view language) {
  std::string fence = "```";
  while (code.find(fence) != code.npos) fence += '`';
  std::string out = fence + std::string(language) + "\n" + std::string(code);
  if (!out.ends_with('\n')) out += '\n';
  return out + fence + "\n";
}

/// What the task is about: a definition, or the lines selected.
struct Subject {
  std::shared_ptr<const syntax::Tree> tree;
  std::vector<OutlineItem> items;
  const OutlineItem* definition = nullptr;
  ByteRange lines;
};

Result<Subject> subject_of(const WritingTask& task) {
  if (task.language == nullptr || !task.language->programming) {
    return refuse("this works in programming languages that Cambium knows");
  }
  const std::string_view text = *task.text;
  Subject out;
  out.tree = task.tree;
  if (!out.tree) {
    auto own = parsed(*task.language, text);
    if (!own) return refuse("the file takes too long to parse");
    out.tree = std::make_shared<const syntax::Tree>(std::move(*own));
  }
  out.items = syntax::outline(*out.tree, text);
  out.definition = definition_at(out.items, text, task.range);
  const bool selected = task.range.end > task.range.begin;
  if (task.kind == Writing::change && selected) {
    out.lines = whole_lines(text, task.range);
  } else if (out.definition == nullptr) {
    return refuse("the cursor is in no function, class or type; put it into one");
  } else {
    out.lines = whole_lines(text, out.definition->range);
  }
  if (out.lines.end - out.lines.begin > kMostCode) {
    return refuse("that is too long for one answer; select a part of it");
  }
  return out;
}

std::string instruction(const WritingTask& task, const Subject& subject) {
  const std::string name = subject.definition != nullptr && !subject.definition->name.empty()
                               ? "`" + subject.definition->name + "`"
                               : "this code";
  const std::string title(task.language->title);
  switch (task.kind) {
    case Writing::comment:
      return "Write the documentation comment of " + name +
             ": what it does and what its caller must know (parameters, result, errors) where that "
             "is not plain from the names. No markup of comments, no code, no preface.\n"
             R"(Answer with one JSON object and nothing else: {"comment": "the text"}.)";
    case Writing::tests:
      return "Write tests for " + name + " in " + title +
             ", with the test framework that is usual there and what the file's imports suggest. "
             "Cover the ordinary case, the edges and the errors. Answer with one fenced block that "
             "is " +
             std::string(test_file_name(*task.language, "a").empty()
                             ? "one module to be put at the end of this file"
                             : "a whole file") +
             ", and nothing after it.";
    case Writing::change:
      return "Change the code above as follows, and nothing else about it:\n" +
             task.request.substr(0, floor_char_boundary(task.request, kMostRequest)) +
             "\nAnswer with one fenced block that holds the whole of the code above as it is after "
             "the change, and nothing after it.";
  }
  return {};
}

Result<Written> comment_from(const WritingTask& task, const Subject& subject,
                             const Answer& answer) {
  const auto said = nlohmann::json::parse(first_object(answer.text), nullptr, false);
  const auto comment = said.is_object() ? said.find("comment") : said.end();
  if (!said.is_object() || comment == said.end() || !comment->is_string()) {
    return no_use("the model gave no comment in the form asked for");
  }
  const auto& text = comment->get_ref<const std::string&>();
  const auto characters = std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; });
  if (static_cast<size_t>(characters) >= kLongestComment) {
    return no_use("the model's comment is longer than its limit");
  }
  auto change = doc_comment(*subject.tree, *task.text, *subject.definition, text);
  if (!change) return tl::unexpected(change.error());
  return Written{{std::move(*change)}, "", "", ""};
}

Result<Written> tests_from(const WritingTask& task, const Subject& subject, std::string code) {
  const auto tree = parsed(*task.language, code);
  if (!tree || syntax::count_errors(*tree).total() > 0) {
    return no_use("the tests that the model wrote do not parse");
  }
  Written out;
  out.new_file = test_file_name(*task.language, task.path);
  if (!out.new_file.empty()) {
    out.content = std::move(code);
    return out;
  }
  const auto end = static_cast<uint32_t>(task.text->size());
  const std::string before = task.text->empty() || task.text->ends_with('\n') ? "\n" : "\n\n";
  out.changes = {{{end, end}, before + code}};
  const auto after = with_changes(*task.text, out.changes);
  const auto whole = after ? parsed(*task.language, *after) : std::nullopt;
  if (!whole ||
      syntax::count_errors(*whole).total() > syntax::count_errors(*subject.tree).total()) {
    return no_use("the tests that the model wrote do not fit the file");
  }
  return out;
}

Result<Written> change_from(const WritingTask& task, const Subject& subject,
                            const std::string& code) {
  auto placed = place_block(task.language, *task.text, code, subject.lines);
  if (!placed) return no_use(placed.error().message);
  if (placed->changes.empty()) return no_use("the model wrote the code as it is");
  const auto after = with_changes(*task.text, placed->changes);
  const auto tree = after ? parsed(*task.language, *after) : std::nullopt;
  if (!tree || syntax::count_errors(*tree).total() > syntax::count_errors(*subject.tree).total()) {
    return no_use("the file would parse worse with what the model wrote");
  }
  Written out;
  out.changes = std::move(placed->changes);
  if (placed->left_out > 0) {
    out.note = std::to_string(placed->left_out) + " lines of the answer belong nowhere";
  }
  return out;
}

}  // namespace

const char* to_string(Writing kind) {
  switch (kind) {
    case Writing::comment:
      return "comment";
    case Writing::tests:
      return "tests";
    case Writing::change:
      return "change";
  }
  return "change";
}

const OutlineItem* definition_at(const std::vector<OutlineItem>& items, std::string_view text,
                                 ByteRange range) {
  const OutlineItem* found = nullptr;
  for (const OutlineItem& item : items) {
    if (item.kind == "import" || item.kind == "variable" || item.name.empty()) continue;
    const ByteRange lines = whole_lines(text, item.range);
    // Inner ones come later.
    if (lines.begin <= range.begin && range.end <= lines.end && range.begin < lines.end) {
      found = &item;
    }
  }
  return found;
}

Result<Question> writing_question(const WritingTask& task) {
  if (task.kind == Writing::change &&
      task.request.find_first_not_of(" \t\r\n") == std::string::npos) {
    return refuse("say what is to be changed");
  }
  const auto subject = subject_of(task);
  if (!subject) return tl::unexpected(subject.error());
  const std::string_view text = *task.text;
  Question question;
  question.intent = task.kind == Writing::comment ? Intent::explain : Intent::fix;
  question.max_tokens = 4096;  // thinking included
  question.exact = true;
  if (task.kind == Writing::comment) {
    if (std::string why = why_not_documented(*task.language, text, *subject->definition);
        !why.empty()) {
      return refuse(std::move(why));
    }
    if (auto form = JsonSchema::compile(kCommentForm)) question.form = std::move(*form);
  }
  const std::string outline =
      syntax::outline_text(subject->items, text, kMostOutline, subject->lines);
  std::string asked;
  if (!outline.empty()) {
    asked = "What " + task.path.substr(task.path.rfind('/') + 1) + " defines besides:\n" +
            fenced(outline, task.language->name) + "\n";
  }
  const ByteRange lines = subject->lines;
  asked += "The code in question:\n" +
           fenced(text.substr(lines.begin, lines.end - lines.begin), task.language->name) + "\n" +
           instruction(task, *subject);
  question.messages = {{engine::ChatMessage::Role::user, std::move(asked)}};
  return question;
}

Result<Written> written(const WritingTask& task, const Answer& answer) {
  if (answer.stop == engine::StopReason::max_tokens ||
      answer.stop == engine::StopReason::context_full) {
    return no_use("the model's answer is longer than its limit and was cut off");
  }
  const auto subject = subject_of(task);
  if (!subject) return tl::unexpected(subject.error());
  if (task.kind == Writing::comment) return comment_from(task, *subject, answer);
  auto code = fenced_code(answer.text);
  if (!code) return no_use("the model answered without a block of code");
  return task.kind == Writing::tests ? tests_from(task, *subject, std::move(*code))
                                     : change_from(task, *subject, *code);
}

std::string test_file_name(const syntax::Language& language, std::string_view path, int n) {
  const std::string_view file = path.substr(path.rfind('/') + 1);
  const size_t dot = file.rfind('.');
  const std::string stem(file.substr(0, dot));
  const std::string extension(dot == file.npos ? "" : file.substr(dot));
  const std::string number = n > 1 ? std::to_string(n) : "";
  const std::string_view name = language.name;
  if (name == "rust") return {};
  if (name == "python") return "test_" + stem + number + extension;
  if (name == "javascript" || name == "typescript" || name == "tsx") {
    return stem + number + ".test" + extension;
  }
  if (name == "java" || name == "kotlin" || name == "scala" || name == "php") {
    return stem + "Test" + number + extension;
  }
  if (name == "c_sharp" || name == "swift") return stem + "Tests" + number + extension;
  if (name == "lua") return stem + number + "_spec" + extension;
  return stem + number + "_test" + extension;
}

std::optional<std::string> fenced_code(std::string_view answer) {
  std::optional<std::string> longest;
  std::string fence, block;
  for (size_t at = 0; at < answer.size();) {
    const size_t end = std::min(answer.find('\n', at), answer.size());
    std::string_view line = answer.substr(at, end - at);
    at = end + 1;
    std::string_view mark = line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
    while (mark.ends_with('\r') || mark.ends_with(' ')) mark.remove_suffix(1);
    const size_t ticks = std::min(mark.find_first_not_of('`'), mark.size());
    if (fence.empty()) {
      if (ticks >= 3) fence = std::string(ticks, '`');
      block.clear();
    } else if (ticks >= fence.size() && ticks == mark.size()) {
      if (block.find_first_not_of(" \t\r\n") != block.npos &&
          (!longest || block.size() > longest->size())) {
        longest = block;
      }
      fence.clear();
    } else {
      block.append(line).append("\n");
    }
  }
  return longest;
}

}  // namespace cambium::assist
