#include "syntax/languages.h"

#include <algorithm>
#include <array>
#include <string>

extern "C" {
const TSLanguage* tree_sitter_bash(void);
const TSLanguage* tree_sitter_c(void);
const TSLanguage* tree_sitter_c_sharp(void);
const TSLanguage* tree_sitter_cpp(void);
const TSLanguage* tree_sitter_css(void);
const TSLanguage* tree_sitter_go(void);
const TSLanguage* tree_sitter_html(void);
const TSLanguage* tree_sitter_java(void);
const TSLanguage* tree_sitter_javascript(void);
const TSLanguage* tree_sitter_json(void);
const TSLanguage* tree_sitter_kotlin(void);
const TSLanguage* tree_sitter_lua(void);
const TSLanguage* tree_sitter_markdown(void);
const TSLanguage* tree_sitter_php(void);
const TSLanguage* tree_sitter_python(void);
const TSLanguage* tree_sitter_ruby(void);
const TSLanguage* tree_sitter_rust(void);
const TSLanguage* tree_sitter_scala(void);
const TSLanguage* tree_sitter_swift(void);
const TSLanguage* tree_sitter_toml(void);
const TSLanguage* tree_sitter_tsx(void);
const TSLanguage* tree_sitter_typescript(void);
const TSLanguage* tree_sitter_yaml(void);
}

