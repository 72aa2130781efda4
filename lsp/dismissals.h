// Findings that somebody said not to show again, by fingerprint, in the workspace's
// .cambium/dismissed.json: a file to commit, so that a team dismisses once.
//
// Not thread-safe.
#pragma once

#include <set>
#include <string>

#include "engine/result.h"
#include "lsp/assist/finding.h"

namespace cambium::lsp {

class Dismissals {
 public:
  /// Of the workspace at `root`. A file that is not there dismisses nothing; one that can't be read
  /// neither, and `problem` says why: it is then never overwritten.
  static Dismissals read(const std::string& root);

  bool contains(const std::string& fingerprint) const {
    return fingerprints_.contains(fingerprint);
  }
  const std::string& problem() const { return problem_; }
  /// Writes the file anew, with this one in it; what else stands there is kept. Errors: io,
  /// bad_format (the file there is not ours).
  Result<void> add(const assist::Finding& finding, const std::string& path);

 private:
  std::string root_, problem_;
  std::set<std::string> fingerprints_;
};

/// Is this the name of such a file?
bool is_dismissals_file(std::string_view path);

}  // namespace cambium::lsp
