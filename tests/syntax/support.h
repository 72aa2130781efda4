// Samples and checks that the tests of this layer share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "syntax/languages.h"
#include "syntax/scopes.h"
#include "syntax/tree.h"
#include "tests/support/source_dir.h"

namespace cambium::syntax::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in, path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Sample {
  std::string file;  ///< "sample.py"
  const Language* language = nullptr;
  std::string text;
  std::string scopes;  ///< the marked expectations: the sidecar "sample.py.scopes"
};

inline const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = [] {
    std::vector<Sample> out;
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(cambium::test::source_dir()) / "tests/syntax/samples")) {
      Sample sample;
      sample.file = entry.path().filename().string();
      if (entry.path().extension() == ".scopes" || sample.file.starts_with('.')) continue;
      sample.text = read_file(entry.path());
      sample.scopes = read_file(entry.path().string() + ".scopes");
      sample.language = language_of_file(sample.file, sample.text);
      REQUIRE_MESSAGE(sample.language, sample.file);
      out.push_back(std::move(sample));
    }
    std::sort(out.begin(), out.end(),
              [](const Sample& a, const Sample& b) { return a.file < b.file; });
    return out;
  }();
  return all;
}

/// Scopes one a line, indented by depth: "first-last kind name", lines counted from 1.
inline std::string listing(const ScopeMap& map, std::string_view text) {
  const auto line_of = [&](uint32_t byte) {
    return 1 + std::count(text.begin(), text.begin() + std::min<size_t>(byte, text.size()), '\n');
  };
  std::string out;
  for (size_t i = 1; i < map.scopes().size(); ++i) {
    const Scope& scope = map.scopes()[i];
    for (int32_t up = scope.parent; up > 0; up = map.scopes()[static_cast<size_t>(up)].parent)
      out += "  ";
    out += std::to_string(line_of(scope.body.begin)) + "-" +
           std::to_string(line_of(scope.body.end > 0 ? scope.body.end - 1 : 0)) + " " +
           map.describe(i) + "\n";
  }
  return out;
}

/// Everything that holds of every map; the message says what does not.
inline std::string defect(const ScopeMap& map) {
  const auto& scopes = map.scopes();
  if (scopes.empty() || scopes[0].parent != -1 || scopes[0].body != ByteRange{0, map.size()})
    return "the file is not scope 0";
  for (size_t i = 1; i < scopes.size(); ++i) {
    const Scope& scope = scopes[i];
    const std::string at = "scope " + std::to_string(i) + ": ";
    if (scope.parent < 0 || scope.parent >= static_cast<int32_t>(i))
      return at + "parent comes later";
    const Scope& parent = scopes[static_cast<size_t>(scope.parent)];
    if (scope.body.begin > scope.body.end || scope.body.end > map.size()) return at + "range";
    if (scope.body.begin < parent.body.begin || scope.body.end > parent.body.end)
      return at + "outside its parent";
    if (scope.number <= parent.number || scope.last > parent.last || scope.last < scope.number)
      return at + "interval outside its parent's";
    if (scope.number <= scopes[i - 1].number) return at + "not in pre-order";
    if (scopes[i - 1].parent == scope.parent) {
      if (scopes[i - 1].body.end > scope.body.begin) return at + "overlaps its sibling";
      if (scopes[i - 1].last >= scope.number) return at + "interval overlaps its sibling's";
    }
  }
  if (map.changes_.empty() || map.changes_[0].byte != 0) return "the first byte has no scope";
  for (size_t i = 0; i < map.changes_.size(); ++i) {
    if (i > 0 && map.changes_[i].byte <= map.changes_[i - 1].byte) return "changes not ascending";
    if (map.changes_[i].scope >= scopes.size()) return "change to no scope";
    if (scopes[map.changes_[i].scope].body.begin > map.changes_[i].byte)
      return "a label before its body";
  }
  return {};
}

enum class Relation { same, ancestor, other };
inline Relation relation(ScopeLabel query, ScopeLabel key) {
  if (key.scope == query.scope) return Relation::same;
  return key.scope <= query.scope && query.scope <= key.last ? Relation::ancestor : Relation::other;
}

/// Kind and place of every node, in pre-order.
inline std::vector<std::array<uint32_t, 4>> shape(const Tree& tree) {
  std::vector<std::array<uint32_t, 4>> out;
  walk(tree.root(), [&](TSNode node, uint32_t depth) {
    out.push_back({ts_node_symbol(node), ts_node_start_byte(node), ts_node_end_byte(node), depth});
    return true;
  });
  return out;
}

/// A small edit of program text: typing, deleting, moving a line, a bracket, a quote.
inline std::pair<ByteRange, std::string> random_edit(std::mt19937& random, std::string_view text) {
  static const std::vector<std::string> kPieces = {
      "x",      "foo",     " ",      "\n",    "    ",  "{",       "}",     "(",    ")",
      "[",      "]",       "\"",     "'",     "`",     "#",       "//",    "/*",   "*/",
      ":",      ";",       "\n    ", "\n}",   "{\n",   "if x:\n", "end\n", "do\n", "then\n",
      "else\n", "<<EOF\n", "\\",     "\t",    "$",     "é",       "- ",    "a:\n", "a: |\n",
      "---\n",  "\n# a\n", "## a\n", "```\n", "[a]\n", "<p>\n",   "</p>",  "<!--"};
  const uint32_t size = static_cast<uint32_t>(text.size());
  const uint32_t begin = random() % (size + 1);
  const uint32_t length = random() % 3 == 0 ? random() % 20 : 0;
  const uint32_t end = std::min(size, begin + length);
  std::string piece = random() % 4 == 0 ? "" : kPieces[random() % kPieces.size()];
  if (random() % 5 == 0 && size > 0) {  // something from elsewhere
    const uint32_t from = random() % size;
    piece = std::string(text.substr(from, random() % 60));
  }
  return {{begin, end}, piece};
}

}  // namespace cambium::syntax::test
