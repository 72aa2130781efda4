#include "lsp/eval/cases.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "tests/support/source_dir.h"

using namespace cambium;
using eval::Case;
using eval::CaseKind;
namespace fs = std::filesystem;

namespace {

eval::Sources samples() {
  auto sources = eval::read_sources(test::source_dir() + "/tests/syntax/samples");
  REQUIRE(sources.has_value());
  return std::move(*sources);
}

}  // namespace

TEST_CASE("cases come from the files alone, and again from the same seed") {
  const eval::Sources sources = samples();
  eval::CaseOptions options;
  options.per_language = 6;
  const auto cases = eval::choose_cases(sources, options);
  REQUIRE(cases.has_value());
  std::map<std::string, std::string> text_of;
  for (const training::SourceFile& file : sources.files)
    text_of[std::string(file.path)] = file.text;
  std::map<std::string, std::map<CaseKind, size_t>> counts;
  std::set<std::string> places;
  for (const Case& asked : *cases) {
    CAPTURE(asked.path);
    CAPTURE(asked.middle);
    // The document and the hole's text make up the file.
    std::string whole = *asked.text;
    REQUIRE(asked.cursor <= whole.size());
    whole.insert(asked.cursor, asked.middle);
    CHECK(whole == text_of.at(asked.path));
    CHECK_FALSE(asked.middle.empty());
    const size_t line = asked.cursor == 0 ? 0 : whole.rfind('\n', asked.cursor - 1) + 1;
    const std::string before = whole.substr(line, asked.cursor - line);
    const size_t end = asked.cursor + asked.middle.size();
    if (asked.kind == CaseKind::line) {
      CHECK(asked.middle.find('\n') == asked.middle.npos);
    } else {
      // Whole lines, from their first code on.
      CHECK(before.find_first_not_of(" \t") == before.npos);
      CHECK((end == whole.size() || whole[end] == '\n'));
      CHECK(asked.middle.size() <= options.max_block_bytes);
    }
    CHECK(places.insert(asked.path + std::to_string(asked.cursor) + eval::to_string(asked.kind))
              .second);
    ++counts[asked.language][asked.kind];
  }
  CHECK(counts.size() >= 10);
  for (const char* language : {"python", "cpp", "go", "rust", "java"}) {
    CAPTURE(language);
    CHECK(counts[language][CaseKind::line] == 3);
    CHECK(counts[language][CaseKind::block] >= 1);
  }

  const auto again = eval::choose_cases(sources, options);
  REQUIRE(again.has_value());
  REQUIRE(again->size() == cases->size());
  for (size_t i = 0; i < cases->size(); ++i) {
    CHECK((*again)[i].path == (*cases)[i].path);
    CHECK((*again)[i].cursor == (*cases)[i].cursor);
    CHECK((*again)[i].middle == (*cases)[i].middle);
  }
  options.seed = 2;
  const auto other = eval::choose_cases(sources, options);
  REQUIRE(other.has_value());
  size_t same = 0;
  for (const Case& asked : *other)
    same += places.count(asked.path + std::to_string(asked.cursor) + eval::to_string(asked.kind));
  CHECK(same < other->size() / 2);

  options.languages = {"go", "python"};
  const auto two = eval::choose_cases(sources, options);
  REQUIRE(two.has_value());
  for (const Case& asked : *two) CHECK((asked.language == "go" || asked.language == "python"));
  options.languages = {"cobol"};
  const auto none = eval::choose_cases(sources, options);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message.find("cobol") != std::string::npos);
  CHECK(none.error().message.find("python") != std::string::npos);
}

TEST_CASE("sources are a folder, a file or a container") {
  const fs::path folder =
      fs::temp_directory_path() / ("cambium-eval-test-" + std::to_string(getpid()));
  const auto write = [&](const std::string& name, const std::string& text) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << text;
    return (folder / name).string();
  };
  const std::string file = write("b/x.py", "a = 1\n");
  write("a/y.go", "package a\n");
  write("notes.txt", "no code\n");
  write("data.json", "{}\n");
  write(".git/z.py", "b = 2\n");
  write("node_modules/m/z.js", "b();\n");
  write("bad.py", "\xff\xfe\n");
  const auto names = [](const Result<eval::Sources>& sources) {
    REQUIRE(sources.has_value());
    std::string all;
    for (const training::SourceFile& f : sources->files) all += std::string(f.path) + " ";
    return all;
  };
  CHECK(names(eval::read_sources(folder.string())) == "a/y.go b/x.py ");
  CHECK(names(eval::read_sources(file)) == "x.py ");

  std::string record;
  const std::string path = "python/p/x.py", text = "a = 1\n";
  const auto number = [&](size_t value, int width) {
    for (int i = 0; i < width; ++i) record += static_cast<char>(value >> (8 * i) & 0xff);
  };
  number(path.size(), 2);
  number(text.size(), 4);
  record += path + text;
  CHECK(names(eval::read_sources(write("held.bin", record))) == path + " ");

  CHECK_FALSE(eval::read_sources((folder / "nothing").string()).has_value());
  CHECK_FALSE(eval::read_sources(write("cut.bin", record.substr(0, 20))).has_value());
  fs::create_directories(folder / "empty");
  const auto empty = eval::read_sources((folder / "empty").string());
  REQUIRE_FALSE(empty.has_value());
  CHECK(empty.error().code == ErrorCode::invalid_argument);
  fs::remove_all(folder);
}
