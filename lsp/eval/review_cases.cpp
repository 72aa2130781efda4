#include "lsp/eval/review_cases.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "lsp/assist/review_calibration.h"
#include "lsp/assist/reviewer.h"
#include "lsp/eval/cases.h"
#include "syntax/review_leftovers.h"

namespace cambium::eval {
namespace {

constexpr size_t kLargestFile = 200'000;
constexpr size_t kFewestLines = 5, kMostLines = 80;
constexpr size_t kMostOfAFile = 2;      ///< functions: those of a file are alike
constexpr size_t kMostOfAProject = 40;  ///< of a language: no project speaks for it alone

/// The words that a slip can lose.
struct Loss {
  syntax::SiteKind kind;
  std::string_view word;
};
constexpr Loss kLosses[] = {{syntax::SiteKind::await, "await "},
                            {syntax::SiteKind::return_, "return "}};

/// Places where `return f(x)` or `await f(x)` stands, as sites whose alternative lacks the word.
void add_losses(std::string_view text, syntax::ByteRange function,
                std::vector<syntax::Site>& sites) {
  const std::string_view body = text.substr(function.begin, function.end - function.begin);
  for (const Loss& loss : kLosses) {
    for (size_t at = body.find(loss.word); at != body.npos; at = body.find(loss.word, at + 1)) {
      if (at > 0 && body[at - 1] != ' ' && body[at - 1] != '\t') continue;
      const size_t after = at + loss.word.size();
      size_t end = after;
      while (end < body.size() &&
             (isalnum(static_cast<unsigned char>(body[end])) != 0 || body[end] == '_'))
        ++end;
      if (end == after || end == body.size() || (body[end] != '(' && body[end] != '.')) continue;
      sites.push_back({loss.kind,
                       {static_cast<uint32_t>(function.begin + at),
                        static_cast<uint32_t>(function.begin + end)},
                       {std::string(body.substr(after, end - after))},
                       0,
                       {}});
    }
  }
}

/// A file that cases are made of.
struct ReviewFile {
  std::optional<syntax::Tree> tree;
  std::vector<syntax::FunctionSites> functions;  ///< of a length that is taken

  size_t cases() const { return std::min(functions.size(), kMostOfAFile); }
};

const syntax::Language* reviewed_language(const training::SourceFile& file) {
  const syntax::Language* language =
      file.text.size() > kLargestFile
          ? nullptr
          : syntax::language_of_file(file.path, file.text.substr(0, 256));
  return language != nullptr &&
                 assist::review_language(language->name) < assist::kReviewLanguages.size()
             ? language
             : nullptr;
}

/// No functions where the file would not be reviewed or has errors.
ReviewFile read(const training::SourceFile& file, const syntax::Language& language) {
  ReviewFile out;
  if (!assist::why_not_reviewed(file.text).empty()) return out;
  out.tree = syntax::Parser(language).parse(file.text);
  if (!out.tree || out.tree->has_error()) return out;
  out.functions =
      syntax::review_sites(*out.tree, file.text, {{0, static_cast<uint32_t>(file.text.size())}});
  std::erase_if(out.functions, [&](const syntax::FunctionSites& function) {
    const auto body =
        file.text.substr(function.range.begin, function.range.end - function.range.begin);
    const auto lines = static_cast<size_t>(std::count(body.begin(), body.end(), '\n')) + 1;
    return lines < kFewestLines || lines > kMostLines;
  });
  return out;
}

/// Where a slip can be made, and what then stands there.
std::vector<syntax::Site> places_of(const syntax::FunctionSites& function,
                                    const syntax::RepeatedStatements& repeated,
                                    std::string_view text) {
  std::vector<syntax::Site> places = function.sites;
  // These name what may be missing, so a slip is made where it is there.
  std::erase_if(places, [](const syntax::Site& site) {
    return site.kind == syntax::SiteKind::await || site.kind == syntax::SiteKind::return_ ||
           site.kind == syntax::SiteKind::leftover;
  });
  add_losses(text, function.range, places);
  for (const syntax::Site& site : repeated.consistent) {
    if (site.range.begin >= function.range.begin && site.range.end <= function.range.end)
      places.push_back(site);
  }
  return places;
}

/// Nothing where the file then has errors.
std::optional<ReviewCase> with_slip(const ReviewCase& clean, const syntax::Site& site,
                                    const std::string& slip) {
  ReviewCase bug = clean;
  bug.bug = syntax::to_string(site.kind);
  bug.original = clean.text.substr(site.range.begin, site.range.end - site.range.begin);
  bug.text.replace(site.range.begin, site.range.end - site.range.begin, slip);
  bug.slip = {site.range.begin, site.range.begin + static_cast<uint32_t>(slip.size())};
  bug.function.end = static_cast<uint32_t>(bug.function.end + bug.text.size() - clean.text.size());
  const auto after = syntax::Parser(*clean.language).parse(bug.text);
  if (!after || after->has_error()) return std::nullopt;
  return bug;
}

/// A project's part of a language's cases.
using InLanguage = std::pair<const syntax::Language*, std::string>;

}  // namespace

Halves review_halves(const std::vector<training::SourceFile>& files) {
  std::map<InLanguage, size_t> cases;
  for (const training::SourceFile& file : files) {
    const syntax::Language* language = reviewed_language(file);
    if (language == nullptr) continue;
    size_t& had = cases[{language, project_of(file.path)}];
    if (had < kMostOfAProject) had += read(file, *language).cases();
  }
  std::vector<ProjectShare> shares;
  for (const auto& [part, had] : cases) {
    shares.push_back({part.second, std::string(part.first->name),
                      static_cast<uint32_t>(std::min(had, kMostOfAProject))});
  }
  return Halves(shares);
}

std::vector<ReviewCase> review_cases(const std::vector<training::SourceFile>& files,
                                     const Halves& halves, const ReviewCaseOptions& options) {
  std::vector<const training::SourceFile*> order;
  for (const training::SourceFile& file : files) {
    if (halves.of(project_of(file.path)) == options.half && reviewed_language(file) != nullptr)
      order.push_back(&file);
  }
  std::mt19937_64 random(options.seed);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);

