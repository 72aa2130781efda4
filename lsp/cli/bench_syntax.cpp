#include <random>

#include "engine/prompt_format.h"
#include "engine/tokenizer.h"
#include "lsp/assist/prompt.h"
#include "lsp/assist/token_structure.h"
#include "lsp/cli/bench.h"
#include "syntax/document_tree.h"
#include "syntax/middle_labeler.h"

namespace cambium::cli {

std::string bench_source(int lines) {
  std::mt19937 random(11);
  static constexpr const char* kNames[] = {"width",  "offset", "buffer", "index", "result",
                                           "length", "cursor", "weight", "count", "limit"};
  const auto name = [&] { return std::string(kNames[random() % std::size(kNames)]); };
  std::string text = "#include <vector>\n\nnamespace sample {\n";
  int written = 3, function = 0;
  while (written < lines) {
    text += "\n// Works out the " + name() + " of a " + name() + ".\nint function_" +
            std::to_string(function++) + "(int " + name() +
            "_in, const std::vector<int>& values) {\n" +
            "  int total = 0;\n  for (int value : values) {\n";
    written += 5;
    for (unsigned i = 0, n = 2 + random() % 5; i < n; ++i) {
      const std::string a = name();
      text += "    if (value > " + std::to_string(random() % 100) +
              ") {\n      total += scale(value, " + a + "_" + std::to_string(i) + ") - " +
              std::to_string(random() % 10) + ";\n    }\n";
      written += 3;
    }
    text += "  }\n  return total;\n}\n";
    written += 3;
  }
  return text + "\n}  // namespace sample\n";
}

void bench_syntax(Figures& figures) {
  using std::chrono::milliseconds;
  const syntax::Language* cpp = syntax::language_by_id("cpp");
  const std::string text = bench_source(10000);
  const auto thread = std::make_shared<syntax::ParseThread>();
  syntax::DocumentTree document(cpp, text, thread);
  document.wait(milliseconds(10000));

  std::mt19937 random(5);
  const auto place = [&] {  // inside a name
    const size_t at = text.find("total", random() % (text.size() - 1000));
    return static_cast<uint32_t>(at + 3);
  };
  Samples typed;
  for (int i = 0; i < 200; ++i) {
    const uint32_t at = place();
    const Stopwatch watch;
    document.apply_edit({at, at, "x"});
    document.wait(milliseconds(10000));
    typed.add(watch.ms());
    document.apply_edit({at, at + 1, ""});
    document.wait(milliseconds(10000));
  }
  figures.push_back(
      {"syntax", "a character in 10,000 lines: reparse and scopes, p50", typed.median(), "ms"});
  figures.push_back(
      {"syntax", "a character in 10,000 lines: reparse and scopes, p99", typed.at(0.99), "ms", 5});

  // What breaks the tree: the request after it is answered from the shifted scopes.
  Samples waited, parsed;
  static constexpr const char* kBreaking[] = {"(", "{", "\"", "/*", "}"};
  for (int i = 0; i < 60; ++i) {
    const uint32_t at = place();
    const std::string_view inserted = kBreaking[static_cast<size_t>(i) % std::size(kBreaking)];
    const Stopwatch watch;
    document.apply_edit({at, at, inserted});
    const auto snapshot = document.snapshot();
    const size_t scope = snapshot.scopes->index_at(at);
    waited.add(watch.ms() + (scope == SIZE_MAX ? 1 : 0));
    document.wait(milliseconds(10000));
    parsed.add(watch.ms());
    document.apply_edit({at, at + static_cast<uint32_t>(inserted.size()), ""});
    document.wait(milliseconds(10000));
  }
  figures.push_back({"syntax", "a bracket or quote: a request waits for its scopes, worst",
                     waited.at(1), "ms", 10});
  figures.push_back(
      {"syntax", "a bracket or quote: the parse behind it is done, p99", parsed.at(0.99), "ms"});
}

void bench_alignment(const engine::Generator& model, Figures& figures) {
  constexpr size_t kTokens = 4096;
  const std::string text = bench_source(2000);
  const engine::Tokenizer& tokenizer = *model.tokenizer();
  const size_t cursor = text.find("  return total", text.size() / 2);
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
