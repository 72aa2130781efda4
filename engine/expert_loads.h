// How a mixture of experts shared its tokens out.
#pragma once

#include <cstdint>
#include <vector>

namespace cambium::engine {

/// Tokens each expert has had, summed over the mixture layers: [n_expert]; empty: a dense model.
using ExpertLoads = std::vector<uint64_t>;

struct ExpertSpread {
  double busiest = 0;    ///< share of the tokens that the busiest expert had, 0..1
  double imbalance = 0;  ///< the same against an even share; 1: all had as many. 0 without tokens
};
ExpertSpread spread_of(const ExpertLoads& loads);

}  // namespace cambium::engine
