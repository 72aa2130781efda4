// The schema of an answer's form comes from whoever asks `cambium serve`: none may crash the compiler, and
// what is written under one that compiles is a JSON document, with no dead end on the way.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lsp/assist/json_automaton.h"

/// The schema up to the first zero byte; then which of the possible bytes come next.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cambium::assist;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const auto schema = JsonSchema::compile(input.substr(0, end));
  if (!schema) return 0;
  JsonState state(**schema), next(**schema);
  std::string document;
  for (size_t i = end + 1; i < size; ++i) {
    std::vector<uint8_t> possible;
    for (int byte = 0; byte < 256; ++byte) {
      if (state.step(**schema, static_cast<uint8_t>(byte), next)) {
        possible.push_back(static_cast<uint8_t>(byte));
      }
    }
    if (possible.empty() && !state.complete()) std::abort();
    if (possible.empty()) break;
    const uint8_t byte = possible[data[i] % possible.size()];
    state.step(**schema, byte, next);
    std::swap(state, next);
    document += static_cast<char>(byte);
  }
  if (state.complete() && !nlohmann::json::accept(document)) std::abort();
  return 0;
}
