#include "lsp/assist/workspace_tools.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "lsp/assist/constant_expression.h"
#include "syntax/languages.h"
#include "syntax/outline.h"
#include "syntax/tree.h"

namespace cambium::assist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 2000;
constexpr uintmax_t kLargestFile = 256 << 10;
constexpr size_t kMostHits = 12;
constexpr size_t kMostNames = 12;  ///< of an expression and of what they are defined by
constexpr size_t kLongestLine = 160;
constexpr size_t kLongestAnswer = 2000;  ///< bytes: a few hundred tokens
constexpr std::chrono::milliseconds kParseTime{200};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 100 && std::all_of(text.begin(), text.end(), is_word);
}

std::string shortened(std::string text, size_t most) {
  if (text.size() > most) text = text.substr(0, most) + " …";
  return text;
}

std::optional<syntax::Tree> parsed(const std::string& path, const std::string& text) {
  const syntax::Language* language = syntax::language_of_file(path, text.substr(0, 256));
  if (language == nullptr || !language->programming) return std::nullopt;
  return syntax::Parser(*language).parse(text, nullptr, {.time = kParseTime});
}

}  // namespace

WorkspaceTools::WorkspaceTools(std::string root,
                               std::function<bool(const std::string& path)> is_private)
    : is_private_(std::move(is_private)) {
  std::error_code failed;
  const fs::path real = fs::canonical(root, failed);
  if (!failed) root_ = real.string();
}

std::string_view WorkspaceTools::help() {
  return "definition: the signature of a function or type, by its name\n"
         "value: a constant's definition, by its name, or what an expression of constants and "
         "whole numbers is\n"
         "references: lines that use a name\n"
         "search: lines that hold a text\n"
         "outline: what a file defines, by its path\n";
}

std::string WorkspaceTools::call(std::string_view tool, std::string_view argument) const {
  if (root_.empty()) return "no workspace is open: nothing can be looked up";
  if (tool == "outline") return shortened(outline(argument), kLongestAnswer);
  if (tool == "value") return shortened(value(argument), kLongestAnswer);
  if (tool == "definition") {
    if (!is_name(argument)) return "expected one name";
    return shortened(shown(definitions(argument, false)), kLongestAnswer);
  }
  if (tool != "references" && tool != "search") {
    return "there is no such tool; the tools are:\n" + std::string(help());
  }
  if (argument.size() < 2 || argument.size() > 100) return "expected a text of 2 to 100 bytes";
  if (tool == "references" && !is_name(argument)) return "expected one name";
  std::string out;
  for (const Hit& hit : find(argument, tool == "references")) {
    out += hit.file + ":" + std::to_string(hit.line) + ": " + hit.text + "\n";
  }
  return out.empty() ? "nothing found" : shortened(std::move(out), kLongestAnswer);
}

