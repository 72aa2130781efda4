#include "lsp/dismissals.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace cambium::lsp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kName = "/.cambium/dismissed.json";
constexpr uintmax_t kMostBytes = 4u << 20;

/// The file's object; discarded if it is none.
json parsed(const fs::path& file) {
  std::error_code failed;
  if (fs::file_size(file, failed) > kMostBytes || failed) return json(json::value_t::discarded);
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  json value = json::parse(text.str(), nullptr, false);
  const bool ours =
      value.is_object() && value.contains("dismissed") && value["dismissed"].is_array();
  return ours ? value : json(json::value_t::discarded);
}

}  // namespace

bool is_dismissals_file(std::string_view path) { return path.ends_with(kName); }

Dismissals Dismissals::read(const std::string& root) {
  Dismissals out;
  out.root_ = root;
  const fs::path file = root + std::string(kName);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return out;
  const json value = parsed(file);
  if (value.is_discarded()) {
    out.problem_ = file.string() +
                   ": expected {\"dismissed\": [{\"fingerprint\": …}]}; "
                   "correct it or remove it";
    return out;
  }
  for (const json& entry : value["dismissed"]) {
    if (entry.is_object() && entry.contains("fingerprint") && entry["fingerprint"].is_string())
      out.fingerprints_.insert(entry["fingerprint"].get<std::string>());
  }
  return out;
}

Result<void> Dismissals::add(const assist::Finding& finding, const std::string& path) {
  const fs::path file = root_ + std::string(kName);
  std::error_code failed;
  json value = {{"dismissed", json::array()}};
  if (fs::exists(file, failed)) {
    value = parsed(file);  // anew: a colleague's may have come with a pull
    if (value.is_discarded()) {
      return fail(ErrorCode::bad_format, file.string() +
                                             ": is not a list of dismissed findings; "
                                             "correct it or remove it");
    }
  }
  const std::string relative = fs::path(path).lexically_relative(root_).string();
  value["dismissed"].push_back({{"fingerprint", finding.fingerprint},
                                {"code", finding.code},
                                {"file", relative.empty() ? path : relative},
                                {"message", finding.message}});
  fs::create_directories(file.parent_path(), failed);
  // Beside it and renamed: a crash leaves the old file.
  const fs::path fresh = file.string() + ".new";
  {
    std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
    out << value.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
    if (!out.flush()) return fail(ErrorCode::io, fresh.string() + ": cannot be written");
  }
  fs::rename(fresh, file, failed);
  if (failed) return fail(ErrorCode::io, file.string() + ": " + failed.message());
  fingerprints_.insert(finding.fingerprint);
  return {};
}

}  // namespace cambium::lsp
