// What a review is made of before any model is asked: changed lines, findings that follow edits, git.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "lsp/assist/finding.h"
#include "lsp/assist/git.h"
#include "lsp/assist/line_diff.h"
#include "lsp/assist/reviewer.h"
#include "lsp/dismissals.h"
#include "tests/support/review_folder.h"

using namespace cambium;
using namespace cambium::assist;
namespace fs = std::filesystem;

namespace {

std::string changed_text(const std::string& before, const std::string& after) {
  std::string out;
  for (const auto& range : changed_lines(before, after)) {
    out += "<" + after.substr(range.begin, range.end - range.begin) + ">";
  }
  return out;
}

}  // namespace

TEST_CASE("changed lines are those of the shortest script") {
  CHECK(changed_text("a\nb\nc\n", "a\nb\nc\n").empty());
  CHECK(changed_text("a\nb\nc\n", "a\nx\nc\n") == "<x\n>");
  CHECK(changed_text("a\nb\nc\n", "a\nb\nx\ny\nc\nz") == "<x\ny\n><z>");
  CHECK(changed_text("", "a\nb\n") == "<a\nb\n>");
  CHECK(changed_text("a\r\nb\r\n", "a\nb\n").empty());
  // Only taken away: the line in its place.
  CHECK(changed_text("a\nb\nc\nd\n", "a\nc\nd\n") == "<c\n>");
  CHECK(changed_text("a\nb\n", "a\n").empty());
}

TEST_CASE("lines outside the changed ones are the old text's, in order") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> before, after;
    for (int i = 0; i < 30; ++i) before.push_back(std::to_string(random() % 6) + "\n");
    after = before;
    for (int edit = 0; edit < 4; ++edit) {
      const auto at = static_cast<std::ptrdiff_t>(random() % after.size());
      if (random() % 2 == 0)
        after.erase(after.begin() + at);
      else
        after.insert(after.begin() + at, "new\n");
    }
    const auto joined = [](const std::vector<std::string>& lines) {
      std::string text;
      for (const auto& line : lines) text += line;
      return text;
    };
    const std::string old_text = joined(before), text = joined(after);
    const auto ranges = changed_lines(old_text, text);
    CHECK(count_lines(text, ranges) <= 8);
    // What is left must be a subsequence of the old lines.
    size_t at = 0, line = 0;
    for (const std::string& one : after) {
      const auto size = static_cast<uint32_t>(one.size());
      const auto begin = static_cast<uint32_t>(at);
      at += size;
      if (touches(ranges, {begin, begin + size})) continue;
      while (line < before.size() && before[line] != one) ++line;
      REQUIRE(line < before.size());
      ++line;
    }
  }
}

TEST_CASE("findings follow edits and vanish when touched") {
  const std::string before = "int a;\nint b\nint c;\n";
  Finding finding;
  finding.code = "syntax/missing";
  finding.range = {11, 12};
  finding.fix = Fix{"Insert ';'", {{{12, 12}, ";"}}};
  finding.fingerprint = fingerprint_of(finding, before);
  const auto after = [&](const std::string& text) {
    std::vector<Finding> findings{finding};
    follow_edit(findings, before, text);
    return findings;
  };
  CHECK(after(before).size() == 1);
  const auto moved = after("// head\n" + before);
  REQUIRE(moved.size() == 1);
  CHECK(moved[0].range == syntax::ByteRange{19, 20});
  CHECK(moved[0].fix->changes[0].range == syntax::ByteRange{20, 20});
  CHECK(fingerprint_of(moved[0], "// head\n" + before) == finding.fingerprint);
  CHECK(after("int a;\nint b\nint c;\nint d;\n")[0].range == finding.range);
  CHECK(after("int a;\nint b;\nint c;\n").empty());
  CHECK(after("int a;\nint x\nint c;\n").empty());
  CHECK(after("").empty());
  // Another line, another complaint.
  Finding other = finding;
  other.range = {4, 5};
  CHECK(fingerprint_of(other, before) != finding.fingerprint);
}

