// Reads a text left to right, one byte at a time, and says which body each byte lies in.
//
// This is the causal half of the scopes. A syntax tree of a whole text knows where a body ends because
// it has seen the end; a model that is writing has not. The reader finds the same bodies as the tree's
// queries do (a test holds the two equal on text without errors), but what it says of a byte follows
// from the bytes up to and including that one, so that nothing of the future can leak into a label.
// It also stays calm where a tree does not: in text that is broken or ends early.
//
// What a body is, for every language alike:
//   - It is whole lines. It begins on the line after its opener ('{', 'then', a header's ':') and ends
//     with its closer, which belongs to it. What closes on the line that opened it is no body: a line
//     is folded whole or not at all.
//   - White space and comments take the body that was open before them, except that in a language of
//     indentation a comment takes the body its own column stands in.
//   - In a language of indentation a body ends before the first code that is not deeper than its
//     header. A section of Markdown ends before the heading that ends it, a table of TOML before the
//     next one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "syntax/bytes.h"
#include "syntax/lexical_rules.h"

namespace cambium::syntax {

/// Ids count from 1 in the order the bodies begin, so parents come before children; 0 is the file.
struct ReadBody {
  uint32_t opener = 0;  ///< byte of the '{', the ':' or the first letter of the word that opened it
  uint32_t begin = 0;   ///< first byte
  uint32_t end = 0;     ///< one past the last byte of its closer or of its last code
  uint32_t closed_at = UINT32_MAX;  ///< the byte at which the reader knew that it had ended
  uint32_t parent = 0;              ///< id
  friend bool operator==(const ReadBody&, const ReadBody&) = default;
};

/// How the places and the bodies of a text are those of another, [begin, old_end) of it having been
/// replaced by as many bytes and `bytes` more.
struct ReaderShift {
  uint32_t begin = 0, old_end = 0;
  int64_t bytes = 0;
  std::vector<std::pair<uint32_t, uint32_t>> open;  ///< ids before and after, ascending
  uint32_t known = 0;  ///< bodies with a larger id began behind the place where the readings meet
  int64_t ids = 0;     ///< what is added to those

  /// UINT32_MAX for a place among the replaced bytes, which is nowhere, and for itself.
  uint32_t place(uint32_t byte) const {
    if (byte == UINT32_MAX || (byte < old_end && byte > begin)) return UINT32_MAX;
    return byte < old_end ? byte : static_cast<uint32_t>(byte + bytes);
  }
  /// UINT32_MAX for a body that is over.
  uint32_t id(uint32_t before) const;
};

/// A value: copying it copies the whole state, so that a reading can be forked.
class BodyReader {
 public:
  explicit BodyReader(const LexicalRules& rules);

  /// Reads the next byte and returns the id of the innermost body it lies in. O(1) amortised.
  uint32_t step(char c);

  /// After a step: reads on through as many of the bytes `next` as lie in the same body and decide
  /// nothing (the rest of a word, of a comment, of white space) and returns their number. Exactly as if
  /// step() had read each; only faster.
  size_t skip(std::string_view next);
  uint32_t position() const { return pos_; }
  /// Id of the body that a following byte of white space would lie in.
  uint32_t current() const { return frames_.empty() ? 0 : frames_.back().id; }
  /// Ids of the open bodies, outermost first, without the file.
  std::vector<uint32_t> open_bodies() const;
  /// Column (a tab reaches the next multiple of 8) that the next byte has.
  int32_t column() const { return column_; }
  /// True inside a string, a comment or the like, where a bracket is only a character.
  bool in_literal() const;
  /// One past the last byte that is neither white space nor comment.
  uint32_t code_end() const { return code_end_; }

  /// Bodies that began since the reader was made or last drained; the first has id `first_id()`.
  const std::vector<ReadBody>& bodies() const { return bodies_; }
  uint32_t first_id() const { return first_id_; }
  /// Takes them out; ids go on counting.
  std::vector<ReadBody> drain();

  // --- to read a text again from the middle on (reading.cpp)