std::string WorkspaceTools::read(const std::string& path) const {
  std::error_code failed;
  // A link may lead out of the workspace: where it ends counts.
  const std::string real = fs::canonical(path, failed).string();
  if (failed || !real.starts_with(root_ + "/") || !fs::is_regular_file(real, failed) ||
      fs::file_size(real, failed) > kLargestFile || failed || is_private_(real)) {
    return {};
  }
  std::ifstream in(real, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  std::string out = text.str();
  if (out.find('\0') != out.npos) return {};
  return out;
}

std::vector<std::string> WorkspaceTools::files() const {
  std::vector<std::string> out;
  std::error_code failed;
  fs::recursive_directory_iterator at(root_, fs::directory_options::skip_permission_denied, failed);
  for (; !failed && at != fs::recursive_directory_iterator() && out.size() < kMostFiles;
       at.increment(failed)) {
    const std::string name = at->path().filename().string();
    std::error_code ignored;
    if (at->is_directory(ignored)) {
      if (name.starts_with(".") || name == "node_modules" || name == "build") {
        at.disable_recursion_pending();
      }
    } else if (const auto* language = syntax::language_of_file(name);
               language != nullptr && language->programming) {
      out.push_back(at->path().string());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<WorkspaceTools::Hit> WorkspaceTools::find(std::string_view needle,
                                                      bool whole_word) const {
  std::vector<Hit> hits;
  for (const std::string& path : files()) {
    const std::string text = read(path);
    size_t line = 1, counted = 0;
    for (size_t at = text.find(needle); at != text.npos; at = text.find(needle, at + 1)) {
      const size_t end = at + needle.size();
      if (whole_word &&
          ((at > 0 && is_word(text[at - 1])) || (end < text.size() && is_word(text[end])))) {
        continue;
      }
      line += static_cast<size_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                                             text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
      counted = at;
      const size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
      const size_t stop = std::min(text.find('\n', at), text.size());
      hits.push_back({path.substr(root_.size() + 1), line,
                      shortened(text.substr(begin, stop - begin), kLongestLine)});
      if (hits.size() == kMostHits) return hits;
    }
  }
  return hits;
}

std::vector<WorkspaceTools::Hit> WorkspaceTools::definitions(std::string_view name,
                                                             bool whole) const {
  std::vector<Hit> found;
  size_t bytes = 0;
  for (const std::string& path : files()) {
    const std::string text = read(path);
    if (text.find(name) == text.npos) continue;  // spares the parse
    const auto tree = parsed(path, text);
    if (!tree) continue;
    for (const syntax::OutlineItem& item : syntax::outline(*tree, text)) {
      if (item.name != name) continue;
      const syntax::ByteRange range = whole ? item.range : item.signature;
      found.push_back({path.substr(root_.size() + 1), 0,
                       shortened(text.substr(range.begin, range.end - range.begin), 400)});
      bytes += found.back().file.size() + found.back().text.size();
      if (bytes > kLongestAnswer) return found;
    }
  }
  return found;
}

std::string WorkspaceTools::shown(const std::vector<Hit>& definitions) {
  std::string out;
  for (const Hit& one : definitions) out += one.file + ": " + one.text + "\n";
  return out.empty() ? "not defined in this workspace" : out;
}

std::string WorkspaceTools::value(std::string_view expression) const {
  if (expression.empty() || expression.size() > 200)
    return "expected a name or an expression of at most 200 bytes";
  std::string looked_up;
  size_t names = 0;
  const auto written_as = [&](std::string_view name) -> Result<std::string> {
    if (++names > kMostNames)
      return fail(ErrorCode::invalid_argument, "it uses more names than are looked up");
    const std::vector<Hit> found = definitions(name, true);
    looked_up += found.empty() ? std::string(name) + ": " + shown(found) + "\n" : shown(found);
    // Where a name has several definitions, which one is meant is not known.
    if (found.size() != 1 || found[0].text.find('\n') != std::string::npos)
      return fail(ErrorCode::invalid_argument,
                  std::string(name) + " has no single definition in one line");
    const std::string_view written = expression_of(found[0].text, name);
    if (written.empty())
      return fail(ErrorCode::invalid_argument, std::string(name) + " is not defined as a constant");
    return std::string(written);
  };
  const auto number = constant_value(expression, written_as);
  const std::string worked_out =
      number ? std::string(expression) + " = " + std::to_string(*number) + "\n" : std::string();
  if (is_name(expression)) return looked_up + worked_out;
  return (number ? worked_out : "not worked out: " + number.error().message + "\n") + looked_up;
}

std::string WorkspaceTools::outline(std::string_view path) const {
  const std::string file = root_ + "/" + std::string(path);
  const std::string text = read(file);
  if (text.empty()) return "no such file in the workspace, or it may not be read";
  const auto tree = parsed(file, text);
  if (!tree) return "no outline: not a programming language that is known";
  return syntax::outline_text(syntax::outline(*tree, text), text, kLongestAnswer);
}

}  // namespace cambium::assist
