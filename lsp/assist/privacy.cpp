#include "lsp/assist/privacy.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace cambium::assist {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kIgnoreNames[] = {".gitignore", ".cambiumignore"};
constexpr uintmax_t kMaxIgnoreBytes = 1 << 20;

constexpr std::string_view kSecretNames[] = {
    ".netrc",           "_netrc",          ".npmrc",           ".yarnrc.yml",      ".pypirc",
    ".pgpass",          ".my.cnf",         ".htpasswd",        ".git-credentials", ".dockercfg",
    ".envrc",           ".vault-token",    ".terraformrc",     "terraform.rc",     "credentials",
    "credentials.json", "credentials.yml", "credentials.yaml", "credentials.toml", "secrets.json",
    "secrets.yml",      "secrets.yaml",    "secrets.toml",     "secrets.env",      "secret.json",
    "secret.yml",       "secret.yaml",     "master.key",       "kubeconfig",       "shadow",
    "gshadow",          "wp-config.php",   "id_rsa",           "id_dsa",           "id_ecdsa",
    "id_ed25519",       "id_ecdsa_sk",     "id_ed25519_sk",
};
constexpr std::string_view kSecretExtensions[] = {
    ".env",
    ".pem",
    ".key",
    ".p8",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".kdbx",
    ".kdb",
    ".ppk",
    ".pgp",
    ".gpg",

    ".age",
    ".ovpn",
    ".tfvars",
    ".tfstate",
    ".mobileprovision",
    ".tfvars.json",
    ".tfstate.backup",
};
constexpr std::string_view kSecretFolders[] = {".ssh", ".aws", ".gnupg", ".kube", ".azure"};

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

std::string read_small_file(const std::string& path) {
  std::error_code error;
  // Only a plain file: opening a pipe of that name would wait for its other end.
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) > kMaxIgnoreBytes) return {};
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "/";
  return path.substr(0, slash);
}

bool is_inside(std::string_view path, std::string_view folder) {
  return folder == "/" ||
         (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

}  // namespace

bool names_secrets(std::string_view path) {
  const std::string low = lowered(path);
  const std::string_view all = low;
  const size_t slash = all.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? all : all.substr(slash + 1);
  if (name == ".env" || name.starts_with(".env.") || contains(kSecretNames, name)) return true;
  for (const std::string_view extension : kSecretExtensions) {
    if (name.size() > extension.size() && name.ends_with(extension)) return true;
  }
  for (const std::string_view folder : kSecretFolders) {
    const std::string inside = "/" + std::string(folder) + "/";
    if (all.find(inside) != std::string_view::npos || all.starts_with(inside.substr(1)))
      return true;
  }
  return all.ends_with("/.docker/config.json");
}

bool is_ignore_file(std::string_view path) {
  return contains(kIgnoreNames, path.substr(path.rfind('/') + 1)) ||
         path.ends_with("/.git/info/exclude");
}

IgnoreRules IgnoreRules::parse(std::string_view text) {
  IgnoreRules out;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    while (!line.empty() && line.back() == ' ' &&
           !(line.size() >= 2 && line[line.size() - 2] == '\\')) {
      line.remove_suffix(1);
    }
    if (line.empty() || line.front() == '#') continue;
    Rule rule;
    if (line.front() == '!') {
      rule.keeps = true;
      line.remove_prefix(1);
    }
    if (line.ends_with('/')) {
      rule.folders_only = true;
      line.remove_suffix(1);
    }
    if (line.empty()) continue;
    // A slash anywhere but at the end ties the pattern to the file's own folder.
    const bool anchored = line.find('/') != std::string_view::npos;
    if (line.front() == '/') line.remove_prefix(1);
    rule.pattern = tokens(anchored ? std::string(line) : "**/" + std::string(line));
    out.rules_.push_back(std::move(rule));
  }
  return out;
}

void IgnoreRules::append(const IgnoreRules& later) {
  rules_.insert(rules_.end(), later.rules_.begin(), later.rules_.end());
}

