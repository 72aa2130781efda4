#include "lsp/eval/cases.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "lsp/text.h"
#include "lsp/training/fill_in_middle.h"
#include "lsp/training/random.h"
#include "syntax/languages.h"
#include "syntax/tree.h"

namespace cambium::eval {
namespace {

namespace fs = std::filesystem;
using training::Cuts;
using training::Hole;
using training::HoleKind;
using training::Random;
using training::SourceFile;

constexpr uint64_t kMostSource = 1u << 20;
constexpr uint32_t kMaxLineBytes = 160;
constexpr size_t kPerFile = 4;  ///< of one kind
constexpr int kTries = 8;       ///< to find a place in one file

bool is_word(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u == '_' ||
         u >= 0x80;
}
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool skipped_folder(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return (name.size() > 1 && name[0] == '.') || name == "node_modules" || name == "build" ||
         name == "target" || name == "__pycache__";
}

/// A file with no holes worth cutting gives none: a comment is no code, and its words are nobody's
/// to guess.
bool in_comment(const syntax::Tree& tree, uint32_t at) {
  for (TSNode node = ts_node_descendant_for_byte_range(tree.root(), at, at + 1);
       !ts_node_is_null(node); node = ts_node_parent(node)) {
    if (std::string_view(ts_node_type(node)).find("comment") != std::string_view::npos) return true;
  }
  return false;
}

/// A file being cut: parsed when it is first needed.
class Cutter {
 public:
  explicit Cutter(const SourceFile& file, uint64_t seed) : file_(file), random_(seed, file.path) {}

  std::optional<Case> next(CaseKind kind, const CaseOptions& options) {
    if (!cuts_) {
      language_ = syntax::language_of_file(file_.path, file_.text.substr(0, 256));
      if (language_ != nullptr) tree_ = syntax::Parser(*language_).parse(file_.text);
      cuts_ = training::find_cuts(file_.text, language_);
    }
    if (!tree_) return std::nullopt;
    for (int i = 0; i < kTries; ++i) {
      const auto hole = kind == CaseKind::line ? line() : block(options.max_block_bytes);
      if (!hole || !seen_.insert({hole->begin, static_cast<int>(kind)}).second) continue;
      return make(kind, *hole);
    }
    return std::nullopt;
  }

 private:
  using ByteRange = training::ByteRange;

  ByteRange whole() const { return {0, static_cast<uint32_t>(file_.text.size())}; }

  std::optional<ByteRange> line() {
    const auto hole = training::cut_hole(file_.text, whole(), *cuts_, HoleKind::rest_of_line,
                                         kMaxLineBytes, random_);
    if (!hole) return std::nullopt;
    const ByteRange r = hole->range;
    const std::string_view middle = file_.text.substr(r.begin, r.end - r.begin);
    const auto words = std::count_if(middle.begin(), middle.end(), is_word);
    // A hole that was cut short at the limit does not end where its line does.
    if (words < 2 || middle.size() >= kMaxLineBytes || is_space(middle.back()) ||
        middle.find('\n') != middle.npos || in_comment(*tree_, r.begin))
      return std::nullopt;
    return r;
  }

  std::optional<ByteRange> block(uint32_t max_bytes) {
    const HoleKind kind = random_.chance(0.7) ? HoleKind::body : HoleKind::statement;
    const auto hole = training::cut_hole(file_.text, whole(), *cuts_, kind, max_bytes, random_);
    if (!hole || hole->kind != kind) return std::nullopt;
    ByteRange r = hole->range;
    // From the first code of its line to the end of a line: what a person has not begun.
    size_t before = r.begin;
    while (before > 0 && (file_.text[before - 1] == ' ' || file_.text[before - 1] == '\t'))
      --before;
    if (before > 0 && file_.text[before - 1] != '\n') return std::nullopt;
    // A separator after the last statement belongs to the block.
    while (r.end < file_.text.size() && (file_.text[r.end] == ';' || file_.text[r.end] == ','))
      ++r.end;
    size_t after = r.end;
    while (after < file_.text.size() &&
           (file_.text[after] == ' ' || file_.text[after] == '\t' || file_.text[after] == '\r'))
      ++after;
    if (after < file_.text.size() && file_.text[after] != '\n') return std::nullopt;
    const std::string_view middle = file_.text.substr(r.begin, r.end - r.begin);
    const bool lines = middle.find('\n') != middle.npos;
    if (r.end - r.begin > max_bytes || (!lines && kind == HoleKind::statement) ||
        std::count_if(middle.begin(), middle.end(), is_word) < 4 || in_comment(*tree_, r.begin))
      return std::nullopt;
    return r;
  }

  Case make(CaseKind kind, ByteRange r) const {
    Case made;
    made.path = file_.path;
    made.language = language_->name;
    made.kind = kind;
    auto text = std::make_shared<std::string>(file_.text.substr(0, r.begin));
    text->append(file_.text.substr(r.end));
    made.text = std::move(text);
    made.cursor = r.begin;
    made.middle = file_.text.substr(r.begin, r.end - r.begin);
    return made;
  }

