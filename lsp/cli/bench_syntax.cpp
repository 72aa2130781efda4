#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/token_structure.h"
#include "lsp/cli/bench.h"
#include "syntax/bench.h"
#include "syntax/languages.h"
#include "syntax/middle_labeler.h"

namespace cambium::cli {

void bench_syntax(Figures& figures) {
  const syntax::BenchFigures found = syntax::bench_syntax(10'000, 200);
  const auto add = [&](const char* name, double ms, double goal = 0) {
    figures.push_back({"syntax", name, ms, "ms", goal});
  };
  add("a file of 10,000 lines opened: until it is parsed", found.open_ms);
  add("a character typed in it: reparse and scopes, p50", found.type.p50_ms);
  add("a character typed in it: reparse and scopes, p99", found.type.p99_ms, 5);
  add("a bracket or quote: a request waits for its scopes, worst", found.break_wait.max_ms, 10);
  add("a bracket or quote: the parse behind it is done, p99", found.break_parse.p99_ms);
  add("does a suggestion add errors? one check, mean", found.check_ms);
}

void bench_alignment(const engine::Generator& model, Figures& figures) {
  constexpr size_t kTokens = 4096;
  const std::string text = syntax::generated_source(2000);
  const engine::Tokenizer& tokenizer = *model.tokenizer();
  const size_t cursor = text.find("return total", text.size() / 2);
  const syntax::MiddleLabeler labeler(syntax::language_by_id("cpp"),
                                      std::string_view(text).substr(0, cursor),
                                      std::string_view(text).substr(cursor));
  assist::TokenSpan prefix = assist::encode_span(tokenizer, text, 0, cursor);
  assist::TokenSpan suffix = assist::encode_span(tokenizer, text, cursor, text.size());
  const size_t before = std::min(prefix.size(), kTokens * 2 / 3);
  prefix.ids.erase(prefix.ids.begin(), prefix.ids.end() - static_cast<std::ptrdiff_t>(before));
  prefix.bytes.erase(prefix.bytes.begin(),
                     prefix.bytes.end() - static_cast<std::ptrdiff_t>(before));
  suffix.ids.resize(std::min(suffix.size(), kTokens - before));
  suffix.bytes.resize(suffix.ids.size());
  const auto layout = assist::file_layout(
      *model.prompt_format(), tokenizer,
      model.prompt_format()->fim && model.prompt_format()->fim->spm ? engine::FimOrder::spm
                                                                    : engine::FimOrder::psm,
      "sample.cpp");
  if (!layout) return;
  Samples times;
  for (int i = 0; i < 200; ++i) {
    const Stopwatch watch;
    const auto sequence = assist::align(*layout, prefix, suffix, labeler.map(), {});
    if (sequence.tokens.size() < before) return;
    times.add(watch.ms());
  }
  figures.push_back(
      {"alignment",
       "scopes to " + std::to_string(prefix.size() + suffix.size()) + " tokens, median",
       times.median(), "ms", 0.5});
}

}  // namespace cambium::cli
