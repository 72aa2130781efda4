#include "lsp/training/container.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

namespace cambium::training {

Result<std::vector<SourceFile>> read_container(std::string_view bytes) {
  std::vector<SourceFile> files;
  size_t at = 0;
  const auto number = [&](size_t width) {
    uint32_t v = 0;
    for (size_t i = 0; i < width; ++i)
      v |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
    at += width;
    return v;
  };
  while (at < bytes.size()) {
    const std::string after = files.empty() ? "the start" : std::string(files.back().path);
    if (bytes.size() - at < 6)
      return fail(ErrorCode::bad_format, "container is cut off in the record after " + after);
    const size_t path = number(2), text = number(4);
    if (bytes.size() - at < path + text)
      return fail(ErrorCode::bad_format, "container is cut off in the record after " + after +
                                             ": " + std::to_string(path + text) +
                                             " bytes expected, " +
                                             std::to_string(bytes.size() - at) + " there");
    files.push_back({bytes.substr(at, path), bytes.substr(at + path, text)});
    at += path + text;
  }
  return files;
}

Result<std::string> read_bytes(const std::string& path) {
  struct Close {
    void operator()(std::FILE* f) const {
      if (f != stdin) std::fclose(f);
    }
  };
  const std::unique_ptr<std::FILE, Close> file(path == "-" ? stdin
                                                           : std::fopen(path.c_str(), "rb"));
  if (!file) return fail(ErrorCode::io, "cannot open " + path + ": " + std::strerror(errno));
  std::string bytes;
  constexpr size_t kStep = size_t{1} << 22;
  for (;;) {
    const size_t old = bytes.size();
    bytes.resize(old + kStep);
    const size_t n = std::fread(bytes.data() + old, 1, kStep, file.get());
    bytes.resize(old + n);
    if (n == 0) break;
  }
  if (std::ferror(file.get())) return fail(ErrorCode::io, "cannot read " + path);
  return bytes;
}

}  // namespace cambium::training
