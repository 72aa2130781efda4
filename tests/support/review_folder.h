// A folder with files, under git where a test commits. Gone with the object.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace cambium::test {

class ReviewFolder {
 public:
  ReviewFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "cambium-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root_ = std::filesystem::canonical(name).string();
  }
  ~ReviewFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  ReviewFolder(const ReviewFolder&) = delete;
  ReviewFolder& operator=(const ReviewFolder&) = delete;

  const std::string& root() const { return root_; }
  std::string path(const std::string& name) const { return root_ + "/" + name; }
  std::string uri(const std::string& name) const { return "file://" + path(name); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name), std::ios::binary).rdbuf();
    return text.str();
  }
  /// Everything, as one commit; makes the repository the first time.
  void commit() const {
    const std::string git = "git -C '" + root_ + "' -c user.name=t -c user.email=t@t ";
    REQUIRE(std::system((git + "init -q . && " + git + "add -A && " + git +
                         "commit -q --no-gpg-sign -m x >/dev/null")
                            .c_str()) == 0);
  }

 private:
  std::string root_;
};

}  // namespace cambium::test