namespace cambium::syntax {
namespace {

using sv = std::string_view;
template <size_t N>
using Names = std::array<sv, N>;

// --- lexical rules ------------------------------------------------------------------------------

constexpr LexicalRules kC = {.layout = Layout::braces,
                             .line_comment = "//",
                             .block_comments = true,
                             .single_quote = Quote::character,
                             .preprocessor = true};

constexpr LexicalRules kCpp = {.layout = Layout::braces,
                               .line_comment = "//",
                               .block_comments = true,
                               .single_quote = Quote::character,
                               .cpp_raw = true,
                               .preprocessor = true};

constexpr LexicalRules kJava = {.layout = Layout::braces,
                                .line_comment = "//",
                                .block_comments = true,
                                .single_quote = Quote::character,
                                .triple_double = true};

constexpr LexicalRules kCSharp = {.layout = Layout::braces,
                                  .line_comment = "//",
                                  .block_comments = true,
                                  .single_quote = Quote::character,
                                  .triple_double = true,
                                  .verbatim_at = true,
                                  .preprocessor = true};

constexpr LexicalRules kGo = {.layout = Layout::braces,
                              .line_comment = "//",
                              .block_comments = true,
                              .single_quote = Quote::character,
                              .backtick = Quote::raw};

constexpr Names<2> kJsLists = {"import", "export"};
constexpr LexicalRules kJavaScript = {.layout = Layout::braces,
                                      .line_comment = "//",
                                      .block_comments = true,
                                      .backtick = Quote::multiline,
                                      .backtick_interpolation = Interpolation::dollar_brace,
                                      .regex = true,
                                      .list_before_brace = kJsLists};

constexpr Names<1> kRustLists = {"::"};
constexpr LexicalRules kRust = {.layout = Layout::braces,
                                .line_comment = "//",
                                .block_comments = true,
                                .nested_comments = true,
                                .double_quote = Quote::multiline,
                                .single_quote = Quote::character,
                                .hash_raw = true,
                                .list_before_brace = kRustLists};

constexpr LexicalRules kKotlin = {.layout = Layout::braces,
                                  .line_comment = "//",
                                  .block_comments = true,
                                  .nested_comments = true,
                                  .single_quote = Quote::character,
                                  .backtick = Quote::line,
                                  .triple_double = true,
                                  .interpolation = Interpolation::dollar_brace};

constexpr Names<1> kScalaLists = {"."};
constexpr LexicalRules kScala = {.layout = Layout::braces,
                                 .line_comment = "//",
                                 .block_comments = true,
                                 .nested_comments = true,
                                 .single_quote = Quote::character,
                                 .backtick = Quote::line,
                                 .triple_double = true,
                                 .interpolation = Interpolation::dollar_brace,
                                 .list_before_brace = kScalaLists};

constexpr LexicalRules kSwift = {.layout = Layout::braces,
                                 .line_comment = "//",
                                 .block_comments = true,
                                 .nested_comments = true,
                                 .single_quote = Quote::none,
                                 .triple_double = true,
                                 .interpolation = Interpolation::backslash_paren,
                                 .hash_raw = true};

constexpr Names<1> kPhpLists = {"\\"};
constexpr LexicalRules kPhp = {.layout = Layout::braces,
                               .line_comment = "//",
                               .line_comment2 = "#",
                               .block_comments = true,
                               .double_quote = Quote::multiline,
                               .single_quote = Quote::multiline,
                               .heredoc = true,
                               .php_tags = true,
                               .list_before_brace = kPhpLists};

constexpr LexicalRules kCss = {.layout = Layout::braces, .block_comments = true};

constexpr LexicalRules kJson = {.layout = Layout::braces,
                                .line_comment = "//",
                                .block_comments = true,
                                .single_quote = Quote::none,
                                .brackets_are_bodies = true};

constexpr Names<14> kPythonHeaders = {"def", "class",  "if",      "elif", "else",  "for",  "while",
                                      "try", "except", "finally", "with", "match", "case", "async"};
constexpr LexicalRules kPython = {.layout = Layout::indentation,
                                  .line_comment = "#",
                                  .triple_double = true,
                                  .triple_single = true,
                                  .headers = kPythonHeaders};

constexpr WordRule kLuaWords[] = {
    {"function", WordRole::open}, {"then", WordRole::open},   {"do", WordRole::open},
    {"repeat", WordRole::open},   {"else", WordRole::middle}, {"elseif", WordRole::close},
    {"end", WordRole::close},     {"until", WordRole::close},
};
constexpr LexicalRules kLua = {
    .layout = Layout::keywords, .line_comment = "--", .long_brackets = true, .words = kLuaWords};

constexpr WordRule kRubyWords[] = {
    {"class", WordRole::open_first},  {"module", WordRole::open_first},
    {"def", WordRole::open},          {"begin", WordRole::open},
    {"do", WordRole::open_once},      {"if", WordRole::open_first},
    {"unless", WordRole::open_first}, {"while", WordRole::open_first},
    {"until", WordRole::open_first},  {"for", WordRole::open_first},
    {"case", WordRole::open_first},   {"else", WordRole::middle},
    {"elsif", WordRole::middle},      {"when", WordRole::middle},
    {"in", WordRole::middle},         {"rescue", WordRole::middle},
    {"ensure", WordRole::middle},     {"end", WordRole::close},
};
constexpr LexicalRules kRuby = {.layout = Layout::keywords,
                                .line_comment = "#",
                                .double_quote = Quote::multiline,
                                .single_quote = Quote::multiline,
                                .backtick = Quote::line,
                                .interpolation = Interpolation::hash_brace,
                                .regex = true,
                                .heredoc = true,
                                .words = kRubyWords};

constexpr WordRule kBashWords[] = {
    {"then", WordRole::open_first}, {"do", WordRole::open_first}, {"else", WordRole::middle},
    {"elif", WordRole::close},      {"fi", WordRole::close},      {"done", WordRole::close},
    {"case", WordRole::open_first}, {"esac", WordRole::close},
};
constexpr LexicalRules kBash = {.layout = Layout::keywords,
                                .line_comment = "#",
                                .hash_needs_space = true,
                                .double_quote = Quote::multiline,
                                .single_quote = Quote::raw,
                                .interpolation = Interpolation::dollar_paren,
                                .heredoc = true,
                                .case_esac = true,
                                .words = kBashWords};

// Tables are not nested by their names ([a] and [a.b]), neither in the grammar nor here.
constexpr LexicalRules kToml = {.layout = Layout::tables,
                                .line_comment = "#",
                                .single_quote = Quote::raw_line,
                                .triple_double = true,
                                .triple_single = true,
                                .brackets_are_bodies = true};

// A '-' in the column of a key counts to the key until the byte behind it shows that it begins no entry.
constexpr LexicalRules kYaml = {.layout = Layout::keys,
                                .line_comment = "#",
                                .hash_needs_space = true,
                                .single_quote = Quote::none};  // an apostrophe more often than not

// What of Markdown cannot be known in time: how many '#' a heading has. Each of them takes the body that it
// would stand in if it were the last, which is around the body that the heading turns out to stand in, and so
// is seen from there. A heading by underline makes no section: its text is over before it is known for one, and
// the grammar makes none of it either. Nor do headings in a list, a quote or a block of HTML; and fences in a
// quote are no bodies.
constexpr LexicalRules kMarkdown = {
    .layout = Layout::headings, .double_quote = Quote::none, .single_quote = Quote::none};

// What of HTML cannot be known in time: that an element without an end tag (<li>, <p>, <td> and the like) is
// over, before the name of the next one is read. That much of the next tag lies in the body before it.
constexpr LexicalRules kHtml = {
    .layout = Layout::tags, .double_quote = Quote::none, .single_quote = Quote::none};

// --- names --------------------------------------------------------------------------------------

constexpr Names<1> kBashIds = {"shellscript"}, kCIds = {"c"}, kCppIds = {"cpp"}, kGoIds = {"go"},
                   kCSharpIds = {"csharp"}, kJavaIds = {"java"}, kTsxIds = {"typescriptreact"},
                   kHtmlIds = {"html"}, kKotlinIds = {"kotlin"}, kLuaIds = {"lua"},
                   kMarkdownIds = {"markdown"}, kPhpIds = {"php"}, kPythonIds = {"python"},
                   kRubyIds = {"ruby"}, kRustIds = {"rust"}, kScalaIds = {"scala"},
                   kSwiftIds = {"swift"}, kTomlIds = {"toml"}, kTsIds = {"typescript"},
                   kYamlIds = {"yaml"}, kCssIds = {"css"};
constexpr Names<2> kJsIds = {"javascript", "javascriptreact"}, kJsonIds = {"json", "jsonc"};

constexpr Names<4> kBashExt = {"sh", "bash", "zsh", "ksh"};
constexpr Names<1> kCExt = {"c"}, kCSharpExt = {"cs"}, kCssExt = {"css"}, kGoExt = {"go"},
                   kJavaExt = {"java"}, kLuaExt = {"lua"}, kRustExt = {"rs"}, kSwiftExt = {"swift"},
                   kTomlExt = {"toml"}, kTsxExt = {"tsx"};
constexpr Names<12> kCppExt = {"cpp", "cc",  "cxx", "c++", "h",  "hpp",
                               "hh",  "hxx", "ipp", "inl", "cu", "cuh"};
constexpr Names<2> kHtmlExt = {"html", "htm"}, kKotlinExt = {"kt", "kts"},
                   kYamlExt = {"yaml", "yml"}, kMarkdownExt = {"md", "markdown"},
                   kScalaExt = {"scala", "sc"};
constexpr Names<4> kJsExt = {"js", "mjs", "cjs", "jsx"};
constexpr Names<3> kTsExt = {"ts", "mts", "cts"}, kJsonExt = {"json", "jsonc", "webmanifest"};
constexpr Names<4> kPhpExt = {"php", "phtml", "php5", "inc"};
constexpr Names<4> kPythonExt = {"py", "pyi", "pyw", "py3"};
constexpr Names<4> kRubyExt = {"rb", "rake", "gemspec", "ru"};

constexpr Names<5> kBashFiles = {".bashrc", ".bash_profile", ".profile", ".zshrc", "PKGBUILD"};
constexpr Names<4> kRubyFiles = {"Gemfile", "Rakefile", "Vagrantfile", "Guardfile"};
constexpr Names<2> kPythonFiles = {"SConstruct", "SConscript"};
constexpr Names<3> kJsonFiles = {".babelrc", ".eslintrc", ".prettierrc"};
constexpr Names<3> kTomlFiles = {"Cargo.lock", "poetry.lock", "Pipfile"};

constexpr Names<5> kBashBangs = {"sh", "bash", "dash", "zsh", "ksh"};
constexpr Names<2> kPythonBangs = {"python", "pypy"}, kJsBangs = {"node", "bun"},
                   kLuaBangs = {"lua", "luajit"}, kTsBangs = {"deno", "ts-node"};
constexpr Names<1> kRubyBangs = {"ruby"}, kPhpBangs = {"php"}, kSwiftBangs = {"swift"},
                   kKotlinBangs = {"kotlin"}, kScalaBangs = {"scala"};

// C headers are given to C++: its grammar reads both.
constexpr Language kLanguages[] = {
    {"bash", "Bash", tree_sitter_bash, kBashIds, kBashExt, kBashFiles, kBashBangs, "#", true,
     &kBash},
    {"c", "C", tree_sitter_c, kCIds, kCExt, {}, {}, "//", true, &kC},
    {"cpp", "C++", tree_sitter_cpp, kCppIds, kCppExt, {}, {}, "//", true, &kCpp},
    {"c_sharp", "C#", tree_sitter_c_sharp, kCSharpIds, kCSharpExt, {}, {}, "//", true, &kCSharp},
    {"css", "CSS", tree_sitter_css, kCssIds, kCssExt, {}, {}, "", false, &kCss},
    {"go", "Go", tree_sitter_go, kGoIds, kGoExt, {}, {}, "//", true, &kGo},
    {"html", "HTML", tree_sitter_html, kHtmlIds, kHtmlExt, {}, {}, "", false, &kHtml},
    {"java", "Java", tree_sitter_java, kJavaIds, kJavaExt, {}, {}, "//", true, &kJava},
    {"javascript",
     "JavaScript",
     tree_sitter_javascript,
     kJsIds,
     kJsExt,
     {},
     kJsBangs,
     "//",
     true,
     &kJavaScript},
    {"json", "JSON", tree_sitter_json, kJsonIds, kJsonExt, kJsonFiles, {}, "", false, &kJson},
    {"kotlin",
     "Kotlin",
     tree_sitter_kotlin,
     kKotlinIds,
     kKotlinExt,
     {},
     kKotlinBangs,
     "//",
     true,
     &kKotlin},
    {"lua", "Lua", tree_sitter_lua, kLuaIds, kLuaExt, {}, kLuaBangs, "--", true, &kLua},
    {"markdown",
     "Markdown",
     tree_sitter_markdown,
     kMarkdownIds,
     kMarkdownExt,
     {},
     {},
     "",
     false,
     &kMarkdown},
    {"php", "PHP", tree_sitter_php, kPhpIds, kPhpExt, {}, kPhpBangs, "//", true, &kPhp},
    {"python", "Python", tree_sitter_python, kPythonIds, kPythonExt, kPythonFiles, kPythonBangs,
     "#", true, &kPython},
    {"ruby", "Ruby", tree_sitter_ruby, kRubyIds, kRubyExt, kRubyFiles, kRubyBangs, "#", true,
     &kRuby},
    {"rust", "Rust", tree_sitter_rust, kRustIds, kRustExt, {}, {}, "//", true, &kRust},
    {"scala",
     "Scala",
     tree_sitter_scala,
     kScalaIds,
     kScalaExt,
     {},
     kScalaBangs,
     "//",
     true,
     &kScala},
    {"swift",
     "Swift",
     tree_sitter_swift,
     kSwiftIds,
     kSwiftExt,
     {},
     kSwiftBangs,
     "//",
     true,
     &kSwift},
    {"toml", "TOML", tree_sitter_toml, kTomlIds, kTomlExt, kTomlFiles, {}, "#", false, &kToml},
    {"tsx", "TSX", tree_sitter_tsx, kTsxIds, kTsxExt, {}, {}, "//", true, &kJavaScript},
    {"typescript",
     "TypeScript",
     tree_sitter_typescript,
     kTsIds,
     kTsExt,
     {},
     kTsBangs,
     "//",
     true,
     &kJavaScript},
    {"yaml", "YAML", tree_sitter_yaml, kYamlIds, kYamlExt, {}, {}, "#", false, &kYaml},
};

bool contains(std::span<const sv> names, sv name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string lower(sv text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// "python" of "#!/usr/bin/env -S python3.11 -u"; empty where the text does not begin with "#!".
sv interpreter(sv text) {
  if (!text.starts_with("#!")) return {};
  text = text.substr(2, text.find_first_of("\r\n") - 2);
  const auto next = [&text] {
    const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
    const size_t end = std::min(text.find_first_of(" \t", begin), text.size());
    sv word = text.substr(begin, end - begin);
    text.remove_prefix(end);
    return word.substr(word.rfind('/') + 1);
  };
  sv word = next();
  if (word == "env") do
      word = next();
    while (word.starts_with('-'));
  return word.substr(0, word.find_last_not_of("0123456789.") + 1);
}

}  // namespace

std::span<const Language> languages() { return kLanguages; }

const Language* language_by_id(sv id) {
  for (const Language& language : kLanguages)
    if (language.name == id || contains(language.lsp_ids, id)) return &language;
  return nullptr;
}

const Language* language_of_file(sv path, sv first_bytes) {
  const sv file = path.substr(path.find_last_of("/\\") + 1);
  for (const Language& language : kLanguages)
    if (contains(language.file_names, file)) return &language;
  // A leading dot starts a hidden file's name, not an extension.
  if (const size_t dot = file.rfind('.'); dot != sv::npos && dot > 0) {
    const std::string extension = lower(file.substr(dot + 1));
    for (const Language& language : kLanguages)
      if (contains(language.extensions, extension)) return &language;
  }
  if (const sv program = interpreter(first_bytes); !program.empty())
    for (const Language& language : kLanguages)
      if (contains(language.shebangs, program)) return &language;
  return nullptr;
}

}  // namespace cambium::syntax
