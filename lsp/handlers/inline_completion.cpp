#include "lsp/handlers/inline_completion.h"

#include "lsp/protocol/completion.h"
#include "lsp/session.h"

namespace cambium::lsp {

void bind_inline_completion(Session& session) {
  constexpr const char* kMethod = "textDocument/inlineCompletion";
  session.peer().on_request<InlineCompletionParams>(
      kMethod, Latency::instant, [&session](InlineCompletionParams params, Reply reply) {
        Suggester::Ask ask;
        ask.method = kMethod;
        ask.at = std::move(params.at);
        ask.selected = std::move(params.selected);
        session.suggester().suggest(
            ask, std::move(reply),
            [](const std::vector<Suggestion>& suggestions, const Snapshot* snapshot) {
              std::vector<InlineCompletionItem> items;
              for (const Suggestion& suggestion : suggestions) {
                InlineCompletionItem& item = items.emplace_back();
                item.insert_text = suggestion.text;
                item.range = suggestion.range;
                if (suggestion.begin != suggestion.end) {
                  // Clients filter by the text that the range holds now.
                  item.filter_text =
                      snapshot->text->substr(suggestion.begin, suggestion.end - suggestion.begin);
                }
                item.accepted = suggestion.accepted;
              }
              return inline_completion_list(items);
            });
      });
}

}  // namespace cambium::lsp
