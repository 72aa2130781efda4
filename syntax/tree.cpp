#include "syntax/tree.h"

#include <algorithm>

namespace cambium::syntax {

namespace {

// The point that lies `text` after `from`.
TSPoint advanced(TSPoint from, std::string_view text) {
  const size_t lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  const size_t line_begin = lines > 0 ? text.rfind('\n') + 1 : 0;
  return {static_cast<uint32_t>(from.row + lines),
          static_cast<uint32_t>((lines > 0 ? 0 : from.column) + text.size() - line_begin)};
}

}  // namespace

std::string applied(std::string_view text, Edit edit) {
  const size_t begin = std::min<size_t>(edit.begin, text.size());
  const size_t end = std::clamp<size_t>(edit.old_end, begin, text.size());
  std::string out;
  out.reserve(text.size() - (end - begin) + edit.inserted.size());
  out.append(text.substr(0, begin)).append(edit.inserted).append(text.substr(end));
  return out;
}

TSInputEdit input_edit(std::string_view text, Edit edit) {
  TSInputEdit input = {};
  input.start_byte = edit.begin;
  input.old_end_byte = edit.old_end;
  input.new_end_byte = static_cast<uint32_t>(edit.begin + edit.inserted.size());
  input.start_point = advanced({0, 0}, text.substr(0, edit.begin));
  input.old_end_point =
      advanced(input.start_point, text.substr(edit.begin, edit.old_end - edit.begin));
  input.new_end_point = advanced(input.start_point, edit.inserted);
  return input;
}

Parser::Parser(const Language& language) : language_(&language), parser_(ts_parser_new()) {
  ts_parser_set_language(parser_.get(), language.grammar());
}

std::optional<Tree> Parser::parse(std::string_view text, const Tree* old, ParseLimits limits) {
  if (text.size() > kMaxText) return std::nullopt;
  using Clock = std::chrono::steady_clock;
  struct Budget {
    std::optional<Clock::time_point> deadline;
    uint64_t polls;
    const std::atomic<bool>* cancel;
  } budget{std::nullopt, limits.polls, limits.cancel};
  if (limits.time != std::chrono::microseconds::max()) budget.deadline = Clock::now() + limits.time;

  TSInput input = {};
  input.payload = &text;
  input.encoding = TSInputEncodingUTF8;
  input.read = [](void* payload, uint32_t byte, TSPoint, uint32_t* size) -> const char* {
    const auto& bytes = *static_cast<const std::string_view*>(payload);
    *size = byte < bytes.size() ? static_cast<uint32_t>(bytes.size() - byte) : 0;
    return *size > 0 ? bytes.data() + byte : "";
  };
  TSParseOptions options = {};
  options.payload = &budget;
  options.progress_callback = [](TSParseState* state) {
    auto& b = *static_cast<Budget*>(state->payload);
    if (b.polls == 0) return true;
    --b.polls;
    return (b.cancel && b.cancel->load(std::memory_order_relaxed)) ||
           (b.deadline && Clock::now() >= *b.deadline);
  };
  TSTree* tree =
      ts_parser_parse_with_options(parser_.get(), old ? old->get() : nullptr, input, options);
  if (!tree) {
    ts_parser_reset(parser_.get());
    return std::nullopt;
  }
  return Tree(*language_, tree);
}

}  // namespace cambium::syntax
