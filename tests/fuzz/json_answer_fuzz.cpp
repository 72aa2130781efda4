// What a model answers is anybody's text: what is found in it is JSON, and what is kept of half a document
// is what the document would have begun with, had it been finished there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lsp/assist/json_answer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cambium::assist;
  using nlohmann::json;
  const std::string_view answer(reinterpret_cast<const char*>(data), size);
  const std::string_view object = first_object(answer);
  if (!object.empty() && !json::accept(object)) std::abort();
  const auto half = half_document(answer, "findings");
  if (!half || half->items.empty()) return 0;
  const std::string_view last = half->items.back();
  const auto read = static_cast<size_t>(last.data() + last.size() - half->text.data());
  const json whole = json::parse(std::string(half->text.substr(0, read)) + "]}", nullptr, false);
  if (!whole.is_object() || whole["findings"].size() != half->items.size()) std::abort();
  for (size_t i = 0; i < half->items.size(); ++i) {
    if (json::parse(half->items[i]) != whole["findings"][i]) std::abort();
  }
  return 0;
}
