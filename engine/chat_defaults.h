// What is known of the families that want to be talked to in their own way.
#pragma once

#include <string_view>

#include "engine/generator.h"

namespace cambium::engine {

/// `model` is a file's general.name or an endpoint's model name, in any case; `template_thinks`: its
/// chat template names <think>. DeepSeek-R1, its distills and its later releases ask for temperature
/// 0.6 and top-p 0.95, instructions in the user's message rather than a system prompt, and write
/// their reasoning first (model card of DeepSeek-R1, 2025; R1-0528 takes a system prompt again).
/// Everything else: greedy, with a system prompt.
ChatDefaults chat_defaults_for(std::string_view model, bool template_thinks = false);

/// The temperature offered in place of the default for work that has one right answer.
inline constexpr float kExactTemperature = 0.3f;

}  // namespace cambium::engine
