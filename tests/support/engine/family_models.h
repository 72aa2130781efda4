// The tiny models of tests/golden/families.json: every family and every way of choosing experts,
// made from their description bit by bit (tests/golden/family_specs.py says how).
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/request.h"

namespace cambium::test {

struct FamilyModels {
  std::vector<engine::TokenId> tokens;  ///< the prompt of every model
  std::vector<int32_t> positions;       ///< whose logits are recorded
  std::vector<nlohmann::json> specs;    ///< a model each
};
FamilyModels family_models();

/// The GGUF file of a spec, whose keys and tensors the caller may have changed.
std::vector<std::byte> family_file(const nlohmann::json& spec);

}  // namespace cambium::test
