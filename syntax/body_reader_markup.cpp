// The part of BodyReader that reads Markdown and HTML, and what YAML (body_reader_yaml.cpp) shares with them.
#include <algorithm>
#include <array>

#include "syntax/body_reader.h"
#include "syntax/bytes.h"

namespace cambium::syntax {
namespace {

constexpr uint8_t kMaxLevel = 6;        // of a heading
constexpr size_t kMaxElements = 1'000;  // deeper ones are not kept
constexpr size_t kMaxTag = 32;          // bytes of a name that is looked at

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// FNV-1a. Two names with one hash would close each other, which costs a scope its end and nothing else.
constexpr uint32_t hash(std::string_view name) {
  uint32_t out = 2166136261U;
  for (const char c : name) out = (out ^ static_cast<unsigned char>(c)) * 16777619U;
  return out;
}

template <size_t N>
constexpr std::array<uint32_t, N> hashes(const std::string_view (&names)[N]) {
  std::array<uint32_t, N> out{};
  for (size_t i = 0; i < N; ++i) out[i] = hash(names[i]);
  return out;
}

template <size_t N>
bool contains(const std::array<uint32_t, N>& names, uint32_t name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr auto kVoid =
    hashes({"area",     "base", "basefont", "bgsound", "br",     "col",     "command", "embed",
            "frame",    "hr",   "image",    "img",     "input",  "isindex", "keygen",  "link",
            "menuitem", "meta", "nextid",   "param",   "source", "track",   "wbr"});
constexpr auto kEndsParagraph = hashes(
    {"address", "article", "aside", "blockquote", "details", "div", "dl",  "fieldset", "figcaption",
     "figure",  "footer",  "form",  "h1",         "h2",      "h3",  "h4",  "h5",       "h6",
     "header",  "hr",      "main",  "nav",        "ol",      "p",   "pre", "section"});
constexpr auto kRuby = hashes({"rb", "rt", "rp"});
constexpr auto kTerms = hashes({"dt", "dd"});
constexpr auto kCells = hashes({"td", "th", "tr"});

/// The elements whose end tag may be left out, as tree-sitter-html knows them.
bool may_contain(uint32_t outer, uint32_t inner) {
  switch (outer) {
    case hash("li"):
    case hash("optgroup"):
    case hash("tr"):
      return inner != outer;
    case hash("dt"):
    case hash("dd"):
      return !contains(kTerms, inner);
    case hash("p"):
      return !contains(kEndsParagraph, inner);
    case hash("colgroup"):
      return inner == hash("col");
    case hash("rb"):
    case hash("rt"):
    case hash("rp"):
      return !contains(kRuby, inner);
    case hash("td"):
    case hash("th"):
      return !contains(kCells, inner);
    default:
      return true;
  }
}

}  // namespace

uint32_t BodyReader::step_markup(char c) {
  const bool closes = rules_->layout == Layout::headings ? read_headings(c)
                      : rules_->layout == Layout::tags   ? read_tags(c)
                                                         : read_keys(c);
  const uint32_t label = label_ = comment_line_ ? comment_body_ : current();
  if (closes) {
    if (rules_->layout == Layout::tags)
      close_element();
    else
      close_bracket(c);
  }
  if (c == '\n') markup_line_end();
  if (!is_space(c)) line_start_ = false;
  column_ = c == '\n' ? 0 : c == '\t' ? (column_ / 8 + 1) * 8 : column_ + 1;
  previous_ = c;
  ++pos_;
  return label;
}

size_t BodyReader::skip_markup(std::string_view next) {
  const auto until = [&](std::string_view stops) {
    return std::min(next.find_first_of(stops), next.size());
  };
  size_t n = 0;
  bool is_code = true;
  switch (mode_) {
    case Mode::text:
    case Mode::fence_text:
    case Mode::literal_text:
      n = until("\n");
      break;
    case Mode::line_comment:
      n = until("\n");
      is_code = false;
      break;
    case Mode::comment:
      if (matched_ == 0) n = until("-\n");
      is_code = false;
      break;
    case Mode::code:
      if (rules_->layout == Layout::tags) n = until("<\n");
      break;
    case Mode::raw_text:
      if (matched_ == 0) n = until("<\n");
      break;
    case Mode::plain:  // columns are asked for within a line, too, so that a tab is stepped over
      n = until(":#,[]{}\t\n");
      break;
    default:
      break;
  }
  if (n == 0) return 0;
  if (const size_t last = next.substr(0, n).find_last_not_of(" \t\r\f"); last != next.npos) {
    if (is_code) code_end_ = pos_ + static_cast<uint32_t>(last) + 1;
    line_start_ = false;
  }
  column_ += static_cast<int32_t>(n);
  previous_ = next[n - 1];
  pos_ += static_cast<uint32_t>(n);
  return n;
}

void BodyReader::markup_line_end() {
  if (rules_->layout == Layout::headings) {
    switch (mode_) {
      case Mode::info:
      case Mode::fence:
      case Mode::fence_end:
      case Mode::fence_text:
        mode_ = Mode::fence;
        break;
      case Mode::comment:
        break;
      default:
        mode_ = Mode::code;
    }
    contained_ = false;
    matched_ = 0;
  } else if (rules_->layout == Layout::keys) {
    keys_line_end();
  }
  begin_bodies();
  if (rules_->layout == Layout::keys && !frames_.empty() &&
      frames_.back().bracket == Bracket::literal)
    mode_ = Mode::literal;
  comment_line_ = false;
  line_start_ = true;
}

/// Inside <!-- … -->; true at its last byte. matched_: the '-' seen in a row, two at most.
bool BodyReader::read_comment(char c) {
  const bool ends = c == '>' && matched_ == 2;
  matched_ = c == '-' ? std::min<size_t>(matched_ + 1, 2) : 0;
  return ends;
}

// --- Markdown -----------------------------------------------------------------------------------

// How many of the open sections a heading of this level leaves open.
size_t BodyReader::sections_above(int32_t level) const {
  size_t i = frames_.size();
  while (i > 0 && frames_[i - 1].indent >= level) --i;
  return i;
}

void BodyReader::open_section(int32_t level, uint32_t opener) {
  pop_to(sections_above(level), code_end_);
  push(Bracket::indent, true, opener);
  frames_.back().indent = level;
  mode_ = Mode::text;
}

void BodyReader::plain_line(char c) {
  mode_ = Mode::text;
  if (!is_space(c)) code_end_ = pos_ + 1;
}

// The first byte of a line that is not white space, or the first behind the marker of a list item.
void BodyReader::heading_line_start(char c) {
  const bool shallow = !contained_ && column_ <= 3;
  matched_ = 1;
  significant_ = c;
  if (c == '#' && shallow) {
    // A heading of level n has n of these, and belongs to the body around the sections of that level. Up to
    // the k-th it may be one of level k; the body that would stand in is around the other, too.
    run_ = 1;
    comment_line_ = true;
    comment_body_ = 0;
    mode_ = Mode::hashes;
  } else if (c == '`' || c == '~' || (pos_ == 0 && (c == '-' || c == '+'))) {
    mode_ = Mode::ticks;
  } else if (one_of(c, "-*+") || is_digit(c)) {
    code_end_ = pos_ + 1;
    mode_ = Mode::marker;
  } else if (c == '<' && shallow) {
    mode_ = Mode::angle;
  } else {
    plain_line(c);
  }
}

// matched_: the bytes of the run that is being read. Always false: what closes a body is its line end.
bool BodyReader::read_headings(char c) {
  switch (mode_) {
    case Mode::code:
      if (!is_space(c)) heading_line_start(c);
      break;
    case Mode::hashes:
      if (c == '#') {
        run_ = std::min<uint8_t>(run_ + 1, kMaxLevel + 1);
        const size_t above = run_ <= kMaxLevel ? sections_above(run_) : frames_.size();
        comment_body_ = above > 0 ? frames_[above - 1].id : 0;
        break;
      }
      comment_line_ = false;
      if (is_space(c) && run_ <= kMaxLevel) {
        open_section(run_, pos_ - run_);
        code_end_ = pos_;
      } else {
        plain_line(c);
      }
      break;
    case Mode::marker:
      if (is_digit(previous_) && (is_digit(c) || c == '.' || c == ')')) {
        code_end_ = pos_ + 1;
      } else if (is_space(c) && !is_digit(previous_)) {
        contained_ = true;
        mode_ = Mode::code;
      } else {
        plain_line(c);
      }
      break;
    case Mode::ticks: {
      if (c == significant_) {
        ++matched_;
        break;
      }
      const bool front = significant_ == '-' || significant_ == '+';
      if (front ? matched_ == 3 && is_space(c) : matched_ >= 3) {
        push(Bracket::fence, true, pos_ - static_cast<uint32_t>(matched_));
        frames_.back().closer = significant_;
        frames_.back().indent = static_cast<int32_t>(matched_);
        code_end_ = pos_ + (is_space(c) ? 0 : 1);
        mode_ = Mode::info;
      } else if (front && matched_ == 1 && is_space(c)) {
        contained_ = true;
        mode_ = Mode::code;
      } else {
        plain_line(c);
      }
      break;
    }
    case Mode::info: {
      const char fence = frames_.back().closer;
      if (fence == '`' ? c == '`' : fence != '~' && !is_space(c)) {  // a span of code; a rule
        pop_to(frames_.size() - 1, pos_);
        plain_line(c);
      } else if (!is_space(c)) {
        code_end_ = pos_ + 1;
      }
      break;
    }
    case Mode::fence:
      if (is_space(c)) break;
      code_end_ = pos_ + 1;
      matched_ = 1;
      mode_ = c == frames_.back().closer ? Mode::fence_end : Mode::fence_text;
      break;
    case Mode::fence_end: {
      const Frame& fence = frames_.back();
      if (c == fence.closer && previous_ == c) {
        code_end_ = pos_ + 1;
        ++matched_;
      } else if (c == '\n') {
        const auto size = static_cast<int32_t>(std::min<size_t>(matched_, INT32_MAX));
        const bool front = fence.closer == '-' || fence.closer == '+';
        if (front ? size != 3 : size < fence.indent) break;
        pop_to(frames_.size() - 1, code_end_);
        mode_ = Mode::text;
      } else if (!is_space(c)) {
        code_end_ = pos_ + 1;
        mode_ = Mode::fence_text;
      }
      break;
    }
    case Mode::angle: {
      constexpr std::string_view kOpen = "<!--";
      if (c != kOpen[matched_]) {
        plain_line(c);
      } else if (++matched_ == kOpen.size()) {
        matched_ = 0;
        mode_ = Mode::comment;
      }
      break;
    }
    case Mode::comment:
      if (read_comment(c)) mode_ = Mode::text;
      break;
    default:
      if (!is_space(c)) code_end_ = pos_ + 1;
  }
  return false;
}

// --- HTML ---------------------------------------------------------------------------------------

// The name of a start tag is known. An element whose end tag may be left out ends before it.
void BodyReader::begin_element() {
  const uint32_t tag = hash(word_);
  size_t i = frames_.size();
  while (i > 0 && frames_[i - 1].bracket == Bracket::element &&
         !may_contain(frames_[i - 1].tag, tag))
    --i;
  pop_to(i, code_end_);
  significant_ = 0;
  mode_ = Mode::tag;
}

void BodyReader::close_element() {
  const uint32_t tag = hash(word_);
  for (size_t i = frames_.size(); i-- > 0;) {
    if (frames_[i].tag != tag) continue;
    pop_to(i + 1, pos_);
    pop_to(i, pos_ + 1);
    return;
  }
}

bool BodyReader::read_tags(char c) {
  switch (mode_) {
    case Mode::code:
      if (c == '<')
        mode_ = Mode::angle;
      else if (!is_space(c))
        code_end_ = pos_ + 1;
      return false;
    case Mode::angle:
      word_.clear();
      matched_ = 0;
      if (is_letter(c)) {
        word_ += lower(c);
        mode_ = Mode::tag_name;
      } else if (c == '/') {
        mode_ = Mode::end_tag;
      } else if (c == '!' || c == '?') {
        mode_ = Mode::declaration;
      } else {
        mode_ = c == '<' ? Mode::angle : Mode::code;
        code_end_ = pos_ + (is_space(c) ? 0 : 1);
      }
      return false;
    case Mode::tag_name:
      if (!is_space(c) && !one_of(c, "/><")) {
        if (word_.size() < kMaxTag) word_ += lower(c);
        return false;
      }
      begin_element();
      return read_tags(c);
    case Mode::tag: {
      if (c == '<') {  // the tag before was never finished
        mode_ = Mode::angle;
        return false;
      }
      if ((c == '"' || c == '\'') && significant_ == '=') {
        string_.quote = c;
        mode_ = Mode::tag_quote;
        return false;
      }
      if (!is_space(c)) significant_ = c;
      if (c != '>') return false;
      code_end_ = pos_ + 1;
      mode_ = Mode::code;
      const uint32_t tag = hash(word_);
      if (previous_ == '/' || contains(kVoid, tag) || frames_.size() >= kMaxElements) return false;
      push(Bracket::element, true, pos_);
      frames_.back().tag = tag;
      if (word_ == "script" || word_ == "style") {
        delimiter_ = "</" + word_;
        matched_ = 0;
        mode_ = Mode::raw_text;
      }
      return false;
    }
    case Mode::tag_quote:
      if (c != string_.quote) return false;
      significant_ = c;
      mode_ = Mode::tag;
      return false;
    case Mode::end_tag:
      if (c == '<') {
        mode_ = Mode::angle;
        return false;
      }
      if (c == '>') {
        code_end_ = pos_ + 1;
        mode_ = Mode::code;
        return true;
      }
      if (!is_space(c) && word_.size() < kMaxTag) word_ += lower(c);
      return false;
    case Mode::declaration:  // matched_: the '-' after "<!"
      if (c == '-' && matched_ < 2) {
        if (++matched_ == 2 && previous_ == '-') {
          matched_ = 0;
          mode_ = Mode::comment;
        }
      } else if (c == '>') {
        code_end_ = pos_ + 1;
        mode_ = Mode::code;
      } else {
        matched_ = 2;  // too late for a comment
      }
      return false;
    case Mode::comment:
      if (read_comment(c)) mode_ = Mode::code;
      return false;
    case Mode::raw_text:  // matched_: the bytes of the end tag seen
      if (lower(c) == delimiter_[matched_]) {
        if (++matched_ < delimiter_.size()) return false;
        word_ = delimiter_.substr(2);
        mode_ = Mode::end_tag;
        return false;
      }
      matched_ = c == '<' ? 1 : 0;
      if (!is_space(c) && matched_ == 0) code_end_ = pos_ + 1;
      return false;
    default:
      return false;
  }
}

}  // namespace cambium::syntax
