// How a completion is shown to a person and to a program.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lsp/assist/completer.h"
#include "lsp/cli/verbs.h"

namespace cambium::cli {

/// Asks and waits. For use by one thread.
Result<assist::CompletionOutput> complete_now(assist::CompletionService& completer,
                                              assist::CompletionInput input);

assist::CompletionInput completion_input(const Config& config,
                                         std::shared_ptr<const std::string> text, size_t cursor,
                                         const std::string& path);

nlohmann::json to_json(const Target& target, const assist::CompletionOutput& output);

/// The lines around the cursor with the suggestion in them, dimmed; without colour between « and ».
void print_code(std::ostream& out, std::string_view text, size_t cursor,
                const assist::CompletionOutput& output, bool color);
/// One line: tokens, times, why it stopped.
void print_timings(std::ostream& out, const assist::CompletionOutput& output, bool color);

}  // namespace cambium::cli
