// What a left-to-right reader must know of a language to tell where bodies begin and end: its strings,
// its comments and what opens and closes a block. Used by body_reader; constant data.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace cambium::syntax {

/// What delimits a body.
enum class Layout : uint8_t {
  braces,       ///< { … }
  keywords,     ///< def … end, then … fi; braces too where they span lines
  indentation,  ///< a header line that ends in ':' and deeper lines after it
  tables,       ///< a line that begins with '[', up to the next such line (TOML)
  // Below, what opens and closes a body is no bracket and no word: body_reader_markup.cpp reads these.
  keys,      ///< a key, or an entry of a sequence, and deeper lines after it (YAML)
  headings,  ///< a heading, up to the next one that is not below it; fenced code (Markdown)
  tags,      ///< <a> … </a> (HTML)
};

enum class WordRole : uint8_t {
  open,        ///< opens wherever it stands: `function`, `def`, `do`
  open_first,  ///< opens only as the first word of a statement: Ruby's `if`, a modifier elsewhere
  open_once,   ///< opens unless its line has a loop word that opened already: Ruby's `while … do`
  middle,      ///< closes one body and opens the next: `else`, `rescue`
  close,       ///< `end`, `fi`
};

struct WordRule {
  std::string_view word;
  WordRole role;
};

/// How a quote character behaves.
enum class Quote : uint8_t {
  none,
  line,       ///< a string that ends at its quote or at the end of the line
  multiline,  ///< a string that ends at its quote only
  raw,        ///< as multiline, and a backslash is a plain byte
  raw_line,   ///< as line, and a backslash is a plain byte
  character,  ///< 'x' or '\n'; anything else ('a in Rust, a digit separator) is no string
};

/// Where code stands inside a string, and how it is introduced.
enum class Interpolation : uint8_t {
  none,
  dollar_brace,
  hash_brace,
  backslash_paren,
  dollar_paren
};

struct LexicalRules {
  Layout layout = Layout::braces;
  std::string_view line_comment = {};   ///< "//", "#", "--"
  std::string_view line_comment2 = {};  ///< a second one: PHP's "#"
  bool block_comments = false;          ///< /* … */
  bool nested_comments = false;         ///< those nest
  bool hash_needs_space = false;        ///< '#' starts a comment only at the start of a word (Bash)
  Quote double_quote = Quote::line;
  Quote single_quote = Quote::line;
  Quote backtick = Quote::none;
  bool triple_double = false;                         ///< """ … """
  bool triple_single = false;                         ///< ''' … '''
  Interpolation interpolation = Interpolation::none;  ///< in double quotes, one or three
  Interpolation backtick_interpolation = Interpolation::none;
  bool cpp_raw = false;              ///< R"x( … )x"
  bool hash_raw = false;             ///< r#" … "# (Rust), #" … "# (Swift)
  bool verbatim_at = false;          ///< @" … "" … " (C#)
  bool long_brackets = false;        ///< [[ … ]], [==[ … ]==], --[[ … ]] (Lua)
  bool regex = false;                ///< /…/ where an operand may stand
  bool preprocessor = false;         ///< lines that begin with '#' are opaque
  bool heredoc = false;              ///< <<EOF, <<~EOF, <<-EOF, <<<EOF
  bool brackets_are_bodies = false;  ///< [ … ] too (JSON, TOML)
  bool php_tags = false;             ///< code stands between <?php and ?>
  bool case_esac = false;            ///< ')' inside `case … esac` closes nothing (Bash)
  /// A '{' right after one of these lists names, and is no body: "import", "::", ".".
  std::span<const std::string_view> list_before_brace = {};
  std::span<const WordRule> words = {};  ///< Layout::keywords
  std::span<const std::string_view> headers =
      {};  ///< Layout::indentation: first words of header lines
};

}  // namespace cambium::syntax