  const SourceFile& file_;
  Random random_;
  const syntax::Language* language_ = nullptr;
  std::optional<syntax::Tree> tree_;
  std::optional<Cuts> cuts_;
  std::set<std::pair<uint32_t, int>> seen_;
};

/// The files of one language, in an order drawn from the seed; one case a file and round.
void choose_in(const std::vector<const SourceFile*>& files, const CaseOptions& options,
               std::vector<Case>& out) {
  std::vector<std::pair<uint64_t, const SourceFile*>> order;
  for (const SourceFile* file : files)
    order.emplace_back(Random(~options.seed, file->path).next(), file);
  std::sort(order.begin(), order.end(), [](const auto& x, const auto& y) {
    return x.first != y.first ? x.first < y.first : x.second->path < y.second->path;
  });
  std::vector<Cutter> cutters;
  cutters.reserve(order.size());
  for (const auto& [rank, file] : order) cutters.emplace_back(*file, options.seed);

  std::array<std::vector<Case>, kCaseKinds> chosen;
  const std::array<size_t, kCaseKinds> wanted{(options.per_language + 1) / 2,
                                              options.per_language / 2};
  for (size_t round = 0; round < kPerFile; ++round) {
    for (Cutter& cutter : cutters) {
      for (size_t kind = 0; kind < kCaseKinds; ++kind) {
        if (chosen[kind].size() >= wanted[kind]) continue;
        if (auto found = cutter.next(static_cast<CaseKind>(kind), options))
          chosen[kind].push_back(std::move(*found));
      }
      if (chosen[0].size() >= wanted[0] && chosen[1].size() >= wanted[1]) break;
    }
  }
  for (std::vector<Case>& of_kind : chosen)
    std::move(of_kind.begin(), of_kind.end(), std::back_inserter(out));
}

Result<void> read_folder(const fs::path& folder, Sources& out) {
  std::vector<fs::path> paths;
  std::error_code failed;
  auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied,
                                             failed);
  for (; !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) {
      if (skipped_folder(it->path())) it.disable_recursion_pending();
      continue;
    }
    const syntax::Language* language = syntax::language_of_file(it->path().string());
    if (language == nullptr || !language->programming || !it->is_regular_file(ignored)) continue;
    const uint64_t size = it->file_size(ignored);
    if (ignored || size == 0 || size > kMostSource) continue;
    paths.push_back(it->path());
  }
  if (failed) {
    return fail(ErrorCode::io, folder.string() + ": cannot be listed: " + failed.message());
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    auto text = training::read_bytes(path.string());
    if (!text) return tl::unexpected(text.error());
    if (text->find('\0') != text->npos || lsp::first_invalid_utf8(*text)) continue;
    out.bytes.push_back(
        std::make_unique<const std::string>(fs::relative(path, folder, failed).generic_string()));
    const std::string& name = *out.bytes.back();
    out.bytes.push_back(std::make_unique<const std::string>(std::move(*text)));
    out.files.push_back({name, *out.bytes.back()});
  }
  return {};
}

}  // namespace

const char* to_string(CaseKind kind) { return kind == CaseKind::line ? "line" : "block"; }

std::string project_of(std::string_view path) {
  path.remove_prefix(std::min(path.find('/') + 1, path.size()));
  return std::string(path.substr(0, path.find('/')));
}

uint32_t stable_hash(std::string_view text, uint32_t start) {
  uint32_t hash = start;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::string language_name(const SourceFile& file) {
  const syntax::Language* language = syntax::language_of_file(file.path, file.text.substr(0, 256));
  return language != nullptr && language->programming ? std::string(language->name) : "";
}

Result<Sources> read_sources(const std::string& path) {
  Sources out;
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (status.type() == fs::file_type::not_found)
    return fail(ErrorCode::not_found, path + ": no such file or folder");
  if (fs::is_directory(status)) {
    if (auto read = read_folder(path, out); !read) return tl::unexpected(read.error());
  } else {
    auto bytes = training::read_bytes(path);
    if (!bytes) return tl::unexpected(bytes.error());
    out.bytes.push_back(std::make_unique<const std::string>(std::move(*bytes)));
    if (syntax::language_of_file(path) != nullptr) {
      out.bytes.push_back(std::make_unique<const std::string>(fs::path(path).filename().string()));
      out.files.push_back({*out.bytes[1], *out.bytes[0]});
    } else {
      auto files = training::read_container(*out.bytes.back());
      if (!files)
        return tl::unexpected(Error{files.error().code, path + ": " + files.error().message});
      out.files = std::move(*files);
    }
  }
  std::erase_if(out.files, [](const SourceFile& file) {
    return language_name(file).empty() || lsp::first_invalid_utf8(file.text).has_value();
  });
  if (out.files.empty())
    return fail(ErrorCode::invalid_argument,
                path + ": holds no source files of a language Cambium knows");
  return out;
}

Result<std::vector<Case>> choose_cases(const Sources& sources, const CaseOptions& options) {
  std::map<std::string, std::vector<const SourceFile*>> groups;
  for (const SourceFile& file : sources.files) groups[language_name(file)].push_back(&file);
  std::vector<Case> cases;
  for (const std::string& wanted : options.languages) {
    if (groups.count(wanted) != 0) continue;
    std::string there;
    for (const auto& [name, files] : groups) there += (there.empty() ? "" : ", ") + name;
    return fail(ErrorCode::invalid_argument, "no sources in " + wanted + "; there are " + there);
  }
  for (const auto& [language, files] : groups) {
    if (!options.languages.empty() && std::find(options.languages.begin(), options.languages.end(),
                                                language) == options.languages.end())
      continue;
    choose_in(files, options, cases);
  }
  if (cases.empty())
    return fail(ErrorCode::invalid_argument, "the sources have no place where a hole could be cut");
  return cases;
}

}  // namespace cambium::eval
