#include "lsp/assist/token_structure.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "lsp/assist/prompt.h"
#include "syntax/languages.h"
#include "syntax/middle_labeler.h"
#include "tests/support/cursor.h"
#include "tests/support/fake_generator.h"

using namespace cambium;
using assist::AlignedSequence;
using assist::TokenSpan;
using engine::FimOrder;
using engine::TokenLabel;
using test::FakeTokenizer;

namespace {

engine::PromptFormat format(bool spm) { return test::FakeGenerator({}, spm).format_; }

/// A random program: nested blocks with statements, in C's or Python's layout.
std::string program(std::mt19937& random, bool python) {
  std::string text;
  int depth = 0;
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int i = 0, n = 5 + pick(60); i < n; ++i) {
    std::string indent(static_cast<size_t>(depth) * 2, ' ');
    switch (pick(5)) {
      case 0:
        text += indent + (python ? "if alpha > 1:\n" : "if (alpha > 1) {\n");
        ++depth;
        if (python) text += indent + "  beta = 2\n";
        break;
      case 1:
        if (depth > 0) {
          --depth;
          if (!python) text += std::string(static_cast<size_t>(depth) * 2, ' ') + "}\n";
        }
        break;
      case 2:
        text += "\n";
        break;
      default:
        text += indent + "gamma(delta, 42)" + (python ? "\n" : ";\n");
    }
  }
  return text;
}

/// What align() promises, said slowly: every token by itself, the innermost scope by trying them all.
TokenLabel expected_label(const syntax::ScopeMap& map, uint32_t byte, int32_t place) {
  const syntax::ScopeLabel label = map.label_at(byte);
  return {label.scope, label.last, place};
}

}  // namespace

TEST_CASE("both orders: every token has its scope and its place") {
  std::mt19937 random(7);
  const FakeTokenizer tokenizer;
  for (int round = 0; round < 200; ++round) {
    const bool python = round % 2 == 0;
    const auto* language = syntax::language_by_id(python ? "python" : "cpp");
    const std::string text = program(random, python);
    const size_t cursor = text.empty() ? 0 : random() % (text.size() + 1);
    const bool spm = round % 4 < 2;
    syntax::MiddleLabeler labeler(language, std::string_view(text).substr(0, cursor),
                                  std::string_view(text).substr(cursor));
    const syntax::ScopeMap& map = labeler.map();
    const syntax::ScopeLabel at_cursor = syntax::MiddleLabeler(labeler).feed({});
    const TokenSpan prefix = assist::encode_span(tokenizer, text, 0, cursor);
    const TokenSpan suffix = assist::encode_span(tokenizer, text, cursor, text.size());
    const auto fim = format(spm);
    const auto layout =
        assist::file_layout(fim, tokenizer, spm ? FimOrder::spm : FimOrder::psm, "src/a.py");
    REQUIRE(layout.has_value());
    const AlignedSequence got = assist::align(*layout, prefix, suffix, map, at_cursor);

    REQUIRE(got.tokens.size() == got.structure.size());
    REQUIRE(got.tokens.size() == prefix.size() + suffix.size() + layout->size() - 2);
    const auto n_prefix = static_cast<int32_t>(prefix.size());
    int32_t after = n_prefix;
    while (after % assist::kPlaceStep != 0) ++after;
    size_t i = 0, at_prefix = 0, at_suffix = 0;
    for (const auto& part : *layout) {
      using Kind = engine::PromptFormat::Part::Kind;
      if (part.kind == Kind::special) {
        CHECK(got.tokens[i] == part.special);
        const bool last = i + 1 == got.tokens.size();
        if (last && !spm) {
          CHECK(got.structure.at(i) == TokenLabel{at_cursor.scope, at_cursor.last, n_prefix});
        } else {
          CHECK(got.structure.scope[i] == 0);
          CHECK(got.structure.last[i] == INT32_MAX);
        }
        ++i;
        continue;
      }
      const TokenSpan& side = part.kind == Kind::prefix ? prefix : suffix;
      for (size_t k = 0; k < side.size(); ++k, ++i) {
        const int32_t place = part.kind == Kind::prefix ? static_cast<int32_t>(at_prefix++)
                                                        : after + static_cast<int32_t>(at_suffix++);
        REQUIRE(got.tokens[i] == side.ids[k]);
        REQUIRE(got.structure.at(i) == expected_label(map, side.bytes[k], place));
      }
    }
    CHECK(got.middle == TokenLabel{at_cursor.scope, at_cursor.last, n_prefix});
  }
}

TEST_CASE("the sequences of both orders") {
  const test::Marked at = test::marked("ab(<|>)");
  test::FakeGenerator model({}, true);
  const TokenSpan prefix = assist::encode_span(model.tokenizer_, at.text, 0, at.cursor);
  const TokenSpan suffix =
      assist::encode_span(model.tokenizer_, at.text, at.cursor, at.text.size());
  const syntax::ScopeMap map = syntax::ScopeMap::whole_file(static_cast<uint32_t>(at.text.size()));
  const auto sequence = [&](FimOrder order, std::string_view path) {
    model.format_.fim->spm = order == FimOrder::spm;
    const auto layout = assist::file_layout(model.format_, model.tokenizer_, order, path);
    return model.as_text(assist::align(*layout, prefix, suffix, map, {}).tokens);
  };
  CHECK(sequence(FimOrder::psm, "") == "<BOS><PRE>ab(<SUF>)<MID>");
  CHECK(sequence(FimOrder::spm, "") == "<BOS><PRE><SUF>)<MID>ab(");
  CHECK(sequence(FimOrder::spm, "/home/someone/a.py") == "<BOS><FILE>a.py\n<PRE><SUF>)<MID>ab(");
  CHECK(sequence(FimOrder::psm, "C:\\x\\b.cpp") == "<BOS><FILE>b.cpp\n<PRE>ab(<SUF>)<MID>");
  model.format_.bos.reset();
  CHECK(sequence(FimOrder::psm, "b.cpp") == "<FILE>b.cpp\n<PRE>ab(<SUF>)<MID>");
}

TEST_CASE("typing moves the suffix's places once in kPlaceStep tokens") {
  CHECK(assist::suffix_place(0) == 0);
  CHECK(assist::suffix_place(1) == assist::kPlaceStep);
  CHECK(assist::suffix_place(assist::kPlaceStep) == assist::kPlaceStep);
  CHECK(assist::suffix_place(assist::kPlaceStep + 1) == 2 * assist::kPlaceStep);
}

TEST_CASE("CRLF is shown as LF and offsets stay those of the document") {
  const FakeTokenizer tokenizer;
  const std::string text = "ab\r\n\r\n  cd\rx\r\n";
  const TokenSpan span = assist::encode_span(tokenizer, text, 0, text.size());
  CHECK(tokenizer.decode(span.ids) == "ab\n\n  cd\rx\n");
  for (size_t i = 0; i < span.size(); ++i) {
    const std::string_view piece = tokenizer.piece(span.ids[i]);
    CAPTURE(i);
    const char first = text[span.bytes[i]];
    CHECK(first == (piece[0] == '\n' ? '\r' : piece[0]));
  }
  const TokenSpan part = assist::encode_span(tokenizer, text, 6, 10);
  CHECK(tokenizer.decode(part.ids) == "  cd");
  CHECK(part.bytes.front() == 6);
}
