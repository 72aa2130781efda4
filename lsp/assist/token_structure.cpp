#include "lsp/assist/token_structure.h"

#include <string>

namespace cambium::assist {
namespace {

using engine::PromptFormat;
using engine::TokenLabel;

void append_side(const TokenSpan& side, int32_t first_place, const syntax::ScopeMap& scopes,
                 AlignedSequence& out) {
  std::vector<syntax::ScopeLabel> labels;
  scopes.labels_at(side.bytes, labels);
  const size_t begin = out.tokens.size();
  out.tokens.insert(out.tokens.end(), side.ids.begin(), side.ids.end());
  out.structure.resize(begin + side.size());
  for (size_t i = 0; i < side.size(); ++i) {
    out.structure.scope[begin + i] = labels[i].scope;
    out.structure.last[begin + i] = labels[i].last;
    out.structure.place[begin + i] = first_place + static_cast<int32_t>(i);
  }
}

}  // namespace

AlignedSequence align(std::span<const PromptFormat::Part> layout, const TokenSpan& prefix,
                      const TokenSpan& suffix, const syntax::ScopeMap& scopes,
                      syntax::ScopeLabel at_cursor) {
  const auto cursor_place = static_cast<int32_t>(prefix.size());
  const int32_t after_place = suffix_place(prefix.size());

  AlignedSequence out;
  out.middle = token_label(at_cursor, cursor_place);
  const size_t size = prefix.size() + suffix.size() + layout.size();
  out.tokens.reserve(size);
  for (size_t i = 0; i < layout.size(); ++i) {
    switch (layout[i].kind) {
      case PromptFormat::Part::Kind::prefix:
        append_side(prefix, 0, scopes, out);
        out.prefix_end = static_cast<int32_t>(out.tokens.size());
        break;
      case PromptFormat::Part::Kind::suffix:
        append_side(suffix, after_place, scopes, out);
        break;
      case PromptFormat::Part::Kind::special: {
        TokenLabel label;  // the file's scope, place 0
        if (i + 1 == layout.size()) {
          label = out.middle;
        } else if (layout[i + 1].kind == PromptFormat::Part::Kind::suffix) {
          label.place = after_place;
        }
        out.tokens.push_back(layout[i].special);
        out.structure.push_back(label);
        break;
      }
    }
  }
  return out;
}

std::vector<PromptFormat::Part> file_line(const PromptFormat& format,
                                          const engine::Tokenizer& tokenizer,
                                          std::string_view path) {
  const size_t slash = path.find_last_of("/\\");
  const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
  std::vector<PromptFormat::Part> line;
  if (!format.file || name.empty()) return line;
  line.push_back({PromptFormat::Part::Kind::special, *format.file});
  for (const engine::TokenId id : tokenizer.encode(std::string(name) + "\n")) {
    line.push_back({PromptFormat::Part::Kind::special, id});
  }
  return line;
}

Result<std::vector<PromptFormat::Part>> file_layout(const PromptFormat& format,
                                                    const engine::Tokenizer& tokenizer,
                                                    engine::FimOrder order, std::string_view path) {
  auto layout = format.fim_layout(order);
  if (!layout) return layout;
  const std::vector<PromptFormat::Part> line = file_line(format, tokenizer, path);
  layout->insert(layout->begin() + (format.bos ? 1 : 0), line.begin(), line.end());
  return layout;
}

}  // namespace cambium::assist