namespace {

/// End of the bracket expression that begins at `open`, or npos if it never closes.
size_t set_end(std::string_view pattern, size_t open) {
  size_t i = open + 1;
  if (i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^')) ++i;
  if (i < pattern.size() && pattern[i] == ']') ++i;
  while (i < pattern.size() && pattern[i] != ']') {
    if (pattern.substr(i, 2) == "[:") {
      const size_t close = pattern.find(":]", i + 2);
      if (close != std::string_view::npos) i = close + 1;
    } else if (pattern[i] == '\\') {
      ++i;
    }
    ++i;
  }
  return i < pattern.size() ? i : std::string_view::npos;
}

using Ranges = std::vector<std::pair<unsigned char, unsigned char>>;

void add_class(std::string_view name, Ranges& out) {
  using Test = int (*)(int);
  static constexpr std::array<std::pair<std::string_view, Test>, 12> kClasses{{
      {"alnum", std::isalnum},
      {"alpha", std::isalpha},
      {"blank", std::isblank},
      {"cntrl", std::iscntrl},
      {"digit", std::isdigit},
      {"graph", std::isgraph},
      {"lower", std::islower},
      {"print", std::isprint},
      {"punct", std::ispunct},
      {"space", std::isspace},
      {"upper", std::isupper},
      {"xdigit", std::isxdigit},
  }};
  for (const auto& [known, test] : kClasses) {
    if (known != name) continue;
    for (int c = 0; c < 128; ++c) {
      if (test(c) != 0)
        out.emplace_back(static_cast<unsigned char>(c), static_cast<unsigned char>(c));
    }
  }
}

}  // namespace

std::vector<IgnoreRules::Token> IgnoreRules::tokens(std::string_view pattern) {
  std::vector<Token> out;
  const auto literal = [&](char byte) { out.push_back({Kind::literal, byte, false, {}}); };
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      literal(pattern[++i]);
    } else if (c == '?') {
      out.push_back({Kind::any, 0, false, {}});
    } else if (c == '*') {
      // Git compares the part before the first special byte by itself; what follows begins anew
      // there, so that "x**/y" reaches into folders.
      const bool starts_part =
          i == 0 || pattern[i - 1] == '/' ||
          pattern.substr(0, i).find_first_of("*?[\\") == std::string_view::npos;
      size_t end = i;
      while (end < pattern.size() && pattern[end] == '*') ++end;
      if (end - i == 2 && starts_part && end < pattern.size() && pattern[end] == '/') {
        out.push_back({Kind::folders, 0, false, {}});
        i = end;  // the slash belongs to it
      } else if (end - i == 2 && starts_part && end == pattern.size()) {
        out.push_back({Kind::rest, 0, false, {}});
        i = end - 1;
      } else {
        out.push_back({Kind::star, 0, false, {}});
        i = end - 1;
      }
    } else if (c == '[') {
      const size_t end = set_end(pattern, i);
      if (end == std::string_view::npos) return {{Kind::set, 0, false, {}}};  // matches nothing
      Token set{Kind::set, 0, false, {}};
      size_t k = i + 1;
      if (pattern[k] == '!' || pattern[k] == '^') {
        set.negated = true;
        ++k;
      }
      const auto byte_at = [&](size_t& at) {
        if (pattern[at] == '\\' && at + 1 < end) ++at;
        return static_cast<unsigned char>(pattern[at++]);
      };
      while (k < end) {
        if (pattern.substr(k, 2) == "[:") {
          const size_t close = pattern.find(":]", k + 2);
          if (close != std::string_view::npos && close < end) {
            add_class(pattern.substr(k + 2, close - k - 2), set.ranges);
            k = close + 2;
            continue;
          }
        }
        const unsigned char low = byte_at(k);
        unsigned char high = low;
        if (k + 1 < end && pattern[k] == '-') {
          ++k;
          high = byte_at(k);
          set.ranges.emplace_back(low, low);  // git: also where the range is backwards
        }
        set.ranges.emplace_back(low, high);
      }
      out.push_back(std::move(set));
      i = end;
    } else {
      literal(c);
    }
  }
  return out;
}

