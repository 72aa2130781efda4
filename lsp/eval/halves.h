// Two halves of an evaluation's projects: one to choose settings on, one to report on. A project is in one
// of them with all its languages, and each language is shared out between them as evenly as that allows.
//
// Deterministic: the same shares give the same halves, in whatever order they come. Pure; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cambium::eval {

/// What a project has to give in one language.
struct ProjectShare {
  std::string project, language;
  uint32_t cases = 0;
};

class Halves {
 public:
  /// A share of no cases counts for nothing; two of one project and language are added up.
  explicit Halves(const std::vector<ProjectShare>& shares);

  /// 0: to calibrate on, 1: to report on. A project that has nothing to give is in half 1.
  int of(std::string_view project) const;
  /// Ascending: the languages that only one half has cases of. One project has them all, or its projects
  /// also hold other languages, whose halves ask for the contrary.
  const std::vector<std::string>& undivided() const { return undivided_; }

 private:
  std::map<std::string, int, std::less<>> half_of_;
  std::vector<std::string> undivided_;
};

}  // namespace cambium::eval