  std::vector<ReviewCase> cases;
  std::map<const syntax::Language*, size_t> of_language;
  std::map<InLanguage, size_t> of_project;
  std::array<size_t, syntax::kSiteKinds> of_kind{};
  for (const training::SourceFile* file : order) {
    const syntax::Language* language = reviewed_language(*file);
    const std::string project = project_of(file->path);
    size_t& of_both = of_project[{language, project}];
    if (of_language[language] >= options.per_language || of_both >= kMostOfAProject) continue;
    ReviewFile source = read(*file, *language);
    auto& functions = source.functions;
    if (functions.empty()) continue;
    const auto repeated = syntax::repeated_statements(source.tree->root(), file->text);
    for (size_t taken = 0, most = source.cases(); taken < most; ++taken) {
      const size_t chosen = below(functions.size());
      const syntax::FunctionSites function = std::move(functions[chosen]);
      functions.erase(functions.begin() + static_cast<std::ptrdiff_t>(chosen));
      std::vector<syntax::Site> places = places_of(function, repeated, file->text);
      std::vector<syntax::SiteKind> kinds;
      for (const syntax::Site& site : places) {
        if (std::find(kinds.begin(), kinds.end(), site.kind) == kinds.end())
          kinds.push_back(site.kind);
      }
      if (kinds.empty()) continue;
      // Every other slip is a misused variable, which the goals are of; the rest are shared out evenly
      // among the other kinds, the rare ones first.
      for (size_t i = kinds.size(); i > 1; --i) std::swap(kinds[i - 1], kinds[below(i)]);
      const auto is_name = [](syntax::SiteKind one) { return one == syntax::SiteKind::name; };
      const bool has_name = std::any_of(kinds.begin(), kinds.end(), is_name);
      if (has_name && (kinds.size() == 1 || below(2) == 0)) {
        kinds = {syntax::SiteKind::name};
      } else {
        std::erase_if(kinds, is_name);
      }
      const syntax::SiteKind kind = *std::min_element(
          kinds.begin(), kinds.end(), [&](syntax::SiteKind a, syntax::SiteKind b) {
            return of_kind[static_cast<size_t>(a)] < of_kind[static_cast<size_t>(b)];
          });
      std::erase_if(places, [&](const syntax::Site& site) { return site.kind != kind; });
      const syntax::Site& site = places[below(places.size())];
      const std::string& slip = site.alternatives[below(site.alternatives.size())];

      ReviewCase clean;
      clean.language = language;
      clean.path = std::string(file->path);
      clean.project = project;
      clean.text = std::string(file->text);
      clean.function = function.range;
      auto bug = with_slip(clean, site, slip);
      if (!bug) continue;
      cases.push_back(std::move(clean));
      cases.push_back(std::move(*bug));
      ++of_language[language];
      ++of_both;
      ++of_kind[static_cast<size_t>(kind)];
      if (of_language[language] >= options.per_language) break;
    }
  }
  return cases;
}

void add_cases(std::vector<ReviewCase>& pairs, const MoreCases& more) {
  std::map<std::string, double, std::less<>> before;
  std::set<std::pair<std::string, uint32_t>> taken;
  for (const ReviewCase& one : pairs) {
    ++before[one.bug];
    taken.emplace(one.path, one.function.begin);
  }
  auto after = before;
  std::vector<ReviewCase> added;
  for (size_t pair = 0; pair + 1 < pairs.size(); pair += 2) {
    const ReviewCase& clean = pairs[pair];
    const ReviewFile source = read({clean.path, clean.text}, *clean.language);
    if (!source.tree) continue;
    // By place: a pair more or less changes nothing of what the others get.
    std::mt19937_64 random(stable_hash(clean.path, clean.function.begin));
    const auto take = [&](auto& from) {
      const auto chosen = from.begin() + static_cast<std::ptrdiff_t>(random() % from.size());
      const auto one = *chosen;
      from.erase(chosen);
      return one;
    };
    const auto repeated = syntax::repeated_statements(source.tree->root(), clean.text);
    std::vector<const syntax::FunctionSites*> others;
    for (const syntax::FunctionSites& function : source.functions) {
      if (!(function.range == clean.function)) {
        if (!taken.contains({clean.path, function.range.begin})) others.push_back(&function);
        continue;
      }
      for (const syntax::SiteKind kind : more.kinds) {
        if (!before.contains(syntax::to_string(kind))) continue;
        std::vector<syntax::Site> places = places_of(function, repeated, clean.text);
        std::erase_if(places, [&](const syntax::Site& site) {
          return site.kind != kind || site.range.begin == pairs[pair + 1].slip.begin;
        });
        for (size_t i = 0; i < more.slips && !places.empty(); ++i) {
          syntax::Site site = take(places);
          auto bug = with_slip(clean, site, take(site.alternatives));
          if (!bug) continue;
          ++after[bug->bug];
          added.push_back(std::move(*bug));
        }
      }
    }
    for (size_t i = 0; i < more.untouched && !others.empty(); ++i) {
      ReviewCase other = clean;
      other.function = take(others)->range;
      taken.emplace(other.path, other.function.begin);
      ++after[""];
      added.push_back(std::move(other));
    }
  }
  std::move(added.begin(), added.end(), std::back_inserter(pairs));
  for (ReviewCase& one : pairs) one.weight = before[one.bug] / after[one.bug];
}

}  // namespace cambium::eval
