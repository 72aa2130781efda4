#include "engine/expert_loads.h"

#include <algorithm>
#include <numeric>

namespace cambium::engine {

ExpertSpread spread_of(const ExpertLoads& loads) {
  const uint64_t sum = std::accumulate(loads.begin(), loads.end(), uint64_t{0});
  if (sum == 0) return {};
  const double busiest =
      static_cast<double>(*std::max_element(loads.begin(), loads.end())) / static_cast<double>(sum);
  return {busiest, busiest * static_cast<double>(loads.size())};
}

}  // namespace cambium::engine
