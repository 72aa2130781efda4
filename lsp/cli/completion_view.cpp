#include "lsp/cli/completion_view.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <future>
#include <ostream>

#include "lsp/text.h"

namespace cambium::cli {
namespace {

constexpr uint32_t kLinesBefore = 8, kLinesAfter = 3;
constexpr std::string_view kDim = "\x1b[2;3m", kGrey = "\x1b[90m", kReset = "\x1b[0m";

std::string without_cr(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '\r'), out.end());
  return out;
}

}  // namespace

Result<assist::CompletionOutput> complete_now(assist::CompletionService& completer,
                                              assist::CompletionInput input) {
  auto promise = std::make_shared<std::promise<Result<assist::CompletionOutput>>>();
  completer.complete(std::move(input), [promise](Result<assist::CompletionOutput> output) {
    promise->set_value(std::move(output));
  });
  return promise->get_future().get();
}

assist::CompletionInput completion_input(const Config& config,
                                         std::shared_ptr<const std::string> text, size_t cursor,
                                         const std::string& path) {
  assist::CompletionInput input;
  input.text = std::move(text);
  input.cursor = cursor;
  input.path = path;
  input.settings.max_tokens = config.completion_max_tokens;
  input.settings.prompt_tokens = config.completion_prompt_tokens;
  input.settings.multiline = config.completion_multiline;
  return input;
}

nlohmann::json to_json(const Target& target, const assist::CompletionOutput& output) {
  nlohmann::json items = nlohmann::json::array();
  for (const assist::CompletionItem& item : output.items) items.push_back({{"text", item.text}});
  const engine::Timings& t = output.timings;
  nlohmann::json route = {{"role", assist::to_string(output.route.role)},
                          {"model", output.route.model},
                          {"reason", output.route.reason}};
  if (output.route.cascade) {
    route["confidence"] = output.route.confidence;
    route["small_ms"] = output.route.small_ms;
    route["larger"] = output.route.larger;
  }
  nlohmann::json out = {
      {"file", target.path},
      {"line", target.line},
      {"column", target.column},
      {"items", std::move(items)},
      {"stop", output.stop},
      {"scope", output.scope},
      {"dropped", output.dropped},
      {"timings",
       {{"prompt_tokens", t.prompt_tokens},
        {"reused_tokens", t.reused_tokens},
        {"generated_tokens", t.generated_tokens},
        {"drafted_tokens", t.drafted_tokens},
        {"accepted_tokens", t.accepted_tokens},
        {"skipped_blocks", t.skipped_blocks},
        {"queue_ms", t.queue_ms},
        {"prefill_ms", t.prefill_ms},
        {"decode_ms", t.decode_ms},
        {"ttft_ms", t.ttft_ms},
        {"parse_ms", output.parse_ms},
        {"prompt_ms", output.prompt_ms},
        {"post_ms", output.post_ms},
        {"compare_ms", output.compare_ms},
        {"route", std::move(route)}}},
  };
  if (!t.expert_loads.empty()) {
    const engine::ExpertSpread spread = engine::spread_of(t.expert_loads);
    out["timings"]["experts"] = {
        {"tokens", t.expert_loads}, {"busiest", spread.busiest}, {"imbalance", spread.imbalance}};
  }
  return out;
}

void print_code(std::ostream& out, std::string_view text, size_t cursor,
                const assist::CompletionOutput& output, bool color) {
  std::string ghost;
  if (!output.items.empty()) ghost = without_cr(output.items.front().text);
  const lsp::LineIndex lines(text);
  const uint32_t at = lines.line_of(cursor);
  const uint32_t first = at > kLinesBefore ? at - kLinesBefore : 0;
  const uint32_t last = std::min(at + kLinesAfter, lines.line_count() - 1);
  uint32_t number = first + 1;
  const auto gutter = [&] {
    return color ? fmt::format("{}{:>5} │{} ", kGrey, number, kReset)
                 : fmt::format("{:>5} | ", number);
  };
  const std::string_view on = color ? kDim : "«", off = color ? kReset : "»";
  for (uint32_t line = first; line <= last; ++line, ++number) {
    const std::string content = without_cr(lines.line(text, line));
    if (line != at) {
      out << gutter() << content << '\n';
      continue;
    }
    const size_t column = std::min(cursor - lines.line_start(line), content.size());
    out << gutter() << std::string_view(content).substr(0, column);
    if (!ghost.empty()) {
      out << on;
      for (const char c : ghost) {
        if (c != '\n') {
          out << c;
          continue;
        }
        // Colours do not run through the gutter.
        if (color) out << off;
        ++number;
        out << '\n' << gutter();
        if (color) out << on;
      }
      out << off;
    }
    out << std::string_view(content).substr(column) << '\n';
  }
}

void print_timings(std::ostream& out, const assist::CompletionOutput& output, bool color) {
  const engine::Timings& t = output.timings;
  std::string line;
  if (output.items.empty()) line = "no suggestion: " + output.dropped + " · ";
  line += fmt::format("{} token{}", t.generated_tokens, t.generated_tokens == 1 ? "" : "s");
  if (t.generated_tokens > 0) line += fmt::format(", the first after {}", milliseconds(t.ttft_ms));
  if (t.generated_tokens > 1) line += fmt::format(", the last {} later", milliseconds(t.decode_ms));
  line +=
      fmt::format(" · prompt of {} tokens, {} of them reused", t.prompt_tokens, t.reused_tokens);
  if (output.compare_ms > 0)
    line += fmt::format(", compared in {}", milliseconds(output.compare_ms));
  line += fmt::format(" · around the model {} · scope: {} · stop: {}",
                      milliseconds(output.parse_ms + output.prompt_ms + output.post_ms),
                      output.scope, output.stop);
  if (output.route.cascade) {
    line += " · " + output.route.model + ": " + output.route.reason;
  }
  if (color) {
    out << kGrey << "      " << line << kReset << '\n';
  } else {
    out << "      " << line << '\n';
  }
}

}  // namespace cambium::cli
