#include "lsp/assist/team_rules.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "lsp/assist/review_reasoning.h"
#include "tests/support/review_folder.h"

using namespace cambium::assist;
using cambium::test::ReviewFolder;

namespace {
const auto nothing_private = [](const std::string&) { return false; };

TeamRules read(const ReviewFolder& folder, bool trusted = true) {
  return read_team_rules(folder.root(), trusted, nothing_private);
}
}  // namespace

TEST_CASE("rules count in a trusted workspace, and are named where they do not") {
  const ReviewFolder folder;
  CHECK(read(folder).text.empty());
  CHECK(read(folder).note.empty());
  CHECK(read(folder, false).note.empty());
  folder.write(".cambium/review.md", "No float for money.\n");
  CHECK(read(folder).text == "No float for money.\n");
  CHECK(read(folder).note.empty());
  const TeamRules ignored = read(folder, false);
  CHECK(ignored.text.empty());
  CHECK(ignored.note.find("not trusted") != std::string::npos);
  CHECK(ignored.note.find("trustedFolders") != std::string::npos);
}

TEST_CASE("rules that are long, hidden, private or no text") {
  const ReviewFolder folder, outside;
  std::string text(kMostRules - 1, 'x');
  folder.write(".cambium/review.md", text + "é and more");
  CHECK(read(folder).text == text);
  CHECK(read(folder).note.find("its first 4000 bytes") != std::string::npos);
  folder.write(".cambium/review.md", std::string(64 * 1024 + 1, 'x'));
  CHECK(read(folder).text.empty());
  CHECK(read(folder).note.find("over 64 KiB") != std::string::npos);
  folder.write(".cambium/review.md", std::string("a\0b", 3));
  CHECK(read(folder).note.find("no text") != std::string::npos);
  folder.write(".cambium/review.md", "a");
  CHECK(read_team_rules(folder.root(), true, [](const std::string&) {
          return true;
        }).note.find("private") != std::string::npos);

  namespace fs = std::filesystem;
  outside.write("key", "secret");
  fs::remove(folder.path(".cambium/review.md"));
  fs::create_symlink(outside.path("key"), folder.path(".cambium/review.md"));
  CHECK(read(folder).text.empty());
  CHECK(read(folder).note.find("leads out of the workspace") != std::string::npos);
  fs::remove(folder.path(".cambium/review.md"));
  fs::create_directory(folder.path(".cambium/review.md"));
  CHECK(read(folder).note.find("no file") != std::string::npos);
}

TEST_CASE("a folder is trusted with what lies in it, by where it really is") {
  const ReviewFolder folder, other;
  folder.write("a/b/x", "");
  folder.write("ab/x", "");
  CHECK(is_within(folder.path("a"), {folder.path("a")}));
  CHECK(is_within(folder.path("a/b"), {other.root(), folder.path("a/")}));
  CHECK(is_within(folder.path("a/b"), {"/"}));
  CHECK_FALSE(is_within(folder.path("ab"), {folder.path("a")}));
  CHECK_FALSE(is_within(folder.root(), {folder.path("a")}));
  CHECK_FALSE(is_within(folder.path("a"), {"a", "", ".", folder.path("gone")}));
  CHECK_FALSE(is_within(folder.path("gone"), {folder.root()}));
  std::filesystem::create_directory_symlink(other.root(), folder.path("a/link"));
  CHECK_FALSE(is_within(folder.path("a/link"), {folder.root()}));
  CHECK(is_within(folder.path("a/link"), {other.root()}));
}
