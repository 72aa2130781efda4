// Which model does a piece of work: intent first, then what is configured. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lsp/assist/models.h"

namespace cambium::assist {

/// What is asked for. All but `chat` say by themselves which kind of model they want.
enum class Intent : uint8_t { completion, review, fix, why, explain, chat, commit_message };
const char* to_string(Intent intent);

/// What a question in free words is about.
enum class Topic : uint8_t { code, reasoning, general };
const char* to_string(Topic topic);

struct Classified {
  Topic topic = Topic::general;
  std::string why;  ///< "names code (`parse()`)"
  double ms = 0;    ///< what finding out cost
};
/// By rule: no model is asked. O(length); looks at the first and last 4 KiB.
Classified classify(std::string_view question);

/// The router's choice; part of every answer's timings.
struct Route {
  Role role = Role::completion;
  std::string model;       ///< its name to show
  std::string reason;      ///< one line: "chat about code, the general model is not configured"
  double classify_ms = 0;  ///< what classifying free text cost
  bool cascade = false;    ///< two models could answer (assist/cascade.h)
  bool larger = false;     ///< and the larger one did
  double confidence = -1;  ///< its mean token probability, 0..1; negative: not known
  double small_ms = 0;     ///< what the small model's answer took before the larger one was asked
};

/// Of a completion at a cursor: there is one model for it, or two in a cascade.
Route completion_route(std::string model);

/// `topic` counts for Intent::chat only. The error names the roles of which one must be configured.
Result<Route> route(Intent intent, const std::optional<Classified>& topic, const Models& models);

}  // namespace cambium::assist