TEST_CASE("changes that lie outside a text are refused") {
  CHECK(with_changes("abc", {{{0, 1}, "x"}, {{2, 2}, "-"}}) == "xb-c");
  CHECK_FALSE(with_changes("abc", {{{2, 4}, "x"}}));
  CHECK_FALSE(with_changes("abc", {{{1, 2}, "x"}, {{1, 3}, "y"}}));
}

TEST_CASE("a review is of what differs from HEAD") {
  test::ReviewFolder folder;
  const std::string old_text = "function f() {\n  g(1;\n}\n";
  folder.write("a.lua", "local x = f(1\nlocal y = 2\n");
  folder.commit();
  REQUIRE(text_in_revision(folder.path("a.lua"), "HEAD") == "local x = f(1\nlocal y = 2\n");
  CHECK_FALSE(text_in_revision(folder.path("b.lua"), "HEAD"));
  CHECK(text_in_revision(folder.path("a.lua"), "--help").error().code ==
        ErrorCode::invalid_argument);
  folder.write("sub/b c.lua", "return 1\n");
  folder.write("a.lua", "local x = f(1\nlocal y = 3\n");
  const auto files = files_changed_since(folder.root(), "HEAD");
  REQUIRE(files);
  CHECK(*files == std::vector<std::string>{folder.path("a.lua"), folder.path("sub/b c.lua")});

  const auto found = [&](const std::string& text) {
    ReviewInput input;
    input.text = std::make_shared<const std::string>(text);
    input.path = folder.path("a.lua");
    const auto output = review_now(input);
    REQUIRE(output);
    return output->findings.size();
  };
  CHECK(found("local x = f(1\nlocal y = 3\n") == 0);  // an old error on an old line
  CHECK(found("local x = f(2\nlocal y = 2\n") == 1);  // on a changed one
  CHECK(found("local x = f(1)\nlocal y = g(2\n") == 1);
  folder.write("a.lua", "local x = f(1)\nlocal y = 2\n");
  folder.commit();
  CHECK(found("local x = f(1\nlocal y = 2\n") == 1);
}

TEST_CASE("what nobody wrote by hand is not reviewed, and that is said") {
  for (const std::string& text :
       {std::string("-- Code generated by x. DO NOT EDIT.\nlocal x = (\n"),
        "local x = (\n" + std::string(6000, 'y') + "\n"}) {
    ReviewInput input;
    input.text = std::make_shared<const std::string>(text);
    input.language_id = "lua";
    const auto output = review_now(input);
    REQUIRE(output);
    CHECK(output->findings.empty());
    REQUIRE(output->notes.size() == 1);
  }
}

TEST_CASE("dismissals are kept beside the code, and never over what is not theirs") {
  test::ReviewFolder folder;
  Finding finding;
  finding.code = "syntax/missing";
  finding.message = "Expected ')'.";
  finding.fingerprint = "0123456789abcdef";
  lsp::Dismissals fresh = lsp::Dismissals::read(folder.root());
  CHECK_FALSE(fresh.contains(finding.fingerprint));
  REQUIRE(fresh.add(finding, folder.path("src/a.lua")));
  CHECK(fresh.contains(finding.fingerprint));
  CHECK(lsp::Dismissals::read(folder.root()).contains(finding.fingerprint));
  CHECK(folder.read(".cambium/dismissed.json").find("\"src/a.lua\"") != std::string::npos);

  folder.write(".cambium/dismissed.json", "[1, 2]");
  lsp::Dismissals broken = lsp::Dismissals::read(folder.root());
  CHECK_FALSE(broken.problem().empty());
  CHECK_FALSE(broken.add(finding, folder.path("a.lua")));
  CHECK(folder.read(".cambium/dismissed.json") == "[1, 2]");
}