  /// The state at the start of a line, without the bodies and without what is of no use any more, so
  /// that two readings that will say the same from here on compare equal.
  BodyReader checkpoint();
  /// A reader that goes on from a checkpoint of a reading that found `bodies` in the end.
  static BodyReader resumed(const BodyReader& checkpoint, std::vector<ReadBody> bodies);
  /// A checkpoint as it would be in the other text.
  BodyReader shifted(const ReaderShift& shift) const;
  friend bool operator==(const BodyReader&, const BodyReader&) = default;

  /// Forgets the innermost `count` open bodies without a closer, and every bracket above them.
  void drop_innermost(size_t count);

 private:
  enum class Mode : uint8_t {
    code,
    line_comment,
    block_comment,
    directive,
    string,
    string_maybe_triple,
    verbatim_maybe_end,
    raw_delimiter,
    raw_string,
    hash_raw_string,
    long_open,
    long_string,
    char_first,
    char_maybe,
    char_end,
    char_escape,
    slash,
    regex,
    heredoc_intro,
    heredoc,
    dash_dash,
    markup,
    // Of several kinds of markup:
    text,     ///< the rest of the line decides nothing
    angle,    ///< after '<'
    comment,  ///< <!-- … -->
    // Markdown; `code` is the start of a line.
    hashes,     ///< a run of '#' that may begin a heading
    marker,     ///< what may be the marker of a list item
    ticks,      ///< a run that may open a fence
    info,       ///< what follows it on its line
    fence,      ///< the start of a line of fenced code
    fence_end,  ///< a run that may close it, and the white space after that
    fence_text,
    // HTML; `code` is text.
    tag_name,
    tag,
    tag_quote,
    end_tag,
    declaration,
    raw_text,  ///< of a script or a style
    // YAML; `code` is where a node may begin.
    plain,     ///< in a scalar, or after a node
    colon,     ///< after a ':', which makes a key of what is before it if white space follows
    dash,      ///< after a '-', which begins an entry if white space follows
    dashes,    ///< after "--" at the first column
    property,  ///< an anchor or a tag
    quote_end,
    literal,  ///< the start of a line of a block scalar
    literal_text,
  };
  enum class Bracket : uint8_t {
    paren,
    square,
    brace,
    word,
    indent,  ///< ends by itself: a block of Python, a table, a section, an entry
    interpolation,
    fence,
    element,
    key,      ///< as indent, but an entry in its own column is inside
    entry,    ///< an entry of YAML of which it is not known yet whether it goes on below
    literal,  ///< a block scalar
  };
  struct String {
    char quote = 0;
    Quote kind = Quote::line;
    Interpolation interpolation = Interpolation::none;
    bool triple = false, escaped = false, verbatim = false, empty = true;
    uint8_t run = 0;  ///< closing quotes seen in a row
    char previous = 0;
    friend bool operator==(const String&, const String&) = default;
  };
  struct Frame {
    Bracket bracket = Bracket::paren;
    bool candidate = false;  ///< becomes a body at the next line end
    bool body = false;
    bool loop = false;    ///< Ruby's while, until, for
    bool method = false;  ///< Ruby's def, until it is known not to be an endless one
    char closer = 0;      ///< of an interpolation or a fence
    uint32_t id = 0;      ///< innermost body inside this frame
    uint32_t opener = 0;
    int32_t indent = 0;  ///< column of the header, level of a heading, length of a fence
    uint32_t tag = 0;    ///< Bracket::element: hash of its name
    String resume;       ///< Bracket::interpolation: the string it stands in
    friend bool operator==(const Frame&, const Frame&) = default;
  };

