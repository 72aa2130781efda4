#include "engine/chat_defaults.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace cambium::engine {

ChatDefaults chat_defaults_for(std::string_view model, bool template_thinks) {
  std::string name(model);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ' ' || c == '_' || c == ':'; }, '-');
  const auto named = [&](std::string_view part) { return name.find(part) != std::string::npos; };

  ChatDefaults out;
  const bool r1 = named("deepseek-r1") || named("deepseek-reasoner");
  out.thinks = r1 || template_thinks;
  if (r1) {
    out.sampling.temperature = 0.6f;
    out.sampling.top_p = 0.95f;
    out.system_prompt = named("0528");
  }
  return out;
}

}  // namespace cambium::engine
