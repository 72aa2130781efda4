#include "lsp/assist/doc_comment.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsp/assist/text_window.h"
#include "syntax/bytes.h"
#include "syntax/closes.h"

namespace cambium::assist {

namespace {

constexpr std::chrono::milliseconds kParseTime{500};
constexpr size_t kWidth = 88;        ///< of a line, its indentation included
constexpr size_t kLeastWidth = 40;   ///< of the text, however deep it stands
constexpr size_t kMostText = 4'000;  ///< bytes

/// How a language writes documentation.
struct Style {
  std::string_view language;
  std::string_view open, line, close;  ///< around it and before each line; empty: no such line
  bool inside = false;                 ///< below the header, not above the definition
  std::string_view end;                ///< what would end the comment, and what stands for it
  std::string_view end_as;
};

constexpr Style kBlock = {"", "/**", " * ", " */", false, "*/", "* /"};
constexpr Style kStyles[] = {
    {"python", R"(""")", "", R"(""")", true, R"(""")", "'''"},
    {"rust", "", "/// ", "", false, "", ""},
    {"swift", "", "/// ", "", false, "", ""},
    {"c_sharp", "/// <summary>", "/// ", "/// </summary>", false, "", ""},
    {"go", "", "// ", "", false, "", ""},
    {"lua", "", "--- ", "", false, "", ""},
    {"ruby", "", "# ", "", false, "", ""},
    {"bash", "", "# ", "", false, "", ""},
};
constexpr std::string_view kBlockLanguages[] = {
    "c", "cpp", "java", "javascript", "typescript", "tsx", "kotlin", "scala", "php"};

/// Null: its definitions are not documented here.
const Style* style_of(const syntax::Language& language, std::string_view text) {
  // C++ has two habits; the file's own is kept to.
  if (language.name == "cpp" && text.find("/// ") != text.npos) return &kStyles[1];
  for (const Style& style : kStyles) {
    if (style.language == language.name) return &style;
  }
  const bool block = std::find(std::begin(kBlockLanguages), std::end(kBlockLanguages),
                               language.name) != std::end(kBlockLanguages);
  return block ? &kBlock : nullptr;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && syntax::is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && syntax::is_space(text.back())) text.remove_suffix(1);
  return text;
}

uint32_t line_begin(std::string_view text, size_t at) {
  const size_t newline = at == 0 ? text.npos : text.rfind('\n', at - 1);
  return static_cast<uint32_t>(newline == text.npos ? 0 : newline + 1);
}

/// After its line end; the text's end where there is none.
uint32_t line_end(std::string_view text, size_t at) {
  const size_t newline = text.find('\n', at);
  return static_cast<uint32_t>(newline == text.npos ? text.size() : newline + 1);
}

std::string_view line_at(std::string_view text, uint32_t begin) {
  return text.substr(begin, line_end(text, begin) - begin);
}

std::string_view indent_of(std::string_view line) {
  return line.substr(0, std::min(line.find_first_not_of(" \t"), line.size()));
}

bool is_attribute(std::string_view line) {
  const std::string_view code = trimmed(line);
  return code.starts_with('@') || code.starts_with("#[") || code.starts_with("template") ||
         (code.starts_with('[') && code.ends_with(']'));
}

bool is_comment(const syntax::Language& language, std::string_view line) {
  const std::string_view code = trimmed(line);
  if (code.empty() || code.starts_with("#!")) return false;
  return code.ends_with("*/") || code.starts_with("/*") ||
         (!language.line_comment.empty() && code.starts_with(language.line_comment));
}

/// Where the definition begins with the attributes above it.
uint32_t first_line(std::string_view text, const syntax::OutlineItem& item) {
  uint32_t at = line_begin(text, item.range.begin);
  while (at > 0) {
    const uint32_t above = line_begin(text, at - 1);
    if (!is_attribute(line_at(text, above))) break;
    at = above;
  }
  return at;
}

/// The first line of the body that holds code; nothing where the body stands on the header's line.
std::optional<uint32_t> first_body_line(std::string_view text, const syntax::OutlineItem& item) {
  const uint32_t header_end = std::max(item.signature.end, item.signature.begin);
  const uint32_t next = line_end(text, header_end);
  std::string_view rest = text.substr(header_end, next - header_end);
  rest = trimmed(rest.substr(0, rest.find('#')));
  if (!rest.empty() && rest != ":") return std::nullopt;
  for (uint32_t at = next; at < item.range.end; at = line_end(text, at)) {
    if (!trimmed(line_at(text, at)).empty()) return at;
  }
  return std::nullopt;
}

bool is_string(std::string_view code) {
  while (!code.empty() && std::string_view("rRuUbBfF").find(code.front()) != code.npos) {
    code.remove_prefix(1);
  }
  return code.starts_with('"') || code.starts_with('\'');
}

/// The comment's text line by line, without markers a model put there, and with nothing that could end it.
std::vector<std::string> lines_of(std::string_view comment, const Style& style) {
  std::string text;
  for (const char c : comment.substr(0, floor_char_boundary(comment, kMostText))) {
    if (c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= ' ') text += c == '\t' ? ' ' : c;
  }
  const auto replace = [&](std::string_view what, std::string_view by) {
    for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + by.size())) {
      text.replace(at, what.size(), by);
    }
  };
  // Line ends to some compilers, and what turns the order of a line around for its reader.
  for (const std::string_view hidden :
       {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac",
        "\xe2\x80\xad", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8",
        "\xe2\x81\xa9"}) {
    replace(hidden, " ");
  }
  std::string_view whole = trimmed(text);
  for (const std::string_view mark : {"/**", R"(""")", "<summary>"}) {
    if (whole.starts_with(mark)) whole.remove_prefix(mark.size());
  }
  for (const std::string_view mark : {"*/", R"(""")", "</summary>"}) {
    if (whole.ends_with(mark)) whole.remove_suffix(mark.size());
  }
  text = std::string(trimmed(whole));
  if (!style.end.empty()) replace(style.end, style.end_as);
  if (style.open.starts_with("/// <")) {  // XML
    replace("&", "&amp;");
    replace("<", "&lt;");
  }
  std::vector<std::string> lines;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = trimmed(std::string_view(text).substr(at, end - at));
    for (const std::string_view mark : {"///", "//", "---", "* ", "# "}) {
      if (line.starts_with(mark)) {
        line = trimmed(line.substr(mark.size()));
        break;
      }
    }
    if (line == "*") line = "";
    // At the end of a line it would join the next one, which may be code.
    while (!style.inside && line.ends_with('\\')) line.remove_suffix(1);
    lines.emplace_back(line);
    at = end + 1;
  }
  return lines;
}

/// Words to lines of `width` characters; what is longer stays whole.
std::vector<std::string> wrapped(const std::vector<std::string>& lines, size_t width) {
  std::vector<std::string> out;
  for (const std::string& line : lines) {
    std::string now;
    for (size_t at = 0; at < line.size();) {
      const size_t begin = line.find_first_not_of(' ', at);
      if (begin == line.npos) break;
      const size_t end = std::min(line.find(' ', begin), line.size());
      if (!now.empty() && now.size() + 1 + end - begin > width)
        out.push_back(std::exchange(now, {}));
      if (!now.empty()) now += ' ';
      now.append(line, begin, end - begin);
      at = end;
    }
    out.push_back(std::move(now));
  }
  return out;
}

std::string rendered(const Style& style, const std::vector<std::string>& lines,
                     std::string_view indent, std::string_view newline) {
  std::string out;
  const auto add = [&](std::string_view begin, std::string_view text) {
    std::string line = std::string(indent) + std::string(begin) + std::string(text);
    line.erase(line.find_last_not_of(" \t") + 1);
    out += line;
    out += newline;
  };
  if (style.inside) {
    // A backslash would begin an escape, and a quote at the end would be one of the closing three.
    const bool raw = std::any_of(lines.begin(), lines.end(),
                                 [](const auto& line) { return line.find('\\') != line.npos; });
    const std::string open = (raw ? "r" : "") + std::string(style.open);
    const std::string& last = lines.back();
    const bool apart = lines.size() > 1 || last.ends_with('"') || last.ends_with('\\');
    add(open, lines.front() + (apart ? "" : std::string(style.close)));
    for (size_t i = 1; i < lines.size(); ++i) add("", lines[i]);
    if (apart) add(style.close, "");
    return out;
  }
  if (!style.open.empty()) add(style.open, "");
  for (const std::string& line : lines) add(style.line, line);
  if (!style.close.empty()) add(style.close, "");
  return out;
}

}  // namespace

std::string why_not_documented(const syntax::Language& language, std::string_view text,
                               const syntax::OutlineItem& item) {
  const Style* style = style_of(language, text);
  if (style == nullptr)
    return "documentation in " + std::string(language.title) + " is not known here";
  const std::string has =
      "'" + item.name + "' has a comment already; select it and ask for a change";
  if (style->inside) {
    const auto body = first_body_line(text, item);
    if (!body) return "'" + item.name + "' has its body on the line of its header";
    return is_string(trimmed(line_at(text, *body))) ? has : "";
  }
  const uint32_t at = first_line(text, item);
  return at > 0 && is_comment(language, line_at(text, line_begin(text, at - 1))) ? has : "";
}

Result<TextChange> doc_comment(const syntax::Tree& tree, std::string_view text,
                               const syntax::OutlineItem& item, std::string_view comment) {
  const auto refuse = [](std::string why) {
    return fail(ErrorCode::invalid_argument, std::move(why));
  };
  if (std::string why = why_not_documented(tree.language(), text, item); !why.empty()) {
    return refuse(std::move(why));
  }
  const Style& style = *style_of(tree.language(), text);
  const uint32_t code = style.inside ? *first_body_line(text, item) : first_line(text, item);
  const std::string_view indent = indent_of(line_at(text, code));
  // A docstring goes right below the header, whatever blank lines stand there.
  const uint32_t at = style.inside ? line_end(text, item.signature.end) : code;
  const size_t marks = indent.size() + style.line.size();
  const auto lines =
      wrapped(lines_of(comment, style), std::max(kLeastWidth, kWidth - std::min(kWidth, marks)));
  if (lines.size() == 1 && lines.front().empty()) return refuse("the model wrote an empty comment");
  const std::string_view newline = line_at(text, code).ends_with("\r\n") ? "\r\n" : "\n";
  TextChange change{{at, at}, rendered(style, lines, indent, newline)};

  const auto after = with_changes(text, {change});
  syntax::Parser parser(tree.language());
  const auto parsed = after ? parser.parse(*after, nullptr, {.time = kParseTime}) : std::nullopt;
  if (!parsed || syntax::count_errors(*parsed).total() > syntax::count_errors(tree).total() ||
      syntax::outline(*parsed, *after).size() != syntax::outline(tree, text).size()) {
    return refuse("the comment would break the file where it belongs; nothing was changed");
  }
  return change;
}

}  // namespace cambium::assist
