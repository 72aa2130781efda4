#include "lsp/handlers/completion.h"

#include <cctype>

#include "lsp/protocol/completion.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || std::isalnum(byte) != 0 || byte == '_';
}

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

/// Popups filter by the word at the cursor, so an entry replaces that word by itself and the rest.
PopupCompletionItem popup_item(const Suggestion& suggestion, const Snapshot& snapshot,
                               PositionEncoding encoding) {
  const std::string_view text = *snapshot.text;
  const size_t line_start = snapshot.lines.line_start(snapshot.lines.line_of(suggestion.begin));
  size_t word = suggestion.begin;
  while (word > line_start && is_word_byte(text[word - 1])) --word;
  PopupCompletionItem item;
  item.new_text = std::string(text.substr(word, suggestion.begin - word)) +
                  suggestion.text.substr(0, suggestion.text.find_first_of("\r\n"));
  item.range = {snapshot.lines.position(text, word, encoding), suggestion.range.end};
  item.label = trimmed(item.new_text);
  item.filter_text = item.new_text;
  item.sort_text = "\x01";  // before what a language's own server offers
  item.accepted = suggestion.accepted;
  return item;
}

}  // namespace

void bind_completion(Session& session) {
  constexpr const char* kMethod = "textDocument/completion";
  session.peer().on_request<CompletionParams>(
      kMethod, Latency::instant, [&session](CompletionParams params, Reply reply) {
        Suggester::Ask ask;
        ask.method = kMethod;
        ask.at = std::move(params.at);
        ask.multiline = false;
        session.suggester().suggest(
            ask, std::move(reply),
            [encoding = session.encoding()](const std::vector<Suggestion>& suggestions,
                                            const Snapshot* snapshot) {
              std::vector<PopupCompletionItem> items;
              for (const Suggestion& suggestion : suggestions) {
                PopupCompletionItem item = popup_item(suggestion, *snapshot, encoding);
                if (!item.label.empty()) items.push_back(std::move(item));
              }
              return completion_list(items);
            });
      });
}

}  // namespace cambium::lsp
