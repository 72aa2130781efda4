#include "lsp/assist/privacy.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

using namespace cambium::assist;
namespace fs = std::filesystem;
using Verdict = IgnoreRules::Verdict;

namespace {

/// A folder of files, gone at the end of the test.
class TempTree {
 public:
  TempTree() {
    std::string name = (fs::temp_directory_path() / "cambium-privacy-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  ~TempTree() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string path(const std::string& name) const { return root_ + "/" + name; }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

}  // namespace

TEST_CASE("names that mark secrets") {
  for (const char* path : {"/a/.env",
                           ".env",
                           "/a/.ENV.local",
                           "/a/.env.production",
                           "/a/prod.env",
                           "/a/server.pem",
                           "/k/Server.KEY",
                           "/a/id_rsa",
                           "/a/id_ed25519",
                           "/home/u/.ssh/config",
                           ".aws/config",
                           "/a/.npmrc",
                           "/a/.netrc",
                           "/a/credentials.json",
                           "/a/secrets.yaml",
                           "/a/main.tfvars",
                           "/a/.git-credentials",
                           "/a/x.p12",
                           "/h/.docker/config.json",
                           "/a/terraform.tfstate"}) {
    CAPTURE(path);
    CHECK(names_secrets(path));
  }
  for (const char* path :
       {"/a/env.py", "/a/environment.ts", "/a/key.cpp", "/a/pem.go", "/a/secrets.py", "/a/.envoy",
        "/a/ssh/config", "/a/config.json", "/a/id_rsa.md", "/a/keys.ts", "", "/", "/a/.pem"}) {
    CAPTURE(path);
    CHECK_FALSE(names_secrets(path));
  }
}

// Each row was checked against `git check-ignore` of git 2.39.
TEST_CASE("patterns mean what gitignore(5) says") {
  struct Case {
    const char* rules;
    const char* path;
    bool is_folder;
    Verdict verdict;
  };
  const Case cases[] = {
      {"*.log", "a.log", false, Verdict::ignored},
      {"*.log", "d/e/a.log", false, Verdict::ignored},
      {"*.log", "a.logs", false, Verdict::silent},
      {"/a.log", "d/a.log", false, Verdict::silent},
      {"/a.log", "a.log", false, Verdict::ignored},
      {"d/a", "d/a", false, Verdict::ignored},
      {"d/a", "x/d/a", false, Verdict::silent},
      {"build/", "build", true, Verdict::ignored},
      {"build/", "build", false, Verdict::silent},
      {"build/", "x/build", true, Verdict::ignored},
      {"*.c\n!keep.c", "keep.c", false, Verdict::kept},
      {"!keep.c\n*.c", "keep.c", false, Verdict::ignored},
      {"**/x", "x", false, Verdict::ignored},
      {"**/x", "a/b/x", false, Verdict::ignored},
      {"a/**/x", "a/x", false, Verdict::ignored},
      {"a/**/x", "a/b/c/x", false, Verdict::ignored},
      {"a/**/x", "b/a/x", false, Verdict::silent},
      {"a/**", "a/b/c", false, Verdict::ignored},
      {"a/**", "a", true, Verdict::silent},
      {"a/*", "a/b", false, Verdict::ignored},
      {"a/*", "a/b/c", false, Verdict::silent},
      {"a**b", "axxb", false, Verdict::ignored},
      {"a/b**c", "a/bx/c", false, Verdict::silent},
      {"?at", "cat", false, Verdict::ignored},
      {"a/?/b", "a///b", false, Verdict::silent},
      {"[a-c]x", "bx", false, Verdict::ignored},
      {"[!a-c]x", "bx", false, Verdict::silent},
      {"[^a-c]x", "dx", false, Verdict::ignored},
      {"[]x]y", "]y", false, Verdict::ignored},
      {"[[:digit:]]", "7", false, Verdict::ignored},
      {"[[:digit:]a]", "b", false, Verdict::silent},
      {"[ab", "[ab", false, Verdict::silent},
      {"\\!x", "!x", false, Verdict::ignored},
      {"\\#x", "#x", false, Verdict::ignored},
      {"#x", "#x", false, Verdict::silent},
      {"x  ", "x", false, Verdict::ignored},
      {"x\\ ", "x ", false, Verdict::ignored},
      {"x\r\n", "x", false, Verdict::ignored},
      {"\xEF\xBB\xBFx", "x", false, Verdict::ignored},
      {"\n\n", "x", false, Verdict::silent},
      {"/", "x", false, Verdict::silent},
      {"*", "anything", false, Verdict::ignored},
      {"a\\*", "a*", false, Verdict::ignored},
      {"a\\*", "ab", false, Verdict::silent},
      {"日*", "日本", false, Verdict::ignored},
  };
  for (const Case& c : cases) {
    CAPTURE(c.rules);
    CAPTURE(c.path);
    CHECK(IgnoreRules::parse(c.rules).match(c.path, c.is_folder) == c.verdict);
  }
}

TEST_CASE("a pattern made to be slow is not") {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "*a";
  const auto rules = IgnoreRules::parse(pattern + "b\n" + "**/" + pattern + "/**/" + pattern);
  const auto start = std::chrono::steady_clock::now();
  CHECK(rules.match(std::string(4000, 'a'), false) == Verdict::silent);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
}

TEST_CASE("ignore files of every folder count, the deepest first") {
  TempTree tree;
  tree.write(".git/info/exclude", "excluded.py\n");
  tree.write(".gitignore", "*.gen.py\n/build/\nnotes/\n");
  tree.write(".cambiumignore", "private/\n!kept.gen.py\n");
  tree.write("sub/.gitignore", "!back.gen.py\nlocal.py\n");
  tree.write("notes/.gitignore", "!*\n");
  Privacy privacy;
  privacy.set_roots({tree.path("sub")});  // the repository's root lies above the workspace folder
  const auto is_private = [&](const char* name) {
    return !privacy.why_private(tree.path(name)).empty();
  };
  CHECK_FALSE(is_private("main.py"));
  CHECK(is_private("excluded.py"));
  CHECK(is_private("x.gen.py"));
  CHECK(is_private("sub/deep/x.gen.py"));
  CHECK_FALSE(is_private("sub/back.gen.py"));
  CHECK(is_private("back.gen.py"));
  CHECK(is_private("sub/deep/local.py"));
  CHECK_FALSE(is_private("local.py"));
  CHECK(is_private("build/a.py"));
  CHECK_FALSE(is_private("sub/build/a.py"));
  CHECK(is_private("sub/private/deep/a.py"));
  CHECK_FALSE(is_private("kept.gen.py"));  // .cambiumignore over .gitignore
  CHECK(is_private("notes/a.py"));         // nothing comes back below an ignored folder
  CHECK(is_private("sub/.env"));
  CHECK(is_private("sub/../build/b.py"));
  CHECK(privacy.why_private("relative/a.py").empty());
}

TEST_CASE("without a repository the workspace folder is the top, else the file's own folder") {
  TempTree tree;
  tree.write(".cambiumignore", "secret*\n");
  tree.write("w/.cambiumignore", "inner*\n");
  tree.write("w/d/a.py", "");
  Privacy privacy;
  privacy.set_roots({tree.path("w/")});
  CHECK(privacy.why_private(tree.path("w/d/secret.py")).empty());
  CHECK_FALSE(privacy.why_private(tree.path("w/d/inner.py")).empty());
  CHECK_FALSE(privacy.why_private(tree.path("secret.py")).empty());
  // Beside the workspace folder, whose top is none of this file's.
  tree.write("o/.cambiumignore", "inner*\n");
  CHECK(privacy.why_private(tree.path("o/d/inner.py")).empty());
  CHECK_FALSE(privacy.why_private(tree.path("o/inner.py")).empty());
}

TEST_CASE("changed rules count after forget()") {
  TempTree tree;
  tree.write(".git/HEAD", "");
  Privacy privacy;
  CHECK(privacy.why_private(tree.path("a.py")).empty());
  tree.write(".gitignore", "a.py\n");
  CHECK(privacy.why_private(tree.path("a.py")).empty());
  privacy.forget();
  CHECK_FALSE(privacy.why_private(tree.path("a.py")).empty());
}

TEST_CASE("a pipe named .gitignore does not stop the server") {
  TempTree tree;
  REQUIRE(::mkfifo(tree.path(".gitignore").c_str(), 0600) == 0);
  Privacy privacy;
  CHECK(privacy.why_private(tree.path("a.py")).empty());
}

TEST_CASE("ignore files are known by name") {
  CHECK(is_ignore_file("/a/.gitignore"));
  CHECK(is_ignore_file("/a/.cambiumignore"));
  CHECK(is_ignore_file("/a/.git/info/exclude"));
  CHECK_FALSE(is_ignore_file("/a/gitignore"));
}
