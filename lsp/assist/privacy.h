// Which files are never put into a prompt: those whose name marks secrets, and those that
// .gitignore or .cambiumignore name.
//
// The matcher is ours: libgit2 answers only inside a repository, knows no .cambiumignore beside
// .gitignore, and brings a network stack into a process that promises not to have one.
//
// Rules as gitignore(5): later lines win, deeper files win over shallower ones, .cambiumignore wins
// over a .gitignore of the same folder ("!generated/" there brings a folder back), a file below an
// ignored folder stays ignored. The user's global excludes file is not read.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cambium::assist {

/// Does the file's name (or its folder: .ssh, .aws, .gnupg) say that it holds secrets? Any case.
bool names_secrets(std::string_view path);

/// The rules of one ignore file.
class IgnoreRules {
 public:
  enum class Verdict : uint8_t { silent, ignored, kept };

  static IgnoreRules parse(std::string_view text);
  void append(const IgnoreRules& later);
  bool empty() const { return rules_.empty(); }
  /// What the file itself says of `path`, relative to the file's folder, "/" between parts. Parents
  /// are not looked at. O(length of path × length of all patterns).
  Verdict match(std::string_view path, bool is_folder) const;

 private:
  enum class Kind : uint8_t { literal, any, star, set, folders, rest };
  struct Token {
    Kind kind = Kind::literal;
    char byte = 0;                                                ///< of a literal
    bool negated = false;                                         ///< of a set
    std::vector<std::pair<unsigned char, unsigned char>> ranges;  ///< of a set, both ends inside
  };
  struct Rule {
    std::vector<Token> pattern;
    bool keeps = false;         ///< began with "!"
    bool folders_only = false;  ///< ended with "/"
  };
  static std::vector<Token> tokens(std::string_view pattern);
  static bool matches(const std::vector<Token>& pattern, std::string_view path);

  std::vector<Rule> rules_;
};

/// Answers for files on disk; reads each ignore file once. Not thread-safe.
class Privacy {
 public:
  /// Workspace folders, absolute. A file's rules begin at its repository's root if it has one, else
  /// at the workspace folder that holds it, else at its own folder.
  void set_roots(std::vector<std::string> roots);
  /// Why the file must stay out of every prompt, for the user; empty: it need not. `path` is
  /// absolute and need not exist.
  const std::string& why_private(const std::string& path);
  /// Ignore files may have changed: read them again when next asked.
  void forget();

 private:
  std::string judge(const std::string& path);
  std::string top_of(const std::string& folder) const;
  const IgnoreRules& rules_of(const std::string& folder, bool is_top);

  std::vector<std::string> roots_;
  std::map<std::string, IgnoreRules> rules_;               ///< by folder
  std::unordered_map<std::string, std::string> verdicts_;  ///< by path
};

/// Is this the name of a file that why_private() reads?
bool is_ignore_file(std::string_view path);

}  // namespace cambium::assist
