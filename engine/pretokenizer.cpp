#include "engine/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace cambium::engine {

namespace {

// White_Space of Unicode, spelled out: PCRE2's own \s also takes U+180E, which left that property
// long before these models were trained. For use inside brackets.
#define SPACE \
  R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
#define CONTRACTION "'(?:[sdmt]|ll|ve|re)"

// The families' splits. Where a family applies several in sequence ("isolated": a match becomes a
// piece, what lies between matches too), they stand in a list, or, if that is the same thing,
// merged into one. Merging a first split \p{N} means that a later look-ahead "no more text" has to
// count a number as the end.
constexpr const char* kGpt2 =
    CONTRACTION R"(| ?\p{L}+| ?\p{N}+| ?[^)" SPACE R"(\p{L}\p{N}]+|[)" SPACE R"(]+(?![^)" SPACE
                R"(])|[)" SPACE R"(]+)";
constexpr const char* kStarcoder =
    R"(\p{N}|)" CONTRACTION R"(| ?\p{L}+| ?[^)" SPACE R"(\p{L}\p{N}]+|[)" SPACE R"(]+(?![^)" SPACE
    R"(\p{N}])|[)" SPACE R"(]+)";
#define LLAMA3(DIGITS)                                                                       \
  R"((?i:)" CONTRACTION R"()|[^\r\n\p{L}\p{N}]?\p{L}+|)" DIGITS R"(| ?[^)" SPACE             \
  R"(\p{L}\p{N}]+[\r\n]*|[)" SPACE R"(]*[\r\n]+|[)" SPACE R"(]+(?![^)" SPACE R"(])|[)" SPACE \
  R"(]+)"
constexpr const char* kLlama3 = LLAMA3(R"(\p{N}{1,3})");
constexpr const char* kQwen2 = LLAMA3(R"(\p{N})");

#define WIDE R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)"
constexpr const char* kWide = WIDE;

constexpr const char* kCoderLetters = "[" SPACE R"(]?\p{L}+)";
constexpr const char* kCoderPunctuation = "[" SPACE R"(]?\p{P}+)";
constexpr const char* kCoderDigit = R"(\p{N})";
constexpr const char* kCoderAscii =
    R"([\t-\r ]?[A-Za-z]+|[\t-\r ]?[!-#%-*,\-./:;?@[-\]_{}]+|[0-9])";

// Letters with case, as of the Unicode version that family's tokenizer was written with.
constexpr const char* kLlmLetters =
    "[" SPACE
    R"(]?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4})"
    R"(\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17})"
    R"(\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3})"
    R"(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943}]+)";
constexpr const char* kLlmPunctuation =
    "[" SPACE R"(]?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr const char* kLlmTrailingSpace = "[" SPACE R"(]+\z)";
constexpr const char* kLlmDigits = R"(\p{N}+)";
constexpr const char* kLlmAscii = R"([\t-\r ]?[A-Za-z]+|[\t-\r ]?[!-/:-@[-`{-~]+|[0-9]+)";

constexpr const char* kV3Digits = R"(\p{N}{1,3})";
constexpr const char* kV3Wide = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr const char* kV3Rest =
    R"([!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|[)" SPACE
    R"(]*[\r\n]+|[)" SPACE R"(]+(?![^)" SPACE R"(])|[)" SPACE R"(]+)";
constexpr const char* kV3Ascii =
    R"([0-9]{1,3}|[!-/:-@[-`{-~][A-Za-z]+|[^\r\nA-Za-z0-9!-/:-@[-`{-~]?[A-Za-z]+)"
    R"(| ?[!-/:-@[-`{-~]+[\r\n]*|[\t-\r ]*[\r\n]+|[\t-\r ]+(?![^\t-\r 0-9])|[\t-\r ]+)";

struct Family {
  std::array<std::string_view, 4> names;  // the first is the one shown
  bool ignores_merges;
  bool isolates_lines;
  std::array<const char*, 6> sequence;
  const char* ascii;
};
constexpr Family kFamilies[] = {
    {{"deepseek-coder"},
     false,
     true,
     {kCoderLetters, kCoderPunctuation, kWide, kCoderDigit},
     kCoderAscii},
    {{"deepseek-llm"},
     false,
     true,
     {kLlmLetters, kLlmPunctuation, kLlmTrailingSpace, kWide, kLlmDigits},
     kLlmAscii},
    {{"deepseek-v3"}, false, false, {kV3Digits, kV3Wide, kV3Rest}, kV3Ascii},
    {{"qwen2", "deepseek-r1-qwen"}, false, false, {kQwen2}, nullptr},
    {{"llama-bpe", "llama3", "llama-v3"}, true, false, {kLlama3}, nullptr},
    {{"starcoder", "refact", "command-r", "smollm"}, false, false, {kStarcoder}, nullptr},
    {{"gpt-2", "gpt2"}, false, false, {kGpt2}, nullptr},
};

/// Length of the valid UTF-8 sequence at the start of `s`, 0 if there is none (Unicode, table 3-7).
size_t sequence_length(std::string_view s) {
  const auto at = [&](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : 0u; };
  const auto tail = [&](size_t i) { return (at(i) & 0xc0u) == 0x80u; };
  const unsigned c = at(0), d = at(1);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f)) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    if ((c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f)) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// First offset >= `from` that is no start of a valid sequence, or the size.
