// What a team wants its reviews to care about: .cambium/review.md of a workspace folder. It is shown to a
// model, so it is the workspace's word only where the user trusts the workspace, and a note otherwise.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace cambium::assist {

struct TeamRules {
  std::string text;  ///< empty: none, or none that count
  std::string note;  ///< why what is there was left out or cut, for a person; empty: nothing was
};

/// `folder` is absolute. A file that a link leads out of the folder to, or that is private, is not read,
/// whatever is trusted. Blocking, but bounded: 64 KiB at most.
TeamRules read_team_rules(const std::string& folder, bool trusted,
                          const std::function<bool(const std::string& path)>& is_private);

/// Whether `folder` is one of `trusted` or lies in one; links are followed on both sides, and what is not
/// absolute or not there is trusted by nobody.
bool is_within(const std::string& folder, const std::vector<std::string>& trusted);

}  // namespace cambium::assist
