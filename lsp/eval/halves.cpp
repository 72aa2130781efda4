#include "lsp/eval/halves.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cambium::eval {
namespace {

/// A language's cases and projects in each half, and in both.
struct Balance {
  std::array<int64_t, 2> cases{}, projects{};
  int64_t all_cases = 0, all_projects = 0;

  /// 0 if both halves have as many cases, 10^6 if one has all; a language that could be in both halves and
  /// is in one weighs more than all that evenness can gain.
  int64_t cost() const {
    const int64_t apart = 1000 * (cases[0] - cases[1]) / all_cases;
    const bool missing = all_projects > 1 && (projects[0] == 0 || projects[1] == 0);
    return apart * apart + (missing ? int64_t{1} << 32 : 0);
  }
};

struct Project {
  std::string name;
  std::vector<std::pair<size_t, int64_t>> cases;  ///< by language
  int64_t all = 0;
  int half = 0;
};

void put(const Project& project, int half, int sign, std::vector<Balance>& balances) {
  for (const auto& [language, cases] : project.cases) {
    balances[language].cases[static_cast<size_t>(half)] += sign * cases;
    balances[language].projects[static_cast<size_t>(half)] += sign;
  }
}

int64_t cost_of(const std::vector<Balance>& balances) {
  int64_t cost = 0;
  for (const Balance& balance : balances) cost += balance.cost();
  return cost;
}

void move(Project& project, std::vector<Balance>& balances) {
  put(project, project.half, -1, balances);
  project.half = 1 - project.half;
  put(project, project.half, 1, balances);
}

}  // namespace

Halves::Halves(const std::vector<ProjectShare>& shares) {
  std::map<std::string, std::map<std::string, int64_t>> of_project;
  std::map<std::string, Balance> of_language;
  for (const ProjectShare& share : shares) {
    if (share.cases == 0) continue;
    int64_t& cases = of_project[share.project][share.language];
    Balance& balance = of_language[share.language];
    if (cases == 0) ++balance.all_projects;
    cases += share.cases;
    balance.all_cases += share.cases;
  }
  std::vector<Balance> balances;
  std::map<std::string, size_t> index;
  for (const auto& [language, balance] : of_language) {
    index[language] = balances.size();
    balances.push_back(balance);
  }
  std::vector<Project> projects;
  for (const auto& [name, languages] : of_project) {
    Project& project = projects.emplace_back();
    project.name = name;
    for (const auto& [language, cases] : languages) {
      project.cases.emplace_back(index[language], cases);
      project.all += cases;
    }
  }
  // The largest first, each where it evens out most; the small ones fill up what is left.
  std::stable_sort(projects.begin(), projects.end(),
                   [](const Project& a, const Project& b) { return a.all > b.all; });
  for (Project& project : projects) {
    std::array<int64_t, 2> cost{};
    for (const int half : {0, 1}) {
      put(project, half, 1, balances);
      cost[static_cast<size_t>(half)] = cost_of(balances);
      put(project, half, -1, balances);
    }
    project.half = cost[1] < cost[0] ? 1 : 0;
    put(project, project.half, 1, balances);
  }
  // Then one or two change sides for as long as that helps.
  int64_t least = cost_of(balances);
  for (bool better = true; better;) {
    better = false;
    for (size_t a = 0; a < projects.size(); ++a) {
      for (size_t b = a; b < projects.size(); ++b) {
        const auto turn = [&] {
          move(projects[a], balances);
          if (b != a) move(projects[b], balances);
        };
        turn();
        const int64_t cost = cost_of(balances);
        if (cost < least) {
          least = cost;
          better = true;
        } else {
          turn();
        }
      }
    }
  }
  for (const Project& project : projects) half_of_[project.name] = project.half;
  for (const auto& [language, at] : index) {
    const Balance& balance = balances[at];
    if (balance.projects[0] == 0 || balance.projects[1] == 0) undivided_.push_back(language);
  }
}

int Halves::of(std::string_view project) const {
  const auto found = half_of_.find(project);
  return found == half_of_.end() ? 1 : found->second;
}

}  // namespace cambium::eval