size_t valid_until(std::string_view s, size_t from) {
  size_t i = from;
  while (i < s.size()) {
    uint64_t word;
    if (s.size() - i >= 8) {
      std::memcpy(&word, s.data() + i, 8);
      if ((word & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const size_t n = sequence_length(s.substr(i));
    if (n == 0) return i;
    i += n;
  }
  return i;
}

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

/// ASCII without control characters but the usual white space: what the `ascii` patterns of
/// families that isolate lines are exact for.
bool is_plain(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\t'; });
}

}  // namespace

struct Pretokenizer::Pattern {
  pcre2_code* code = nullptr;
  bool wide_only = false;  ///< matches nothing in ASCII text

  explicit Pattern(const char* source) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source), PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
    // Without JIT support in the library matching falls back to its interpreter by itself.
    if (code) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    wide_only = source == kWide || source == kV3Wide;
  }
  Pattern(Pattern&& other) noexcept : code(other.code), wide_only(other.wide_only) {
    other.code = nullptr;
  }
  Pattern& operator=(Pattern&&) = delete;
  ~Pattern() { pcre2_code_free(code); }

  /// Appends the ends of the pieces of `text`: matches, and what lies between them.
  void split(std::string_view text, uint32_t base, std::vector<uint32_t>& ends,
             pcre2_match_data* match) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match);
    size_t done = 0;
    while (done < text.size()) {
      const int n =
          pcre2_match(code, subject, text.size(), done, PCRE2_NO_UTF_CHECK, match, nullptr);
      // None of the patterns matches the empty string; a failure (memory for backtracking) leaves
      // the rest as one piece, which is still a correct cover of the text.
      if (n < 0 || bounds[1] <= bounds[0]) break;
      if (bounds[0] > done) ends.push_back(base + static_cast<uint32_t>(bounds[0]));
      ends.push_back(base + static_cast<uint32_t>(bounds[1]));
      done = bounds[1];
    }
    if (done < text.size()) ends.push_back(base + static_cast<uint32_t>(text.size()));
  }
};

struct Pretokenizer::Scratch {
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  std::vector<uint32_t> from, to;
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { pcre2_match_data_free(match); }
};

Pretokenizer::Pretokenizer() = default;
Pretokenizer::~Pretokenizer() = default;

Result<std::unique_ptr<const Pretokenizer>> Pretokenizer::create(std::string_view name) {
  const auto family =
      std::find_if(std::begin(kFamilies), std::end(kFamilies), [&](const Family& f) {
        return std::find(f.names.begin(), f.names.end(), name) != f.names.end();
      });
  if (family == std::end(kFamilies) || name.empty()) {
    std::string known;
    for (const Family& f : kFamilies)
      known += (known.empty() ? "" : ", ") + std::string(f.names[0]);
    return fail(ErrorCode::unsupported, "the pre-tokenizer '" + std::string(name) +
                                            "' is not known; supported are " + known);
  }
  std::unique_ptr<Pretokenizer> result(new Pretokenizer);
  result->ignores_merges_ = family->ignores_merges;
  result->isolates_lines_ = family->isolates_lines;
  for (const char* source : family->sequence) {
    if (source) result->sequence_.emplace_back(source);
  }
  if (family->ascii) result->ascii_ = std::make_unique<Pattern>(family->ascii);
  const auto broken = [](const Pattern& p) { return p.code == nullptr; };
  if (std::any_of(result->sequence_.begin(), result->sequence_.end(), broken) ||
      (result->ascii_ && broken(*result->ascii_))) {
    return fail(ErrorCode::out_of_memory, "the pre-tokenizer '" + std::string(name) +
                                              "' could not be compiled by the PCRE2 library");
  }
  return std::unique_ptr<const Pretokenizer>(std::move(result));
}

void Pretokenizer::split_sequence(std::string_view text, uint32_t base, std::vector<uint32_t>& ends,
                                  Scratch& scratch) const {
  if (sequence_.size() == 1) return sequence_[0].split(text, base, ends, scratch.match);
  scratch.from.assign(1, static_cast<uint32_t>(text.size()));
  const bool ascii = is_ascii(text);
  for (const Pattern& pattern : sequence_) {
    if (pattern.wide_only && ascii) continue;
    scratch.to.clear();
    uint32_t begin = 0;
    for (const uint32_t end : scratch.from) {
      pattern.split(text.substr(begin, end - begin), begin, scratch.to, scratch.match);
      begin = end;
    }
    std::swap(scratch.from, scratch.to);
  }
  for (const uint32_t end : scratch.from) ends.push_back(base + end);
}

void Pretokenizer::split_valid(std::string_view text, uint32_t base, std::vector<uint32_t>& ends,
                               Scratch& scratch) const {
  if (!isolates_lines_) {
    if (ascii_ && is_ascii(text)) return ascii_->split(text, base, ends, scratch.match);
    return split_sequence(text, base, ends, scratch);
  }
  size_t begin = 0;
  while (begin < text.size()) {
    if (text[begin] == '\r' || text[begin] == '\n') {
      ends.push_back(base + static_cast<uint32_t>(++begin));
      continue;
    }
    const size_t end = std::min(text.find_first_of("\r\n", begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const auto offset = base + static_cast<uint32_t>(begin);
    if (is_plain(line))
      ascii_->split(line, offset, ends, scratch.match);
    else
      split_sequence(line, offset, ends, scratch);
    begin = end;
  }
}

void Pretokenizer::split(std::string_view text, uint32_t base, std::vector<uint32_t>& ends) const {
  Scratch scratch;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = valid_until(text, begin);
    if (end > begin) {
      split_valid(text.substr(begin, end - begin), base + static_cast<uint32_t>(begin), ends,
                  scratch);
    }
    if (end < text.size()) ends.push_back(base + static_cast<uint32_t>(end + 1));
    begin = end + 1;
  }
}

}  // namespace cambium::engine
