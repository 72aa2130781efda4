#include "lsp/assist/team_rules.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "lsp/assist/review_reasoning.h"
#include "lsp/assist/text_window.h"

namespace cambium::assist {

namespace fs = std::filesystem;

namespace {
constexpr uintmax_t kLargestFile = 64 << 10;

bool lies_in(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}
}  // namespace

TeamRules read_team_rules(const std::string& folder, bool trusted,
                          const std::function<bool(const std::string& path)>& is_private) {
  constexpr const char* kName = ".cambium/review.md";
  const auto left_out = [&](const std::string& why) {
    return TeamRules{"", std::string(kName) + " was left out: " + why};
  };
  std::error_code failed;
  const fs::path file = fs::path(folder) / kName;
  if (!fs::exists(file, failed)) return {};
  if (!trusted) {
    return left_out(
        "this workspace is not trusted; trust it in your editor, or list its folder under "
        "\"trustedFolders\" in your own config.json");
  }
  const fs::path real = fs::canonical(file, failed), root = fs::canonical(folder, failed);
  if (failed || !fs::is_regular_file(real, failed)) return left_out("it is no file");
  if (!lies_in(real, root)) return left_out("a link leads out of the workspace");
  if (is_private(real.string())) return left_out("it is private");
  if (fs::file_size(real, failed) > kLargestFile || failed) return left_out("it is over 64 KiB");
  std::string text(kLargestFile, '\0');
  std::ifstream in(real, std::ios::binary);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.find('\0') != text.npos) return left_out("it is no text");
  if (text.size() <= kMostRules) return {std::move(text), ""};
  text.resize(floor_char_boundary(text, kMostRules));
  return {std::move(text), std::string(kName) + " is long: its first " +
                               std::to_string(kMostRules) + " bytes were shown to the model"};
}

bool is_within(const std::string& folder, const std::vector<std::string>& trusted) {
  std::error_code failed;
  const fs::path inner = fs::canonical(folder, failed);
  if (failed) return false;
  return std::any_of(trusted.begin(), trusted.end(), [&](const std::string& each) {
    if (!each.starts_with('/')) return false;
    std::error_code absent;
    const fs::path outer = fs::canonical(each, absent);
    return !absent && lies_in(inner, outer);
  });
}

}  // namespace cambium::assist
