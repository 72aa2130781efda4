// What git knows of a file, by running git: it is there wherever a repository is, knows every format
// of one, and a library would bring its network code into this process.
//
// Blobs are read raw; external diffs, text conversions, the file-system monitor and the fetch of
// missing objects are off. Every call is bounded in time and output.
//
// Blocking; any thread but the strand.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"

namespace cambium::assist {

/// The file's text in `revision` ("HEAD"). Errors: not_found (no repository, no such revision, the
/// file is not in it, no git), unavailable (it took too long), unsupported (larger than 8 MiB),
/// invalid_argument (a revision that begins with '-').
Result<std::string> text_in_revision(const std::string& path, const std::string& revision);

/// Files below the repository that holds `folder` that differ from `revision` or are not in it yet
/// (and are not ignored), as absolute paths; deleted ones are left out. Errors as above.
Result<std::vector<std::string>> files_changed_since(const std::string& folder,
                                                     const std::string& revision);

}  // namespace cambium::assist
