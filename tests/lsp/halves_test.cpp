// Which projects an evaluation calibrates on, and which it reports on.
#include "lsp/eval/halves.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include "lsp/training/random.h"

using namespace cambium;
using eval::Halves;
using eval::ProjectShare;

namespace {

std::map<std::string, std::array<uint32_t, 2>> cases_of(const std::vector<ProjectShare>& shares,
                                                        const Halves& halves) {
  std::map<std::string, std::array<uint32_t, 2>> cases;
  for (const ProjectShare& share : shares)
    cases[share.language][static_cast<size_t>(halves.of(share.project))] += share.cases;
  return cases;
}

std::vector<ProjectShare> random_shares(training::Random& random, uint32_t projects,
                                        uint32_t languages) {
  std::vector<ProjectShare> shares;
  for (uint32_t p = 0; p < projects; ++p) {
    for (uint32_t l = 0; l < languages; ++l) {
      if (random.below(3) == 0)
        shares.push_back(
            {std::to_string(p), std::string(1, static_cast<char>('a' + l)), 1 + random.below(40)});
    }
  }
  return shares;
}

/// Languages of several projects that are in one half only, at the best of all splits.
size_t fewest_missing(const std::vector<ProjectShare>& shares, uint32_t projects) {
  size_t fewest = shares.size();
  for (uint32_t split = 0; split < 1u << projects; ++split) {
    std::map<std::string, std::array<uint32_t, 2>> in;
    for (const ProjectShare& share : shares)
      ++in[share.language][split >> static_cast<uint32_t>(std::stoi(share.project)) & 1];
    size_t missing = 0;
    for (const auto& [language, halves] : in) {
      if (halves[0] + halves[1] > 1 && (halves[0] == 0 || halves[1] == 0)) ++missing;
    }
    fewest = std::min(fewest, missing);
  }
  return fewest;
}

}  // namespace

TEST_CASE("every language of several projects is in both halves, and each project in one") {
  // As held-out data has it: projects of several languages, and a few that are much larger.
  const std::vector<ProjectShare> shares = {
      {"glance", "python", 40},  {"oslo", "python", 40},     {"fmt", "python", 2},
      {"fmt", "c", 20},          {"fmt", "cpp", 20},         {"box2d", "c", 40},
      {"box2d", "cpp", 40},      {"svg", "c", 40},           {"svg", "cpp", 40},
      {"svg", "java", 40},       {"svg", "typescript", 40},  {"maps", "java", 40},
      {"maps", "typescript", 9}, {"expo", "typescript", 40}, {"lottie", "c_sharp", 5},
      {"crowdsec", "go", 40},    {"protobuf", "go", 40},     {"protobuf", "rust", 40},
      {"syn", "rust", 40},
  };
  const Halves halves(shares);
  for (const auto& [language, cases] : cases_of(shares, halves)) {
    CAPTURE(language);
    if (language == "c_sharp") continue;
    CHECK(cases[0] > 0);
    CHECK(cases[1] > 0);
    // No half has twice what the other has.
    CHECK(std::max(cases[0], cases[1]) < 2 * std::min(cases[0], cases[1]));
  }
  CHECK(halves.undivided() == std::vector<std::string>{"c_sharp"});
}

TEST_CASE("a language is missing in a half only where no split has it in both") {
  training::Random random(5);
  for (int i = 0; i < 200; ++i) {
    const uint32_t projects = 2 + random.below(6);
    const auto shares = random_shares(random, projects, 4);
    const Halves halves(shares);
    size_t missing = 0;
    std::map<std::string, size_t> of_language;
    for (const ProjectShare& share : shares) ++of_language[share.language];
    for (const std::string& language : halves.undivided()) missing += of_language[language] > 1;
    CAPTURE(i);
    CHECK(missing == fewest_missing(shares, projects));
    for (const auto& [language, cases] : cases_of(shares, halves)) {
      const bool undivided = std::find(halves.undivided().begin(), halves.undivided().end(),
                                       language) != halves.undivided().end();
      CHECK(undivided == (cases[0] == 0 || cases[1] == 0));
    }
  }
}

TEST_CASE("the order of the shares does not matter, nor do projects without cases") {
  training::Random random(11);
  auto shares = random_shares(random, 30, 8);
  const Halves halves(shares);
  for (size_t i = shares.size(); i > 1; --i)
    std::swap(shares[i - 1], shares[random.below(static_cast<uint32_t>(i))]);
  // In two parts, as files of a project may come.
  shares.push_back(shares.back());
  shares.back().cases = 0;
  shares.push_back({"empty", "a", 0});
  const Halves again(shares);
  for (const ProjectShare& share : shares)
    CHECK(halves.of(share.project) == again.of(share.project));
  CHECK(again.of("empty") == 1);
  CHECK(Halves({}).undivided().empty());
}
