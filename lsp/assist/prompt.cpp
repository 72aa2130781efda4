#include "lsp/assist/prompt.h"
#include "lsp/assist/text_window.h"

#include <algorithm>

namespace cambium::assist {
namespace {

using engine::Tokenizer;

/// Bytes looked at for one token of budget when a window is chosen. Code has 3 to 4 bytes a token;
/// text with more (deep indentation) gets a window that uses less than its budget.
constexpr size_t kBytesPerToken = 8;
constexpr size_t kAnchorBytes = 96;
/// Shares of the prefix budget: a new window is filled to about `kFill`; an old one is kept while
/// its prefix has between `kKeepFrom` of the budget and all of it.
constexpr double kFillLow = 0.65, kFill = 0.75, kFillHigh = 0.85, kKeepFrom = 0.5;

bool is_word(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u == '_' ||
         u >= 0x80;
}

size_t depth_at(const syntax::ScopeMap& scopes, size_t byte) {
  size_t depth = 0;
  const auto& all = scopes.scopes();
  for (auto i = static_cast<int32_t>(scopes.index_at(static_cast<uint32_t>(byte))); i > 0;
       i = all[static_cast<size_t>(i)].parent) {
    ++depth;
  }
  return depth;
}

/// First byte of the line's text, for a line start; npos for a blank line.
size_t first_of_line(std::string_view text, size_t line) {
  const size_t at = text.find_first_not_of(" \t\r", line);
  return at == text.npos || text[at] == '\n' ? text.npos : at;
}

/// The line start in [low, high] with the fewest scopes around it; of equals the nearest to
/// `wanted`. A cut there shows whole definitions. npos if no line starts there.
size_t best_cut(std::string_view text, size_t low, size_t wanted, size_t high,
                const syntax::ScopeMap& scopes) {
  size_t best = text.npos, best_depth = SIZE_MAX, best_distance = SIZE_MAX;
  size_t line = low == 0 ? 0 : text.find('\n', low - 1);
  if (low > 0 && line != text.npos) ++line;
  while (line != text.npos && line <= high) {
    if (const size_t first = first_of_line(text, line); first != text.npos) {
      const size_t depth = depth_at(scopes, first);
      const size_t distance = line > wanted ? line - wanted : wanted - line;
      if (depth < best_depth || (depth == best_depth && distance < best_distance)) {
        best = line, best_depth = depth, best_distance = distance;
      }
    }
    line = text.find('\n', line);
    if (line != text.npos) ++line;
  }
  return best;
}

/// The suffix: from the cursor on, as many whole lines as the budget holds. A function of the text
/// after the cursor alone.
TokenSpan choose_suffix(const Tokenizer& tokenizer, std::string_view text, size_t cursor,
                        size_t budget, size_t& end) {
  size_t limit = text.size();
  if (limit - cursor > budget * kBytesPerToken) {
    limit = ceil_char_boundary(text, cursor + budget * kBytesPerToken);
  }
  TokenSpan all = encode_span(tokenizer, text, cursor, limit);
  end = limit;
  if (all.size() <= budget && limit == text.size()) return all;
  const size_t cut = all.size() > budget ? all.bytes[budget] : limit;
  const size_t newline = text.substr(0, cut).rfind('\n');
  end = newline != text.npos && newline + 1 > cursor ? newline + 1 : ceil_char_boundary(text, cut);
  all = encode_span(tokenizer, text, cursor, end);
  // A cut inside a long line may split a token into more than were counted.
  if (all.size() > budget) {
    end = all.bytes[budget];
    all.ids.resize(budget);
    all.bytes.resize(budget);
  }
  return all;
}

/// Where the anchored head stands now, or npos.
size_t find_anchor(const WindowAnchor& anchor, std::string_view text, size_t from, size_t cursor) {
  if (!anchor.set) return text.npos;
  const auto stands_at = [&](size_t at) {
    return at + anchor.head.size() <= cursor && text.substr(at, anchor.head.size()) == anchor.head;
  };
  if (anchor.begin <= cursor && stands_at(anchor.begin)) return anchor.begin;
  // An edit above moved it. Of several places the nearest to the old one.
  size_t best = text.npos, best_distance = SIZE_MAX;
  const std::string_view window = text.substr(0, cursor);
  for (size_t at = window.find(anchor.head, from); at != window.npos;
       at = window.find(anchor.head, at + 1)) {
    const size_t distance = at > anchor.begin ? at - anchor.begin : anchor.begin - at;
    if (distance >= best_distance) break;
    best = at, best_distance = distance;
  }
  return best;
}

TokenSpan choose_prefix(const Tokenizer& tokenizer, const PromptInput& input, size_t budget,
                        WindowAnchor& anchor, size_t& begin) {
  const std::string_view text = input.text;
  const size_t cursor = input.cursor;
  const size_t first = text.substr(0, 3) == "\xEF\xBB\xBF" && cursor >= 3 ? 3 : 0;
  size_t from = first;
  if (cursor - first > budget * kBytesPerToken) {
    from = ceil_char_boundary(text, cursor - budget * kBytesPerToken);
  }

  if (const size_t old = find_anchor(anchor, text, from, cursor); old != text.npos && old >= from) {
    TokenSpan kept = encode_span(tokenizer, text, old, cursor);
    const auto least = static_cast<size_t>(kKeepFrom * static_cast<double>(budget));
    if (kept.size() <= budget && (kept.size() >= least || old == first)) {
      begin = anchor.begin = old;
      return kept;
    }
  }

  TokenSpan all = encode_span(tokenizer, text, from, cursor);
  begin = from;
  if (all.size() > budget || from > first) {
    const auto byte_of = [&](double share) {
      const auto want = static_cast<size_t>(share * static_cast<double>(budget));
      return all.size() > want ? all.bytes[all.size() - want] : from;
    };
    const size_t wanted = byte_of(kFill);
    size_t cut = best_cut(text, byte_of(kFillHigh), wanted, byte_of(kFillLow), *input.scopes);
    if (cut == text.npos)
      cut = best_cut(text, byte_of(1.0), wanted, byte_of(kKeepFrom), *input.scopes);
    begin = cut == text.npos ? ceil_char_boundary(text, wanted) : cut;
    all = encode_span(tokenizer, text, begin, cursor);
    if (all.size() > budget) {  // only a cut inside a token does that
      const size_t drop = all.size() - budget;
      begin = all.bytes[drop];
      all.ids.erase(all.ids.begin(), all.ids.begin() + static_cast<std::ptrdiff_t>(drop));
      all.bytes.erase(all.bytes.begin(), all.bytes.begin() + static_cast<std::ptrdiff_t>(drop));
    }
  }
  anchor.set = true;
  anchor.begin = begin;
  anchor.head = std::string(text.substr(begin, std::min(kAnchorBytes, cursor - begin)));
  return all;
}

/// Takes the tokens of the unfinished word (or, of `spaces`, of those at the end) off the prefix; the
/// model chooses them again, as whole tokens that begin with the same bytes.
std::string back_off(std::string_view text, size_t cursor, bool spaces, TokenSpan& prefix) {
  constexpr size_t kMostTokens = 6;
  if (prefix.size() < 2) return {};
  size_t unit = cursor;
  if (is_word(text[cursor - 1])) {
    while (unit > 0 && is_word(text[unit - 1])) --unit;
  } else if (spaces && text[cursor - 1] == ' ') {
    while (unit > 0 && text[unit - 1] == ' ') --unit;
  } else {
    return {};
  }
  size_t keep = prefix.size();
  while (keep > 1 && prefix.size() - keep < kMostTokens &&
         (keep == prefix.size() || prefix.bytes[keep] > unit)) {
    --keep;
  }
  // A word of many tokens is healed at its end only.
  if (prefix.bytes[keep] > unit) keep = prefix.size() - 1;
  std::string required;
  for (size_t i = prefix.bytes[keep]; i < cursor; ++i) {
    if (!(text[i] == '\r' && i + 1 < cursor && text[i + 1] == '\n')) required += text[i];
  }
  prefix.ids.resize(keep);
  prefix.bytes.resize(keep);
  return required;
}

}  // namespace

TokenSpan encode_span(const Tokenizer& tokenizer, std::string_view text, size_t begin, size_t end) {
  TokenSpan span;
  const std::string_view part = text.substr(begin, end - begin);
  const auto shift = [&](size_t by) {
    for (uint32_t& byte : span.bytes) byte += static_cast<uint32_t>(by);
  };
  size_t cr = part.find("\r\n");
  if (cr == part.npos) {
    span.ids = tokenizer.encode(part, span.bytes);
    shift(begin);
    return span;
  }
  std::string plain;
  std::vector<uint32_t> dropped;  // offsets in `plain` before which a '\r' stood
  plain.reserve(part.size());
  size_t at = 0;
  for (; cr != part.npos; cr = part.find("\r\n", at)) {
    plain.append(part, at, cr - at);
    dropped.push_back(static_cast<uint32_t>(plain.size()));
    at = cr + 1;
  }
  plain.append(part, at);
  span.ids = tokenizer.encode(plain, span.bytes);
  size_t n = 0;
  for (uint32_t& byte : span.bytes) {
    // A token that begins with the newline begins at the '\r' in the document.
    while (n < dropped.size() && dropped[n] < byte) ++n;
    byte += static_cast<uint32_t>(n);
  }
  shift(begin);
  return span;
}

std::optional<engine::TokenId> end_of_middle(const Tokenizer& tokenizer,
                                             const engine::PromptFormat& format) {
  for (const char* spelling : {"<|fim_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>"})
    if (const auto id = tokenizer.special(spelling)) return id;
  if (format.end.empty()) return std::nullopt;
  return format.end.front();
}

Result<Prompt> build_prompt(const Tokenizer& tokenizer, const engine::PromptFormat& format,
                            const PromptInput& input, WindowAnchor& anchor) {
  Prompt prompt;
  const bool spm = format.fim && format.fim->spm;
  prompt.order = spm ? engine::FimOrder::spm : engine::FimOrder::psm;
  auto layout = file_layout(format, tokenizer, prompt.order, input.path);
  if (!layout) return tl::unexpected(layout.error());
  if (input.tokens < 32) {
    return fail(ErrorCode::invalid_argument,
                "the prompt budget is " + std::to_string(input.tokens) +
                    " tokens; at least 32 are needed (completion.promptTokens, or the model's "
                    "context less completion.maxTokens)");
  }
  const auto budget = static_cast<size_t>(input.tokens);
  const double share = std::clamp(input.prefix_share, 0.1, 0.9);
  const auto suffix_budget = static_cast<size_t>((1.0 - share) * static_cast<double>(budget));
  const TokenSpan suffix =
      choose_suffix(tokenizer, input.text, input.cursor, suffix_budget, prompt.end);
  TokenSpan prefix = choose_prefix(tokenizer, input, budget - suffix.size(), anchor, prompt.begin);
  // A model trained suffix-prefix-middle has seen cursors anywhere, and starts well after spaces. But
  // inside words it does not: of 100 words cut in half, ours ended 14 right, and 72 with their tokens
  // chosen anew.
  prompt.required = back_off(input.text, input.cursor, !spm, prefix);
  prompt.prefix_tokens = prefix.size();
  prompt.suffix_tokens = suffix.size();
  prompt.sequence = align(*layout, prefix, suffix, *input.scopes, input.at_cursor);
  return prompt;
}

}  // namespace cambium::assist
