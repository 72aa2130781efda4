// What a model is asked in an evaluation: holes in source files it has not seen, cut as training
// cuts them (lsp/training/fill_in_middle.h). The cases depend on the files and the seed alone, never
// on a model, so that two models answer the same ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "lsp/training/container.h"

namespace cambium::eval {

enum class CaseKind : uint8_t {
  line,   ///< from a cursor in a line to the line's end, or to the closers an editor has put there
  block,  ///< the lines of a body, or a statement of several lines, from its first code on
};
inline constexpr int kCaseKinds = 2;
const char* to_string(CaseKind kind);

struct Case {
  std::string path;      ///< as in the source
  std::string language;  ///< a syntax::Language's name
  CaseKind kind = CaseKind::line;
  std::shared_ptr<const std::string> text;  ///< the document with the hole empty
  size_t cursor = 0;
  std::string middle;  ///< what stood there
};

/// Source files of an evaluation, with the bytes they are views of.
struct Sources {
  std::vector<std::unique_ptr<const std::string>> bytes;
  std::vector<training::SourceFile> files;
};

/// A container of cambium-prepare, a source file, or a folder: every file of a known programming
/// language in it, in order of path, of at most 1 MB and of valid UTF-8; hidden folders and those of
/// builds and packages are left out. Errors: not_found, io, bad_format, invalid_argument (no sources).
Result<Sources> read_sources(const std::string& path);

struct CaseOptions {
  size_t per_language = 40;            ///< half of them lines, half blocks
  std::vector<std::string> languages;  ///< names; empty: all that are there
  uint64_t seed = 1;
  /// A block longer than this is no case: completions of the default length could not hold it.
  uint32_t max_block_bytes = 256;
};

/// In order of language, kind and draw; at most four of a kind from one file. A language with too
/// few places has fewer cases. invalid_argument: a language named has no sources, or nothing was found.
Result<std::vector<Case>> choose_cases(const Sources& sources, const CaseOptions& options);

/// The project of a path "<language>/<project>/…": the same in whatever language the file is.
std::string project_of(std::string_view path);

/// FNV-1a of `text` from `start` on. It does not change with the library, as what is drawn by it must not.
uint32_t stable_hash(std::string_view text, uint32_t start = 2166136261u);

/// Name of the language a file counts under; empty if it is none we complete.
std::string language_name(const training::SourceFile& file);

}  // namespace cambium::eval
