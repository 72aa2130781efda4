#include "syntax/bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include "syntax/bytes.h"
#include "syntax/closes.h"
#include "syntax/document_tree.h"
#include "syntax/middle_labeler.h"

namespace cambium::syntax {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

Percentiles percentiles(std::vector<double> all) {
  if (all.empty()) return {};
  std::sort(all.begin(), all.end());
  const auto at = [&](double share) {
    return all[std::min(all.size() - 1,
                        static_cast<size_t>(share * static_cast<double>(all.size())))];
  };
  return {at(0.5), at(0.99), all.back()};
}

}  // namespace

std::string generated_source(uint32_t lines) {
  std::string out = "#include <string>\n#include <vector>\n\nnamespace generated {\n";
  uint32_t line = 4;
  for (uint32_t n = 0; line + 30 < lines; ++n) {
    const std::string id = std::to_string(n);
    out += "\n// Keeps track of item " + id + ".\nclass Item" + id + " {\n public:\n";
    line += 4;
    for (int method = 0; method < 3 + static_cast<int>(n % 3); ++method) {
      const std::string name = "method" + std::to_string(method);
      out += "  int " + name +
             "(const std::vector<int>& values, int limit) {\n"
             "    int total = 0;\n"
             "    for (int value : values) {\n"
             "      if (value > limit) {\n"
             "        total += value * " +
             id +
             ";\n"
             "      } else {\n"
             "        log(\"value {\" + std::to_string(value) + \"}\");\n"
             "      }\n"
             "    }\n"
             "    return total + limit_;\n"
             "  }\n\n";
      line += 12;
    }
    out += " private:\n  int limit_ = " + id + ";\n};\n";
    line += 3;
  }
  return out + "\n}  // namespace generated\n";
}

BenchFigures bench_syntax(uint32_t lines, int edits) {
  BenchFigures figures;
  const Language* cpp = language_by_id("cpp");
  const std::string text = generated_source(lines);
  figures.lines = static_cast<uint32_t>(std::count(text.begin(), text.end(), '\n'));
  figures.bytes = static_cast<uint32_t>(text.size());
  constexpr auto kLong = std::chrono::seconds(30);

  auto begin = Clock::now();
  DocumentTree document(cpp, text, std::make_shared<ParseThread>());
  document.wait(kLong);
  figures.open_ms = ms_since(begin);
  figures.scopes = static_cast<uint32_t>(document.scopes()->scopes().size());

  std::mt19937 random(1);
  std::vector<double> type, break_wait, break_parse, undo_wait;
  for (int i = 0; i < edits; ++i) {
    uint32_t at = random() % figures.bytes;
    while (at < figures.bytes && !is_letter(text[at])) ++at;
    begin = Clock::now();
    document.apply_edit({at, at, "x"});
    document.wait(kLong);
    type.push_back(ms_since(begin));
    document.apply_edit({at, at + 1, {}});
    document.wait(kLong);
  }
  for (int i = 0; i < edits / 2; ++i) {
    static constexpr std::string_view kBreaking[] = {"(", "{", "\"", "}", "/*"};
    const std::string_view piece = kBreaking[static_cast<size_t>(i) % std::size(kBreaking)];
    const uint32_t at = random() % figures.bytes;
    begin = Clock::now();
    document.apply_edit({at, at, piece});
    document.scopes();
    break_wait.push_back(ms_since(begin));
    // Typed on while the tree is being repaired.
    const auto typed = Clock::now();
    document.apply_edit({at, at, "x"});
    document.scopes();
    break_wait.push_back(ms_since(typed));
    document.wait(kLong);
    break_parse.push_back(ms_since(begin));
    begin = Clock::now();
    document.apply_edit({at, at + 1 + static_cast<uint32_t>(piece.size()), {}});
    document.scopes();
    undo_wait.push_back(ms_since(begin));
    document.wait(kLong);
  }
  figures.type = percentiles(std::move(type));
  figures.break_wait = percentiles(std::move(break_wait));
  figures.break_parse = percentiles(std::move(break_parse));
  figures.undo_wait = percentiles(std::move(undo_wait));

  const std::string small = generated_source(2000);
  const size_t hole = small.find("total +=", small.size() / 2);
  constexpr int kRounds = 50;
  begin = Clock::now();
  for (int i = 0; i < kRounds; ++i) MiddleLabeler(cpp, small.substr(0, hole), small.substr(hole));
  figures.labeler_ms = ms_since(begin) / kRounds;
  MiddleLabeler labeler(cpp, small.substr(0, hole), small.substr(hole));
  const std::string_view middle = std::string_view(text).substr(text.find("int total"), 8000);
  begin = Clock::now();
  for (size_t at = 0; at < middle.size(); at += 4) labeler.feed(middle.substr(at, 4));
  figures.middle_token_us = 1000 * ms_since(begin) / (static_cast<double>(middle.size()) / 4);

  std::vector<uint32_t> offsets(4096);
  for (uint32_t i = 0; i < offsets.size(); ++i) offsets[i] = figures.bytes / 2 + 4 * i;
  std::vector<ScopeLabel> labels;
  const auto map = document.scopes();
  begin = Clock::now();
  for (int i = 0; i < kRounds; ++i) map->labels_at(offsets, labels);
  figures.align_us = 1000 * ms_since(begin) / kRounds;

  Parser parser(*cpp);
  if (const auto tree = parser.parse(small)) {
    InsertionCheck check(cpp, small, hole, &*tree);
    begin = Clock::now();
    for (int i = 0; i < kRounds; ++i)
      check.adds_errors("if (limit > 0) {\n          total--;\n        }\n");
    figures.check_ms = ms_since(begin) / kRounds;
  }
  return figures;
}

}  // namespace cambium::syntax
