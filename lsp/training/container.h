// Source files as the training data travels: a sequence of records, little endian,
//   u16 length of path, u32 length of text, path, text
// with the path "<language>/<project>/<path in the project>". engine/training/corpus.py writes
// them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"

namespace cambium::training {

struct SourceFile {
  std::string_view path;  ///< as in the record
  std::string_view text;
  std::string_view language() const { return path.substr(0, path.find('/')); }
  std::string_view name() const { return path.substr(path.rfind('/') + 1); }
};

/// The records of a container held in memory; views into `bytes`. corrupt names the record that is
/// cut off.
Result<std::vector<SourceFile>> read_container(std::string_view bytes);
/// A whole file, or standard input for "-".
Result<std::string> read_bytes(const std::string& path);

}  // namespace cambium::training