bool IgnoreRules::matches(const std::vector<Token>& pattern, std::string_view path) {
  // tail[j]: do the tokens from here on match path[j..]? Filled from the last token to the first,
  // so that no pattern, however many stars a stranger puts into it, costs more than the product of
  // sizes.
  const size_t n = path.size();
  std::vector<char> tail(n + 1, 0), next(n + 1, 0);
  tail[n] = 1;
  for (size_t t = pattern.size(); t-- > 0;) {
    const Token& token = pattern[t];
    bool later = false;  // of `folders`: tail[k] for some k past a slash
    for (size_t j = n + 1; j-- > 0;) {
      const bool more = j < n;
      const auto byte = more ? static_cast<unsigned char>(path[j]) : 0;
      bool ok = false;
      switch (token.kind) {
        case Kind::literal:
          ok = more && path[j] == token.byte && tail[j + 1];
          break;
        case Kind::any:
          ok = more && byte != '/' && tail[j + 1];
          break;
        case Kind::star:
          ok = tail[j] || (more && byte != '/' && next[j + 1]);
          break;
        case Kind::set: {
          const bool inside = std::any_of(
              token.ranges.begin(), token.ranges.end(),
              [&](const auto& range) { return range.first <= byte && byte <= range.second; });
          ok = more && byte != '/' && inside != token.negated && tail[j + 1];
          break;
        }
        case Kind::folders:
          ok = tail[j] || later;
          if (j > 0 && path[j - 1] == '/' && tail[j]) later = true;
          break;
        case Kind::rest:
          ok = true;
          break;
      }
      next[j] = ok ? 1 : 0;
    }
    tail.swap(next);
  }
  return tail[0] != 0;
}

IgnoreRules::Verdict IgnoreRules::match(std::string_view path, bool is_folder) const {
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    if (rule->folders_only && !is_folder) continue;
    if (matches(rule->pattern, path)) return rule->keeps ? Verdict::kept : Verdict::ignored;
  }
  return Verdict::silent;
}

void Privacy::set_roots(std::vector<std::string> roots) {
  for (std::string& root : roots) {
    while (root.size() > 1 && root.back() == '/') root.pop_back();
  }
  roots_ = std::move(roots);
  forget();
}

void Privacy::forget() {
  rules_.clear();
  verdicts_.clear();
}

const std::string& Privacy::why_private(const std::string& path) {
  const auto known = verdicts_.find(path);
  if (known != verdicts_.end()) return known->second;
  return verdicts_.emplace(path, judge(path)).first->second;
}

std::string Privacy::top_of(const std::string& folder) const {
  std::error_code error;
  for (std::string_view at = folder;; at = parent_of(at)) {
    if (fs::exists(fs::path(at) / ".git", error)) return std::string(at);
    if (at == "/") break;
  }
  std::string best;
  for (const std::string& root : roots_) {
    const bool holds = root == folder || is_inside(folder, root);
    if (holds && (best.empty() || root.size() < best.size())) best = root;
  }
  return best.empty() ? folder : best;
}

const IgnoreRules& Privacy::rules_of(const std::string& folder, bool is_top) {
  const auto known = rules_.find(folder);
  if (known != rules_.end()) return known->second;
  IgnoreRules rules;
  if (is_top) rules.append(IgnoreRules::parse(read_small_file(folder + "/.git/info/exclude")));
  for (const std::string_view name : kIgnoreNames) {
    rules.append(IgnoreRules::parse(read_small_file(folder + "/" + std::string(name))));
  }
  return rules_.emplace(folder, std::move(rules)).first->second;
}

std::string Privacy::judge(const std::string& path) {
  if (names_secrets(path)) return "files of this name hold secrets and are never read";
  if (path.empty() || path.front() != '/') return {};
  const std::string normal = fs::path(path).lexically_normal().string();
  const std::string top = top_of(std::string(parent_of(normal)));
  const size_t base = top == "/" ? 0 : top.size();
  // Every part from the top down: an ignored folder ends the question.
  for (size_t slash = base; slash != std::string::npos;) {
    const size_t end = normal.find('/', slash + 1);
    const bool is_folder = end != std::string::npos;
    const std::string part = normal.substr(0, end);
    // The deepest ignore file with an opinion decides.
    IgnoreRules::Verdict verdict = IgnoreRules::Verdict::silent;
    for (std::string_view folder = parent_of(part);; folder = parent_of(folder)) {
      const std::string name(folder);
      const size_t skip = folder == "/" ? 1 : folder.size() + 1;
      verdict = rules_of(name, name == top).match(std::string_view(part).substr(skip), is_folder);
      if (verdict != IgnoreRules::Verdict::silent || name == top || folder == "/") break;
    }
    if (verdict == IgnoreRules::Verdict::ignored) {
      return "this file is named by .gitignore or .cambiumignore";
    }
    slash = end;
  }
  return {};
}

}  // namespace cambium::assist
