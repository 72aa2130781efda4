// What a reviewing model may look up: read-only, inside the workspace, never in private files, each
// answer short and the number of calls bounded by the caller.
//
// Reads files as it is asked. Not thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cambium::assist {

class WorkspaceTools {
 public:
  /// `root` absolute; empty: nothing can be looked up. `is_private` says which files (absolute
  /// paths) stay unread.
  WorkspaceTools(std::string root, std::function<bool(const std::string& path)> is_private);

  /// One call by name. Tools: definition(name), references(name), search(text), value(name or expression)
  /// and outline(path). What can't be answered is said in the answer: it goes to the model.
  std::string call(std::string_view tool, std::string_view argument) const;
  /// One line a tool, for the prompt.
  static std::string_view help();

 private:
  struct Hit {
    std::string file;  ///< relative to the root
    size_t line = 0;   ///< from 1
    std::string text;
  };
  std::vector<Hit> find(std::string_view needle, bool whole_word) const;
  /// Where `name` is defined, shortened: its signature or the whole of it; no lines.
  std::vector<Hit> definitions(std::string_view name, bool whole) const;
  static std::string shown(const std::vector<Hit>& definitions);
  std::string value(std::string_view expression) const;
  std::string outline(std::string_view path) const;
  std::vector<std::string> files() const;
  /// The file's text; empty if it may not or can't be read.
  std::string read(const std::string& path) const;

  std::string root_;
  std::function<bool(const std::string&)> is_private_;
};

}  // namespace cambium::assist