  void read(char c);
  void code(char c);
  void open_quote(char c, Quote kind);
  void in_string(char c);
  void interpolate(char closer);
  void in_directive(char c);
  void in_heredoc(char c);
  void heredoc_intro(char c);
  void back_to_code(char c);
  bool at_heredoc(char c);
  void end_word(char next);
  void keyword(WordRole role, char next);
  void line_end();
  void begin_bodies();
  void push(Bracket bracket, bool candidate, uint32_t opener);
  void make_body(Frame& frame);
  uint32_t parent_in_order(uint32_t id) const;
  void pop_to(size_t size, uint32_t end);
  void close_bracket(char c);
  bool close_word(uint32_t end);
  void begin_logical_line(char c);
  void begin_table_line(char c);
  void directive_word();
  void significant(char c);
  bool regex_may_start() const;
  bool list_before_brace() const;
  bool is_word(char c) const {
    // A shell's word ends at its own metacharacters only.
    return rules_->hash_needs_space ? !is_space(c) && !one_of(c, ";&|()<>\"'`{}\\#$")
                                    : is_word_byte(c);
  }
  bool on_bracket() const;

  // body_reader_markup.cpp and body_reader_yaml.cpp. Each read_…() decides what can be decided with this
  // byte, before it is labelled, and returns whether the byte closes something that it still lies in.
  uint32_t step_markup(char c);
  size_t skip_markup(std::string_view next);
  void markup_line_end();
  bool read_comment(char c);
  bool read_headings(char c);
  void heading_line_start(char c);
  void plain_line(char c);
  void open_section(int32_t level, uint32_t opener);
  size_t sections_above(int32_t level) const;
  bool read_tags(char c);
  void begin_element();
  void close_element();
  bool read_keys(char c);
  bool key_node(char c);
  bool key_plain(char c);
  void begin_key_line(char c);
  int32_t begin_value(bool may_be_key);
  void keys_line_end();
  bool in_flow() const {
    return !frames_.empty() &&
           (frames_.back().bracket == Bracket::square || frames_.back().bracket == Bracket::brace);
  }
  /// The innermost frame if its line, which is being read, opened it.
  Frame* opened_here() {
    return frames_.empty() || frames_.back().body || !frames_.back().candidate ? nullptr
                                                                               : &frames_.back();
  }

  const LexicalRules* rules_;
  std::vector<Frame> frames_;
  std::vector<ReadBody> bodies_;
  std::vector<uint32_t> conditionals_;  ///< frames open at each #if, less what was closed since
  std::vector<std::string> heredocs_;   ///< that begin at the next line end
  uint32_t first_id_ = 1, next_id_ = 1;
  uint32_t pos_ = 0;
  uint32_t code_end_ = 0;  ///< one past the last byte that is neither white space nor comment
  uint32_t significant_at_ = 0;
  uint32_t word_begin_ = 0;
  int32_t column_ = 0;
  int32_t header_indent_ = 0;  ///< column of the logical line
  uint32_t comment_depth_ = 0;
  uint32_t label_ = 0;         ///< of the last byte that was stepped over
  uint32_t comment_body_ = 0;  ///< of the comment line being read
  uint32_t overflow_ = 0;      ///< brackets beyond the depth that is kept
  size_t pending_ = 0;         ///< no frame below this index is a candidate that is not a body yet
  String string_;
  std::string word_;        ///< being read, or the last one
  std::string first_word_;  ///< of the statement
  std::string delimiter_;   ///< of a raw string or a heredoc
  size_t matched_ = 0;      ///< bytes of the closing delimiter seen
  Mode mode_ = Mode::code;
  Mode comment_return_ = Mode::code;
  char previous_ = 0;        ///< the byte before
  char significant_ = 0;     ///< the last byte of code that is not white space
  char before_word_ = 0;     ///< the byte before the word
  char operand_before_ = 0;  ///< the byte of code before the word
  uint8_t run_ = 0;          ///< '<' or '#' in a row
  bool in_word_ = false, line_start_ = true, statement_start_ = true, continued_ = false;
  bool word_starts_statement_ = false, regex_allowed_ = false, regex_class_ = false;
  bool escaped_ = false, comment_line_ = false, long_comment_ = false, name_follows_ = false;
  bool contained_ = false;  ///< Markdown: behind the marker of a list item
  bool scalar_ = false;     ///< YAML: what the entry of this line holds is a scalar, so far
};

}  // namespace cambium::syntax
